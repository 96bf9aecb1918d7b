"""Declared deliveries and refills: what people and suppliers say came, before, after or without the sensor seeing it.

Usage slots count what is declared at once. A level slot lets a rise be expected: it counts in the level until it is seen, or
until readings made after it deny it - several that move, over days: a stuck or silent gauge denies nothing. A rise that was seen
up to three days before is matched with its declaration instead, so that neither a late nor an early sensor makes a second need.
Spare packs wait unopened, count in the level, and are no refill when opened.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from star.analyse import RefillSeen, RefillStage
from star.times import DAY_MS, HOUR_MS
from stream.detectors import doubt, reckoning
from stream.detectors.columns import (
    DENIED,
    F_CAPACITY,
    F_COUNTS,
    F_PACK,
    F_SPARE,
    FRESH,
    JUMP,
    JUMP_MS,
    LAST_MS,
    LAST_VALUE,
    LEVEL,
    PENDING,
    PENDING_MS,
    RATE,
    RECKONED,
    RECKONED_MS,
    SEEN,
    SHOWS,
    SPARE,
    TOLD,
    Float64,
    Slots,
)
from stream.state import Rows

MATCHED_SHARE = 0.7
"""A rise of so much of a declared quantity is that delivery; what is missing is not awaited."""
EARLY_MS = float(HOUR_MS)
"""A reading made so long before a declaration may show it."""
QUANTITY_ERROR = 0.1
"""Relative standard deviation of a quantity as it is said, where the use in a silence before it is not known well either."""
MORE_SHARE = 0.3
"""A reading higher than the level reckoned by so much of what was declared may still show just that."""
SINCE_FULL_MS = 2.0 * DAY_MS
"""So long after it was full, what is gone tells the rate."""
USE_ERROR_MIN = 0.1
"""Relative standard deviation, at least, of a use that only the rate tells."""
CAME_ODDS = 6.0
"""Twice the logarithm of the odds that what was declared came, before a reading."""
DENIED_MIN, DENIED_MS = 3.0, 2.0 * DAY_MS
DENIED_FEW_MIN, DENIED_FEW_MS = 2.0, 6.0 * DAY_MS
"""Believed readings that differ from each other and don't show a declaration, and how long after it: then it is forgotten."""
EMPTY_SHARE, DENIED_EMPTY_MS = 0.01, 0.5 * DAY_MS
"""Of the capacity: so little in use, and a spare pack would have been opened; so long after it was declared."""
SHOWS_SHARE = 1.1
"""A gauge that shows more of the capacity than this has spare packs in it."""

Bools = NDArray[np.bool_]


def declare(slots: Slots, row: int, at_ms: int, quantity: float | None) -> None:
    """A delivery or refill of `row`, declared at `at_ms` (arrived). quantity: in the slot's unit; None: one pack."""
    state, fixed = slots.table["filter"][row], slots.fixed[row]
    amount = float(fixed[F_PACK]) if quantity is None else quantity
    state[FRESH] = 2.0
    if fixed[F_COUNTS]:
        state[LEVEL] += amount
        _tell(slots, row, at_ms, amount)
        return
    if state[JUMP] > 0.0 and at_ms - state[JUMP_MS] <= doubt.JUMP_MEMORY_MS:
        seen = float(state[JUMP])
        state[JUMP] = max(seen - amount, 0.0)
        amount = 0.0 if seen >= MATCHED_SHARE * amount else amount - seen
        if fixed[F_SPARE]:
            state[SPARE] += amount
        return
    state[TOLD] = 0.0
    _await(slots, row, at_ms, amount)
    _tell(slots, row, at_ms, amount)


def _await(slots: Slots, row: int, at_ms: int, amount: float) -> None:
    """From now on the level is reckoned with `amount` more, as far as it fits."""
    state, court, fixed = slots.table["filter"][row], slots.table["court"][row], slots.fixed[row]
    before = reckoning.reckoned(slots, np.array([row]), state[:, None], fixed[:, None], at_ms)
    state[SPARE if fixed[F_SPARE] else PENDING] += amount
    state[PENDING_MS] = at_ms
    court[DENIED] = 0.0
    if state[SEEN] > 0.0:
        court[RECKONED] = _held(state, fixed, max(float(before[0]), 0.0) + amount)
        court[RECKONED_MS] = at_ms


def _held(state: Float64, fixed: Float64, level: float) -> float:
    """As much of `level` as fits. state, fixed: one item's."""
    return level if fixed[F_SPARE] else min(level, max(float(fixed[F_CAPACITY]), float(state[LEVEL])))


