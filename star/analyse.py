"""ANALYSE: results of the analysis - forecasts, detected needs and refills, scores - and the facts of one tick.

Detectors (stream/detectors/) make them; the reactor decides on them. Neither a forecast nor a detected need is a decision.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from star.records import EVENT_CODES, EVENT_TYPES, Event, event_from_fields

QUANTILES = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
"""Quantile levels of every forecast inside the service."""
PUBLISHED_QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
"""Quantile levels that are published."""
DAYS_MAX = 3650.0
"""Longest time to empty, in days; longer ones are set to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The time until an item is empty, or due for service, as a distribution.

    item: `device/name`. at_ms: time of the evaluation. level: estimate, in the unit of the slot's capacity (a part: the
    share of its interval that is left, 0 to 1). days: days from at_ms until empty without a further refill, at QUANTILES,
    ascending, at most DAYS_MAX. rate_per_day: median consumption per day. trust: 0 to 1. model: `name@version:hash` of the
    model. readings: number of readings of the item so far; reading_ms, reading: the latest accepted one. history_days: the
    days that they span; a short history will soon be a longer one.
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
        """The published quantiles: {"0.05": days, …}."""
        return {str(level): round(self.days[QUANTILES.index(level)], 4) for level in PUBLISHED_QUANTILES}


class NeedKind(StrEnum):
    """Kind of a need."""

    RUN_OUT = "run-out"
    SERVICE_DUE = "service-due"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedNeed:
    """An item that is due or may soon be, detected at an evaluation. The reactor decides whether and how to act on it.

    cause: for service-due the interval of which the largest share is used, such as "cups" or "months"; else "level".
    """

    item: str
    at_ms: int
    kind: NeedKind
    cause: str
    forecast: Forecast


class RefillStage(StrEnum):
    """Certainty of a refill."""

    PROVISIONAL = "provisional"
    CONFIRMED = "confirmed"
    RETRACTED = "retracted"
    DECLARED = "declared"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefillUpdate:
    """A refill or a completed service, detected in the level or declared. quantity: in the slot's unit, never NaN."""

    item: str
    at_ms: int
    stage: RefillStage
    quantity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The input of the reactor at one tick, in order: events as they arrived, refills, needs by item.

    offset: the tick's offset in the input log (in replay its ordinal), by which consumed facts are recognized.
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
    """The fields of a need for the wire, as from `asdict` but without copies of immutable values."""
    return {
        "item": need.item,
        "at_ms": need.at_ms,
        "kind": need.kind,
        "cause": need.cause,
        "forecast": {name: getattr(need.forecast, name) for name in Forecast.__slots__},
    }


def need_from_fields(row: dict[str, Any]) -> DetectedNeed:
    """A detected need from its fields, as from `need_fields`."""
    return DetectedNeed(**{**row, "kind": NeedKind(row["kind"]), "forecast": forecast_from_fields(row["forecast"])})


def forecast_from_fields(row: dict[str, Any]) -> Forecast:
    """A forecast from its fields, as from `asdict`."""
    return Forecast(**{**row, "days": tuple(row["days"])})


def days_at_quantile(days: Sequence[float], level: float) -> float:
    """Days to empty at the probability `level`: linear between the quantiles of a forecast, constant outside them."""
    if level <= QUANTILES[0]:
        return days[0]
    for low, high, near, far in zip(QUANTILES, QUANTILES[1:], days, days[1:], strict=False):
        if level <= high:
            return near + (far - near) * (level - low) / (high - low)
    return days[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOutcome:
    """The outcome of a forecast: where in its distribution the truth fell.

    at_ms: time of the evaluation that observed it. level: the probability integral transform, 0.01 to 0.99, of the
    truth in the forecast made at the start of the calibration window. Of calibrated forecasts nine in ten are within 0.05
    and 0.95, half within 0.25 and 0.75.
    """

    item: str
    at_ms: int
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionScore:
    """The condition of a part after one reading of its device.

    at_ms: time of the reading. anomaly: 0 to 1, 0 during warm-up. alert: a state; its rising edge raises the alarm.
    remaining_life: (5 %, 50 %, 95 %) quantiles in the profile's life unit, or None where there is no life model.
    """

    device: str
    item: str
    at_ms: int
    anomaly: float
    alert: bool
    remaining_life: tuple[float, float, float] | None = None
