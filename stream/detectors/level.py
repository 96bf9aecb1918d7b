"""Readings of a measured level, each judged before it is believed.

A filter predicts the level from the rate of use; a reading near the prediction corrects it. One far from it is only doubt: it
is held until others agree with it (a refill, a large use) or deny it (a spike, an air gap), so no single reading fires
anything. Coarse steps say no more than the interval they stand for. Every function works on (columns, n) of different items,
elementwise with + - * / and sqrt only, so that a reading's result has the same bits whatever else is in the batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.analyse import RefillSeen, RefillStage
from star.times import DAY_MS, HOUR_MS
from stream.detectors import day_ring
from stream.detectors.backfill import backfill_levels
from stream.detectors.columns import (
    DAY,
    DOUBT,
    DOUBT_MS,
    DOUBT_VALUE,
    EQUAL,
    F_CAPACITY,
    F_LOOK_MS,
    F_NOISE,
    F_PACK,
    F_RATE,
    F_SPARE,
    F_STEP,
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
    PENDING,
    PENDING_MS,
    RATE,
    RATE_VARIANCE,
    SAME,
    SAME_MS,
    SEEN,
    SPARE,
    SPREAD_OF_READING,
    STEP,
    STEP_VOTES,
    TOLD,
    USED,
    VARIANCE,
    Float64,
    Slots,
)
from stream.detectors.plausible_time import plausible_ms
from stream.state import Rows

GATE = 4.5
"""Standard deviations within which a reading is near the prediction."""
GATE_UP_SHARE, GATE_DOWN_SHARE = 0.02, 0.03
"""And at least so much of the capacity."""
AGREEING_MIN = 3
"""Readings that must agree with each other before a jump is believed; two are enough after DOUBT_LONG_MS."""
DOUBT_LONG_MS = 6.0 * HOUR_MS
PENDING_GRACE_MS = 2.0 * DAY_MS
"""How long a declared delivery counts without being seen in the level."""
JUMP_MEMORY_MS = 3.0 * DAY_MS
"""How long before its declaration a delivery may be seen in the level."""
STUCK_READINGS = 6
"""Equal readings in a row of a sensor whose readings otherwise differ: it is stuck."""
STUCK_EQUAL_MAX = 0.15
"""The share of equal neighbours below which a sensor's readings are taken to differ."""
EQUAL_COUNTED = 2.0
"""Of equal readings in a row, so many count for the share of equal neighbours: a sensor that sticks is not a coarse one."""
STEP_SHARE_MAX = 0.25
STEP_VOTES_MIN, STEP_VOTES_MAX = 3.0, 20.0
"""Changes that must agree on a step before it counts, and the most that are remembered."""
TELL_SHARE = 0.08
"""A rise of less than this share of the capacity is told only when it is confirmed."""
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
    stuck = _sameness(state, now & ~first, at_ms, value)
    off = value - predicted
    beyond = np.maximum(np.abs(off) - 0.5 * step, 0.0)
    off = np.where(off < 0.0, -beyond, beyond)
    gate = GATE * np.sqrt(variance + noise * noise)
    near = (off <= np.maximum(gate, GATE_UP_SHARE * fixed[F_CAPACITY])) & (
        off >= -np.maximum(gate, GATE_DOWN_SHARE * fixed[F_CAPACITY])
    )
    believed = now & near & ~stuck
    doubted = now & ~near & ~stuck
    state[OUTLIERS] += np.where(now, 0.02, 0.0) * (doubted - state[OUTLIERS])
    _learn_noise(state, fixed, believed & ~first & (days * DAY_MS <= NEAR_MS), value, days)
    gain = variance / (variance + noise * noise)
    level = np.where(believed, predicted + gain * off, predicted)
    inside = (step > 0.0) & (beyond == 0.0)
    left = np.where(inside, np.minimum(variance, step * step / 12.0), (1.0 - gain) * variance)
    _deny_doubt(slots, state, rows, at_ms, believed & (state[DOUBT] > 0.0))
    rise = np.zeros(rows.size)
    if doubted.any():
        rise = _doubt(slots, state, fixed, rows, doubted, at_ms, value, predicted, np.maximum(gate, step))
        jumped = rise != 0.0
        level = np.where(jumped, predicted + rise, level)
        left = np.where(jumped, noise * noise + step * step / 12.0, left)
        believed |= jumped
    _learn_step(state, believed & ~first, value)
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


