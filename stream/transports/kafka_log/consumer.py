"""Reads topics of Kafka, as a member of a group or on its own; goes on by itself when the brokers are back.

Kafka takes every partition from every member whenever one joins or leaves. Of those that come back to a member at once,
nobody else had anything in between: they go on after the last record fetched, and only the others count as lost.
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
from stream.transports.kafka_log.options import OPERATION_S_MAX, STOP_S_MAX, KafkaOptions
from stream.transports.kafka_log.topics import partition_counts
from stream.transports.log_client import FetchedRecord, PartitionRef, RevokedCallback

_logger = structlog.get_logger(__name__)


def to_fetched_record(record: ConsumerRecord[bytes, bytes], topic: str) -> FetchedRecord:
    """What aiokafka read, under the topic's plain name. The record must have a value."""
    return FetchedRecord(topic, record.partition, record.offset, record.timestamp, record.key, record.value or b"")


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Implements Follower."""

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
            raise LogError(f"group {group!r} can't follow chosen partitions: its members share all of them")
        self._options = options
        self._topic_names = {options.topic_name(topic): topic for topic in topics}
        self._group = group
        self._start_offsets = {self._to_topic_partition(place): offset for place, offset in start_offsets.items()}
        self._only_partitions = only_partitions
        self._consumer: AIOKafkaConsumer | None = None
        self._joining_consumer: AIOKafkaConsumer | None = None
        self._generation = -1
        self._revoked: frozenset[TopicPartition] = frozenset()
        self._next_offsets: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._revoked_callbacks: list[RevokedCallback] = []

    async def start(self) -> None:
        """Joins the group, or takes the partitions. Raises LogError."""
        consumer = AIOKafkaConsumer(
            **self._options.consumer_config(self._group), partition_assignment_strategy=(RangePartitionAssignor,)
        )
        try:
            with self._options.translate_errors(f"follow {', '.join(self._topic_names.values())}"):
                async with asyncio.timeout(OPERATION_S_MAX):
                    await self._join(consumer)
        except BaseException:
            await _stop_quietly(consumer)
            raise
        self._consumer = consumer

    async def close(self) -> None:
        """Leaves the group, so that others take over at once."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _stop_quietly(consumer)

    async def fetch(self, records_max: int = 1000, wait_s: float = 1.0) -> list[FetchedRecord]:
        """Records of the partitions assigned now; [] while the brokers are away or the group is sharing out anew."""
        consumer = self._require_consumer()
        found: list[FetchedRecord] = []
        with self._options.translate_errors("fetch"), contextlib.suppress(TimeoutError):
            # Sharing out anew may take longer than the wait; then this ends it, and nothing was taken yet.
            async with asyncio.timeout(wait_s + 0.1):
                batches = await consumer.getmany(timeout_ms=max(0, int(wait_s * 1000)), max_records=records_max)
            for tp, records in batches.items():
                topic = self._topic_names[tp.topic]
                self._next_offsets[tp] = records[-1].offset + 1
                found += [to_fetched_record(record, topic) for record in records if record.value is not None]
        return found

    async def commit(self, positions: Mapping[PartitionRef, int] | None = None) -> None:
        """Keeps offsets for the group; those of partitions that this member has."""
        consumer = self._require_consumer()
        if self._group is None:
            raise LogError("a follower without a group can't commit")
        wanted = (
            self._next_offsets
            if positions is None
            else {self._to_topic_partition(place): offset for place, offset in positions.items()}
        )
        mine = {tp: OffsetAndMetadata(wanted[tp], "") for tp in wanted.keys() & consumer.assignment()}
        if not mine:
            return
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                await consumer.commit(mine)
        except (CommitFailedError, IllegalStateError):
            # The group is sharing out anew: who has these partitions next starts from the commit before.
            _logger.info("put_off_commit", group=self._group)
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._options.to_log_error("commit", error) from error

    def assignment(self) -> frozenset[PartitionRef]:
        """The partitions of this member now."""
        consumer = self._consumer
        return frozenset() if consumer is None else self._to_partition_refs(consumer.assignment())

    def on_revoked(self, callback: RevokedCallback) -> None:
        """Tells of partitions that are another member's now. It may have begun with them: what counts must be fenced."""
        self._revoked_callbacks.append(callback)

    def pause(self, partitions: Collection[PartitionRef]) -> None:
        """Fetch no more from these."""
        tps = {self._to_topic_partition(place) for place in partitions}
        self._paused |= tps
        consumer = self._require_consumer()
        consumer.pause(*(tps & consumer.assignment()))

    def resume(self, partitions: Collection[PartitionRef]) -> None:
        """Fetch from these again."""
        tps = {self._to_topic_partition(place) for place in partitions}
        self._paused -= tps
        consumer = self._require_consumer()
        consumer.resume(*(tps & consumer.assignment()))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka before the group shares out anew."""
        self._revoked = frozenset(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka with what this member has from now on, before anything is fetched."""
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
            raise LogError(f"Kafka at {','.join(self._options.brokers)}: topic {missing[0]!r} is not there")
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
            raise LogError("this follower is not started, or was closed")
        return self._consumer

    def _to_topic_partition(self, place: PartitionRef) -> TopicPartition:
        return TopicPartition(self._options.topic_name(place[0]), place[1])

    def _to_partition_refs(self, tps: Iterable[TopicPartition]) -> frozenset[PartitionRef]:
        return frozenset((self._topic_names[tp.topic], tp.partition) for tp in tps if tp.topic in self._topic_names)


async def _stop_quietly(consumer: AIOKafkaConsumer) -> None:
    with contextlib.suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(STOP_S_MAX):
            await consumer.stop()