def show(
    slots: Slots,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    at: Rows,
    at_ms: Float64,
    value: Float64,
    predicted: Float64,
    variance: Float64,
) -> tuple[Float64, Float64]:
    """Of places `at`, with something declared and not seen: (rise, reckoned), the rise 0 where the reading shows none of it.

    A reading nearer to the level with the delivery than to the one without shows it, and so does one that could be either. How
    much of it came is what was said where the use since the reading before is not known, and what is read where it is. variance:
    of the prediction and the reading.
    """
    part, held = state[:, at], fixed[:, at]
    expected = reckoning.reckoned(slots, rows[at], part, held, at_ms[at])
    said = expected - predicted[at]
    off = value[at] - expected
    may = (said > 0.0) & (at_ms[at] >= part[PENDING_MS] - EARLY_MS)
    gate = doubt.GATE * np.sqrt(variance[at])
    without = value[at] - predicted[at]
    # A spare pack may lie unopened for long; what was poured in is there, unless the reading speaks clearly against it.
    odds = np.where((held[F_SPARE] == 0.0) | (slots.table["court"][rows[at], SHOWS] > 0.0), CAME_ODDS, 0.0)
    shown = may & (off * off - without * without < odds * variance[at]) & (off <= MORE_SHARE * said + gate)
    shown &= without >= -gate  # what is far under both shows neither
    unsure = QUANTITY_ERROR * said
    rise = said + off * (unsure * unsure) / (unsure * unsure + variance[at])
    for place in np.nonzero(shown & (held[F_SPARE] == 0.0))[0].tolist():
        now_ms, level = float(at_ms[at[place]]), float(value[at[place]])
        rise[place] = _poured(part[:, place], held[:, place], now_ms, level, float(said[place]), float(rise[place]))
    return np.where(shown, rise, 0.0), np.where(may, expected, predicted[at])


def _poured(state: Float64, fixed: Float64, at_ms: float, value: float, said: float, rise: float) -> float:
    """How far a delivery raised a tank in which perhaps not all of it found room; then the use since is known only from it."""
    capacity, level = float(fixed[F_CAPACITY]), float(state[LEVEL])
    gap_ms, before_ms = at_ms - state[LAST_MS], state[PENDING_MS] - state[LAST_MS]
    most = level + state[PENDING] - value
    if gap_ms < DAY_MS or before_ms <= 0.0 or most <= 0.0:
        return rise
    share = before_ms / gap_ms
    if level - most * share + state[PENDING] <= doubt.FULL_SHARE * capacity:
        return rise if said >= 0.99 * state[PENDING] else float(state[PENDING])
    if gap_ms - before_ms >= SINCE_FULL_MS:
        return float(value - level + min(max(capacity - value, 0.0) / (1.0 - share), most))
    days = np.full(1, gap_ms / DAY_MS)
    usual = float(state[RATE] * days[0])
    deviation = max(float(np.sqrt(reckoning.spread(state[:, None], days)[0])), USE_ERROR_MIN * usual)
    return float(value - level + _at_most(usual, deviation, most))


def _at_most(mean: float, deviation: float, most: float) -> float:
    """What is to be expected of a normal quantity of which it is known that it was no more than `most`."""
    score = (most - mean) / max(deviation, 1e-12)
    under = 0.5 * math.erfc(-score / math.sqrt(2.0))
    if under < 1e-6:
        return most
    return max(mean - deviation * math.exp(-0.5 * score * score) / math.sqrt(2.0 * math.pi) / under, 0.0)


def deny(slots: Slots, state: Float64, rows: Rows, at: Rows, at_ms: Float64, value: Float64) -> None:
    """Believed readings of places `at` that do not show what was declared: enough of them, over time, and it never came."""
    court = slots.table["court"]
    for place in at.tolist():
        one, kept = state[:, place], court[rows[place]]
        fixed = slots.fixed[rows[place]]
        since_ms = at_ms[place] - one[PENDING_MS]
        # Nobody leaves a pack unopened beside an empty one.
        empty = bool(fixed[F_SPARE]) and value[place] <= EMPTY_SHARE * fixed[F_CAPACITY]
        if since_ms > 0.0 and (empty or abs(value[place] - one[LAST_VALUE]) > 1e-9 * max(abs(value[place]), 1.0)):
            kept[DENIED] += 1.0
            gone = kept[DENIED] >= DENIED_MIN and since_ms >= (DENIED_EMPTY_MS if empty else DENIED_MS)
            gone |= kept[DENIED] >= DENIED_FEW_MIN and since_ms >= DENIED_FEW_MS
            if gone and (not fixed[F_SPARE] or kept[SHOWS] or empty):
                one[PENDING] = one[SPARE] = 0.0
                kept[DENIED] = 0.0
        if kept[RECKONED_MS] > at_ms[place]:
            use = one[RATE] * (kept[RECKONED_MS] - at_ms[place]) / DAY_MS
            kept[RECKONED] = _held(one, fixed, max(value[place] - use, 0.0) + one[PENDING] + one[SPARE])


def _tell(slots: Slots, row: int, at_ms: int, quantity: float) -> None:
    seen = RefillSeen(item=slots.table.names[row], at_ms=at_ms, stage=RefillStage.DECLARED, quantity=quantity)
    slots.told.append((row, seen))
