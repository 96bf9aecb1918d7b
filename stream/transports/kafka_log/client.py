"""Kafka as a LogClient: an append is acknowledged by every in-sync replica, each record once and in order.

A producer with a failed append is abandoned, with every record that it holds, and the next append makes another one: so
nothing is written long after its caller has seen an error. Consuming is in consumer.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from star.errors import LogError
from stream.transports.kafka_log.consumer import KafkaConsumer, to_fetched_record
from stream.transports.kafka_log.options import FETCH_WAIT_MS, OPERATION_S_MAX, RETRY_MS, STOP_S_MAX, KafkaOptions
from stream.transports.kafka_log.shutdown import abort_producer, stop_quietly
from stream.transports.kafka_log.topics import ensure_topics, partition_counts
from stream.transports.log_client import Entry, FetchedRecord, PartitionRef, TopicSpec
from stream.transports.retries import retry_every

PENDING_BYTES_MAX = 64 << 20
"""Callers wait while records of this size, keys included, are not acknowledged: it bounds memory while brokers are away."""

_logger = structlog.get_logger(__name__)


class KafkaClient:
    """Implements LogClient. `start` makes `topics`; no other topic is ever made."""

    def __init__(self, options: KafkaOptions, topics: Sequence[TopicSpec] = ()) -> None:
        self.options = options
        self.partitions = options.partitions or 0
        self._topics = tuple(topics)
        self._producer: Any = None
        self._producer_lock = asyncio.Lock()
        self._lookup_consumer: AIOKafkaConsumer | None = None
        self._lookup_lock = asyncio.Lock()
        self._partition_counts: dict[str, int] = {}
        self._aborting: set[asyncio.Task[None]] = set()
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._pending_bytes = 0
        self._capacity = asyncio.Condition()

    async def start(self) -> None:
        """Makes the topics, and connects."""
        self.partitions = await ensure_topics(self.options, self._topics)
        for topic in self._topics:
            self._partition_counts[self.options.topic_name(topic.name)] = self.partitions if topic.per_customer else 1
        await self._current_producer()

    async def stop(self) -> None:
        """Disconnects; waits a limited time for appends in flight."""
        producer, self._producer = self._producer, None
        reader, self._lookup_consumer = self._lookup_consumer, None
        if producer is not None:
            await stop_quietly(producer)
        if reader is not None:
            await stop_quietly(reader)
        if self._aborting:
            await asyncio.wait(self._aborting, timeout=STOP_S_MAX)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Durable on return: every in-sync replica has the records."""
        if not entries:
            return
        for topic, partition in {(entry.topic, entry.partition) for entry in entries}:
            if not 0 <= partition < (count := len(await self._topic_partitions(topic))):
                raise LogError(f"topic {topic!r} has no partition {partition}: expected one before {count}")
        size_bytes = sum(len(entry.value or b"") + len(entry.key or b"") for entry in entries)
        async with self._capacity:
            await self._capacity.wait_for(lambda: self._pending_bytes < PENDING_BYTES_MAX)
            self._pending_bytes += size_bytes
        try:
            await self._append(entries)
        finally:
            async with self._capacity:
                self._pending_bytes -= size_bytes
                self._capacity.notify_all()

    def subscribe(
        self,
        topics: Sequence[str],
        *,
        group: str | None = None,
        start_offsets: Mapping[PartitionRef, int] | None = None,
        only_partitions: Collection[int] | None = None,
    ) -> KafkaConsumer:
        """A consumer, not started. `group` is the group's full name at Kafka; with one, `only_partitions` must be None."""
        return KafkaConsumer(
            self.options, topics, group=group, start_offsets=start_offsets or {}, only_partitions=only_partitions
        )

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset that each partition's next record will get."""
        tps = await self._topic_partitions(topic)
        async with self._lookup(f"query the end of {topic!r}") as reader:
            found = await reader.end_offsets(tps)
        return {tp.partition: offset for tp, offset in found.items()}

    async def beginning_offsets(self, topic: str) -> dict[int, int]:
        """The offset of each partition's oldest record."""
        tps = await self._topic_partitions(topic)
        async with self._lookup(f"query the beginning of {topic!r}") as reader:
            found = await reader.beginning_offsets(tps)
        return {tp.partition: offset for tp, offset in found.items()}

    async def lag(self, group: str, topics: Sequence[str]) -> dict[PartitionRef, int]:
        """The number of records that the group has yet to commit; deleted records are not counted."""
        async with self.options.admin() as admin:
            committed = await _retry_query(admin.list_consumer_group_offsets, group)
        found: dict[PartitionRef, int] = {}
        for topic in topics:
            begins, ends = await self.beginning_offsets(topic), await self.end_offsets(topic)
            for partition, end in ends.items():
                known = committed.get(TopicPartition(self.options.topic_name(topic), partition))
                done = max(begins[partition], known.offset if known is not None else 0)
                found[topic, partition] = max(0, end - done)
        return found

    async def last_records(self, topic: str, partitions: Collection[int]) -> dict[int, FetchedRecord]:
        """The last record of each partition; where compaction removed the last ones, the last that remains."""
        tps = [tp for tp in await self._topic_partitions(topic) if tp.partition in partitions]
        if not tps:
            return {}
        # Not the lookup consumer: it would continue to fetch in the background.
        reader = AIOKafkaConsumer(**self.options.consumer_config(None))
        try:
            with self.options.translate_errors(f"read the last records of {topic!r}"):
                async with asyncio.timeout(OPERATION_S_MAX):
                    await reader.start()
                    records = await _last_records(reader, tps)
        finally:
            await stop_quietly(reader)
        return {tp.partition: to_fetched_record(record, topic) for tp, record in records.items()}

    async def _topic_partitions(self, topic: str) -> list[TopicPartition]:
        """Every partition of the topic. Raises LogError where the topic does not exist."""
        name = self.options.topic_name(topic)
        if name not in self._partition_counts:
            async with self.options.admin() as admin:
                self._partition_counts.update(await partition_counts(admin, [name]))
        if name not in self._partition_counts:
            raise LogError(f"Kafka at {','.join(self.options.brokers)}: topic {name!r} does not exist")
        return [TopicPartition(name, partition) for partition in range(self._partition_counts[name])]

    @contextlib.asynccontextmanager
    async def _lookup(self, operation: str) -> AsyncIterator[AIOKafkaConsumer]:
        """The consumer for queries of offsets, for one caller at a time and a limited time. Raises LogError."""
        async with self._lookup_lock:
            with self.options.translate_errors(operation):
                async with asyncio.timeout(OPERATION_S_MAX):
                    if self._lookup_consumer is None:
                        reader = AIOKafkaConsumer(**self.options.consumer_config(None))
                        try:
                            await reader.start()
                        except BaseException:
                            await stop_quietly(reader)
                            raise
                        self._lookup_consumer = reader
                    yield self._lookup_consumer

    async def _append(self, entries: Sequence[Entry]) -> None:
        producer = await self._current_producer()
        sent: list[asyncio.Future[Any]] = []
        try:
            with self.options.translate_errors("append"):
                async with asyncio.timeout(OPERATION_S_MAX):
                    for topic, partition, key, value in entries:
                        name = self.options.topic_name(topic)
                        future = await producer.send(name, value, key=key, partition=partition)
                        sent.append(future)
                        self._in_flight.add(future)
                    await asyncio.gather(*sent)
        except LogError:
            self._abandon(producer)
            raise
        finally:
            self._in_flight.difference_update(sent)
            for future in sent:
                future.cancel()

    async def _current_producer(self) -> AIOKafkaProducer:
        async with self._producer_lock:
            if self._producer is None:
                producer = AIOKafkaProducer(**self.options.producer_config())
                with self.options.translate_errors("connect"):
                    try:
                        async with asyncio.timeout(OPERATION_S_MAX):
                            await producer.start()
                    except BaseException:
                        await stop_quietly(producer)
                        raise
                self._producer = producer
            return self._producer

    def _abandon(self, producer: Any) -> None:
        if self._producer is not producer:
            return  # another append of the same producer has failed before
        self._producer = None
        _logger.warning("give_up_producer", brokers=",".join(self.options.brokers))
        for future in self._in_flight:
            if not future.done():
                future.set_exception(KafkaError("abandoned with another append that failed"))
        task = asyncio.create_task(abort_producer(producer))
        self._aborting.add(task)
        task.add_done_callback(self._aborting.discard)


