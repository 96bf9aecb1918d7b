"""The anomaly model: a score after each reading of a device, against its own past, sequential and deterministic.

Each value is compared with its expected level (by hour of the day once that helps) and step from the reading before, in units of
its usual error. The surprise of a reading is that of its three most surprising values. The score is about a run of surprises: the
mean of a short window against the long-run mean and spread of that mean, as a tail probability (after the anomaly likelihood of
Lavin and Ahmad, 2015). It needs no labels and no other devices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from star.times import DAY_MS, HOUR_MS

CHANNELS_MAX = 256
"""Values of a device that are followed; others are not looked at."""
CHANNEL_MEMORY = 500.0
"""Readings that a value's level and error remember."""
SURPRISE_MEMORY = 1_000.0
"""Readings that the usual surprise remembers."""
SHORT_WINDOW = 8.0
"""Readings of the short window."""
HOUR_MEMORY = 150.0
"""Readings that each hour of the pattern of the day remembers."""
SURPRISE_MAX = 8.0
ALERT_ON, ALERT_OFF = 0.85, 0.45
"""An alert begins at the one and ends at the other."""
TAIL_DIGITS = 6.0
"""A tail probability of 10 to the minus this is an anomaly of 1."""
TOP_CHANNELS = 3
WARM_UP_READINGS = 10
"""Readings of a value before it can surprise."""

OUTLIER_ERRORS = 4.0
"""What is further off than so many usual errors teaches as if it were so far."""


def _clipped(value: float, limit: float, usual: float) -> float:
    return value if limit == math.inf else min(value, limit * usual)


@dataclass
class ChannelStats:
    """What is known of one value: level, usual errors of level and step, and the pattern of the day."""

    count: int = 0
    level: float = 0.0
    level_error: float = 0.0
    last: float = 0.0
    step_error: float = 0.0
    hour_error: float = 0.0
    first_ms: int = 0
    hour_offsets: list[float] = field(default_factory=lambda: [0.0] * 24)
    hour_counts: list[int] = field(default_factory=lambda: [0] * 24)

    def surprise(self, at_ms: int, value: float) -> float:
        """How surprising `value` is, 0 to SURPRISE_MAX; learns from it."""
        if self.count == 0:
            self.count, self.level, self.last, self.first_ms = 1, value, value, at_ms
            return 0.0
        floor = 1e-4 * abs(self.level) + 1e-9
        hour = (at_ms % DAY_MS) // HOUR_MS
        use_hours = at_ms - self.first_ms > 3 * DAY_MS and self.hour_error < 0.9 * self.level_error
        deviation = value - self.level
        hour_deviation = deviation - self.hour_offsets[hour]
        change = value - self.last
        level_surprise = (
            abs(hour_deviation) / (self.hour_error + floor)
            if use_hours
            else abs(deviation) / (self.level_error + floor)
        )
        step_surprise = abs(change) / (self.step_error + floor)
        found = min(max(level_surprise, step_surprise), SURPRISE_MAX) if self.count > WARM_UP_READINGS else 0.0
        self._update(hour, deviation, hour_deviation, change, value)
        return found

    def _update(self, hour: int, deviation: float, hour_deviation: float, change: float, value: float) -> None:
        """Errors move by at most so much a reading, so that one outlier teaches little."""
        self.count += 1
        gain = 1.0 / min(self.count, CHANNEL_MEMORY)
        limit = math.inf if self.count <= WARM_UP_READINGS else OUTLIER_ERRORS
        self.level_error += gain * (_clipped(abs(deviation), limit, self.level_error) - self.level_error)
        self.hour_error += gain * (_clipped(abs(hour_deviation), limit, self.hour_error) - self.hour_error)
        self.step_error += gain * (_clipped(abs(change), limit, self.step_error) - self.step_error)
        bound = _clipped(math.inf, limit, self.level_error) + 1e-4 * abs(self.level) + 1e-9
        self.level += gain * max(-bound, min(deviation, bound))
        self.hour_counts[hour] += 1
        self.hour_offsets[hour] += max(-bound, min(hour_deviation, bound)) / min(
            self.hour_counts[hour] + 1.0, HOUR_MEMORY
        )
        self.last = value

    def snapshot(self) -> list[Any]:
        """All of it, for a checkpoint."""
        channel = [self.count, self.level, self.level_error, self.last, self.step_error, self.hour_error, self.first_ms]
        return [*channel, self.hour_offsets, self.hour_counts]

    @classmethod
    def restore(cls, row: list[Any]) -> ChannelStats:
        return cls(*row)


@dataclass
class AnomalyModel:
    """A device's past: its values, and how surprising its readings usually are."""

    channels: dict[str, ChannelStats] = field(default_factory=dict)
    readings: int = 0
    short_mean: float = 0.0
    long_mean: float = 0.0
    variance: float = 0.0
    alert: bool = False

    def score(self, at_ms: int, reading: list[tuple[str, float]], warm_up: int) -> tuple[float, bool]:
        """(anomaly, alert) after one more reading; anomaly is 0 for the first `warm_up` ones."""
        surprises = []
        for name, value in reading:
            channel = self.channels.get(name)
            if channel is None:
                if len(self.channels) >= CHANNELS_MAX:
                    continue
                channel = self.channels[name] = ChannelStats()
            surprises.append(channel.surprise(at_ms, value))
        self.readings += 1
        top = sorted(surprises, reverse=True)[:TOP_CHANNELS]
        raw = math.sqrt(sum(s * s for s in top) / len(top)) if top else 0.0
        self.short_mean += (raw - self.short_mean) / min(self.readings, SHORT_WINDOW)
        anomaly = self._likelihood() if self.readings > warm_up else 0.0
        self._update(anomaly)
        if self.readings > warm_up:
            self.alert = anomaly >= (ALERT_OFF if self.alert else ALERT_ON)
        return anomaly, self.alert

    def _likelihood(self) -> float:
        deviation = math.sqrt(self.variance) + 0.05
        tail = 0.5 * math.erfc((self.short_mean - self.long_mean) / deviation / math.sqrt(2.0))
        return min(1.0, max(0.0, -math.log10(max(tail, 1e-12) * 2.0) / TAIL_DIGITS))

    def _update(self, anomaly: float) -> None:
        """What is anomalous teaches slowly, so that a long anomaly does not become the rule at once."""
        gain = (1.0 - 0.9 * anomaly) / min(self.readings, SURPRISE_MEMORY)
        deviation = self.short_mean - self.long_mean
        self.long_mean += gain * deviation
        self.variance += gain * (deviation * deviation - self.variance)

    def snapshot(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "values": [[name, self.channels[name].snapshot()] for name in self.channels],
            "past": [self.readings, self.short_mean, self.long_mean, self.variance, self.alert],
        }

    @classmethod
    def restore(cls, packed: dict[str, Any]) -> AnomalyModel:
        return cls({name: ChannelStats.restore(row) for name, row in packed["values"]}, *packed["past"])
