"""Readings of use: increments, and running counters that may start again from zero.

An increment is use whenever it comes, late or not. A counter that falls, or leaps further than the item could have used, is
only doubt until its next reading says which it was: a restart (what it counts since is use), a leap (not believed as use), or
a glitch. A slot's level is one full capacity at its first reading, plus what was delivered, less what was used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS
from stream.detectors import day_ring
from stream.detectors.columns import (
    DAY,
    DAYS_COUNTED,
    DOUBT,
    DOUBT_MS,
    DOUBT_VALUE,
    F_CAPACITY,
    F_LOOK_MS,
    F_RATE,
    FIRST_MS,
    FRESH,
    INTERVAL_MS,
    LAST_MS,
    LAST_VALUE,
    LATE,
    LEVEL,
    OUTLIERS,
    RATE,
    RATE_VARIANCE,
    SEEN,
    SLOW_ERROR,
    TOTAL,
    USED,
    VARIANCE,
    Float64,
    Slots,
)
from stream.detectors.plausible_time import plausible_ms
from stream.detectors.reckoning import SLOW_ERROR_START
from stream.state import Rows

HIDDEN_ERROR = 0.3
"""Variance of the use that a restart hides, over its square: it is reckoned, never seen."""
HIDDEN_AFTER_DAYS = 7.0
"""Days that must be known before: the profile's rate says nothing of the item's own."""
PLAUSIBLE_DAYS, PLAUSIBLE_TIMES = 20.0, 1.25
"""More than so many days' use, and more than so many times all that was there, in the time since the reading before is not believed."""

Bools = NDArray[np.bool_]


def take_uses(slots: Slots, rows: Rows, at_ms: Float64, arrived_ms: Float64, value: Float64, running: Bools) -> None:
    """One reading of each of `rows`, all different. running: which values are of a running counter."""
    state, fixed = slots.gather(rows), slots.fixed[rows].T
    at_ms = plausible_ms(state, at_ms, arrived_ms)
    state[FRESH] = np.maximum(state[FRESH], 1.0)
    first = state[SEEN] == 0.0
    if first.any():
        _begin(state, fixed, first, at_ms)
    late = at_ms < state[LAST_MS]
    state[LATE] += late
    days = np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    there = np.maximum(fixed[F_CAPACITY], state[LEVEL])
    plausible = np.maximum(PLAUSIBLE_TIMES * there, PLAUSIBLE_DAYS * state[RATE] * (days + 1.0))
    use = np.where(running, 0.0, np.where((value >= 0.0) & (value <= plausible), value, 0.0))
    odd = ~running & (use != value)
    if running.any():
        counted, leapt = _counter(state, running & ~late, at_ms, value, plausible)
        use += counted
        odd |= leapt
    state[OUTLIERS] += 0.02 * (odd - state[OUTLIERS])
    state[LEVEL] -= use
    state[USED] += use
    now = ~late
    spread = running & (days > 1.0)
    since_ms = np.where(spread & now, state[LAST_MS], at_ms)
    ring = slots.table["days"]
    current_ms = np.maximum(at_ms, state[LAST_MS])  # a late increment is put in its own day below
    day_ring.count_use(state, ring, rows, np.where(now, use, 0.0), np.where(now, since_ms, current_ms), current_ms)
    for place in np.nonzero(late & (use > 0.0))[0].tolist():
        day_ring.add_to_day(ring, state, place, int(rows[place]), float(at_ms[place]), float(use[place]))
    state[INTERVAL_MS] += np.where(now & ~first, 0.1, 0.0) * (at_ms - state[LAST_MS] - state[INTERVAL_MS])
    state[LAST_MS] = np.where(now, at_ms, state[LAST_MS])
    state[LAST_VALUE] = np.where(now, value, state[LAST_VALUE])
    state[SEEN] += 1.0
    slots.scatter(rows, state)


def _begin(state: Float64, fixed: Float64, first: Bools, at_ms: Float64) -> None:
    """The first reading of an item: full, apart from what was delivered before it."""
    for column, start in (
        (FIRST_MS, at_ms),
        (LAST_MS, at_ms),
        (LEVEL, state[LEVEL] + fixed[F_CAPACITY]),
        (RATE, fixed[F_RATE]),
        (RATE_VARIANCE, fixed[F_RATE] * fixed[F_RATE]),
        (DAY, day_ring.day_of(at_ms)),
        (SLOW_ERROR, np.full(at_ms.size, SLOW_ERROR_START)),
        (INTERVAL_MS, np.minimum(fixed[F_LOOK_MS], float(DAY_MS))),
        (TOTAL, np.full(at_ms.size, np.nan)),
    ):
        state[column] = np.where(first, start, state[column])


def _counter(state: Float64, which: Bools, at_ms: Float64, value: Float64, plausible: Float64) -> tuple[Float64, Bools]:
    """(use, odd): what the readings of running counters say was used since the one before, and which are doubted."""
    begun = which & np.isnan(state[TOTAL])
    moved = np.where(begun, 0.0, value - state[TOTAL])
    fits = which & ~begun & (moved >= 0.0) & (moved <= plausible)
    doubted = which & ~begun & ~fits
    since = value - state[DOUBT_VALUE]
    settled = doubted & (state[DOUBT] > 0.0) & (since >= 0.0) & (since <= plausible)
    # A counter that started again counts from zero: all that it shows is use, if that can be.
    restarted = settled & (state[DOUBT_VALUE] < state[TOTAL]) & (value <= plausible)
    hidden = np.where(restarted, _hidden(state, at_ms, value), 0.0)
    state[VARIANCE] += HIDDEN_ERROR * hidden * hidden
    use = np.where(fits, moved, np.where(restarted, value + hidden, np.where(settled, since, 0.0)))
    begins = doubted & ~settled & (state[DOUBT] == 0.0)
    state[DOUBT_MS] = np.where(begins, state[LAST_MS], state[DOUBT_MS])
    state[DOUBT] = np.where(which, np.where(doubted & ~settled, 1.0, 0.0), state[DOUBT])
    state[DOUBT_VALUE] = np.where(doubted & ~settled, value, state[DOUBT_VALUE])
    state[TOTAL] = np.where(begun | fits | settled, value, state[TOTAL])
    return use, doubted & ~settled


def _hidden(state: Float64, at_ms: Float64, value: Float64) -> Float64:
    """(n,) use that a restart hides: what the rate lets expect since the last reading before it, less what was counted since."""
    days = np.maximum(at_ms - state[DOUBT_MS], 0.0) / DAY_MS
    known = state[DAYS_COUNTED] >= HIDDEN_AFTER_DAYS
    ever = state[USED] / np.maximum(
        (state[LAST_MS] - state[FIRST_MS]) / DAY_MS, 1.0
    )  # without the profile's idea of it
    hidden: Float64 = np.where(known, np.maximum(np.minimum(state[RATE], ever) * days - value, 0.0), 0.0)
    return hidden
