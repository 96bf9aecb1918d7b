"""Readings of a measured level, each judged before it is believed.

A filter predicts the level from the rate of use; a reading near the prediction corrects it. One far from it is only doubt: it
is held until others agree with it (a refill, a large use) or deny it (a spike, an air gap), so no single reading fires
anything. Coarse steps say no more than the interval they stand for. Every function works on (columns, n) of different items,
elementwise with + - * / and sqrt only, so that a reading's result has the same bits whatever else is in the batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS
from stream.detectors import day_ring, deliveries, doubt, reckoning
from stream.detectors.backfill import backfill_levels
from stream.detectors.columns import (
    DAY,
    DOUBT,
    DOUBT_MS,
    F_CAPACITY,
    F_LOOK_MS,
    F_NOISE,
    F_RATE,
    FIRST_MS,
    FRESH,
    GAP_FROM_LEVEL,
    GAP_FROM_MS,
    GAP_TO_LEVEL,
    GAP_TO_MS,
    INTERVAL_MS,
    LAST_MS,
    LAST_VALUE,
    LATE,
    LEVEL,
    OUTLIERS,
    PENDING,
    PENDING_MS,
    RATE,
    RATE_VARIANCE,
    SAME,
    SAME_MS,
    SEEN,
    SHOWS,
    SLOW_ERROR,
    SPARE,
    SPREAD_OF_READING,
    USED,
    VARIANCE,
    Float64,
    Slots,
)
from stream.detectors.doubt import GATE
from stream.detectors.plausible_time import plausible_ms
from stream.detectors.sensor import STUCK_READINGS, count_same, learn_noise, learn_step, sensor
from stream.state import Rows

GATE_UP_SHARE, GATE_DOWN_SHARE = 0.02, 0.03
"""And at least so much of the capacity."""
EMPTY_SHARE = 0.005
"""Of the capacity: a level that low is taken for nothing."""
INTERVALS_MIN, INTERVAL_TIMES = 10.0, 3.0
"""After so many readings a gap counts for no more than so many of the item's own intervals between readings."""

Bools = NDArray[np.bool_]


def take_levels(slots: Slots, rows: Rows, at_ms: Float64, arrived_ms: Float64, value: Float64) -> None:
    """One reading of each of `rows`, all different. at_ms: measured; value: (n,) finite, in the slot's unit."""
    state, fixed = slots.gather(rows), slots.fixed[rows].T
    at_ms = plausible_ms(state, at_ms, arrived_ms)
    value = np.maximum(value, 0.0)
    state[FRESH] = np.maximum(state[FRESH], 1.0)
    first = state[SEEN] == 0.0
    if first.any():
        _begin(state, fixed, first, at_ms, value)
    late = at_ms < state[LAST_MS]
    state[LATE] += late
    now = ~late
    days, predicted, variance = _predict(state, at_ms)
    step, noise = sensor(state, fixed)
    stood = state[SAME] >= STUCK_READINGS
    silent = count_same(state, fixed, now & ~first, at_ms, value)
    now &= ~silent
    random = noise * noise
    off = value - predicted
    beyond = np.maximum(np.abs(off) - 0.5 * step, 0.0)
    off = np.where(off < 0.0, -beyond, beyond)
    gate = GATE * np.sqrt(variance + random)
    near = off >= -np.maximum(gate, GATE_DOWN_SHARE * fixed[F_CAPACITY])
    # However long it was, no use lets the level rise: upwards the latest level is the measure, not the prediction.
    still = GATE * np.sqrt(state[VARIANCE] + random)
    near &= value - state[LEVEL] - 0.5 * step <= np.maximum(still, GATE_UP_SHARE * fixed[F_CAPACITY])
    near &= now
    jump, expected = np.zeros(rows.size), predicted
    waits = now & (state[PENDING] + state[SPARE] > 0.0)
    if waits.any():
        at, expected = np.nonzero(waits)[0], predicted.copy()
        jump[at], expected[at] = deliveries.show(
            slots, state, fixed, rows, at, at_ms, value, predicted, variance + random
        )
        # One reading of a gauge that stood still is no word against what was declared since: it may stand still again.
        near &= (jump == 0.0) & ~(stood & waits)
    doubted = now & ~near & (jump == 0.0)
    state[OUTLIERS] += np.where(now, doubt.OUTLIERS_PACE, 0.0) * (doubted - state[OUTLIERS])
    learn_noise(state, fixed, now & ~first & ~waits, near, value, days)
    gain = variance / (variance + random)
    level = np.where(near, predicted + gain * off, value)
    inside = (step > 0.0) & (beyond == 0.0)
    left = np.where(inside, np.minimum(variance, step * step / 12.0), (1.0 - gain) * variance)
    # A reading that only repeats what was believed says nothing of the level, but that the ones between were wild.
    open_doubts = (near | silent) & (state[DOUBT] > 0.0)
    if open_doubts.any():
        doubt.deny(slots, state, rows, at_ms, open_doubts & (at_ms >= state[DOUBT_MS]))
    moment_ms = at_ms
    if doubted.any():
        at, moment_ms = np.nonzero(doubted)[0], at_ms.copy()
        part = state[:, at]
        jump[at], moment_ms[at] = doubt.judge(
            slots, part, fixed[:, at], rows[at], at_ms[at], value[at], predicted[at], expected[at], noise[at], step[at]
        )
        state[:, at] = part
        level[at] = predicted[at] + jump[at] - part[RATE] * (moment_ms[at] - at_ms[at]) / DAY_MS
    came, at = np.zeros(rows.size), np.nonzero(jump)[0]
    if at.size:
        came[at] = doubt.believe(slots, state, fixed, rows, at, moment_ms, jump, step)
        left[at] = random[at] + step[at] * step[at] / 12.0
    waits &= near
    if waits.any():
        deliveries.deny(slots, state, rows, np.nonzero(waits)[0], at_ms, value)
    believed = near | (jump != 0.0)
    learn_step(state, fixed, now & ~first, near & ~first, value)
    _settle(slots, state, fixed, rows, believed, moment_ms, level, left, came, value)
    slots.scatter(rows, state)
    if late.any():
        backfill_levels(slots, rows[late], at_ms[late], value[late])


