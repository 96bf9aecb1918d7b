"""Dead reckoning: the level between readings, from the last accepted one, the rate of use and declared deliveries.

A level is never below 0, so a delivery to an empty item counts from 0: each declaration stores the level reckoned at its moment,
and reckoning goes on from there until a later reading is accepted. The error of the rate is learned by comparing it with the use
over spans of days.
"""

from __future__ import annotations

import numpy as np

from star.times import DAY_MS
from stream.detectors.slots.state_schema import (
    COMPLETE_DAYS,
    CUMULATIVE_USE,
    CURRENT_DAY,
    F_CAPACITY,
    LAST_MS,
    LEVEL,
    PENDING_DELIVERY,
    RATE,
    RATE_BIAS_VARIANCE,
    RATE_CHECK_MS,
    RATE_CHECK_RATE,
    RATE_CHECK_USE,
    RATE_VARIANCE,
    RECKONED_LEVEL,
    RECKONED_MS,
    SPARE_STOCK,
    VARIANCE,
    Float64,
    SlotState,
)
from stream.state.state_table import Rows

RATE_BIAS_START = 0.09
"""Squared relative error of the rate over days, before any was seen."""
RATE_BIAS_MIN, RATE_BIAS_MAX = 0.0016, 0.5
RATE_CHECK_DAYS, RATE_CHECK_DAYS_MIN = 5.0, 3.0
"""Spans over which the rate is compared with what was used, and the least that is compared."""
RATE_CHECK_AFTER_DAYS = 7.0
"""Days that must be known before: an error of the profile's rate says nothing of the item's own."""
RATE_CHECKS_PRIOR, RATE_CHECKS_MEMORY = 3.0, 12.0


def deplete(level: Float64, use: Float64) -> Float64:
    """`level` after `use`: not under nothing, but for a counted one that is there already."""
    left: Float64 = np.where(level > 0.0, np.maximum(level - use, 0.0), level)
    return left


def prediction_variance(state: Float64, days: Float64) -> Float64:
    """(n,) variance of the level's estimate after `days` without a reading. state: (columns, n)."""
    use = state[RATE] * days
    variance: Float64 = state[VARIANCE] + state[RATE_VARIANCE] * days + state[RATE_BIAS_VARIANCE] * use * use
    return variance


def baseline_level(slots: SlotState, rows: Rows, state: Float64, fixed: Float64) -> tuple[Float64, Float64]:
    """(n,) the level that the reckoning begins with, all that was declared and not seen in it, and since when.

    state, fixed: (columns, n) of `rows`, level slots.
    """
    anomaly_state = slots.table["anomaly_state"][rows].T
    from_declared = anomaly_state[RECKONED_MS] > state[LAST_MS]
    full = np.where(state[PENDING_DELIVERY] > 0.0, np.maximum(fixed[F_CAPACITY], state[LEVEL]), np.inf)
    level = np.minimum(state[LEVEL] + state[PENDING_DELIVERY] + state[SPARE_STOCK], full)
    level = np.where(from_declared, anomaly_state[RECKONED_LEVEL], level)
    return level, np.where(from_declared, anomaly_state[RECKONED_MS], state[LAST_MS])


def reckoned_level(slots: SlotState, rows: Rows, state: Float64, fixed: Float64, at_ms: Float64 | float) -> Float64:
    """(n,) the level at `at_ms`, idle days left out. state, fixed: (columns, n) of `rows`, level slots."""
    level, since_ms = baseline_level(slots, rows, state, fixed)
    days = np.maximum(at_ms - since_ms, 0.0) / DAY_MS
    days -= np.minimum(slots.covariates.idle_days(slots.table, rows, since_ms, at_ms), days)
    return deplete(level, state[RATE] * days)


def update_rate_bias(
    slots: SlotState, all_rows: Rows, state_of_all: Float64, at: Rows, day: Float64, at_ms: Float64
) -> None:
    """Of places `at`, whose day passed: at the end of a span, how far off the rate of its start was, beyond single days' chance.

    whole: (columns, n) of `all_rows`, changed; day: (n,) the number of the day before.
    """
    at = at[np.floor(state_of_all[CURRENT_DAY, at] / RATE_CHECK_DAYS) != np.floor(day[at] / RATE_CHECK_DAYS)]
    if at.size == 0:
        return
    rows, state, now_ms = all_rows[at], state_of_all[:, at], at_ms[at]
    anomaly_state = slots.table["anomaly_state"]
    since_ms, rate = anomaly_state[rows, RATE_CHECK_MS], anomaly_state[rows, RATE_CHECK_RATE]
    days = (now_ms - since_ms) / DAY_MS
    compared = (since_ms > 0.0) & (days >= RATE_CHECK_DAYS_MIN)
    expected = np.maximum(rate * days, 1e-12)
    residual = state[CUMULATIVE_USE] - anomaly_state[rows, RATE_CHECK_USE] - expected
    excess = np.maximum(residual * residual - state[RATE_VARIANCE] * days - 2.0 * state[VARIANCE], 0.0)
    error = np.clip(excess / (expected * expected), RATE_BIAS_MIN, RATE_BIAS_MAX)
    weight = np.where(
        compared, 1.0 / np.minimum(state[COMPLETE_DAYS] / RATE_CHECK_DAYS + RATE_CHECKS_PRIOR, RATE_CHECKS_MEMORY), 0.0
    )
    state[RATE_BIAS_VARIANCE] += weight * (error - state[RATE_BIAS_VARIANCE])
    known = state[COMPLETE_DAYS] >= RATE_CHECK_AFTER_DAYS
    anomaly_state[rows, RATE_CHECK_MS] = np.where(known, now_ms, 0.0)
    anomaly_state[rows, RATE_CHECK_USE], anomaly_state[rows, RATE_CHECK_RATE] = state[CUMULATIVE_USE], state[RATE]
    state_of_all[:, at] = state
