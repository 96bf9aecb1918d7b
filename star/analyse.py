"""ANALYSE: what was worked out - a forecast, a need seen, a refill seen - and the facts of one tick.

A detector (stream/detectors/) finds these; the reactor decides on them. Neither a forecast nor a need seen is a decision.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from star.records import EVENT_CODES, EVENT_TYPES, Event, event_from_fields

QUANTILES = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
"""The levels of every forecast inside the service."""
PUBLISHED_QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
"""The levels that are shown outside."""
DAYS_MAX = 3650.0
"""Stands for any longer time to empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When an item will be empty (or due for service), as a distribution.

    item: `device/name`. at_ms: the look. level: estimated, in the unit of the slot's capacity (a part: what is left of its
    interval, 0 to 1). days: days from at_ms until empty at QUANTILES, ascending, at most DAYS_MAX, without any further refill.
    rate_per_day: the median consumption per day. trust: 0 to 1. model: `name@version:hash` of what said so.
    readings: how many readings of the item it rests on; reading_ms, reading: the latest one believed. history_days: over
    how many days they span: what is not yet known of a new item will soon be learned.
    """

    item: str
    at_ms: int
    level: float
    days: tuple[float, ...]
    rate_per_day: float
    trust: float
    model: str
    readings: int
    reading_ms: int
    reading: float
    history_days: float = DAYS_MAX

    def published_quantiles(self) -> dict[str, float]:
        """The quantiles shown outside: {"0.05": days, …}."""
        return {str(level): round(self.days[QUANTILES.index(level)], 4) for level in PUBLISHED_QUANTILES}


class NeedKind(StrEnum):
    """What a need is about."""

    RUN_OUT = "run-out"
    SERVICE_DUE = "service-due"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedNeed:
    """An item that is or may soon be due, seen at a look. The reactor decides whether and how to act on it.

    cause: for service-due the interval that is used up most, such as "cups" or "months"; else "level".
    """

    item: str
    at_ms: int
    kind: NeedKind
    cause: str
    forecast: Forecast


class RefillStage(StrEnum):
    """How sure a refill is."""

    PROVISIONAL = "provisional"
    CONFIRMED = "confirmed"
    RETRACTED = "retracted"
    DECLARED = "declared"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefillUpdate:
    """A refill (or a service done), seen in the level or declared. quantity is in the slot's unit; NaN never."""

    item: str
    at_ms: int
    stage: RefillStage
    quantity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that one tick hands to the reactor, in order: events as they arrived, refills, needs by item name.

    offset: the tick's offset in the input log (replay: its ordinal), by which facts already consumed are known.
    """

    offset: int
    at_ms: int
    events: tuple[Event, ...] = ()
    refills: tuple[RefillUpdate, ...] = ()
    needs: tuple[DetectedNeed, ...] = ()

    def pack(self) -> bytes:
        """The wire form, JSON."""
        body = {
            "offset": self.offset,
            "at_ms": self.at_ms,
            "events": [[EVENT_CODES[type(event)], asdict(event)] for event in self.events],
            "refills": [asdict(refill) for refill in self.refills],
            "needs": [need_fields(need) for need in self.needs],
        }
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()

    @classmethod
    def unpack(cls, wire: bytes) -> Facts:
        """The facts of `pack`'s bytes."""
        body = json.loads(wire)
        return cls(
            offset=body["offset"],
            at_ms=body["at_ms"],
            events=tuple(event_from_fields(EVENT_TYPES[letter], fields) for letter, fields in body["events"]),
            refills=tuple(RefillUpdate(**{**row, "stage": RefillStage(row["stage"])}) for row in body["refills"]),
            needs=tuple(need_from_fields(row) for row in body["needs"]),
        )


def need_fields(need: DetectedNeed) -> dict[str, Any]:
    """The need's fields, for the wire; as `asdict` gives them, without copying what can't change."""
    return {
        "item": need.item,
        "at_ms": need.at_ms,
        "kind": need.kind,
        "cause": need.cause,
        "forecast": {name: getattr(need.forecast, name) for name in Forecast.__slots__},
    }


def need_from_fields(row: dict[str, Any]) -> DetectedNeed:
    """A need seen, from the fields that `asdict` gave."""
    return DetectedNeed(**{**row, "kind": NeedKind(row["kind"]), "forecast": forecast_from_fields(row["forecast"])})


def forecast_from_fields(row: dict[str, Any]) -> Forecast:
    """A forecast, from the fields that `asdict` gave."""
    return Forecast(**{**row, "days": tuple(row["days"])})


def days_at_quantile(days: Sequence[float], level: float) -> float:
    """The time to empty at `level`, between the quantiles of a forecast by linear interpolation, flat outside them."""
    if level <= QUANTILES[0]:
        return days[0]
    for low, high, near, far in zip(QUANTILES, QUANTILES[1:], days, days[1:], strict=False):
        if level <= high:
            return near + (far - near) * (level - low) / (high - low)
    return days[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOutcome:
    """What a forecast of an item turned out to be worth, known at `at_ms` (the look that saw it).

    level: the probability level, 0.01 to 0.99, at which the truth fell within the forecast given when the leg began: of
    honest forecasts nine in ten lie within 0.05 and 0.95, half within 0.25 and 0.75.
    """

    item: str
    at_ms: int
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionScore:
    """The condition of a part after one reading of its device.

    at_ms: the reading's own time. anomaly: 0 to 1, 0 during warm-up. alert: a state, its rising edge is the alarm.
    remaining_life: (5 %, 50 %, 95 %) quantiles in the profile's life unit, or None where there is no life model.
    """

    device: str
    item: str
    at_ms: int
    anomaly: float
    alert: bool
    remaining_life: tuple[float, float, float] | None = None