def _begin(state: Float64, fixed: Float64, first: Bools, at_ms: Float64, value: Float64) -> None:
    """The first reading of an item is its level, and the profile says the rest."""
    noise = np.maximum(fixed[F_NOISE], 1e-4 * fixed[F_CAPACITY])
    for column, start in (
        (FIRST_MS, at_ms),
        (LAST_MS, at_ms),
        (SAME_MS, at_ms),
        (LEVEL, value),
        (LAST_VALUE, value),
        (VARIANCE, noise * noise),
        (RATE, fixed[F_RATE]),
        (RATE_VARIANCE, fixed[F_RATE] * fixed[F_RATE]),
        (DAY, day_ring.day_of(at_ms)),
        (SLOW_ERROR, np.full(at_ms.size, reckoning.SLOW_ERROR_START)),
        (PENDING, np.where(at_ms >= state[PENDING_MS], 0.0, state[PENDING])),
        (INTERVAL_MS, np.minimum(fixed[F_LOOK_MS], float(DAY_MS))),
        (SPREAD_OF_READING, noise),
    ):
        state[column] = np.where(first, start, state[column])


def _predict(state: Float64, at_ms: Float64) -> tuple[Float64, Float64, Float64]:
    """(days since the latest reading believed, level predicted, its variance)."""
    days = np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    return days, reckoning.fallen(state[LEVEL], state[RATE] * days), reckoning.spread(state, days)


def _settle(
    slots: Slots,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    believed: Bools,
    at_ms: Float64,
    level: Float64,
    variance: Float64,
    came: Float64,
    value: Float64,
) -> None:
    """Believed readings become the state, and the net decrease since the one before is use. came: not by use, either way."""
    at = np.nonzero(believed)[0]
    if at.size == 0:
        return
    whole = at.size == rows.size
    part, held = (state, fixed) if whole else (state[:, at], fixed[:, at])
    now_ms, since_ms = at_ms[at], part[LAST_MS].copy()
    before, after = part[LEVEL] + came[at], level[at]
    known = part[SEEN] > 0.0
    use = np.where(known, before - after, 0.0)
    gap = now_ms - since_ms
    # An empty item may want more than it can use: such a time says nothing against the rate.
    empty = known & (after - came[at] <= EMPTY_SHARE * held[F_CAPACITY])
    counted = np.where(empty, np.maximum(use, part[RATE] * gap / DAY_MS), use) if empty.any() else use
    day = part[DAY].copy()
    day_ring.count_use(part, slots.table["days"], rows[at], counted, since_ms, now_ms)
    part[USED] += use
    wide = gap > DAY_MS
    if wide.any():
        for column, new in (
            (GAP_FROM_MS, since_ms),
            (GAP_FROM_LEVEL, before),
            (GAP_TO_MS, now_ms),
            (GAP_TO_LEVEL, after),
        ):
            part[column] = np.where(wide, new, part[column])
    pace = np.where(known, np.maximum(0.1, 1.0 / (part[SEEN] + 1.0)), 0.0)
    usual = np.where(part[SEEN] >= INTERVALS_MIN, np.minimum(gap, INTERVAL_TIMES * part[INTERVAL_MS]), gap)
    part[INTERVAL_MS] += pace * (usual - part[INTERVAL_MS])
    part[LEVEL] = after
    part[LAST_VALUE] = value[at]
    part[VARIANCE] = variance[at]
    part[LAST_MS] = now_ms
    part[SEEN] += 1.0
    over = np.nonzero(part[DAY] != day)[0]
    if over.size:
        reckoning.learn_slow_error(slots, rows[at], part, over, day, now_ms)
    full = np.nonzero(after > deliveries.SHOWS_SHARE * held[F_CAPACITY])[0]
    if full.size:
        slots.table["court"][rows[at[full]], SHOWS] = 1.0
    if not whole:
        state[:, at] = part
