"""Readings of use: increments, and running counters that may be reset.

An increment is use whenever it arrives, late or not. A counter that falls, or rises by more than the item could have used, is a
candidate until its next reading shows what it was: a reset (the count since is use), a jump (not counted as use) or a glitch. A
slot's level is one full capacity at its first reading, plus deliveries, less use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS
from stream.detectors.slots import daily_usage
from stream.detectors.slots.dead_reckoning import RATE_BIAS_START
from stream.detectors.slots.state_schema import (
    ACCEPTED_READINGS,
    CANDIDATE_COUNT,
    CANDIDATE_SINCE_MS,
    CANDIDATE_VALUE,
    COMPLETE_DAYS,
    COUNTER_VALUE,
    CUMULATIVE_USE,
    CURRENT_DAY,
    DIRTY,
    F_CAPACITY,
    F_EVALUATE_EVERY_MS,
    F_RATE,
    FIRST_MS,
    LAST_MS,
    LAST_VALUE,
    LATE_READINGS,
    LEVEL,
    OUTLIER_RATE,
    RATE,
    RATE_BIAS_VARIANCE,
    RATE_VARIANCE,
    REPORT_INTERVAL_MS,
    VARIANCE,
    Float64,
    SlotState,
)
from stream.detectors.slots.timestamp_validation import validated_ms
from stream.state.state_table import Rows

RESET_USE_ERROR = 0.3
"""Variance of the use that a restart hides, over its square: it is reckoned, never seen."""
RESET_USE_AFTER_DAYS = 7.0
"""Days that must be known before: the profile's rate says nothing of the item's own."""
PLAUSIBLE_DAYS, PLAUSIBLE_TIMES = 20.0, 1.25
"""More than so many days' use, and more than so many times all that was there, in the time since the reading before is not believed."""

Bools = NDArray[np.bool_]


def ingest_usage(
    slots: SlotState, rows: Rows, at_ms: Float64, arrived_ms: Float64, value: Float64, running: Bools
) -> None:
    """One reading of each of `rows`, all different. running: which values are of a running counter."""
    state, fixed = slots.gather(rows), slots.fixed[rows].T
    at_ms = validated_ms(state, at_ms, arrived_ms)
    state[DIRTY] = np.maximum(state[DIRTY], 1.0)
    first = state[ACCEPTED_READINGS] == 0.0
    if first.any():
        _initialise(state, fixed, first, at_ms)
    late = at_ms < state[LAST_MS]
    state[LATE_READINGS] += late
    days = np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    available = np.maximum(fixed[F_CAPACITY], state[LEVEL])
    plausible = np.maximum(PLAUSIBLE_TIMES * available, PLAUSIBLE_DAYS * state[RATE] * (days + 1.0))
    use = np.where(running, 0.0, np.where((value >= 0.0) & (value <= plausible), value, 0.0))
    implausible = ~running & (use != value)
    if running.any():
        counted, rejected = _counter_increments(state, running & ~late, at_ms, value, plausible)
        use += counted
        implausible |= rejected
    state[OUTLIER_RATE] += 0.02 * (implausible - state[OUTLIER_RATE])
    state[LEVEL] -= use
    state[CUMULATIVE_USE] += use
    in_order = ~late
    spread = running & (days > 1.0)
    since_ms = np.where(spread & in_order, state[LAST_MS], at_ms)
    ring = slots.table["daily_usage"]
    current_ms = np.maximum(at_ms, state[LAST_MS])  # a late increment is put in its own day below
    daily_usage.add_use(
        state, ring, rows, np.where(in_order, use, 0.0), np.where(in_order, since_ms, current_ms), current_ms
    )
    for place in np.nonzero(late & (use > 0.0))[0].tolist():
        daily_usage.add_to_day(ring, state, place, int(rows[place]), float(at_ms[place]), float(use[place]))
    state[REPORT_INTERVAL_MS] += np.where(in_order & ~first, 0.1, 0.0) * (
        at_ms - state[LAST_MS] - state[REPORT_INTERVAL_MS]
    )
    state[LAST_MS] = np.where(in_order, at_ms, state[LAST_MS])
    state[LAST_VALUE] = np.where(in_order, value, state[LAST_VALUE])
    state[ACCEPTED_READINGS] += 1.0
    slots.scatter(rows, state)


