"""A device's own past as the measure of its present: an anomaly score after each reading, sequential and deterministic.

Each value is compared with what its past lets expect - its level (with the hour of the day once that helps) and its step from
the reading before - in units of its usual error. The surprise of a reading is that of its three most surprising values. What
is scored is not one surprise but a run of them: the mean of a short window against the long-run mean and spread of that mean,
as a tail probability (after the anomaly likelihood of Lavin and Ahmad, 2015). No labels, no other devices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from star.times import DAY_MS, HOUR_MS

VALUES_MAX = 256
"""Values of a device that are followed; others are not looked at."""
SLOW = 500.0
"""Readings that a value's level and error remember."""
LONG = 1_000.0
"""Readings that the usual surprise remembers."""
SHORT = 8.0
"""Readings of the short window."""
HOUR_MEMORY = 150.0
"""Readings that each hour of the pattern of the day remembers."""
SURPRISE_MAX = 8.0
ALERT_ON, ALERT_OFF = 0.85, 0.45
"""An alert begins at the one and ends at the other."""
DIGITS = 6.0
"""A tail probability of 10 to the minus this is an anomaly of 1."""
TOP = 3
LEARNED = 10
"""Readings of a value before it can surprise."""

OUTLIER = 4.0
"""What is further off than so many usual errors teaches as if it were so far."""


def _within(value: float, wide: float, usual: float) -> float:
    return value if wide == math.inf else min(value, wide * usual)


@dataclass
class Value:
    """What is known of one value: level, usual errors of level and step, and the pattern of the day."""

    count: int = 0
    level: float = 0.0
    error: float = 0.0
    last: float = 0.0
    step: float = 0.0
    hour_error: float = 0.0
    first_ms: int = 0
    hours: list[float] = field(default_factory=lambda: [0.0] * 24)
    hour_counts: list[int] = field(default_factory=lambda: [0] * 24)

    def surprise(self, at_ms: int, value: float) -> float:
        """How surprising `value` is, 0 to SURPRISE_MAX; learns from it."""
        if self.count == 0:
            self.count, self.level, self.last, self.first_ms = 1, value, value, at_ms
            return 0.0
        tiny = 1e-4 * abs(self.level) + 1e-9
        hour = (at_ms % DAY_MS) // HOUR_MS
        patterned = at_ms - self.first_ms > 3 * DAY_MS and self.hour_error < 0.9 * self.error
        off = value - self.level
        off_hour = off - self.hours[hour]
        moved = value - self.last
        far = abs(off_hour) / (self.hour_error + tiny) if patterned else abs(off) / (self.error + tiny)
        leap = abs(moved) / (self.step + tiny)
        found = min(max(far, leap), SURPRISE_MAX) if self.count > LEARNED else 0.0
        self._learn(hour, off, off_hour, moved, value)
        return found

    def _learn(self, hour: int, off: float, off_hour: float, moved: float, value: float) -> None:
        """Errors move by at most so much a reading, so that one outlier teaches little."""
        self.count += 1
        pace = 1.0 / min(self.count, SLOW)
        wide = math.inf if self.count <= LEARNED else OUTLIER
        self.error += pace * (_within(abs(off), wide, self.error) - self.error)
        self.hour_error += pace * (_within(abs(off_hour), wide, self.hour_error) - self.hour_error)
        self.step += pace * (_within(abs(moved), wide, self.step) - self.step)
        bound = _within(math.inf, wide, self.error) + 1e-4 * abs(self.level) + 1e-9
        self.level += pace * max(-bound, min(off, bound))
        self.hour_counts[hour] += 1
        self.hours[hour] += max(-bound, min(off_hour, bound)) / min(self.hour_counts[hour] + 1.0, HOUR_MEMORY)
        self.last = value

    def pack(self) -> list[Any]:
        """All of it, for a checkpoint."""
        known = [self.count, self.level, self.error, self.last, self.step, self.hour_error, self.first_ms]
        return [*known, self.hours, self.hour_counts]

    @classmethod
    def unpack(cls, row: list[Any]) -> Value:
        return cls(*row)


@dataclass
class Past:
    """A device's past: its values, and how surprising its readings usually are."""

    values: dict[str, Value] = field(default_factory=dict)
    readings: int = 0
    short: float = 0.0
    mean: float = 0.0
    variance: float = 0.0
    alert: bool = False

    def score(self, at_ms: int, reading: list[tuple[str, float]], warm_up: int) -> tuple[float, bool]:
        """(anomaly, alert) after one more reading; anomaly is 0 for the first `warm_up` ones."""
        surprises = []
        for name, value in reading:
            known = self.values.get(name)
            if known is None:
                if len(self.values) >= VALUES_MAX:
                    continue
                known = self.values[name] = Value()
            surprises.append(known.surprise(at_ms, value))
        self.readings += 1
        top = sorted(surprises, reverse=True)[:TOP]
        raw = math.sqrt(sum(s * s for s in top) / len(top)) if top else 0.0
        self.short += (raw - self.short) / min(self.readings, SHORT)
        anomaly = self._likelihood() if self.readings > warm_up else 0.0
        self._learn(anomaly)
        if self.readings > warm_up:
            self.alert = anomaly >= (ALERT_OFF if self.alert else ALERT_ON)
        return anomaly, self.alert

    def _likelihood(self) -> float:
        deviation = math.sqrt(self.variance) + 0.05
        tail = 0.5 * math.erfc((self.short - self.mean) / deviation / math.sqrt(2.0))
        return min(1.0, max(0.0, -math.log10(max(tail, 1e-12) * 2.0) / DIGITS))

    def _learn(self, anomaly: float) -> None:
        """What is anomalous teaches slowly, so that a long anomaly does not become the rule at once."""
        pace = (1.0 - 0.9 * anomaly) / min(self.readings, LONG)
        off = self.short - self.mean
        self.mean += pace * off
        self.variance += pace * (off * off - self.variance)

    def pack(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "values": [[name, self.values[name].pack()] for name in self.values],
            "past": [self.readings, self.short, self.mean, self.variance, self.alert],
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Past:
        return cls({name: Value.unpack(row) for name, row in packed["values"]}, *packed["past"])
