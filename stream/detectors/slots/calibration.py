"""Online calibration of forecasts: are the stated quantiles right that often, for this item?

A calibration window is the time to consume a fixed quantity: its quantiles are forecast when it starts and compared when it ends.
(The time to consume can be observed; true run-outs can't, as timely deliveries prevent them.) How far windows end from their
median, in units of the distance that the model gave its 5 % and 95 % quantiles, is the item's own residual scale, one for each
side; the model's spread is its prior, worth a few windows. The log-spread of every forecast is multiplied by it. This is an
adaptive conformal method in a simple form: one score, two scales for each item, with exponential forgetting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.analyse import QUANTILES
from star.ports import Scorer
from star.times import DAY_MS
from stream.detectors.slots.forecasting import ForecastInputs, SlotForecasts, predict_quantiles, spread_factors
from stream.detectors.slots.state_schema import (
    CUMULATIVE_USE,
    F_CAPACITY,
    FIRST_MS,
    LAST_MS,
    RESIDUAL_SCALE_EARLY,
    RESIDUAL_SCALE_LATE,
    SPREAD_FACTOR_EARLY,
    SPREAD_FACTOR_LATE,
    WINDOW_Q05,
    WINDOW_Q25,
    WINDOW_Q50,
    WINDOW_Q75,
    WINDOW_Q95,
    WINDOW_QUANTITY,
    WINDOW_START_MS,
    WINDOW_START_USE,
    WINDOWS,
    WINDOWS_IN_50,
    WINDOWS_IN_90,
    WINDOWS_LEARNED_EARLY,
    WINDOWS_LEARNED_LATE,
    Float64,
    SlotState,
)
from stream.state.state_table import Rows

Bools = NDArray[np.bool_]

WINDOW_SHARE = 0.10
WINDOW_DAYS = 7.0
WINDOW_SHARE_MAX = 0.50
"""A leg is so many days' use, but between these shares of the capacity."""
RESIDUAL_EXPECTED = 0.485
"""The mean distance from the median of a normal distribution, in units of the distance of its 5 and 95 % quantiles."""
RESIDUAL_MAX = 2.5
"""A leg further off counts as this far."""
PRIOR_WINDOWS, MEMORY_WINDOWS = 5.0, 16.0
"""The model's own spread counts as so many legs on each side, and of the item's own so many are remembered."""
KNOWN_DAYS = 21.0
"""What a forecast of an item known for less is worth says little of those to come, and counts for less."""
DISTANCE_MIN, TIME_MIN_DAYS = 0.02, 1e-3
SPREAD_FACTOR_MIN, SPREAD_FACTOR_MAX = 0.6, 1.8
"""Limits of that multiplier."""
OVERDUE_TIMES = 3.0
"""A leg that takes so many times its 95 % quantile is a miss, and over."""
WINDOW_QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
WINDOW_QUANTILE_INDEXES = tuple(QUANTILES.index(level) for level in WINDOW_QUANTILES)
LEVEL_MIN, LEVEL_MAX = 0.01, 0.99
"""Levels outside the quantiles that were said are told up to these."""
LOG_TIME_STEP_MIN = 1e-6
"""In log time: quantiles that were said alike are taken to lie so far apart, as an order among them is needed."""


def update_windows(slots: SlotState, forecasts: SlotForecasts, inputs: ForecastInputs, scorer: Scorer) -> None:
    """Ends the legs that are over at this look, and starts those that are due. basis: what the outlook rests on."""
    rows = forecasts.rows
    columns = np.ascontiguousarray(slots.table["evaluation"][rows].T)
    state = slots.table["filter"][rows]
    used = state[:, CUMULATIVE_USE] - columns[WINDOW_START_USE]
    days = np.maximum(state[:, LAST_MS] - columns[WINDOW_START_MS], 0.0) / DAY_MS
    running = columns[WINDOW_START_MS] > 0.0
    reached = running & (used >= columns[WINDOW_QUANTITY]) & (columns[WINDOW_QUANTITY] > 0.0)
    overdue = running & ~reached & (days > OVERDUE_TIMES * columns[WINDOW_Q95] + 1.0)
    took_days = np.where(reached, days * columns[WINDOW_QUANTITY] / np.where(reached, used, 1.0), days)
    _record_outcomes(slots, rows, columns, reached, overdue, took_days)
    known_days = np.maximum(columns[WINDOW_START_MS] - state[:, FIRST_MS], 0.0) / DAY_MS
    _update_residuals(columns, reached | overdue, took_days, np.minimum(known_days / KNOWN_DAYS, 1.0))
    starts = np.nonzero((~running | reached | overdue) & (forecasts.trust >= 0.5))[0]
    idle = (reached | overdue) & (forecasts.trust < 0.5)
    columns[WINDOW_START_MS] = np.where(idle, 0.0, columns[WINDOW_START_MS])
    if starts.size:
        _start_windows(slots, columns, starts, forecasts, inputs, scorer, state)
    slots.table["evaluation"][rows] = columns.T


def window_spread_factors(columns: Float64) -> Float64:
    """(5, n) by which the log-spread of the quantiles that were said is multiplied. columns: (look columns, n)."""
    factor = spread_factors(1.0 + columns[SPREAD_FACTOR_EARLY], 1.0 + columns[SPREAD_FACTOR_LATE])
    return np.ascontiguousarray(factor[:, list(WINDOW_QUANTILE_INDEXES)].T)


