"""Simulation of what a detector observes: levels through a gauge and a filter, counts with silences, gaps and short histories.

A simplified version of the filter in stream/, which models may not import: it predicts by the mean rate and corrects by its gain, so
that a coarse or noisy gauge shows smoothed days with jumps. A counter's silence may be an absence or an outage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

READING_INTERVALS_HALF_DAYS = np.array([1, 1, 1, 1, 1, 2, 2, 4, 10, 20, 50])
"""Intervals between gauge readings to draw from, in half days: mostly twice a day, up to every 25 days."""
RATE_MEMORY_DAYS = 28.0
"""Memory of the filter's rate estimate."""
SILENT_INTERVALS = 3.0
"""Silence of a counter, in usual intervals, after which it may be offline."""
_HALF_DAYS = 2 * HISTORY_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueUsage:
    """The truth at n moments.

    history: (n, HISTORY_DAYS) daily consumption, newest first; used_today: (n,) so far; day_fraction: (n,) of today elapsed; level: (n,).
    """

    history: Float64
    used_today: Float64
    day_fraction: Float64
    level: Float64

    def select(self, rows: Bools) -> TrueUsage:
        """The moments at `rows`."""
        return TrueUsage(
            history=self.history[rows],
            used_today=self.used_today[rows],
            day_fraction=self.day_fraction[rows],
            level=self.level[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedUsage:
    """The observation of n moments.

    daily: (n, HISTORY_DAYS), today: (n,), NaN where unknown; level, level_deviation: (n,) at the latest reading; silent_days: (n,) since.
    """

    daily: Float64
    today: Float64
    level: Float64
    level_deviation: Float64
    silent_days: Float64


def simulate_gauge(rng: np.random.Generator, usage: TrueUsage) -> ObservedUsage:
    """Observation through gauges of random quality: noise, resolution, slow bias and reading interval."""
    count = len(usage.level)
    capacity = usage.level / rng.uniform(0.02, 1.0, count)
    coarse = rng.random(count) < 0.35
    step = np.where(coarse, capacity * rng.choice([0.01, 0.02, 0.05, 0.05, 0.1], count), 0.0)
    noise = capacity * np.exp(rng.uniform(np.log(0.0005), np.log(0.02), count)) * np.where(coarse, 0.3, 1.0)
    assumed_noise = np.maximum(noise * np.exp(rng.normal(0.0, 0.25, count)), 1e-4 * capacity)
    every = READING_INTERVALS_HALF_DAYS[rng.integers(0, len(READING_INTERVALS_HALF_DAYS), count)]
    phase = rng.integers(0, every)
    truth = _level_path(usage)
    bias = np.where(rng.random(count) < 0.3, noise * rng.exponential(0.7, count), 0.0)
    drift = bias * np.cumsum(rng.normal(0.0, 0.15, (_HALF_DAYS + 2, count)), axis=0)

    def read(place: int) -> Float64:
        value = truth[:, place] + drift[place] + noise * rng.standard_normal(count)
        rounded = np.round(value / np.where(coarse, step, 1.0)) * step
        return np.asarray(np.maximum(np.where(coarse, rounded, value), 0.0))

    filtered = _LevelFilter(
        read(0), assumed_noise, step, usage.history.mean(axis=1) * np.exp(rng.normal(0.0, 0.3, count))
    )
    course = np.full((_HALF_DAYS + 1, count), np.nan)
    course[0] = filtered.level
    for place in range(1, _HALF_DAYS + 1):
        filtered.advance(0.5)
        due = (place + phase) % every == 0
        filtered.update(read(place), due)
        course[place] = np.where(due, filtered.level, np.nan)
    filtered.advance(usage.day_fraction)
    filtered.update(read(_HALF_DAYS + 1), (every <= 2) & (rng.random(count) < 0.7))
    level = np.maximum(filtered.level - filtered.rate * filtered.days_since_reading, 0.0)
    course[-1] = np.where(np.isnan(course[-1]), level + filtered.rate * usage.day_fraction, course[-1])
    daily_levels = _interpolate(course)[::2]
    use = _carry_deficit(np.diff(-daily_levels, axis=0)[::-1].T)
    unread_days = np.ceil(filtered.days_since_reading - usage.day_fraction)
    use[np.arange(HISTORY_DAYS) < unread_days[:, None]] = np.nan
    today = np.where(
        filtered.days_since_reading > usage.day_fraction, np.nan, np.maximum(daily_levels[-1] - level, 0.0)
    )
    return ObservedUsage(
        daily=use,
        today=today,
        level=filtered.level,
        level_deviation=filtered.level_deviation(),
        silent_days=filtered.days_since_reading,
    )


def simulate_counter(rng: np.random.Generator, usage: TrueUsage) -> ObservedUsage:
    """Observation through counters: exact, but silent both without consumption and during an outage, which look the same."""
    count = len(usage.level)
    used = usage.history > 0
    interval = HISTORY_DAYS / np.maximum(used.sum(axis=1), 1.0)
    quiet_days = np.where(used.any(axis=1), np.argmax(used, axis=1), HISTORY_DAYS).astype(np.float64)
    outage = np.where(rng.random(count) < 0.06, rng.integers(1, 15, count), 0)
    heartbeat = rng.random(count) < 0.5  # devices that also report without consumption
    silence = np.maximum(np.where(heartbeat, 0.0, quiet_days), outage)
    beyond = np.maximum(silence + usage.day_fraction - np.maximum(SILENT_INTERVALS * interval, 1.0), 0.0)
    silent = (beyond > 0) & (silence > 0)
    days = np.arange(HISTORY_DAYS)
    missed = np.where((days < outage[:, None]) & silent[:, None], usage.history, 0.0).sum(axis=1)
    missed += np.where(silent & (outage > 0), usage.used_today, 0.0)
    daily = usage.history.copy()
    daily[silent[:, None] & (days < silence[:, None])] = np.nan
    return ObservedUsage(
        daily=daily,
        today=np.where(silent, np.nan, usage.used_today),
        level=usage.level + missed,
        level_deviation=np.zeros(count),
        silent_days=np.where(silent, beyond, 0.0),
    )


def drop_days(rng: np.random.Generator, daily: Float64) -> Float64:
    """The (n, HISTORY_DAYS) history with random gaps, and cut off where an item has only recently been observed."""
    count = len(daily)
    out = daily.copy()
    gappy = rng.random(count) < 0.12
    out[gappy[:, None] & (rng.random(out.shape) < rng.uniform(0.03, 0.5, (count, 1)))] = np.nan
    age = np.where(rng.random(count) < 0.25, rng.integers(0, HISTORY_DAYS, count), HISTORY_DAYS)
    age = np.where(rng.random(count) < 0.2, rng.integers(0, 8, count), age)
    out[np.arange(HISTORY_DAYS) >= age[:, None]] = np.nan
    return out


class _LevelFilter:
    """A scalar filter of n levels: predicted by the mean rate, corrected by readings, with the variance of the estimate."""

    def __init__(self, level: Float64, noise: Float64, step: Float64, rate: Float64) -> None:
        self.level, self.rate = level, rate
        self.days_since_reading = np.zeros(len(level))
        self._noise, self._step = noise, step
        self._variance = noise * noise
        self._rate_variance = rate * rate

    def advance(self, days: Float64 | float) -> None:
        """Advances the time by a number of days."""
        self.days_since_reading = self.days_since_reading + days

    def level_deviation(self) -> Float64:
        """(n,) standard deviation of the level at the latest reading."""
        return np.asarray(np.sqrt(np.maximum(self._variance, self._step * self._step / 12.0)))

    def update(self, value: Float64, due: Bools) -> None:
        """Updates the items that are `due` with their readings."""
        slow = 0.15 * self.rate * self.days_since_reading
        predicted = np.maximum(self.level - self.rate * self.days_since_reading, 0.0)
        variance = self._variance + self._rate_variance * self.days_since_reading + slow * slow
        innovation = value - predicted
        beyond = np.maximum(np.abs(innovation) - 0.5 * self._step, 0.0)
        gain = variance / (variance + self._noise * self._noise)
        level = predicted + gain * np.sign(innovation) * beyond
        inside = (self._step > 0) & (beyond == 0)
        left = np.where(inside, np.minimum(variance, self._step * self._step / 12.0), (1.0 - gain) * variance)
        weight = np.minimum(self.days_since_reading / RATE_MEMORY_DAYS, 1.0)
        per_day = np.maximum(self.level - level, 0.0) / np.maximum(self.days_since_reading, 0.05)
        off_rate = per_day - self.rate
        self.rate = np.where(due, self.rate + weight * off_rate, self.rate)
        moved = weight * (off_rate * off_rate * np.minimum(self.days_since_reading, 1.0) - self._rate_variance)
        self._rate_variance = np.where(due, np.maximum(self._rate_variance + moved, 0.0), self._rate_variance)
        self.level = np.where(due, level, self.level)
        self._variance = np.where(due, left, self._variance)
        self.days_since_reading = np.where(due, 0.0, self.days_since_reading)


def _level_path(usage: TrueUsage) -> Float64:
    """(n, 2 HISTORY_DAYS + 2) true levels at half days from HISTORY_DAYS ago to the start of today, and now."""
    used = np.concatenate([np.zeros((len(usage.level), 1)), np.cumsum(usage.history, axis=1)], axis=1)
    at_days = (usage.level + usage.used_today)[:, None] + used[:, ::-1]
    out = np.empty((len(usage.level), _HALF_DAYS + 2))
    out[:, 0:-1:2] = at_days
    out[:, 1:-2:2] = 0.5 * (at_days[:, 1:] + at_days[:, :-1])
    out[:, -1] = usage.level
    return out


def _interpolate(course: Float64) -> Float64:
    """The (times, n) course with NaN interpolated linearly in time; the first and the last are known."""
    places = np.arange(len(course))[:, None]
    known = ~np.isnan(course)
    before = np.maximum.accumulate(np.where(known, places, 0), axis=0)
    after = np.minimum.accumulate(np.where(known, places, len(course) - 1)[::-1], axis=0)[::-1]
    low, high = np.take_along_axis(course, before, axis=0), np.take_along_axis(course, after, axis=0)
    share = (places - before) / np.maximum(after - before, 1)
    return np.asarray(low + share * (high - low))


def _carry_deficit(use: Float64) -> Float64:
    """The (n, HISTORY_DAYS) consumption without negative days: a deficit is carried to the next day, which keeps sums. Newest first."""
    deficit = np.zeros(len(use))
    out = np.empty_like(use)
    for day in range(HISTORY_DAYS - 1, -1, -1):
        total = use[:, day] + deficit
        out[:, day] = np.maximum(total, 0.0)
        deficit = np.minimum(total, 0.0)
    return out