def sensor(state: Float64, fixed: Float64) -> tuple[Float64, Float64]:
    """(step, noise) of the readings as learned so far: resolution, and standard deviation of one."""
    coarse = (state[EQUAL] > 0.25) & (state[STEP_VOTES] >= STEP_VOTES_MIN)
    step = np.maximum(fixed[F_STEP], np.where(coarse, state[STEP], 0.0))
    step = np.minimum(step, STEP_SHARE_MAX * fixed[F_CAPACITY])
    noise = np.maximum(1.048 * state[SPREAD_OF_READING], 1e-4 * fixed[F_CAPACITY])
    return step, noise


def _sameness(state: Float64, now: Bools, at_ms: Float64, value: Float64) -> Bools:
    """Counts equal readings in a row; which rows are surely stuck."""
    equal = now & (np.abs(value - state[LAST_VALUE]) <= _same_within(value))
    differs = now & ~equal
    state[SAME] = np.where(equal, state[SAME] + 1.0, np.where(differs, 0.0, state[SAME]))
    state[SAME_MS] = np.where(differs, at_ms, state[SAME_MS])
    stuck: Bools = (state[SAME] >= STUCK_READINGS) & (state[EQUAL] < STUCK_EQUAL_MAX) & (state[SEEN] > 30.0)
    return stuck & now


def _same_within(value: Float64) -> Float64:
    return 1e-9 * np.maximum(np.abs(value), 1.0)


def _learn_step(state: Float64, which: Bools, value: Float64) -> None:
    """From believed readings: how many equal the one before, and what most changes are a multiple of."""
    change = np.abs(value - state[LAST_VALUE])
    equal = change <= _same_within(value)
    differs = which & ~equal
    counted = differs | (which & equal & (state[SAME] <= EQUAL_COUNTED))
    state[EQUAL] += np.where(counted, 0.04, 0.0) * (equal - state[EQUAL])
    # A majority vote (Boyer and Moore): a step that too few changes agree with gives way to the next change.
    ratio = change / np.where(state[STEP] > 0.0, state[STEP], np.inf)
    agrees = differs & (ratio > 0.5) & (np.abs(ratio - np.rint(ratio)) < 0.1)
    votes = state[STEP_VOTES] + np.where(agrees, 1.0, np.where(differs, -1.0, 0.0))
    replaced = differs & (votes < 0.0)
    state[STEP] = np.where(replaced | (differs & (state[STEP] == 0.0)), change, state[STEP])
    state[STEP_VOTES] = np.clip(np.where(replaced, 1.0, votes), 0.0, STEP_VOTES_MAX)


def _learn_noise(state: Float64, fixed: Float64, which: Bools, value: Float64, days: Float64) -> None:
    """Tracks the median of what near readings differ by, beyond the use: each reading moves it by a few per cent."""
    change = np.abs(value - state[LAST_VALUE] + state[RATE] * days)
    pace = np.where(state[SEEN] < 50.0, 0.1, 0.03)
    factor = np.where(change > state[SPREAD_OF_READING], 1.0 + pace, 1.0 - pace)
    learned = np.clip(state[SPREAD_OF_READING] * factor, 1e-4 * fixed[F_CAPACITY], 0.05 * fixed[F_CAPACITY])
    state[SPREAD_OF_READING] = np.where(which, learned, state[SPREAD_OF_READING])


def _deny_doubt(slots: Slots, state: Float64, rows: Rows, at_ms: Float64, which: Bools) -> None:
    """A reading near the prediction ends the doubt: what was told of a refill is taken back."""
    if not which.any():
        return
    for place in np.nonzero(which & (state[TOLD] > 0.0))[0].tolist():
        _tell(
            slots,
            rows[place],
            at_ms[place],
            RefillStage.RETRACTED,
            abs(state[DOUBT_VALUE, place] - state[LEVEL, place]),
        )
    state[DOUBT] = np.where(which, 0.0, state[DOUBT])
    state[TOLD] = np.where(which, 0.0, state[TOLD])


