"""Making our topics on Kafka as they should be, and checking those that are there.

The number of partitions decides where a customer's records are, so it is fixed when a topic is made. Several roles may
start at once: who comes second finds the topics made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from star.errors import InputError, LogError
from star.times import DAY_MS, HOUR_MS
from stream.transports.kafka_log.options import (
    OPERATION_S_MAX,
    PARTITIONS_DEFAULT,
    RECORD_BYTES_MAX,
    RETRY_MS,
    KafkaOptions,
)
from stream.transports.log_client import TopicSpec

SEGMENT_BYTES_MIN = 64 << 20
"""A segment must hold the largest record; Kafka lets go, and compacts, whole segments only."""
SEGMENT_BYTES_MAX = 256 << 20
SEGMENT_MS_MIN = HOUR_MS // 6
MESSAGE_BYTES_MAX = RECORD_BYTES_MAX + (1 << 20)


def topic_config(topic: TopicSpec, partitions: int, replication: int) -> dict[str, str]:
    """The topic's configuration on the brokers."""
    common = {
        "min.insync.replicas": str(max(1, replication - 1)),
        # When the log took a record, as on the embedded log; what a device says is in the record.
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
    }
    if topic.compacted:
        return {
            **common,
            "cleanup.policy": "compact",
            # Small segments, compacted early: recovery reads the whole changelog.
            "segment.bytes": str(SEGMENT_BYTES_MIN),
            "segment.ms": str(HOUR_MS),
            "min.cleanable.dirty.ratio": "0.3",
        }
    bytes_each = None if topic.retain_bytes is None else max(1, topic.retain_bytes // partitions)
    segment_bytes = SEGMENT_BYTES_MAX if bytes_each is None else bytes_each // 8
    segment_ms = 7 * DAY_MS if topic.retain_ms is None else topic.retain_ms // 8
    return {
        **common,
        "cleanup.policy": "delete",
        "retention.ms": str(-1 if topic.retain_ms is None else topic.retain_ms),
        "retention.bytes": str(-1 if bytes_each is None else bytes_each),
        "segment.bytes": str(min(max(segment_bytes, SEGMENT_BYTES_MIN), SEGMENT_BYTES_MAX)),
        "segment.ms": str(min(max(segment_ms, SEGMENT_MS_MIN), 7 * DAY_MS)),
    }


async def ensure_topics(options: KafkaOptions, topics: Sequence[TopicSpec]) -> int:
    """Makes what is missing, and gives the number of partitions of topics kept apart by customer.

    Raises InputError where a topic has another number than it should, LogError where Kafka can't be asked.
    """
    async with options.admin() as admin:
        found = await partition_counts(admin, [options.topic_name(topic.name) for topic in topics])
        partitions = _choose_partition_count(options, topics, found)
        missing = [topic for topic in topics if options.topic_name(topic.name) not in found]
        if missing:
            await _create(admin, options, missing, partitions)
            found = await _wait_for(admin, [options.topic_name(topic.name) for topic in topics])
    for topic in topics:
        name, wanted = options.topic_name(topic.name), partitions if topic.per_customer else 1
        if found[name] != wanted:
            raise InputError(_partition_mismatch(name, found[name], wanted))
    return partitions


async def ensure_topic(options: KafkaOptions, topic: TopicSpec, partitions: int) -> None:
    """Makes one topic, named in full, where there is none. Raises InputError where it has another number of partitions."""
    exact = replace(options, prefix="", partitions=partitions)
    await ensure_topics(exact, [topic])


def _choose_partition_count(options: KafkaOptions, topics: Sequence[TopicSpec], found: Mapping[str, int]) -> int:
    if options.partitions is not None:
        return options.partitions
    there = [found.get(options.topic_name(topic.name)) for topic in topics if topic.per_customer]
    return next((count for count in there if count is not None), PARTITIONS_DEFAULT)


def _partition_mismatch(name: str, found: int, wanted: int) -> str:
    return (
        f"topic {name!r} has {found} partitions: expected {wanted}: partitions are fixed when a topic is made, since they"
        f" decide where a customer's records are: set STARLOOP_PARTITIONS as it was, or start with topics of another Kafka"
    )


async def _create(
    admin: AIOKafkaAdminClient, options: KafkaOptions, topics: Sequence[TopicSpec], partitions: int
) -> None:
    wanted = []
    for topic in topics:
        count = partitions if topic.per_customer else 1
        made = topic_config(topic, count, options.replication)
        wanted.append(NewTopic(options.topic_name(topic.name), count, options.replication, topic_configs=made))
    response = await admin.create_topics(wanted, timeout_ms=int(OPERATION_S_MAX * 1000))
    for name, code, *reason in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise options.to_log_error(f"make topic {name!r}", error(*reason)) from None


async def _wait_for(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """Every topic's partitions, once each has a leader: a topic can be used a moment after it was made."""
    try:
        async with asyncio.timeout(OPERATION_S_MAX):
            while True:
                found = await partition_counts(admin, names)
                if len(found) == len(set(names)):
                    return found
                await asyncio.sleep(RETRY_MS / 1000)
    except TimeoutError:
        raise LogError(f"topics {', '.join(names)}: not all are ready after {OPERATION_S_MAX:g} s: try again") from None


async def partition_counts(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """Of each topic that is there, and led, how many partitions it has."""
    if not names:
        return {}
    # The admin client's own question would make the topic, with the broker's defaults, where brokers do that.
    request = MetadataRequest(list(dict.fromkeys(names)), allow_auto_topic_creation=False)
    described = (await admin._send_request(request)).to_object()["topics"]
    return {
        one["topic"]: len(one["partitions"])
        for one in described
        if not one["error_code"] and all(not part["error_code"] for part in one["partitions"])
    }
