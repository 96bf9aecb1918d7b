"""A LogConsumer on Kafka, as a member of a group or alone; it continues by itself when brokers are back.

Every rebalance revokes every partition of every member. A partition that the next assignment gives back to the same member
was with nobody else in between: it continues after the last record fetched, and only the other ones count as revoked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from star.errors import LogError
from stream.transports.kafka_log.options import OPERATION_S_MAX, KafkaOptions
from stream.transports.kafka_log.shutdown import stop_quietly
from stream.transports.kafka_log.topics import partition_counts
from stream.transports.log_client import FetchedRecord, PartitionRef, RevokedCallback

_logger = structlog.get_logger(__name__)


def to_fetched_record(record: ConsumerRecord[bytes, bytes], topic: str) -> FetchedRecord:
    """A record of aiokafka under the topic's plain name. The record must have a value."""
    return FetchedRecord(topic, record.partition, record.offset, record.timestamp, record.key, record.value or b"")


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Implements LogConsumer."""

    def __init__(
        self,
        options: KafkaOptions,
        topics: Sequence[str],
        *,
        group: str | None,
        start_offsets: Mapping[PartitionRef, int],
        only_partitions: Collection[int] | None,
    ) -> None:
        if group is not None and only_partitions is not None:
            raise LogError(f"group {group!r} can't consume chosen partitions: its members share all of them")
        self._options = options
        self._topic_names = {options.topic_name(topic): topic for topic in topics}
        self._group = group
        self._start_offsets = {self._to_topic_partition(ref): offset for ref, offset in start_offsets.items()}
        self._only_partitions = only_partitions
        self._consumer: AIOKafkaConsumer | None = None
        self._joining_consumer: AIOKafkaConsumer | None = None
        self._generation = -1
        self._revoked: frozenset[TopicPartition] = frozenset()
        self._next_offsets: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._revoked_callbacks: list[RevokedCallback] = []

    async def start(self) -> None:
        """Joins the group, or assigns the partitions. Raises LogError."""
        consumer = AIOKafkaConsumer(
            **self._options.consumer_config(self._group), partition_assignment_strategy=(RangePartitionAssignor,)
        )
        try:
            with self._options.translate_errors(f"consume {', '.join(self._topic_names.values())}"):
                async with asyncio.timeout(OPERATION_S_MAX):
                    await self._join(consumer)
        except BaseException:
            await stop_quietly(consumer)
            raise
        self._consumer = consumer

    async def close(self) -> None:
        """Leaves the group, so that other members take over at once."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_quietly(consumer)

    async def fetch(self, records_max: int = 1000, wait_s: float = 1.0) -> list[FetchedRecord]:
        """Records of the partitions assigned now; [] while brokers are away or the group is rebalancing."""
        consumer = self._require_consumer()
        found: list[FetchedRecord] = []
        with self._options.translate_errors("fetch"), contextlib.suppress(TimeoutError):
            # A rebalance may last longer than the wait; then the timeout ends the call, before any record was taken.
            async with asyncio.timeout(wait_s + 0.1):
                batches = await consumer.getmany(timeout_ms=max(0, int(wait_s * 1000)), max_records=records_max)
            for tp, records in batches.items():
                topic = self._topic_names[tp.topic]
                self._next_offsets[tp] = records[-1].offset + 1
                found += [to_fetched_record(record, topic) for record in records if record.value is not None]
        return found

    async def commit(self, positions: Mapping[PartitionRef, int] | None = None) -> None:
        """Commits offsets for the group, of the partitions that this member owns."""
        consumer = self._require_consumer()
        if self._group is None:
            raise LogError("a consumer without a group can't commit")
        wanted = (
            self._next_offsets
            if positions is None
            else {self._to_topic_partition(ref): offset for ref, offset in positions.items()}
        )
        mine = {tp: OffsetAndMetadata(wanted[tp], "") for tp in wanted.keys() & consumer.assignment()}
        if not mine:
            return
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                await consumer.commit(mine)
        except (CommitFailedError, IllegalStateError):
            # The group is rebalancing: the partitions' next owner starts from the previous commit.
            _logger.info("put_off_commit", group=self._group)
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._options.to_log_error("commit", error) from error

    def assignment(self) -> frozenset[PartitionRef]:
        """The partitions that this member owns now."""
        consumer = self._consumer
        return frozenset() if consumer is None else self._to_partition_refs(consumer.assignment())

    def on_revoked(self, callback: RevokedCallback) -> None:
        """Calls `callback` with partitions that another member owns now.

        That member may have begun to process them, so writes that matter must be fenced.
        """
        self._revoked_callbacks.append(callback)

    def pause(self, partitions: Collection[PartitionRef]) -> None:
        """Stops fetching from these."""
        tps = {self._to_topic_partition(ref) for ref in partitions}
        self._paused |= tps
        consumer = self._require_consumer()
        consumer.pause(*(tps & consumer.assignment()))

    def resume(self, partitions: Collection[PartitionRef]) -> None:
        """Resumes fetching from these."""
        tps = {self._to_topic_partition(ref) for ref in partitions}
        self._paused -= tps
        consumer = self._require_consumer()
        consumer.resume(*(tps & consumer.assignment()))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka before a rebalance."""
        self._revoked = frozenset(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka after a rebalance with this member's partitions, before anything is fetched."""
        consumer = self._joining_consumer
        assert consumer is not None
        now = frozenset(assigned)
        generation = consumer._coordinator.generation
        kept = self._revoked & now if generation == self._generation + 1 else frozenset()
        lost = self._revoked - kept
        self._generation = generation
        self._revoked = frozenset()
        self._next_offsets = {tp: offset for tp, offset in self._next_offsets.items() if tp in kept}
        for tp, offset in self._next_offsets.items():
            consumer.seek(tp, offset)
        fresh = sorted(tp for tp in now - kept if tp in self._start_offsets)
        for tp, known in (await consumer._coordinator.fetch_committed_offsets(fresh)).items() if fresh else ():
            if known.offset >= 0:
                fresh.remove(tp)
        for tp in fresh:
            consumer.seek(tp, self._start_offsets[tp])
        consumer.pause(*(self._paused & now))
        if lost:
            for callback in self._revoked_callbacks:
                callback(self._to_partition_refs(lost))

    async def _join(self, consumer: AIOKafkaConsumer) -> None:
        async with self._options.admin() as admin:
            counts = await partition_counts(admin, list(self._topic_names))
        if missing := sorted(set(self._topic_names) - set(counts)):
            raise LogError(f"Kafka at {','.join(self._options.brokers)}: topic {missing[0]!r} does not exist")
        self._joining_consumer = consumer
        if self._group is not None:
            consumer.subscribe(list(self._topic_names), listener=self)
            await consumer.start()
            return
        await consumer.start()
        parts = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
        consumer.assign([tp for tp in parts if self._only_partitions is None or tp.partition in self._only_partitions])
        for tp in consumer.assignment() & set(self._start_offsets):
            consumer.seek(tp, self._start_offsets[tp])

    def _require_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise LogError("this consumer is not started, or was closed")
        return self._consumer

    def _to_topic_partition(self, ref: PartitionRef) -> TopicPartition:
        return TopicPartition(self._options.topic_name(ref[0]), ref[1])

    def _to_partition_refs(self, tps: Iterable[TopicPartition]) -> frozenset[PartitionRef]:
        return frozenset((self._topic_names[tp.topic], tp.partition) for tp in tps if tp.topic in self._topic_names)
