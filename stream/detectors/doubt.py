"""Readings of a level far from the prediction: doubt, until others agree with them or deny them - and refills told of.

A run of readings that agree with each other is believed; a refill that is begun, sure or taken back is told. One that a
declared delivery or a spare pack explains is no news. What was believed and turns out false soon - the level comes back - is
taken back: a fall that never was is no use, and a rise that never was no refill.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.analyse import RefillSeen, RefillStage
from star.times import DAY_MS, HOUR_MS
from stream.detectors import day_ring
from stream.detectors.columns import (
    DOUBT,
    DOUBT_MS,
    DOUBT_NEWEST_MS,
    DOUBT_VALUE,
    F_CAPACITY,
    F_PACK,
    F_SPARE,
    FALL,
    FALL_FROM_MS,
    FALL_MS,
    FALL_RATE,
    FALL_RATE_VARIANCE,
    INTERVAL_MS,
    JUMP,
    JUMP_MS,
    LAST_MS,
    LEVEL,
    OUTLIERS,
    PENDING,
    PENDING_MS,
    RATE,
    RATE_VARIANCE,
    RECKONED_MS,
    ROSE,
    ROSE_MS,
    ROSE_TOOK,
    SPARE,
    TOLD,
    USED,
    Float64,
    Slots,
)
from stream.state import Rows

GATE = 4.5
"""Standard deviations within which a reading is near the prediction."""
PAIR_GATE = 6.4
"""Standard deviations of one reading within which two are the same level."""
WIDTH_SHARE = 0.03
"""Readings that agree differ by no more than that, or this share of the capacity."""
WIDTH_USE = 0.5
"""And by this share of the use between them."""
AGREEING_MIN, AGREEING_MS = 3.0, 2.0 * HOUR_MS
"""Readings that must agree with each other, and over what time, before a jump is believed."""
AGREEING_TWO_MS = 18.0 * HOUR_MS
"""Two are enough that are so far apart."""
PACK_SHARE, PACK_MS = 0.15, 3.0 * HOUR_MS
"""And, of a sensor that is seldom wrong, when they say that about a pack came; so long apart at least."""
SPARSE_MS, SPARSE_OUTLIERS_MAX = 1.5 * DAY_MS, 0.05
"""A sensor that reports so seldom, and is no more often wrong, is believed at once when it says that the level rose."""
SPARSE_FALL_RATES, SPARSE_FALL_SHARE = 3.0, 0.1
"""And when it fell, by no more than so many times the usual use and this share of the capacity."""
PARTS_MAX = 1.3
"""A rise of more than so much of what was declared is not explained by it."""
FULL_SHARE = 0.985
"""Of the capacity: so full after a delivery, a tank may have had no room for all of it."""
GONE_SHARE = 0.35
"""A rise of so much of what was declared is all that comes."""
TELL_SHARE, TELL_PACKS, TELL_SHARE_MIN, TELL_STEPS = 0.08, 0.3, 0.03, 1.5
"""A rise is told as a refill from so much of the capacity, or of a pack where that is less, but not under the last or so many steps."""
JUMP_MEMORY_MS = 3.0 * DAY_MS
"""How long before its declaration a delivery may be seen in the level, and how long a jump can be taken back."""
MEMORY_INTERVALS = 2.5
"""And how many of a sensor's intervals, where it speaks seldom."""
OUTLIERS_PACE = 0.02
"""What one reading moves their share by."""
SAID_SHARE = 0.1
"""A rise that differs from what was declared by no more of it shows just that."""
BACK_SHARE = 0.2
"""The level has come back when a jump differs from the one before by no more of it."""

Bools = NDArray[np.bool_]