def probability_level(columns: Float64, took_days: Float64) -> Float64:
    """(n,) at which probability level of the forecast given at its start each leg ended, after `took` days.

    Between the five quantiles that were said, with the spread in force then, it goes by the logarithm of the time; beyond them on
    as between the last two, until LEVEL_MIN and LEVEL_MAX. columns: (look columns, n) before the legs are compared.
    """
    predicted = np.log(np.maximum(columns[[WINDOW_Q05, WINDOW_Q25, WINDOW_Q50, WINDOW_Q75, WINDOW_Q95]], TIME_MIN_DAYS))
    log_distance = (predicted - predicted[2]) * window_spread_factors(columns)
    log_distance = (
        np.maximum.accumulate(log_distance, axis=0) + LOG_TIME_STEP_MIN * np.arange(len(WINDOW_QUANTILES))[:, None]
    )
    log_error = np.log(np.maximum(took_days, TIME_MIN_DAYS)) - predicted[2] + 2 * LOG_TIME_STEP_MIN
    segment = np.clip((log_error[None, :] > log_distance[1:-1]).sum(axis=0), 0, len(WINDOW_QUANTILES) - 2)
    at = np.arange(log_error.size)
    low, high = log_distance[segment, at], log_distance[segment + 1, at]
    levels = np.array(WINDOW_QUANTILES)
    level = levels[segment] + (levels[segment + 1] - levels[segment]) * (log_error - low) / (high - low)
    clipped: Float64 = np.clip(level, LEVEL_MIN, LEVEL_MAX)
    return clipped


def _record_outcomes(
    slots: SlotState, rows: Rows, columns: Float64, reached: Bools, overdue: Bools, took_days: Float64
) -> None:
    """Notes the levels of the legs that are over; an overdue one is as late as can be said."""
    at = np.nonzero(reached | overdue)[0]
    if at.size:
        level = np.where(overdue[at], LEVEL_MAX, probability_level(columns[:, at], took_days[at]))
        slots.ended_windows.extend(zip(rows[at].tolist(), level.tolist(), strict=True))


def _update_residuals(columns: Float64, ended: Bools, took_days: Float64, weight: Float64) -> None:
    """Ends the legs that are `over`, after `took` days: how far off was the model, in its own units? weight: of each leg, to 1."""
    if not ended.any():
        return
    median = np.maximum(columns[WINDOW_Q50], TIME_MIN_DAYS)
    log_error = np.abs(np.log(np.maximum(took_days, TIME_MIN_DAYS) / median))
    late = took_days > median
    columns[WINDOWS] += ended
    spread = window_spread_factors(columns)
    for side, edge, inner, spread_factor, residual_scale, learned, at in (
        (
            ended & ~late,
            WINDOW_Q05,
            WINDOW_Q25,
            SPREAD_FACTOR_EARLY,
            RESIDUAL_SCALE_EARLY,
            WINDOWS_LEARNED_EARLY,
            (0, 1),
        ),
        (ended & late, WINDOW_Q95, WINDOW_Q75, SPREAD_FACTOR_LATE, RESIDUAL_SCALE_LATE, WINDOWS_LEARNED_LATE, (4, 3)),
    ):
        distance = np.abs(np.log(np.maximum(columns[edge], TIME_MIN_DAYS) / median))
        near = np.abs(np.log(np.maximum(columns[inner], TIME_MIN_DAYS) / median))
        columns[WINDOWS_IN_90] += side & (log_error <= spread[at[0]] * distance)
        columns[WINDOWS_IN_50] += side & (log_error <= spread[at[1]] * near)
        counts = np.where(side, weight, 0.0)
        columns[learned] = np.minimum(columns[learned] + counts, MEMORY_WINDOWS)
        residual = np.minimum(log_error / np.maximum(distance, DISTANCE_MIN), RESIDUAL_MAX)
        gain = counts / np.maximum(columns[learned], 1.0)
        columns[residual_scale] += gain * (residual - columns[residual_scale])
        scale = (PRIOR_WINDOWS + columns[learned] * columns[residual_scale] / RESIDUAL_EXPECTED) / (
            PRIOR_WINDOWS + columns[learned]
        )
        columns[spread_factor] = np.where(
            side, np.clip(scale, SPREAD_FACTOR_MIN, SPREAD_FACTOR_MAX) - 1.0, columns[spread_factor]
        )


def _start_windows(
    slots: SlotState,
    columns: Float64,
    at: Rows,
    forecasts: SlotForecasts,
    inputs: ForecastInputs,
    scorer: Scorer,
    state: Float64,
) -> None:
    """Starts the legs of places `at`: the model is asked for the time to use up the leg's quantity."""
    fixed = slots.fixed[forecasts.rows[at]].T
    capacity = fixed[F_CAPACITY]
    quantity = np.clip(WINDOW_DAYS * forecasts.rate[at], WINDOW_SHARE * capacity, WINDOW_SHARE_MAX * capacity)
    predicted = predict_quantiles(scorer, inputs.for_quantity(at, quantity))
    columns[WINDOW_START_MS, at] = state[at, LAST_MS]
    columns[WINDOW_START_USE, at] = state[at, CUMULATIVE_USE]
    columns[WINDOW_QUANTITY, at] = quantity
    for column, level in zip(
        (WINDOW_Q05, WINDOW_Q25, WINDOW_Q50, WINDOW_Q75, WINDOW_Q95), WINDOW_QUANTILE_INDEXES, strict=True
    ):
        columns[column, at] = predicted[:, level]
