"""The topics of the log and their retention.

A topic is partitioned by customer unless its spec says otherwise: all records of a customer are in one partition. On Kafka each
name has a prefix, `starloop-` unless set.
"""

from __future__ import annotations

from dataclasses import dataclass

from star.times import DAY_MS
from stream.transports.log_client import TopicSpec

INPUT = "input"
"""Everything that the service is a function of, in one order for each partition: `star.records.encode`."""
FACTS = "facts"
"""The facts of each tick, for the reactor: `Facts.pack`."""
REACTIONS = "reactions"
"""Every reaction, as a CloudEvents event in JSON, keyed by device. Endpoints publish them from here."""
QUARANTINE = "quarantine"
"""Payloads that can't be decoded, whole and with the reason: `stream.partition.partitioner.encode_quarantined`."""
FORECASTS = "forecasts"
"""The forecasts of the items that a tick evaluated, a JSON list. No decision reads this topic or the ones that follow."""
SCORES = "scores"
"""The latest score of each part scored since the tick before, a JSON list."""
CALIBRATION = "honesty"
"""How forecasts came out: the probability level of each at which the truth fell, a JSON list."""
DECISIONS = "decisions"
"""The decisions of a step of the reactor and the outcomes that it took, a JSON object."""
SERVICE = "service"
"""Metrics of each role, every ten seconds, a JSON object."""
STATE_SHARDS = "blocks"
"""The table of state shards; its changelog topic is `<app>-blocks-changelog`."""

CHANGELOG = TopicSpec(name=f"{STATE_SHARDS}-changelog", per_customer=True, compacted=True)
"""That topic on Kafka, which is created before it is used; an embedded log creates it at the first write."""
TELEMETRY_TOPICS = (FORECASTS, SCORES, CALIBRATION, DECISIONS, SERVICE)
"""Topics for observers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long records are kept, in ms, and how many bytes of a topic.

    The embedded log keeps what is not yet handled in any case; Kafka limits by time alone.
    """

    input_ms: int = 400 * DAY_MS
    input_bytes: int = 32 << 30
    quarantine_ms: int = 90 * DAY_MS
    quarantine_bytes: int = 1 << 30
    facts_ms: int = 7 * DAY_MS
    facts_bytes: int = 1 << 30
    reactions_ms: int = 30 * DAY_MS
    telemetry_ms: int = 3 * DAY_MS
    telemetry_bytes: int = 1 << 30


def topic_specs(retention: Retention | None = None) -> tuple[TopicSpec, ...]:
    """Every topic of the service except the table's changelog."""
    keep = retention or Retention()
    named = {
        INPUT: (keep.input_ms, keep.input_bytes),
        FACTS: (keep.facts_ms, keep.facts_bytes),
        REACTIONS: (keep.reactions_ms, None),
        QUARANTINE: (keep.quarantine_ms, keep.quarantine_bytes),
        **dict.fromkeys(TELEMETRY_TOPICS, (keep.telemetry_ms, keep.telemetry_bytes)),
    }
    return tuple(
        TopicSpec(name=name, per_customer=name not in (QUARANTINE, SERVICE), retain_ms=ms, retain_bytes=size)
        for name, (ms, size) in named.items()
    )