def judge(
    slots: Slots,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    at_ms: Float64,
    value: Float64,
    predicted: Float64,
    expected: Float64,
    noise: Float64,
    step: Float64,
) -> tuple[Float64, Float64]:
    """Readings of n items far from the prediction: (jump that is believed now, 0 where none is (yet); time of it), (n,) each.

    state: (columns, n), changed; expected: the level with what was declared; noise, step: of a reading.
    """
    court = slots.table["court"]
    moved = state[RATE] * (at_ms - state[DOUBT_MS]) / DAY_MS
    same = state[DOUBT_VALUE] - moved
    width = np.maximum(np.maximum(PAIR_GATE * noise, step), WIDTH_SHARE * fixed[F_CAPACITY]) + WIDTH_USE * np.abs(moved)
    up = value > predicted
    further = ~up & (value < same) & (at_ms > state[DOUBT_MS])
    agrees = (state[DOUBT] > 0.0) & (further | (np.abs(value - same) <= width))
    agrees &= up == (state[DOUBT_VALUE] > predicted)
    fresh = ~agrees
    deny(slots, state, rows, at_ms, fresh & (state[TOLD] > 0.0))
    count = np.where(agrees, state[DOUBT] + 1.0, 1.0)
    since = np.where(agrees, np.minimum(state[DOUBT_MS], at_ms), at_ms)
    newest = np.where(agrees, np.maximum(court[rows, DOUBT_NEWEST_MS], at_ms), at_ms)
    whole = further & (np.abs(value - same) > width)
    mean = np.where(agrees & ~whole, same + (value - same) / count, value)
    state[DOUBT_VALUE] = mean + state[RATE] * (at_ms - since) / DAY_MS
    state[DOUBT_MS] = since
    court[rows, DOUBT_NEWEST_MS] = newest
    sure = _sure(state, fixed, at_ms, value, predicted, expected, count, newest - since)
    sure |= _returns(state, court[rows], at_ms, predicted - value)
    state[DOUBT] = np.where(sure, 0.0, count)
    state[OUTLIERS] -= np.where(sure, np.minimum(OUTLIERS_PACE * count, state[OUTLIERS]), 0.0)
    rise = np.where(sure, mean - predicted, 0.0)
    least = _least_told(fixed, step)
    for place in np.nonzero(fresh & up & ~sure & (value - predicted >= least))[0].tolist():
        _tell(slots, rows[place], at_ms[place], RefillStage.PROVISIONAL, value[place] - predicted[place])
        state[TOLD, place] = 1.0
    return rise, np.where(sure, newest, at_ms)


def _sure(
    state: Float64,
    fixed: Float64,
    at_ms: Float64,
    value: Float64,
    predicted: Float64,
    expected: Float64,
    count: Float64,
    over_ms: Float64,
) -> Bools:
    """Which doubts are over: enough agree, something declared explains the rise, or the sensor is a good one that speaks seldom."""
    up = value > predicted
    sure: Bools = (count >= AGREEING_MIN) & (over_ms >= AGREEING_MS)
    sure |= (count >= 2.0) & (over_ms >= AGREEING_TWO_MS)
    packs = (value - predicted) / fixed[F_PACK]
    a_pack = (packs > 1.0 - PACK_SHARE) & (np.abs(packs - np.rint(packs)) <= PACK_SHARE)
    sure |= a_pack & (count >= 2.0) & (over_ms >= PACK_MS) & (state[OUTLIERS] <= SPARSE_OUTLIERS_MAX)
    sure |= up & (value - predicted <= PARTS_MAX * (expected - predicted))
    use = state[RATE] * np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    usual = predicted - value <= (SPARSE_FALL_RATES - 1.0) * use + SPARSE_FALL_SHARE * fixed[F_CAPACITY]
    sure |= (up | usual) & (state[INTERVAL_MS] >= SPARSE_MS) & (state[OUTLIERS] <= SPARSE_OUTLIERS_MAX)
    return sure


def _returns(state: Float64, court: Float64, at_ms: Float64, fall: Float64) -> Bools:
    """Which falls only take back a rise that a seldom heard sensor was believed at its word, one reading ago."""
    rose = court[:, ROSE]
    once = (rose > 0.0) & (court[:, ROSE_TOOK] == 0.0) & (state[LAST_MS] <= court[:, ROSE_MS])
    seldom = (state[INTERVAL_MS] >= SPARSE_MS) & (at_ms - court[:, ROSE_MS] <= MEMORY_INTERVALS * state[INTERVAL_MS])
    back: Bools = once & seldom & (np.abs(fall - rose) <= BACK_SHARE * rose)
    return back


def deny(slots: Slots, state: Float64, rows: Rows, at_ms: Float64, which: Bools) -> None:
    """A reading near the prediction, or the same as before the doubt, ends it: what was told of a refill is taken back."""
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


def believe(
    slots: Slots, state: Float64, fixed: Float64, rows: Rows, at: Rows, at_ms: Float64, jump: Float64, step: Float64
) -> Float64:
    """Jumps of places `at` that are believed: (at,) how much of each came or went without use. Refills are told."""
    came, least = np.zeros(at.size), _least_told(fixed, step)
    for number, place in enumerate(at.tolist()):
        one, moment, off = state[:, place], float(at_ms[place]), float(jump[place])
        if off < 0.0:
            came[number] = off if _never_rose(slots, one, int(rows[place]), moment, -off) else 0.0
            continue
        came[number] = off
        if not _awaits(slots, one, int(rows[place]), moment) and _never_fell(slots, one, int(rows[place]), moment, off):
            news = 0.0
        else:
            news = _match(slots, one, fixed[:, place], int(rows[place]), moment, off)
        if news >= least[place]:
            _tell(slots, rows[place], moment, RefillStage.CONFIRMED, news)
            one[JUMP], one[JUMP_MS] = off, moment
        else:
            if news > 0.0:
                # Too little for a refill: what a noisy gauge takes back of the falls it showed, which were counted as use.
                came[number] = 0.0
            if one[TOLD] > 0.0:
                _tell(slots, rows[place], moment, RefillStage.RETRACTED, off)
        one[TOLD] = one[DOUBT] = 0.0
    return came


