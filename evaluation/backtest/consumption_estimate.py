"""Estimate of an item's true consumption, hour by hour, from its whole history: in hindsight, with more data than the service had.

A level falls by consumption and rises by refills; the rest is sensor error. The refills are removed, and the cumulative consumption
is the non-decreasing curve closest to the readings (isotonic regression). A counter's consumption is its increments. Pure functions
on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

MEDIAN_WINDOW, RISE_EDGE = 5, 3
"""Readings in the window of the spike filter; readings on each side of a refill from which its amount is measured. Longer windows
average out more noise and blur refills that follow each other."""
WINDOW_DAYS = 3.0
"""Readings farther apart than this are not compared: consumption in between would be taken for an error."""
SPIKE_SHARE = 0.08
"""Distance from the median of its window, as a share of the capacity, beyond which a reading is a spike."""
RISE_PACK_SHARE_MIN, RISE_CAPACITY_SHARE_MIN = 0.2, 0.05
"""Smallest rise that counts as a refill, as shares of a pack and of the capacity; the larger of the two applies."""
RISE_NOISE_FACTOR = 5.0
"""Smallest rise that counts as a refill, in standard deviations of the differences between readings."""
DECLARED_TOLERANCE_SHARE = 0.4
"""Largest difference between a declared quantity and the measured rise, as a share of the quantity, for the declaration to hold."""
DECLARED_GAP_DAYS = 1.0
"""Gap between readings beyond which a declared quantity is used in place of the measured rise."""
REFINEMENT_PASSES = 3
"""Iterations of refill amounts and consumption rate, each of which is estimated from the other."""
FULL_SHARE = 1.02
"""Share of the capacity above which a level after a declared delivery means that some of it did not fit."""
EMPTY_SHARE = 0.01
"""Share of the capacity below which an item counts as empty, and its demand as unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tank:
    """The container of a level. spare: unopened packs are stored beside it, so that no refill overflows."""

    capacity: float
    pack: float
    spare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumptionEstimate:
    """The estimate for one item, amounts in its unit.

    hourly_use: (hours,); initial_level: at the start of the history; fitted_levels: (readings,) the estimated true level at each
    reading; refills: their number; empty_hours: hours without stock.
    """

    hourly_use: Float64
    initial_level: float
    fitted_levels: Float64
    refills: int
    empty_hours: int


def estimate_from_levels(
    at_h: Float64, value: Float64, declared: Sequence[tuple[float, float]], tank: Tank, hours: int
) -> ConsumptionEstimate:
    """The estimate from two or more level readings.

    at_h: (n,) hours from the start, ascending; value: (n,) levels; declared: (hour, quantity) of refills; hours: of the history.
    """
    capacity = tank.capacity
    median = _rolling_median(at_h, value)
    valid = np.abs(value - median) <= SPIKE_SHARE * capacity
    t, y = at_h[valid], value[valid]
    smooth = np.where(np.arange(len(t)) % (len(t) - 1) == 0, y, median[valid])
    rate = capacity / 30.0 / 24.0
    for _ in range(REFINEMENT_PASSES):
        added = np.concatenate([[0.0], np.cumsum(_refill_amounts(t, y, smooth, declared, tank, rate))])
        used, knots_h, knots = isotonic_regression(t, added - y + y[0])
        rate = max(float(used[-1] - used[0]) / max(t[-1] - t[0], 1.0), 0.0)
    level = y[0] + added - used
    curve = np.interp(np.arange(hours + 1.0), np.r_[t[0], knots_h, t[-1]], np.r_[used[0], knots, used[-1]])
    use = np.diff(curve)
    empty = _hours_between(t, level <= EMPTY_SHARE * capacity, hours)
    known = ~empty & (np.arange(hours) >= t[0]) & (np.arange(hours) < t[-1])
    mean = float(use[known].mean()) if known.any() else rate
    use = np.where(empty | (np.arange(hours) >= t[-1]), mean, use)
    return ConsumptionEstimate(
        hourly_use=np.where(np.arange(hours) < np.floor(t[0]), 0.0, use),
        initial_level=max(float(level[0]), 0.0),
        fitted_levels=np.maximum(np.interp(at_h, t, level), 0.0),
        refills=int((np.diff(added) > 0.0).sum()),
        empty_hours=int(empty.sum()),
    )


