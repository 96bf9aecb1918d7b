"""What an item truly used, hour by hour, worked out from a whole history: in hindsight, so with more than the service knew.

A level falls by use and rises by refills; all else in it is the gauge's error. So the refills are taken out, and the curve of
what was used by then is the closest one to the readings that never falls (isotonic regression). Of a counter, use is what it
counts. Pure functions on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

MEDIAN_WINDOW, RISE_EDGE = 5, 3
"""Readings that a spike is looked for in; readings on each side of a refill that say how much it was."""
WINDOW_DAYS = 3.0
"""Readings farther apart than this say nothing about each other."""
SPIKE_SHARE = 0.08
"""Of the capacity: a reading so far from the median of its window is a spike."""
RISE_PACK_SHARE_MIN, RISE_CAPACITY_SHARE_MIN = 0.2, 0.05
"""What counts as a refill, at least, as shares of a pack and of the capacity."""
RISE_NOISE_FACTOR = 5.0
DECLARED_TOLERANCE_SHARE = 0.4
"""A quantity that was told is believed, over days without readings, where the level does not differ by more of it."""
DECLARED_GAP_DAYS = 1.0
REFINEMENT_PASSES = 3
"""The use between the readings about a refill rests on the rate, and the rate on the refills: so often in turn."""
FULL_SHARE = 1.02
EMPTY_SHARE = 0.01
"""Of the capacity: below it what was wanted is not known, as there was nothing to use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tank:
    """What holds the level. spare: more than the capacity may wait beside it, so that no refill is lost."""

    capacity: float
    pack: float
    spare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumptionEstimate:
    """Of one item. use: (hours,) in each hour; level: at the start; fitted: (readings,) the level at each reading, as it
    truly was; refills: how many; empty_hours: in which nothing was left."""

    hourly_use: Float64
    initial_level: float
    fitted_levels: Float64
    refills: int
    empty_hours: int


def estimate_from_levels(
    at_h: Float64, value: Float64, declared: Sequence[tuple[float, float]], tank: Tank, hours: int
) -> ConsumptionEstimate:
    """From readings of a level, two at least. at_h: (n,) hours from the start, ascending; told: (hour, quantity) of refills."""
    capacity = tank.capacity
    middle = _rolling_median(at_h, value)
    good = np.abs(value - middle) <= SPIKE_SHARE * capacity
    t, y = at_h[good], value[good]
    smooth = np.where(np.arange(len(t)) % (len(t) - 1) == 0, y, middle[good])
    rate = capacity / 30.0 / 24.0
    for _ in range(REFINEMENT_PASSES):
        added = np.concatenate([[0.0], np.cumsum(_refill_amounts(t, y, smooth, declared, tank, rate))])
        used, knots_h, knots = isotonic_regression(t, added - y + y[0])
        rate = max(float(used[-1] - used[0]) / max(t[-1] - t[0], 1.0), 0.0)
    level = y[0] + added - used
    curve = np.interp(np.arange(hours + 1.0), np.r_[t[0], knots_h, t[-1]], np.r_[used[0], knots, used[-1]])
    use = np.diff(curve)
    nothing = _hours_between(t, level <= EMPTY_SHARE * capacity, hours)
    known = ~nothing & (np.arange(hours) >= t[0]) & (np.arange(hours) < t[-1])
    mean = float(use[known].mean()) if known.any() else rate
    use = np.where(nothing | (np.arange(hours) >= t[-1]), mean, use)
    return ConsumptionEstimate(
        hourly_use=np.where(np.arange(hours) < np.floor(t[0]), 0.0, use),
        initial_level=max(float(level[0]), 0.0),
        fitted_levels=np.maximum(np.interp(at_h, t, level), 0.0),
        refills=int((np.diff(added) > 0.0).sum()),
        empty_hours=int(nothing.sum()),
    )


def estimate_from_increments(at_h: Float64, value: Float64, capacity: float, hours: int) -> ConsumptionEstimate:
    """From what was used between readings: it falls into the hour in which it was told."""
    use = np.zeros(hours)
    np.add.at(use, np.clip(at_h.astype(np.int64), 0, hours - 1), np.maximum(value, 0.0))
    return ConsumptionEstimate(hourly_use=use, initial_level=capacity, fitted_levels=value, refills=0, empty_hours=0)


