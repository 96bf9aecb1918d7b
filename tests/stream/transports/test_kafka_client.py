"""The log's client on a real Apache Kafka: groups, restarts of brokers, creation of topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from star.errors import InputError, LogError
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.kafka_log.options import KafkaOptions
from stream.transports.kafka_log.shutdown import abort_producer
from stream.transports.log_client import FetchedRecord, LogConsumer, PartitionRef
from tests.stream.transports.rigs import TOPICS, entries, fetch, kafka_rig, until
from tests.support.servers import Kafka


@pytest.fixture
async def on_kafka(kafka: Kafka) -> AsyncIterator[tuple[Kafka, KafkaClient]]:
    async for one in kafka_rig(kafka):
        assert isinstance(one.client, KafkaClient)
        yield kafka, one.client


async def test_two_members_of_a_group_share_the_partitions_and_miss_nothing(
    on_kafka: tuple[Kafka, KafkaClient],
) -> None:
    """The first learns which partitions it lost and continues with the rest, without repeats; when it leaves, the other has all."""
    _, client = on_kafka
    group = f"{client.options.prefix}pair"
    lost: set[PartitionRef] = set()
    first, second = client.subscribe(["input"], group=group), client.subscribe(["input"], group=group)
    first.on_revoked(lost.update)
    await client.append([one for nth in range(4) for one in entries("input", nth, 0, 10)])
    await first.start()
    assert len(await fetch(first, 40)) == 40
    await first.commit({("input", nth): 8 for nth in range(4)})

    seen: dict[LogConsumer, list[FetchedRecord]] = {first: [], second: []}

    async def pump(consumer: LogConsumer) -> None:
        while True:
            seen[consumer] += await consumer.fetch(wait_s=0.1)

    pumping = asyncio.create_task(pump(first))
    await second.start()
    also = asyncio.create_task(pump(second))
    await until(lambda: len(lost) == 2 == len(first.assignment()))
    assert lost == second.assignment()
    assert not lost & first.assignment()
    await client.append([one for nth in range(4) for one in entries("input", nth, 10, 10)])
    await until(lambda: len(seen[first]) >= 20 and len(seen[second]) >= 24)
    assert all(int(one.value) >= 10 for one in seen[first])  # nothing again of what stayed with it
    assert {int(one.value) for one in seen[second]} == set(range(8, 20))  # from the commit on, of what it took over
    pumping.cancel()
    await first.close()
    await until(lambda: len(second.assignment()) == 4)
    also.cancel()
    await second.close()


async def test_a_broker_restart_under_load_loses_nothing(on_kafka: tuple[Kafka, KafkaClient]) -> None:
    """kill -9 of the broker while records are appended and consumed: appends are retried, and each record is delivered."""
    kafka, client = on_kafka
    consumer = client.subscribe(["input"], group=f"{client.options.prefix}steady")
    await consumer.start()
    acknowledged: list[bytes] = []
    seen: list[bytes] = []

    async def write() -> None:
        number = 0
        while True:
            try:
                await client.append(entries("input", number % 4, number, 1))
            except LogError:
                continue
            acknowledged.append(b"%d" % number)
            number += 1

    async def read() -> None:
        while True:
            seen.extend(one.value for one in await consumer.fetch(wait_s=0.2))

    writing, reading = asyncio.create_task(write()), asyncio.create_task(read())
    await asyncio.sleep(1)
    before = len(acknowledged)
    await asyncio.to_thread(kafka.restart, "kill")
    await until(lambda: len(acknowledged) >= before + 200)
    writing.cancel()
    await until(lambda: set(acknowledged) <= set(seen))
    reading.cancel()
    await consumer.commit()
    await consumer.close()


async def test_aiokafka_s_producer_does_not_stop_while_brokers_are_away(on_kafka: tuple[Kafka, KafkaClient]) -> None:
    """aio-libs/aiokafka#1101: its own stop waits for records that no broker takes; `abort_producer` ends it."""
    kafka, client = on_kafka
    producer = AIOKafkaProducer(**client.options.producer_config())
    await producer.start()
    await producer.send_and_wait(client.options.topic_name("input"), b"taken", partition=0)
    await asyncio.to_thread(kafka.stop, "kill")
    try:
        await producer.send(client.options.topic_name("input"), b"waits", partition=0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(producer.stop(), 8)
        await asyncio.wait_for(abort_producer(producer), 10)
    finally:
        await asyncio.to_thread(kafka.start)


async def test_topics_are_created_with_their_configuration(on_kafka: tuple[Kafka, KafkaClient]) -> None:
    """Retention, compaction and message size on the brokers; retention by size is divided by the partitions."""
    _, client = on_kafka
    names = [client.options.topic_name(one) for one in ("input", "blocks", "service")]
    async with client.options.admin() as admin:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        (answer,) = await admin.describe_configs(resources)
    found = {one[3]: {row[0]: row[1] for row in one[4]} for one in answer.resources}
    kept, compacted, single = (found[name] for name in names)
    assert (kept["cleanup.policy"], kept["retention.ms"], kept["retention.bytes"]) == (
        "delete",
        "86400000",
        str(2 << 30),
    )
    assert (compacted["cleanup.policy"], single["retention.ms"]) == ("compact", "3600000")
    assert int(single["segment.ms"]) <= 3_600_000 // 4
    for one in found.values():
        assert int(one["max.message.bytes"]) > 32 << 20
        assert (one["min.insync.replicas"], one["message.timestamp.type"]) == ("1", "LogAppendTime")


async def test_a_topic_s_partitions_can_t_be_changed_by_a_setting(on_kafka: tuple[Kafka, KafkaClient]) -> None:
    """Another number than the topics have is refused, with both named; without a number the topics' own is taken."""
    _, client = on_kafka
    with pytest.raises(InputError, match=r"input' has 4 partitions: expected 8"):
        await KafkaClient(replace(client.options, partitions=8), TOPICS).start()
    adopting = KafkaClient(replace(client.options, partitions=None), TOPICS)
    await adopting.start()
    assert adopting.partitions == 4
    await adopting.stop()


async def test_a_broker_that_can_t_be_reached_is_named_at_once(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """One line with the address and what to do, within seconds; invalid addresses and certificates are named too."""
    options = KafkaOptions(brokers=(f"127.0.0.1:{free_port()}",))
    with pytest.raises(LogError, match=rf"Kafka at {options.brokers[0]}: .*is it running"):
        await asyncio.wait_for(KafkaClient(options, TOPICS).start(), 30)
    assert KafkaOptions.parse_brokers("kafka://a:1,b") == ("a:1", "b:9092")
    for url in ("kafka://", "kafka://a,,b", "http://a", "kafka://a/b"):
        with pytest.raises(InputError, match="expected kafka://host"):
            KafkaOptions.parse_brokers(url)
    with pytest.raises(InputError, match="expected certificates"):
        replace(options, ca=tmp_path / "none.pem").client_config()
