"""The topics of the log, named in one place, with how each is kept.

A customer's records lie in one partition of every topic that is kept apart by customer. On Kafka each name has the prefix
`starloop-`.
"""

from __future__ import annotations

from dataclasses import dataclass

from star.times import DAY_MS
from stream.transports.log_client import TopicSpec

INPUT = "input"
"""Everything the service is a function of, in one order a partition: `star.records.encode`."""
FACTS = "facts"
"""What each tick found, for the reactor: `Facts.pack`."""
REACTIONS = "reactions"
"""Every reaction, as a CloudEvents event in JSON, key: the device. Endpoints publish them from here."""
QUARANTINE = "quarantine"
"""What can't be read, whole, with the reason: `stream.partition.partitioner.encode_quarantined`."""
FORECASTS = "forecasts"
"""The forecasts of the items looked at in a tick, a JSON list. Nothing rests on it, nor on the topics that follow."""
SCORES = "scores"
"""The latest score of each part scored since the last tick, a JSON list."""
CALIBRATION = "honesty"
"""Forecasts that came true or did not: at which of their levels the truth fell, a JSON list."""
DECISIONS = "decisions"
"""What the reactor decided in a step, and the outcomes it heard, a JSON object."""
SERVICE = "service"
"""Every ten seconds the figures of each role, a JSON object."""
STATE_SHARDS = "blocks"
"""The table of state blocks; its changelog topic is `<app>-blocks-changelog`."""

CHANGELOG = TopicSpec(name=f"{STATE_SHARDS}-changelog", per_customer=True, compacted=True)
"""That topic on Kafka, where it wants its configuration; an embedded log makes it when it is first written to."""
TELEMETRY_TOPICS = (FORECASTS, SCORES, CALIBRATION, DECISIONS, SERVICE)
"""Topics for those who watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long, and how much in all, is kept. Never less than what is not yet handled (on Kafka: by time alone)."""

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
    """Every topic of the service but the table's changelog."""
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
