"""What the tests of both logs share: a log that a test can restart and prune, records, and waiting for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.kafka_log.options import KafkaOptions
from stream.transports.log_client import Entry, FetchedRecord, LogClient, LogConsumer, TopicSpec
from tests.support.servers import Kafka

TOPICS = (
    TopicSpec(name="input", per_customer=True, retain_ms=86_400_000, retain_bytes=8 << 30),
    TopicSpec(name="facts", per_customer=True),
    TopicSpec(name="blocks", per_customer=True, compacted=True),
    TopicSpec(name="service", per_customer=False, retain_ms=3_600_000),
)


@dataclass
class LogRig:
    """A log's client, and what a test does to the log apart from it: delete old records, restart."""

    client: LogClient
    group: str
    delete_before: Callable[[str, int], Awaitable[None]]
    """Deletes the records of a topic's partition 0 before an offset, as retention does."""
    reopen: Callable[[], Awaitable[LogClient]]
    """Another client on the same log, as after a restart of the process."""


async def embedded_rig(path: Path) -> AsyncIterator[LogRig]:
    opened: list[SqliteLog] = []
    now_ms = [1_000]

    def fresh() -> EmbeddedClient:
        for log in opened:
            log.close()
        opened.append(SqliteLog(path, now_ms=lambda: now_ms[0]))
        return EmbeddedClient(opened[-1], TOPICS)

    async def delete_before(topic: str, offset: int) -> None:
        record_bytes = len(opened[-1].read(topic, offset, 1)[0][1])
        await asyncio.to_thread(opened[-1].create, topic, retain_bytes=record_bytes * (opened[-1].end(topic) - offset))
        await asyncio.to_thread(opened[-1].enforce_retention)

    async def reopen() -> LogClient:
        client = fresh()
        await client.start()
        return client

    yield LogRig(await reopen(), "group", delete_before, reopen)
    for log in opened:
        log.close()


async def kafka_rig(kafka: Kafka) -> AsyncIterator[LogRig]:
    options = KafkaOptions(brokers=(kafka.bootstrap,), prefix=f"{kafka.prefix()}-", partitions=4)
    opened: list[KafkaClient] = []

    async def delete_before(topic: str, offset: int) -> None:
        async with options.admin() as admin:
            tp = TopicPartition(options.topic_name(topic), 0)
            await admin.delete_records({tp: RecordsToDelete(before_offset=offset)})

    async def reopen() -> LogClient:
        for client in opened:
            await client.stop()
        opened.append(KafkaClient(options, TOPICS))
        await opened[-1].start()
        return opened[-1]

    yield LogRig(await reopen(), f"{options.prefix}group", delete_before, reopen)
    for client in opened:
        await client.stop()


def entries(topic: str, partition: int, start: int, count: int) -> list[Entry]:
    return [Entry(topic, partition, None, b"%d" % nth) for nth in range(start, start + count)]


async def fetch(consumer: LogConsumer, count: int, timeout_s: float = 60.0) -> list[FetchedRecord]:
    """Fetches `count` records; fails where they do not arrive in time."""
    found: list[FetchedRecord] = []
    deadline = time.monotonic() + timeout_s
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records arrived"
        found += await consumer.fetch(wait_s=0.2)
    return found


def values(records: list[FetchedRecord], topic: str = "input", partition: int = 0) -> list[bytes]:
    return [one.value for one in records if (one.topic, one.partition) == (topic, partition)]


async def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Waits until the condition holds; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
