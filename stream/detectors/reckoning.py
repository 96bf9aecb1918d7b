"""Where a level is when nothing is read: the latest level believed goes on by the rate, and what was declared is added.

A level is never under nothing, so what came to an empty item counts from nothing: each declaration sets down the level reckoned
at its moment, and the reckoning goes on from there until a later reading is believed. How far off it may be is learned: the rate
is compared with what was truly used over spans of days.
"""

from __future__ import annotations

import numpy as np

from star.times import DAY_MS
from stream.detectors.columns import (
    DAY,
    DAYS_COUNTED,
    F_CAPACITY,
    LAST_MS,
    LEVEL,
    PENDING,
    RATE,
    RATE_VARIANCE,
    RECKONED,
    RECKONED_MS,
    SLOW_ERROR,
    SPAN_MS,
    SPAN_RATE,
    SPAN_USED,
    SPARE,
    USED,
    VARIANCE,
    Float64,
    Slots,
)
from stream.state import Rows

SLOW_ERROR_START = 0.09
"""Squared relative error of the rate over days, before any was seen."""
SLOW_ERROR_MIN, SLOW_ERROR_MAX = 0.0016, 0.5
SPAN_DAYS, SPAN_DAYS_MIN = 5.0, 3.0
"""Spans over which the rate is compared with what was used, and the least that is compared."""
SPAN_AFTER_DAYS = 7.0
"""Days that must be known before: an error of the profile's rate says nothing of the item's own."""
SPANS_PRIOR, SPANS_MEMORY = 3.0, 12.0


def fallen(level: Float64, use: Float64) -> Float64:
    """`level` after `use`: not under nothing, but for a counted one that is there already."""
    left: Float64 = np.where(level > 0.0, np.maximum(level - use, 0.0), level)
    return left


def spread(state: Float64, days: Float64) -> Float64:
    """(n,) variance of the level's estimate after `days` without a reading. state: (columns, n)."""
    use = state[RATE] * days
    variance: Float64 = state[VARIANCE] + state[RATE_VARIANCE] * days + state[SLOW_ERROR] * use * use
    return variance


def grounds(slots: Slots, rows: Rows, state: Float64, fixed: Float64) -> tuple[Float64, Float64]:
    """(n,) the level that the reckoning begins with, all that was declared and not seen in it, and since when.

    state, fixed: (columns, n) of `rows`, level slots.
    """
    court = slots.table["court"][rows].T
    from_declared = court[RECKONED_MS] > state[LAST_MS]
    full = np.where(state[PENDING] > 0.0, np.maximum(fixed[F_CAPACITY], state[LEVEL]), np.inf)
    level = np.minimum(state[LEVEL] + state[PENDING] + state[SPARE], full)
    level = np.where(from_declared, court[RECKONED], level)
    return level, np.where(from_declared, court[RECKONED_MS], state[LAST_MS])


def reckoned(slots: Slots, rows: Rows, state: Float64, fixed: Float64, at_ms: Float64 | float) -> Float64:
    """(n,) the level at `at_ms`, idle days left out. state, fixed: (columns, n) of `rows`, level slots."""
    level, since_ms = grounds(slots, rows, state, fixed)
    days = np.maximum(at_ms - since_ms, 0.0) / DAY_MS
    days -= np.minimum(slots.beside.idle_days(slots.table, rows, since_ms, at_ms), days)
    return fallen(level, state[RATE] * days)


def learn_slow_error(slots: Slots, all_rows: Rows, whole: Float64, at: Rows, day: Float64, at_ms: Float64) -> None:
    """Of places `at`, whose day passed: at the end of a span, how far off the rate of its start was, beyond single days' chance.

    whole: (columns, n) of `all_rows`, changed; day: (n,) the number of the day before.
    """
    at = at[np.floor(whole[DAY, at] / SPAN_DAYS) != np.floor(day[at] / SPAN_DAYS)]
    if at.size == 0:
        return
    rows, state, now_ms = all_rows[at], whole[:, at], at_ms[at]
    court = slots.table["court"]
    since_ms, rate = court[rows, SPAN_MS], court[rows, SPAN_RATE]
    days = (now_ms - since_ms) / DAY_MS
    compared = (since_ms > 0.0) & (days >= SPAN_DAYS_MIN)
    expected = np.maximum(rate * days, 1e-12)
    off = state[USED] - court[rows, SPAN_USED] - expected
    beyond = np.maximum(off * off - state[RATE_VARIANCE] * days - 2.0 * state[VARIANCE], 0.0)
    error = np.clip(beyond / (expected * expected), SLOW_ERROR_MIN, SLOW_ERROR_MAX)
    weight = np.where(compared, 1.0 / np.minimum(state[DAYS_COUNTED] / SPAN_DAYS + SPANS_PRIOR, SPANS_MEMORY), 0.0)
    state[SLOW_ERROR] += weight * (error - state[SLOW_ERROR])
    known = state[DAYS_COUNTED] >= SPAN_AFTER_DAYS
    court[rows, SPAN_MS] = np.where(known, now_ms, 0.0)
    court[rows, SPAN_USED], court[rows, SPAN_RATE] = state[USED], state[RATE]
    whole[:, at] = state