def _initialise(state: Float64, fixed: Float64, first: Bools, at_ms: Float64) -> None:
    """The first reading of an item: full, apart from what was delivered before it."""
    for column, start in (
        (FIRST_MS, at_ms),
        (LAST_MS, at_ms),
        (LEVEL, state[LEVEL] + fixed[F_CAPACITY]),
        (RATE, fixed[F_RATE]),
        (RATE_VARIANCE, fixed[F_RATE] * fixed[F_RATE]),
        (CURRENT_DAY, daily_usage.utc_day(at_ms)),
        (RATE_BIAS_VARIANCE, np.full(at_ms.size, RATE_BIAS_START)),
        (REPORT_INTERVAL_MS, np.minimum(fixed[F_EVALUATE_EVERY_MS], float(DAY_MS))),
        (COUNTER_VALUE, np.full(at_ms.size, np.nan)),
    ):
        state[column] = np.where(first, start, state[column])


def _counter_increments(
    state: Float64, which: Bools, at_ms: Float64, value: Float64, plausible: Float64
) -> tuple[Float64, Bools]:
    """(use, odd): what the readings of running counters say was used since the one before, and which are doubted."""
    first_value = which & np.isnan(state[COUNTER_VALUE])
    increment = np.where(first_value, 0.0, value - state[COUNTER_VALUE])
    fits = which & ~first_value & (increment >= 0.0) & (increment <= plausible)
    candidate = which & ~first_value & ~fits
    since = value - state[CANDIDATE_VALUE]
    resolved = candidate & (state[CANDIDATE_COUNT] > 0.0) & (since >= 0.0) & (since <= plausible)
    # A counter that started again counts from zero: all that it shows is use, if that can be.
    reset = resolved & (state[CANDIDATE_VALUE] < state[COUNTER_VALUE]) & (value <= plausible)
    hidden_use = np.where(reset, _use_hidden_by_reset(state, at_ms, value), 0.0)
    state[VARIANCE] += RESET_USE_ERROR * hidden_use * hidden_use
    use = np.where(fits, increment, np.where(reset, value + hidden_use, np.where(resolved, since, 0.0)))
    starts_candidate = candidate & ~resolved & (state[CANDIDATE_COUNT] == 0.0)
    state[CANDIDATE_SINCE_MS] = np.where(starts_candidate, state[LAST_MS], state[CANDIDATE_SINCE_MS])
    state[CANDIDATE_COUNT] = np.where(which, np.where(candidate & ~resolved, 1.0, 0.0), state[CANDIDATE_COUNT])
    state[CANDIDATE_VALUE] = np.where(candidate & ~resolved, value, state[CANDIDATE_VALUE])
    state[COUNTER_VALUE] = np.where(first_value | fits | resolved, value, state[COUNTER_VALUE])
    return use, candidate & ~resolved


def _use_hidden_by_reset(state: Float64, at_ms: Float64, value: Float64) -> Float64:
    """(n,) use that a restart hides: what the rate lets expect since the last reading before it, less what was counted since."""
    days = np.maximum(at_ms - state[CANDIDATE_SINCE_MS], 0.0) / DAY_MS
    known = state[COMPLETE_DAYS] >= RESET_USE_AFTER_DAYS
    long_run_rate = state[CUMULATIVE_USE] / np.maximum(
        (state[LAST_MS] - state[FIRST_MS]) / DAY_MS, 1.0
    )  # without the profile's idea of it
    hidden_use: Float64 = np.where(known, np.maximum(np.minimum(state[RATE], long_run_rate) * days - value, 0.0), 0.0)
    return hidden_use