def _least_told(fixed: Float64, step: Float64) -> Float64:
    least = np.minimum(TELL_SHARE * fixed[F_CAPACITY], TELL_PACKS * fixed[F_PACK])
    told: Float64 = np.maximum(least, np.maximum(TELL_SHARE_MIN * fixed[F_CAPACITY], TELL_STEPS * step))
    return told


def _never_rose(slots: Slots, state: Float64, row: int, at_ms: float, fall: float) -> bool:
    """Whether a fall takes back a rise that was believed lately; else it is remembered, to be taken back itself.

    A rise that readings went on to show was one, and what fell since was used: sooner, where the rise was declared, and at once,
    where it was just what was declared.
    """
    court = slots.table["court"][row]
    rose = court[ROSE]
    said = court[ROSE_TOOK]
    stood = state[LAST_MS] - court[ROSE_MS] > (AGREEING_MS if said > 0.0 else AGREEING_TWO_MS)
    stood |= said > 0.0 and abs(rose - said) <= SAID_SHARE * said
    lately = at_ms - court[ROSE_MS] <= max(JUMP_MEMORY_MS, MEMORY_INTERVALS * float(state[INTERVAL_MS]))
    if rose > 0.0 and lately and not stood and abs(fall - rose) <= BACK_SHARE * rose:
        state[PENDING if slots.fixed[row, F_SPARE] == 0.0 else SPARE] += court[ROSE_TOOK]
        state[OUTLIERS] += OUTLIERS_PACE
        court[ROSE] = state[JUMP] = 0.0
        return True
    court[FALL], court[FALL_MS], court[FALL_FROM_MS] = fall, at_ms, state[LAST_MS]
    court[FALL_RATE], court[FALL_RATE_VARIANCE] = state[RATE], state[RATE_VARIANCE]
    return False


def _never_fell(slots: Slots, state: Float64, row: int, at_ms: float, rise: float) -> bool:
    """Whether a rise takes back a fall that was believed lately: it was no use, and the rate is what it was before."""
    court = slots.table["court"][row]
    fall = court[FALL]
    if not (fall > 0.0 and at_ms - court[FALL_MS] <= JUMP_MEMORY_MS and abs(rise - fall) <= BACK_SHARE * fall):
        return False
    day_ring.take_back(state, slots.table["days"][row], court[FALL_FROM_MS], court[FALL_MS], fall)
    state[USED] -= fall
    state[RATE], state[RATE_VARIANCE] = court[FALL_RATE], court[FALL_RATE_VARIANCE]
    court[FALL] = 0.0
    return True


def _awaits(slots: Slots, state: Float64, row: int, at_ms: float) -> bool:
    """Whether something declared is not seen yet that a rise at `at_ms` may be. state: one item's."""
    waits = state[PENDING if slots.fixed[row, F_SPARE] == 0.0 else SPARE]
    return bool(waits > 0.0 and at_ms >= state[PENDING_MS] - JUMP_MEMORY_MS)


def _match(slots: Slots, state: Float64, fixed: Float64, row: int, at_ms: float, rise: float) -> float:
    """What of a rise is news: nothing of one that a declaration or a spare pack explains. state, fixed: one item's."""
    court = slots.table["court"][row]
    waited = PENDING if fixed[F_SPARE] == 0.0 else SPARE
    waits = float(state[waited])
    court[ROSE], court[ROSE_MS], court[ROSE_TOOK] = rise, at_ms, 0.0
    if not _awaits(slots, state, row, at_ms):
        return rise
    if waited == PENDING:
        full = state[LEVEL] + rise >= FULL_SHARE * fixed[F_CAPACITY]
        left = 0.0 if full or rise >= GONE_SHARE * waits else waits - rise
    else:
        packs = max(1.0, float(np.floor(rise / fixed[F_PACK] + 0.5)))
        left = 0.0 if rise >= (1.0 - GONE_SHARE) * waits else max(0.0, waits - packs * float(fixed[F_PACK]))
    state[waited], court[ROSE_TOOK] = left, waits - left
    court[RECKONED_MS] = 0.0
    return 0.0


def _tell(slots: Slots, row: int, at_ms: float, stage: RefillStage, quantity: float) -> None:
    seen = RefillSeen(item=slots.table.names[row], at_ms=int(at_ms), stage=stage, quantity=float(max(quantity, 0.0)))
    slots.told.append((int(row), seen))
