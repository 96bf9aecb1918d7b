"""Checks of Kafka: reachable, topic configuration, consumer lag, and that the store is not ahead of the log.

They are read-only: missing topics are created by the first role that starts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok, warn
from operations.diagnostics.store import consumed_offsets
from star.errors import InputError, LogError, StarloopError
from stream.topics import FACTS, FORECASTS, INPUT, topic_specs
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.kafka_log.options import PARTITIONS_DEFAULT, KafkaOptions, kafka_options
from stream.transports.log_client import LogClient, TopicSpec

KAFKA = "kafka://"
INSPECT_TIMEOUT_S = 20.0
"""Timeout of all Kafka checks together, in seconds: a cluster that is slow to elect leaders answers within it."""
LAG_WARN_RECORDS = 10_000
"""Consumer lag over all partitions above which the check warns, in records: a trade-off between bursts and real backlog."""
_NAMES_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDescription:
    """State of a topic in Kafka. replicas, in_sync_replicas: the minimum over its partitions. leaderless: partitions without leader."""

    partitions: int
    replicas: int
    in_sync_replicas: int
    leaderless: int
    cleanup_policy: str | None = None


def on_kafka(settings: Settings) -> bool:
    """Whether the log is in Kafka."""
    return settings.log.startswith(KAFKA)


def kafka_findings(settings: Settings) -> Iterator[Finding]:
    """All Kafka findings; none if the log is embedded."""
    if not on_kafka(settings):
        return
    try:
        with _silenced("aiokafka"):
            found = asyncio.run(_inspect(kafka_options(settings), settings))
        yield from found
    except InputError as error:
        yield fail(
            "kafka", str(error), "correct STARLOOP_LOG, STARLOOP_KAFKA_USER, its password file or STARLOOP_KAFKA_CA"
        )


async def _inspect(options: KafkaOptions, settings: Settings) -> list[Finding]:
    where = ",".join(options.brokers)
    found: list[Finding] = []
    try:
        async with asyncio.timeout(INSPECT_TIMEOUT_S), options.admin() as admin:
            found.append(ok("kafka", f"{where} answers"))
            specs = topic_specs()
            topics = await describe_topics(admin, options, specs)
            found += topic_findings(options, specs, topics)
            if all(options.topic_name(spec.name) in topics for spec in specs):
                found += await _group_findings(admin, options, settings)
                found.append(await _store_and_log_finding(options, settings))
    except TimeoutError:
        found.append(fail("kafka", f"{where}: no answer within {INSPECT_TIMEOUT_S:g} s", _UNREACHABLE_REMEDY))
    except LogError as error:
        found.append(fail("kafka", str(error), _UNREACHABLE_REMEDY))
    except (KafkaError, OSError) as error:
        found.append(fail("kafka", str(options.to_log_error("inspect the cluster", error)), _UNREACHABLE_REMEDY))
    return found


_UNREACHABLE_REMEDY = (
    "start Kafka, or correct STARLOOP_LOG; until it is back, messages are not acknowledged, and devices keep them"
)


async def describe_topics(
    admin: AIOKafkaAdminClient, options: KafkaOptions, specs: Sequence[TopicSpec]
) -> dict[str, TopicDescription]:
    """Existing topics, by their name in Kafka."""
    names = [options.topic_name(spec.name) for spec in specs]
    request = MetadataRequest(names, allow_auto_topic_creation=False)
    rows = [row for row in (await admin._send_request(request)).to_object()["topics"] if not row["error_code"]]
    policies = await _policies(admin, [row["topic"] for row in rows])
    return {row["topic"]: _topic(row["partitions"], policies.get(row["topic"])) for row in rows}


def _topic(parts: Sequence[Mapping[str, Any]], policy: str | None) -> TopicDescription:
    return TopicDescription(
        partitions=len(parts),
        replicas=min(len(part["replicas"]) for part in parts),
        in_sync_replicas=min(len(part["isr"]) for part in parts),
        leaderless=sum(part["leader"] < 0 for part in parts),
        cleanup_policy=policy,
    )


async def _policies(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, str]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": ""}) for name in names]
    found: dict[str, str] = {}
    for answer in await admin.describe_configs(asked):
        for _code, _message, _kind, name, entries in (tuple(one) for one in answer.resources):
            found[name] = next((str(entry[1]) for entry in entries if entry[0] == "cleanup.policy"), "")
    return found


def topic_findings(
    options: KafkaOptions, specs: Sequence[TopicSpec], topics: Mapping[str, TopicDescription]
) -> Iterator[Finding]:
    """Whether every topic exists with the expected configuration."""
    missing = [spec.name for spec in specs if options.topic_name(spec.name) not in topics]
    if len(missing) == len(specs):
        yield ok("topics", "none exists yet: the first role that starts creates them")
        return
    if missing:
        yield warn("topics", f"{_listed(missing)} missing", "start any role: it creates them")
    counted = topics.get(options.topic_name(INPUT))
    partitions = options.partitions or (counted.partitions if counted else PARTITIONS_DEFAULT)
    wrong = False
    for spec in specs:
        topic = topics.get(options.topic_name(spec.name))
        for finding in () if topic is None else _topic_problems(options, spec, topic, partitions):
            wrong = True
            yield finding
    if not wrong and not missing:
        yield ok(
            "topics",
            f"{len(specs)}: {partitions} partitions per customer topic, {options.replication} replicas",
        )


def _topic_problems(
    options: KafkaOptions, spec: TopicSpec, topic: TopicDescription, partitions: int
) -> Iterator[Finding]:
    name, wanted = options.topic_name(spec.name), partitions if spec.per_customer else 1
    policy = "compact" if spec.compacted else "delete"
    if topic.partitions != wanted:
        remedy = f"set STARLOOP_PARTITIONS={topic.partitions}: customers are assigned to partitions by it, so it can't change"
        yield fail("topics", f"{name} has {topic.partitions} partitions: expected {wanted}", remedy)
    if topic.leaderless:
        said = f"{name}: {topic.leaderless} partitions have no leader"
        yield fail("topics", said, "restart the brokers that hold them")
    elif topic.in_sync_replicas < topic.replicas:
        said = f"{name}: only {topic.in_sync_replicas} of {topic.replicas} replicas are in sync"
        yield warn("topics", said, "restart the missing brokers, or wait until they have caught up")
    if topic.replicas < options.replication:
        said = f"{name} has {topic.replicas} replicas: STARLOOP_LOG_REPLICATION is {options.replication}"
        yield warn("topics", said, "add replicas with kafka-reassign-partitions, or lower the setting")
    if topic.cleanup_policy is not None and policy not in topic.cleanup_policy:
        remedy = f"kafka-configs --alter --topic {name} --add-config cleanup.policy={policy}"
        yield fail("topics", f"{name} has cleanup.policy {topic.cleanup_policy!r}: expected {policy!r}", remedy)


async def _group_findings(admin: AIOKafkaAdminClient, options: KafkaOptions, settings: Settings) -> list[Finding]:
    groups: list[tuple[str, tuple[str, ...], str]] = [
        (options.app_id, (INPUT,), "the analysis: starloop run stream"),
        (f"{options.prefix}reactor", (FACTS,), "the reactor: starloop run react"),
    ]
    if settings.influx_url:
        groups.append((f"{options.prefix}influx", (INPUT, FORECASTS), "the InfluxDB writer: starloop run influx"))
    async with _client(options) as client:
        return [
            lag_finding(group, sum((await client.lag(group, topics)).values()), await _members(admin, group), who)
            for group, topics, who in groups
        ]


def lag_finding(group: str, behind: int, members: int, who: str) -> Finding:
    """Lag of a consumer group, and whether it has members. who: `what it is: the command that runs it`."""
    said = f"{group}: {behind} records behind, {members} {'consumer' if members == 1 else 'consumers'}"
    what, _, command = who.partition(": ")
    if behind and not members:
        return warn("lag", f"{said}: {what} is not running", f"start {command}")
    if behind > LAG_WARN_RECORDS:
        return warn(
            "lag", said, f"wait if the lag falls; if not, check the log of {command}, or start another instance"
        )
    return ok("lag", said)


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    for answer in await admin.describe_consumer_groups([group]):
        for found in answer.to_object()["groups"]:
            return len(found["members"])
    return 0


async def _store_and_log_finding(options: KafkaOptions, settings: Settings) -> Finding:
    try:
        consumed = await asyncio.to_thread(consumed_offsets, settings)
    except StarloopError as error:
        return warn("store and log", f"not comparable: {error}", "repair the store first")
    async with _client(options) as client:
        return offsets_finding(consumed, await client.end_offsets(INPUT))


def offsets_finding(consumed: Mapping[int, int], ends: Mapping[int, int]) -> Finding:
    """Whether the store is not ahead of the log. consumed: last consumed offset; ends: next offset of the log; by partition."""
    if not consumed:
        return ok("store and log", "nothing consumed yet")
    ahead = {partition: offset for partition, offset in consumed.items() if offset >= ends.get(partition, 0)}
    if ahead:
        partition, offset = min(ahead.items())
        said = (
            f"partition {partition}: the store has consumed record {offset}, the log ends at {ends.get(partition, 0)}"
        )
        return fail("store and log", said, "restore both from backups of the same time; the log's must not be older")
    behind = sum(end - 1 - consumed.get(partition, -1) for partition, end in ends.items())
    return ok("store and log", f"{behind} records behind")


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Suppresses a library's log lines meanwhile: the findings report its connection errors."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@asynccontextmanager
async def _client(options: KafkaOptions) -> AsyncIterator[LogClient]:
    client = KafkaClient(options)
    try:
        yield client
    finally:
        await client.stop()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return (
        f"{shown} and {len(names) - _NAMES_SHOWN} more are"
        if len(names) > _NAMES_SHOWN
        else f"{shown} {'is' if len(names) == 1 else 'are'}"
    )
