"""How a detector sees lives: levels through a gauge and a filter, counts through silences; gaps, short histories, today.

A simple form of what stream/ does (which this room can't see): a filter that predicts by the mean rate and corrects by its
gain, so that a coarse or noisy gauge shows smooth days with lumps; and a counter whose silence may be absence or an outage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

READING_INTERVALS_HALF_DAYS = np.array([1, 1, 1, 1, 1, 2, 2, 4, 10, 20, 50])
"""How often gauges are read."""
RATE_MEMORY_DAYS = 28.0
SILENT_INTERVALS = 3.0
"""A counter that is silent for so many of its usual intervals may be out of reach."""
_HALF_DAYS = 2 * HISTORY_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueUsage:
    """n moments. history: (n, DAYS) true use, newest first; so_far: use today; fraction: of today elapsed; level: true."""

    history: Float64
    used_today: Float64
    day_fraction: Float64
    level: Float64

    def select(self, rows: Bools) -> TrueUsage:
        """Those at `rows`."""
        return TrueUsage(
            history=self.history[rows],
            used_today=self.used_today[rows],
            day_fraction=self.day_fraction[rows],
            level=self.level[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedUsage:
    """What is known of them. daily: (n, DAYS), today: (n,), NaN where unknown; level and its deviation at the latest reading,
    and the days of silence since: (n,)."""

    daily: Float64
    today: Float64
    level: Float64
    level_deviation: Float64
    silent_days: Float64


def simulate_gauge(rng: np.random.Generator, usage: TrueUsage) -> ObservedUsage:
    """Through a gauge of any quality: noise, resolution, slow bias, and readings from twice a day to every ten days."""
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
    whole = _interpolate(course)[::2]
    use = _carry_deficit(np.diff(-whole, axis=0)[::-1].T)
    use[np.arange(HISTORY_DAYS) < np.ceil(filtered.days_since_reading - usage.day_fraction)[:, None]] = (
        np.nan
    )  # days that no reading has closed
    today = np.where(filtered.days_since_reading > usage.day_fraction, np.nan, np.maximum(whole[-1] - level, 0.0))
    return ObservedUsage(
        daily=use,
        today=today,
        level=filtered.level,
        level_deviation=filtered.level_deviation(),
        silent_days=filtered.days_since_reading,
    )


def simulate_counter(rng: np.random.Generator, usage: TrueUsage) -> ObservedUsage:
    """Through a counter: exact, but silent when nothing is used or nothing gets through, which looks the same."""
    count = len(usage.level)
    used = usage.history > 0
    interval = HISTORY_DAYS / np.maximum(used.sum(axis=1), 1.0)
    quiet_days = np.where(used.any(axis=1), np.argmax(used, axis=1), HISTORY_DAYS).astype(np.float64)
    outage = np.where(rng.random(count) < 0.06, rng.integers(1, 15, count), 0)
    beats = rng.random(count) < 0.5  # these devices also speak when nothing is used
    silence = np.maximum(np.where(beats, 0.0, quiet_days), outage)
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
    """Days lost to all sorts of gaps, and lives that have only begun to be watched."""
    count = len(daily)
    out = daily.copy()
    gappy = rng.random(count) < 0.12
    out[gappy[:, None] & (rng.random(out.shape) < rng.uniform(0.03, 0.5, (count, 1)))] = np.nan
    age = np.where(rng.random(count) < 0.25, rng.integers(0, HISTORY_DAYS, count), HISTORY_DAYS)
    age = np.where(rng.random(count) < 0.2, rng.integers(0, 8, count), age)
    out[np.arange(HISTORY_DAYS) >= age[:, None]] = np.nan
    return out


class _LevelFilter:
    """Levels of n items: predicted by their mean rate, corrected by readings, with the variance of what is believed."""

    def __init__(self, level: Float64, noise: Float64, step: Float64, rate: Float64) -> None:
        self.level, self.rate = level, rate
        self.days_since_reading = np.zeros(len(level))  # days since the latest reading
        self._noise, self._step = noise, step
        self._variance = noise * noise
        self._rate_variance = rate * rate

    def advance(self, days: Float64 | float) -> None:
        """Time passes."""
        self.days_since_reading = self.days_since_reading + days

    def level_deviation(self) -> Float64:
        """Of the level at the latest reading."""
        return np.asarray(np.sqrt(np.maximum(self._variance, self._step * self._step / 12.0)))

    def update(self, value: Float64, due: Bools) -> None:
        """A reading of those that are due."""
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
    """(n, 2 DAYS + 2) true levels at half days from DAYS ago to the start of today, and now."""
    used = np.concatenate([np.zeros((len(usage.level), 1)), np.cumsum(usage.history, axis=1)], axis=1)
    at_days = (usage.level + usage.used_today)[:, None] + used[:, ::-1]
    out = np.empty((len(usage.level), _HALF_DAYS + 2))
    out[:, 0:-1:2] = at_days
    out[:, 1:-2:2] = 0.5 * (at_days[:, 1:] + at_days[:, :-1])
    out[:, -1] = usage.level
    return out


def _interpolate(course: Float64) -> Float64:
    """NaN between readings replaced by the straight line; first and last are known."""
    places = np.arange(len(course))[:, None]
    known = ~np.isnan(course)
    before = np.maximum.accumulate(np.where(known, places, 0), axis=0)
    after = np.minimum.accumulate(np.where(known, places, len(course) - 1)[::-1], axis=0)[::-1]
    low, high = np.take_along_axis(course, before, axis=0), np.take_along_axis(course, after, axis=0)
    share = (places - before) / np.maximum(after - before, 1)
    return np.asarray(low + share * (high - low))


def _carry_deficit(use: Float64) -> Float64:
    """No day below 0: what noise made negative is owed by the next day, so that sums stay right. Newest first."""
    deficit = np.zeros(len(use))
    out = np.empty_like(use)
    for day in range(HISTORY_DAYS - 1, -1, -1):
        total = use[:, day] + deficit
        out[:, day] = np.maximum(total, 0.0)
        deficit = np.minimum(total, 0.0)
    return out
