"""Readings of a measured level, each judged before it is believed.

A filter predicts the level from the rate of use; a reading near the prediction corrects it. One far from it is only doubt: it
is held until others agree with it (a refill, a large use) or deny it (a spike, an air gap), so no single reading fires
anything. Coarse steps say no more than the interval they stand for. Every function works on (columns, n) of different items,
elementwise with + - * / and sqrt only, so that a reading's result has the same bits whatever else is in the batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS, HOUR_MS
from stream.detectors import day_ring, doubt
from stream.detectors.backfill import backfill_levels
from stream.detectors.columns import (
    DAY,
    DOUBT,
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
    JUMP,
    JUMP_MS,
    LAST_MS,
    LAST_VALUE,
    LATE,
    LEVEL,
    OUTLIERS,
    RATE,
    RATE_VARIANCE,
    SAME_MS,
    SEEN,
    SPREAD_OF_READING,
    USED,
    VARIANCE,
    Float64,
    Slots,
)
from stream.detectors.plausible_time import plausible_ms
from stream.detectors.sensor import count_same, learn_noise, learn_step, sensor
from stream.state import Rows

GATE = 4.5
"""Standard deviations within which a reading is near the prediction."""
GATE_UP_SHARE, GATE_DOWN_SHARE = 0.02, 0.03
"""And at least so much of the capacity."""
JUMP_MEMORY_MS = 3.0 * DAY_MS
"""How long before its declaration a delivery may be seen in the level."""
NEAR_MS = 12.0 * HOUR_MS
"""Readings so near to each other tell the noise."""

Bools = NDArray[np.bool_]


def take_levels(slots: Slots, rows: Rows, at_ms: Float64, arrived_ms: Float64, value: Float64) -> None:
    """One reading of each of `rows`, all different. at_ms: measured; value: (n,) finite, in the slot's unit."""
    state, fixed = slots.gather(rows), slots.fixed[rows].T
    ring = slots.table["days"]
    at_ms = plausible_ms(state, at_ms, arrived_ms)
    value = np.maximum(value, 0.0)
    state[FRESH] = np.maximum(state[FRESH], 1.0)
    first = state[SEEN] == 0.0
    late = ~first & (at_ms < state[LAST_MS])
    if first.any():
        _begin(state, fixed, first, at_ms, value)
    state[LATE] += late
    now = ~late
    days, predicted, variance = _predict(state, at_ms)
    step, noise = sensor(state, fixed)
    stuck = count_same(state, now & ~first, at_ms, value)
    off = value - predicted
    beyond = np.maximum(np.abs(off) - 0.5 * step, 0.0)
    off = np.where(off < 0.0, -beyond, beyond)
    gate = GATE * np.sqrt(variance + noise * noise)
    near = off >= -np.maximum(gate, GATE_DOWN_SHARE * fixed[F_CAPACITY])
    # However long it was, no use lets the level rise: upwards the latest level is the measure, not the prediction.
    still = GATE * np.sqrt(state[VARIANCE] + noise * noise)
    near &= value - state[LEVEL] - 0.5 * step <= np.maximum(still, GATE_UP_SHARE * fixed[F_CAPACITY])
    believed = now & near & ~stuck
    doubted = now & ~near & ~stuck
    state[OUTLIERS] += np.where(now, 0.02, 0.0) * (doubted - state[OUTLIERS])
    learn_noise(state, fixed, believed & ~first & (days * DAY_MS <= NEAR_MS), value, days)
    gain = variance / (variance + noise * noise)
    level = np.where(believed, predicted + gain * off, predicted)
    inside = (step > 0.0) & (beyond == 0.0)
    left = np.where(inside, np.minimum(variance, step * step / 12.0), (1.0 - gain) * variance)
    doubt.deny(slots, state, rows, at_ms, believed & (state[DOUBT] > 0.0))
    rise = np.zeros(rows.size)
    if doubted.any():
        rise = doubt.judge(slots, state, fixed, rows, doubted, at_ms, value, predicted, np.maximum(gate, step))
        jumped = rise != 0.0
        level = np.where(jumped, predicted + rise, level)
        left = np.where(jumped, noise * noise + step * step / 12.0, left)
        believed |= jumped
    learn_step(state, believed & ~first, value)
    refill = np.where(rise > 0.0, rise, 0.0)
    _settle(state, ring, rows, believed, at_ms, level, left, refill, value, fixed)
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
        (INTERVAL_MS, np.minimum(fixed[F_LOOK_MS], float(DAY_MS))),
        (SPREAD_OF_READING, noise),
    ):
        state[column] = np.where(first, start, state[column])


def _predict(state: Float64, at_ms: Float64) -> tuple[Float64, Float64, Float64]:
    """(days since the latest reading believed, level predicted, its variance)."""
    days = np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    use = state[RATE] * days
    predicted = np.where(state[LEVEL] > 0.0, np.maximum(state[LEVEL] - use, 0.0), state[LEVEL])
    slow = 0.3 * use
    return days, predicted, state[VARIANCE] + state[RATE_VARIANCE] * days + slow * slow


def _settle(
    state: Float64,
    ring: NDArray[np.float32],
    rows: Rows,
    believed: Bools,
    at_ms: Float64,
    level: Float64,
    variance: Float64,
    refill: Float64,
    value: Float64,
    fixed: Float64,
) -> None:
    """Believed readings become the state, and the net decrease since the one before is use."""
    at = np.nonzero(believed)[0]
    if at.size == 0:
        return
    part = state[:, at] if at.size < rows.size else state
    now_ms, since_ms = at_ms[at], part[LAST_MS].copy()
    use = np.where(part[SEEN] > 0.0, part[LEVEL] + refill[at] - level[at], 0.0)
    use = np.where(_undone(part, now_ms, use), 0.0, use)
    day_ring.count_use(part, ring, rows[at], use, since_ms, now_ms)
    part[USED] += use
    gap = now_ms - since_ms
    wide = gap > DAY_MS
    for column, new in (
        (GAP_FROM_MS, since_ms),
        (GAP_FROM_LEVEL, part[LEVEL] + refill[at]),
        (GAP_TO_MS, now_ms),
        (GAP_TO_LEVEL, level[at]),
    ):
        part[column] = np.where(wide, new, part[column])
    part[INTERVAL_MS] += np.where(part[SEEN] > 0.0, 0.1, 0.0) * (gap - part[INTERVAL_MS])
    part[LEVEL] = level[at]
    part[LAST_VALUE] = value[at]
    part[VARIANCE] = variance[at]
    part[LAST_MS] = now_ms
    part[SEEN] += 1.0
    if part is not state:
        state[:, at] = part


def _undone(part: Float64, now_ms: Float64, use: Float64) -> Bools:
    """Which falls only undo a rise that was believed lately, and so are no use: it was no refill."""
    undone: Bools = (part[JUMP] > 0.0) & (now_ms - part[JUMP_MS] <= JUMP_MEMORY_MS)
    undone &= np.abs(use - part[JUMP]) <= 0.2 * part[JUMP]
    part[JUMP] = np.where(undone, 0.0, part[JUMP])
    return undone