def estimate_from_increments(at_h: Float64, value: Float64, capacity: float, hours: int) -> ConsumptionEstimate:
    """The estimate from increments of consumption, each assigned to the hour in which it was reported."""
    use = np.zeros(hours)
    np.add.at(use, np.clip(at_h.astype(np.int64), 0, hours - 1), np.maximum(value, 0.0))
    return ConsumptionEstimate(hourly_use=use, initial_level=capacity, fitted_levels=value, refills=0, empty_hours=0)


def estimate_from_counter(at_h: Float64, value: Float64, capacity: float, hours: int) -> ConsumptionEstimate:
    """The estimate from a running counter, which may reset. A step of more than the capacity is ignored, and a single outlier."""
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
    """Isotonic regression by pooling adjacent violators.

    The non-decreasing curve closest to `value` in the least-squares sense, (n,); and its constant pieces: (k,) their mean hours and
    (k,) their values.
    """
    sums: list[float] = []
    counts: list[int] = []
    for each in value.tolist():
        total, count = each, 1
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
    """(n,) the median of the window around each reading; the reading itself where its window spans too long a time."""
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
    """(n - 1,) refills between readings: the rise of the level plus the consumption meanwhile, or the declared quantity."""
    rise, gap_h = np.diff(smooth), np.diff(at_h)
    noise = 1.4826 * float(np.median(np.abs(rise - np.median(rise))))
    least = max(RISE_PACK_SHARE_MIN * tank.pack, RISE_CAPACITY_SHARE_MIN * tank.capacity, RISE_NOISE_FACTOR * noise)
    measured = np.zeros(len(rise))
    for index in np.flatnonzero(rise > least).tolist():
        measured[index] = _rise_amount(at_h, level, index, rate)
    stated = np.zeros(len(rise))
    for hour, quantity in declared:
        index = int(at_h.searchsorted(hour)) - 1
        if 0 <= index < len(stated):
            stated[index] += quantity
    agrees = np.abs(stated - measured) <= DECLARED_TOLERANCE_SHARE * stated
    accepted = (gap_h > 24.0 * DECLARED_GAP_DAYS) & (stated > 0.0) & (stated >= rise) & (agrees | (measured == 0.0))
    # Where the declared quantity can't have fitted, the level tells how much did.
    spilled = np.full(len(rise), not tank.spare) & (level[:-1] - rate * gap_h + stated > FULL_SHARE * tank.capacity)
    fitted = np.maximum(rise + rate * gap_h, 0.0)
    return np.where(accepted & ~spilled, stated, np.where(accepted & spilled, fitted, measured))


def _rise_amount(at_h: Float64, level: Float64, index: int, rate: float) -> float:
    """The refill after reading `index`: the difference of the medians on both sides, extrapolated to that reading by the rate."""
    at = at_h[index]
    before = slice(max(index + 1 - RISE_EDGE, 0), index + 1)
    after = slice(index + 1, index + 1 + RISE_EDGE)

    def extrapolated(side: slice, nearest_h: float) -> float:
        near = np.abs(at_h[side] - nearest_h) <= 24.0 * WINDOW_DAYS / 2.0
        return float(np.median((level[side] + rate * (at_h[side] - at))[near]))

    return max(extrapolated(after, float(at_h[index + 1])) - extrapolated(before, float(at)), 0.0)


def _hours_between(at_h: Float64, which: Bools, hours: int) -> Bools:
    """(hours,) mask of the hours between two consecutive readings that are both in `which`, (n,)."""
    out = np.zeros(hours, dtype=bool)
    for index in np.flatnonzero(which[:-1] & which[1:]):
        out[int(at_h[index]) : int(at_h[index + 1])] = True
    return out