def estimate_from_counter(at_h: Float64, value: Float64, capacity: float, hours: int) -> ConsumptionEstimate:
    """From a running counter, which may start again; a leap of more than a capacity is not believed, nor a reading that leaps alone."""
    rise = np.diff(value)
    glitch = np.zeros(len(value), dtype=bool)
    glitch[1:-1] = (rise[:-1] > capacity) & (rise[1:] < 0.0) & (value[2:] >= value[:-2])
    at_h, value = at_h[~glitch], value[~glitch]
    step = np.diff(value)
    step = np.where(step >= 0.0, step, np.maximum(value[1:], 0.0))
    step = np.where(step <= capacity, step, 0.0)
    curve = np.interp(np.arange(hours + 1.0), at_h, np.concatenate([[0.0], np.cumsum(step)]))
    return ConsumptionEstimate(
        hourly_use=np.diff(curve), initial_level=capacity, fitted_levels=value, refills=0, empty_hours=0
    )


def isotonic_regression(at_h: Float64, value: Float64) -> tuple[Float64, Float64, Float64]:
    """The closest curve to `value` that never falls, (n,); and its level pieces: (k,) their middles in hours and values."""
    sums: list[float] = []
    counts: list[int] = []
    for one in value.tolist():
        total, count = one, 1
        while sums and sums[-1] * count >= total * counts[-1]:
            total, count = total + sums.pop(), count + counts.pop()
        sums.append(total)
        counts.append(count)
    means = np.array(sums) / np.array(counts)
    ends = np.cumsum(counts)
    starts = ends - np.array(counts)
    middles = np.array([at_h[start:end].mean() for start, end in zip(starts, ends, strict=True)])
    return np.repeat(means, counts), middles, means


def _rolling_median(at_h: Float64, value: Float64) -> Float64:
    """(n,) the median of the window about each reading; the reading itself where its window is wide in time."""
    if len(value) < MEDIAN_WINDOW:
        return value
    half = MEDIAN_WINDOW // 2
    near = at_h[2 * half :] - at_h[: -2 * half] <= 24.0 * WINDOW_DAYS
    medians = np.median(np.lib.stride_tricks.sliding_window_view(value, MEDIAN_WINDOW), axis=1)
    inner = np.where(near, medians, value[half:-half])
    first = np.where(near[0], medians[0], value[:half])
    last = np.where(near[-1], medians[-1], value[-half:])
    return np.concatenate([first, inner, last])


def _refill_amounts(
    at_h: Float64, level: Float64, smooth: Float64, declared: Sequence[tuple[float, float]], tank: Tank, rate: float
) -> Float64:
    """(n - 1,) what came between readings: what the level rose by and what was used meanwhile, or what was told."""
    rise, gap_h = np.diff(smooth), np.diff(at_h)
    noise = 1.4826 * float(np.median(np.abs(rise - np.median(rise))))
    least = max(RISE_PACK_SHARE_MIN * tank.pack, RISE_CAPACITY_SHARE_MIN * tank.capacity, RISE_NOISE_FACTOR * noise)
    seen = np.zeros(len(rise))
    for risen in np.flatnonzero(rise > least).tolist():
        seen[risen] = _rise_amount(at_h, level, risen, rate)
    said = np.zeros(len(rise))
    for hour, quantity in declared:
        place = int(at_h.searchsorted(hour)) - 1
        if 0 <= place < len(said):
            said[place] += quantity
    fits = np.abs(said - seen) <= DECLARED_TOLERANCE_SHARE * said
    believed = (gap_h > 24.0 * DECLARED_GAP_DAYS) & (said > 0.0) & (said >= rise) & (fits | (seen == 0.0))
    # What was told may not have fitted in: then the level says more.
    spilled = np.full(len(rise), not tank.spare) & (level[:-1] - rate * gap_h + said > FULL_SHARE * tank.capacity)
    return np.where(believed & ~spilled, said, np.where(believed & spilled, np.maximum(rise + rate * gap_h, 0.0), seen))


def _rise_amount(at_h: Float64, level: Float64, place: int, rate: float) -> float:
    """What came after reading `place`: readings on both sides, brought to it by the rate, without those far away in time."""
    at = at_h[place]
    before = slice(max(place + 1 - RISE_EDGE, 0), place + 1)
    after = slice(place + 1, place + 1 + RISE_EDGE)

    def brought(side: slice, nearest_h: float) -> float:
        near = np.abs(at_h[side] - nearest_h) <= 24.0 * WINDOW_DAYS / 2.0
        return float(np.median((level[side] + rate * (at_h[side] - at))[near]))

    return max(brought(after, float(at_h[place + 1])) - brought(before, float(at)), 0.0)


def _hours_between(at_h: Float64, which: Bools, hours: int) -> Bools:
    """(hours,) those between two readings next to each other that are both of `which`."""
    out = np.zeros(hours, dtype=bool)
    for place in np.flatnonzero(which[:-1] & which[1:]):
        out[int(at_h[place]) : int(at_h[place + 1])] = True
    return out