def _doubt(
    slots: Slots,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    doubted: Bools,
    at_ms: Float64,
    value: Float64,
    predicted: Float64,
    gate: Float64,
) -> Float64:
    """Readings far from the prediction: (n,) the jump that is believed now, 0 where it is not (yet)."""
    expected = state[DOUBT_VALUE] - state[RATE] * np.maximum(at_ms - state[DOUBT_MS], 0.0) / DAY_MS
    width = np.maximum(gate, GATE_DOWN_SHARE * fixed[F_CAPACITY])
    agrees = doubted & (state[DOUBT] > 0.0) & (np.abs(value - expected) <= width)
    agrees &= (value > predicted) == (state[DOUBT_VALUE] > predicted)
    fresh = doubted & ~agrees
    _deny_doubt(slots, state, rows, at_ms, fresh & (state[TOLD] > 0.0))
    count = np.where(agrees, state[DOUBT] + 1.0, 1.0)
    since = np.where(agrees, state[DOUBT_MS], at_ms)
    mean = np.where(agrees, expected + (value - expected) / count, value)
    awaited = (state[PENDING] > 0.0) & (at_ms - state[PENDING_MS] <= PENDING_GRACE_MS)
    awaited |= (fixed[F_SPARE] > 0.0) & (state[SPARE] > 0.0)
    up = value > predicted
    sure = (count >= AGREEING_MIN) | ((count >= 2.0) & (at_ms - since >= DOUBT_LONG_MS)) | (up & awaited)
    sure &= doubted
    state[DOUBT] = np.where(doubted, np.where(sure, 0.0, count), state[DOUBT])
    # A doubt keeps its first moment, with the mean of its readings brought back to it.
    back = state[RATE] * (at_ms - since) / DAY_MS
    state[DOUBT_VALUE] = np.where(doubted, mean + back, state[DOUBT_VALUE])
    state[DOUBT_MS] = np.where(doubted, since, state[DOUBT_MS])
    rise = np.where(sure, mean - predicted, 0.0)
    begun = fresh & up & ~sure & (value - predicted >= TELL_SHARE * fixed[F_CAPACITY])
    _tell_rises(slots, state, fixed, rows, begun, sure & up, at_ms, value - predicted, rise)
    return rise


def _tell_rises(
    slots: Slots,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    begun: Bools,
    sure: Bools,
    at_ms: Float64,
    seen: Float64,
    rise: Float64,
) -> None:
    """Tells of refills: provisional at the first sight, confirmed when sure - unless it was declared, or is a spare pack."""
    for place in np.nonzero(begun)[0].tolist():
        _tell(slots, rows[place], at_ms[place], RefillStage.PROVISIONAL, seen[place])
        state[TOLD, place] = 1.0
    for place in np.nonzero(sure)[0].tolist():
        left = _match(state[:, place], fixed[:, place], float(at_ms[place]), float(rise[place]))
        if left > 0.0:
            _tell(slots, rows[place], at_ms[place], RefillStage.CONFIRMED, left)
            state[JUMP, place], state[JUMP_MS, place] = rise[place], at_ms[place]
        elif state[TOLD, place] > 0.0:
            _tell(slots, rows[place], at_ms[place], RefillStage.RETRACTED, rise[place])
        state[TOLD, place] = 0.0


def _match(state: Float64, fixed: Float64, at_ms: float, rise: float) -> float:
    """What of a rise is news: nothing of one that a declaration or a spare pack explains. state: one item's column."""
    if state[PENDING] > 0.0 and at_ms - state[PENDING_MS] <= PENDING_GRACE_MS:
        state[PENDING] = 0.0 if rise >= 0.5 * state[PENDING] else state[PENDING] - rise
        return 0.0
    if fixed[F_SPARE] > 0.0 and state[SPARE] > 0.0:
        packs = max(1.0, float(np.floor(rise / fixed[F_PACK] + 0.5)))
        state[SPARE] = max(0.0, state[SPARE] - packs * fixed[F_PACK])
        return 0.0
    return rise


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


def _tell(slots: Slots, row: int, at_ms: float, stage: RefillStage, quantity: float) -> None:
    seen = RefillSeen(item=slots.table.names[row], at_ms=int(at_ms), stage=stage, quantity=float(max(quantity, 0.0)))
    slots.told.append((int(row), seen))