def _is_retriable(error: Exception) -> bool:
    """Whether brokers answered that they will know soon."""
    return isinstance(error, KafkaError) and bool(error.retriable)


_retry_query = retry_every(RETRY_MS / 1000, _is_retriable, timeout_s=OPERATION_S_MAX)


async def _last_records(
    reader: AIOKafkaConsumer, tps: Sequence[TopicPartition]
) -> dict[TopicPartition, ConsumerRecord[bytes, bytes]]:
    begins, ends = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
    wanted = {tp for tp in tps if ends[tp] > begins[tp]}
    found: dict[TopicPartition, ConsumerRecord[bytes, bytes]] = {}
    lookback = 1
    # Where compaction left no record in the last offsets, the search starts further back.
    while wanted:
        found |= await _last_records_within(
            reader, {tp: (max(begins[tp], ends[tp] - lookback), ends[tp]) for tp in wanted}
        )
        wanted = {tp for tp in wanted if tp not in found and ends[tp] - lookback > begins[tp]}
        lookback *= 8
    return found


async def _last_records_within(
    reader: AIOKafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]]
) -> dict[TopicPartition, ConsumerRecord[bytes, bytes]]:
    """The last record with a value of each partition, from the start of its span to before the end."""
    found: dict[TopicPartition, ConsumerRecord[bytes, bytes]] = {}
    reader.assign(list(spans))
    for tp, (start, _) in spans.items():
        reader.seek(tp, start)
    left = set(spans)
    while left:
        for tp, records in (await reader.getmany(*left, timeout_ms=FETCH_WAIT_MS)).items():
            whole = [one for one in records if one.value is not None and one.offset < spans[tp][1]]
            found |= {tp: whole[-1]} if whole else {}
        left = {tp for tp in left if await reader.position(tp) < spans[tp][1]}
    return found
