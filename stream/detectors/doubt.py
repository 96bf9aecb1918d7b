"""Readings of a level far from the prediction: doubt, until others agree with them or deny them - and refills told of.

A run of readings that agree with each other is believed; a refill that is begun, sure or taken back is told. One that a
declared delivery or a spare pack explains is no news.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.analyse import RefillSeen, RefillStage
from star.times import DAY_MS, HOUR_MS
from stream.detectors.columns import (
    DOUBT,
    DOUBT_MS,
    DOUBT_VALUE,
    F_CAPACITY,
    F_PACK,
    F_SPARE,
    INTERVAL_MS,
    JUMP,
    JUMP_MS,
    LEVEL,
    OUTLIERS,
    PENDING,
    PENDING_MS,
    RATE,
    SPARE,
    TOLD,
    Float64,
    Slots,
)
from stream.state import Rows

WIDTH_SHARE = 0.03
"""Readings that agree differ by no more than the gate, or this share of the capacity."""
AGREEING_MIN = 3
"""Readings that must agree with each other before a jump is believed; two are enough after DOUBT_LONG_MS."""
DOUBT_LONG_MS = 6.0 * HOUR_MS
SPARSE_MS, SPARSE_OUTLIERS_MAX = 1.5 * DAY_MS, 0.05
"""A sensor that reports so seldom, and is so seldom wrong, is believed at once when it says that the level rose."""
PENDING_GRACE_MS = 2.0 * DAY_MS
"""How long a declared delivery counts without being seen in the level."""
TELL_SHARE, TELL_PACKS, TELL_SHARE_MIN = 0.08, 0.3, 0.03
"""A rise is told as a refill from so much of the capacity, or of a pack where that is less, but not under the last."""

Bools = NDArray[np.bool_]


def judge(
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
    width = np.maximum(gate, WIDTH_SHARE * fixed[F_CAPACITY])
    agrees = doubted & (state[DOUBT] > 0.0) & (np.abs(value - expected) <= width)
    agrees &= (value > predicted) == (state[DOUBT_VALUE] > predicted)
    fresh = doubted & ~agrees
    deny(slots, state, rows, at_ms, fresh & (state[TOLD] > 0.0))
    count = np.where(agrees, state[DOUBT] + 1.0, 1.0)
    since = np.where(agrees, state[DOUBT_MS], at_ms)
    mean = np.where(agrees, expected + (value - expected) / count, value)
    awaited = (state[PENDING] > 0.0) & (at_ms - state[PENDING_MS] <= PENDING_GRACE_MS)
    awaited |= (fixed[F_SPARE] > 0.0) & (state[SPARE] > 0.0)
    up = value > predicted
    sure = (count >= AGREEING_MIN) | ((count >= 2.0) & (at_ms - since >= DOUBT_LONG_MS)) | (up & awaited)
    sure |= up & (state[INTERVAL_MS] >= SPARSE_MS) & (state[OUTLIERS] <= SPARSE_OUTLIERS_MAX)
    sure &= doubted
    state[DOUBT] = np.where(doubted, np.where(sure, 0.0, count), state[DOUBT])
    # A doubt keeps its first moment, with the mean of its readings brought back to it.
    back = state[RATE] * (at_ms - since) / DAY_MS
    state[DOUBT_VALUE] = np.where(doubted, mean + back, state[DOUBT_VALUE])
    state[DOUBT_MS] = np.where(doubted, since, state[DOUBT_MS])
    rise = np.where(sure, mean - predicted, 0.0)
    least = np.minimum(TELL_SHARE * fixed[F_CAPACITY], TELL_PACKS * fixed[F_PACK])
    least = np.maximum(least, TELL_SHARE_MIN * fixed[F_CAPACITY])
    begun = fresh & up & ~sure & (value - predicted >= least)
    _tell_rises(slots, state, fixed, rows, begun, sure & up, least, at_ms, value - predicted, rise)
    return rise


def deny(slots: Slots, state: Float64, rows: Rows, at_ms: Float64, which: Bools) -> None:
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


def _tell_rises(
    slots: Slots,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    begun: Bools,
    sure: Bools,
    least: Float64,
    at_ms: Float64,
    seen: Float64,
    rise: Float64,
) -> None:
    """Tells of refills: provisional at the first sight, confirmed when sure - unless it was declared, or is a spare pack."""
    for place in np.nonzero(begun)[0].tolist():
        _tell(slots, rows[place], at_ms[place], RefillStage.PROVISIONAL, seen[place])
        state[TOLD, place] = 1.0
    for place in np.nonzero(sure)[0].tolist():
        news = _match(state[:, place], fixed[:, place], float(at_ms[place]), float(rise[place]))
        if news >= least[place]:
            _tell(slots, rows[place], at_ms[place], RefillStage.CONFIRMED, news)
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


def _tell(slots: Slots, row: int, at_ms: float, stage: RefillStage, quantity: float) -> None:
    seen = RefillSeen(item=slots.table.names[row], at_ms=int(at_ms), stage=stage, quantity=float(max(quantity, 0.0)))
    slots.told.append((int(row), seen))
