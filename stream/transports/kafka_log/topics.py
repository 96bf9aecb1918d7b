"""Creates the service's topics on Kafka with their configuration, and checks those that exist.

The number of partitions decides where a customer's records are, so it is fixed when a topic is made. Several roles may start
at once: the second one finds the topics made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from star.errors import InputError, LogError
from star.times import DAY_MS, HOUR_MS
from stream.transports.kafka_log.options import (
    OPERATION_S_MAX,
    PARTITIONS_DEFAULT,
    RETRY_MS,
    KafkaOptions,
)
from stream.transports.log_client import RECORD_BYTES_MAX, TopicSpec

SEGMENT_BYTES_MIN = 64 << 20
"""Smallest segment: it must hold the largest record, and Kafka deletes and compacts whole segments only."""
SEGMENT_BYTES_MAX = 256 << 20
"""Largest segment: a topic kept by size keeps up to one segment more than asked for."""
SEGMENT_MS_MIN = HOUR_MS // 6
"""Shortest time that a segment is open: a topic kept by age keeps records for up to this much longer."""
MESSAGE_BYTES_MAX = RECORD_BYTES_MAX + (1 << 20)
"""The brokers' limit of one batch: the largest record, with room for its key and the batch's own header."""


def topic_config(topic: TopicSpec, partitions: int, replication: int) -> dict[str, str]:
    """The topic's configuration on the brokers."""
    common = {
        "min.insync.replicas": str(max(1, replication - 1)),
        # The arrival time, as on the embedded log; the event time that a device reports is in the record.
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
    """Creates missing topics; gives the number of partitions of the topics partitioned by customer.

    Raises InputError where a topic has another number of partitions, LogError where Kafka is away.
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


def _choose_partition_count(options: KafkaOptions, topics: Sequence[TopicSpec], found: Mapping[str, int]) -> int:
    if options.partitions is not None:
        return options.partitions
    there = [found.get(options.topic_name(topic.name)) for topic in topics if topic.per_customer]
    return next((count for count in there if count is not None), PARTITIONS_DEFAULT)


def _partition_mismatch(name: str, found: int, wanted: int) -> str:
    return (
        f"topic {name!r} has {found} partitions: expected {wanted}: partitions are fixed when a topic is made, since they"
        f" decide where a customer's records are: set STARLOOP_PARTITIONS as it was, or use another Kafka or prefix"
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
            raise options.to_log_error(f"create topic {name!r}", error(*reason)) from None


async def _wait_for(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """Each topic's number of partitions, once every partition has a leader: that is a moment after the topic was created."""
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
    """The number of partitions of each topic that exists and whose partitions have a leader."""
    if not names:
        return {}
    # The admin client's own describe_topics creates missing topics, with defaults, where brokers allow that.
    request = MetadataRequest(list(dict.fromkeys(names)), allow_auto_topic_creation=False)
    described = (await admin._send_request(request)).to_object()["topics"]
    return {
        one["topic"]: len(one["partitions"])
        for one in described
        if not one["error_code"] and all(not part["error_code"] for part in one["partitions"])
    }
