"""Online calibration: is what the forecast says true that often, for this item?

A leg is the time to consume a fixed quantity, said as quantiles when it starts and compared when it ends. (Timely deliveries
hide the true run-outs, so the time to consume is what can be checked.) How far legs end from their median, in units of the
distance that the model gave its 5 and 95 % quantiles, is the item's own scale of error, one for each side; the model's spread
counts as a few legs beside it. The log-spread of every forecast is multiplied by that scale. An adaptive conformal method in
its simple form: one score, two scales an item, forgetting slowly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.analyse import QUANTILES
from star.ports import Scorer
from star.times import DAY_MS
from stream.detectors.columns import (
    F_CAPACITY,
    FIRST_MS,
    LAST_MS,
    LEARNED_EARLY,
    LEARNED_LATE,
    LEG_05,
    LEG_25,
    LEG_50,
    LEG_75,
    LEG_95,
    LEG_MS,
    LEG_QUANTITY,
    LEG_USED,
    LEGS,
    LEGS_IN_50,
    LEGS_IN_90,
    MISSES_EARLY,
    MISSES_LATE,
    USED,
    WIDENING_EARLY,
    WIDENING_LATE,
    Float64,
    Slots,
)
from stream.detectors.outlook import Basis, Outlook, ask, multipliers
from stream.state import Rows

Bools = NDArray[np.bool_]

LEG_SHARE = 0.10
LEG_DAYS = 7.0
LEG_SHARE_MAX = 0.50
"""A leg is so many days' use, but between these shares of the capacity."""
MISS_EXPECTED = 0.485
"""The mean distance from the median of a normal distribution, in units of the distance of its 5 and 95 % quantiles."""
MISS_MAX = 2.5
"""A leg further off counts as this far."""
PRIOR_LEGS, MEMORY_LEGS = 5.0, 16.0
"""The model's own spread counts as so many legs on each side, and of the item's own so many are remembered."""
KNOWN_DAYS = 21.0
"""What a forecast of an item known for less is worth says little of those to come, and counts for less."""
DISTANCE_MIN, TIME_MIN_DAYS = 0.02, 1e-3
SPREAD_MIN, SPREAD_MAX = 0.6, 1.8
"""Limits of that multiplier."""
OVERDUE = 3.0
"""A leg that takes so many times its 95 % quantile is a miss, and over."""
SAID = (0.05, 0.25, 0.50, 0.75, 0.95)
LEVELS_SAID = tuple(QUANTILES.index(level) for level in SAID)
LEVEL_MIN, LEVEL_MAX = 0.01, 0.99
"""Levels outside the quantiles that were said are told up to these."""
STEP_MIN = 1e-6
"""In log time: quantiles that were said alike are taken to lie so far apart, as an order among them is needed."""


def legs(slots: Slots, outlook: Outlook, basis: Basis, scorer: Scorer) -> None:
    """Ends the legs that are over at this look, and starts those that are due. basis: what the outlook rests on."""
    rows = outlook.rows
    columns = np.ascontiguousarray(slots.table["look"][rows].T)
    state = slots.table["filter"][rows]
    used = state[:, USED] - columns[LEG_USED]
    days = np.maximum(state[:, LAST_MS] - columns[LEG_MS], 0.0) / DAY_MS
    running = columns[LEG_MS] > 0.0
    reached = running & (used >= columns[LEG_QUANTITY]) & (columns[LEG_QUANTITY] > 0.0)
    overdue = running & ~reached & (days > OVERDUE * columns[LEG_95] + 1.0)
    took = np.where(reached, days * columns[LEG_QUANTITY] / np.where(reached, used, 1.0), days)
    _judge(slots, rows, columns, reached, overdue, took)
    known_days = np.maximum(columns[LEG_MS] - state[:, FIRST_MS], 0.0) / DAY_MS
    _compare(columns, reached | overdue, took, np.minimum(known_days / KNOWN_DAYS, 1.0))
    starts = np.nonzero((~running | reached | overdue) & (outlook.trust >= 0.5))[0]
    idle = (reached | overdue) & (outlook.trust < 0.5)
    columns[LEG_MS] = np.where(idle, 0.0, columns[LEG_MS])
    if starts.size:
        _start(slots, columns, starts, outlook, basis, scorer, state)
    slots.table["look"][rows] = columns.T


def in_force(columns: Float64) -> Float64:
    """(5, n) by which the log-spread of the quantiles that were said is multiplied. columns: (look columns, n)."""
    factor = multipliers(1.0 + columns[WIDENING_EARLY], 1.0 + columns[WIDENING_LATE])
    return np.ascontiguousarray(factor[:, list(LEVELS_SAID)].T)


def level_of(columns: Float64, took: Float64) -> Float64:
    """(n,) at which probability level of the forecast given at its start each leg ended, after `took` days.

    Between the five quantiles that were said, with the spread in force then, it goes by the logarithm of the time; beyond them on
    as between the last two, until LEVEL_MIN and LEVEL_MAX. columns: (look columns, n) before the legs are compared.
    """
    said = np.log(np.maximum(columns[[LEG_05, LEG_25, LEG_50, LEG_75, LEG_95]], TIME_MIN_DAYS))
    away = (said - said[2]) * in_force(columns)
    away = np.maximum.accumulate(away, axis=0) + STEP_MIN * np.arange(len(SAID))[:, None]
    off = np.log(np.maximum(took, TIME_MIN_DAYS)) - said[2] + 2 * STEP_MIN
    segment = np.clip((off[None, :] > away[1:-1]).sum(axis=0), 0, len(SAID) - 2)
    at = np.arange(off.size)
    low, high = away[segment, at], away[segment + 1, at]
    levels = np.array(SAID)
    level = levels[segment] + (levels[segment + 1] - levels[segment]) * (off - low) / (high - low)
    clipped: Float64 = np.clip(level, LEVEL_MIN, LEVEL_MAX)
    return clipped


def _judge(slots: Slots, rows: Rows, columns: Float64, reached: Bools, overdue: Bools, took: Float64) -> None:
    """Notes the levels of the legs that are over; an overdue one is as late as can be said."""
    at = np.nonzero(reached | overdue)[0]
    if at.size:
        level = np.where(overdue[at], LEVEL_MAX, level_of(columns[:, at], took[at]))
        slots.judged.extend(zip(rows[at].tolist(), level.tolist(), strict=True))


def _compare(columns: Float64, over: Bools, took: Float64, weight: Float64) -> None:
    """Ends the legs that are `over`, after `took` days: how far off was the model, in its own units? weight: of each leg, to 1."""
    if not over.any():
        return
    median = np.maximum(columns[LEG_50], TIME_MIN_DAYS)
    off = np.abs(np.log(np.maximum(took, TIME_MIN_DAYS) / median))
    late = took > median
    columns[LEGS] += over
    spread = in_force(columns)
    for side, edge, inner, widening, misses, learned, at in (
        (over & ~late, LEG_05, LEG_25, WIDENING_EARLY, MISSES_EARLY, LEARNED_EARLY, (0, 1)),
        (over & late, LEG_95, LEG_75, WIDENING_LATE, MISSES_LATE, LEARNED_LATE, (4, 3)),
    ):
        distance = np.abs(np.log(np.maximum(columns[edge], TIME_MIN_DAYS) / median))
        near = np.abs(np.log(np.maximum(columns[inner], TIME_MIN_DAYS) / median))
        columns[LEGS_IN_90] += side & (off <= spread[at[0]] * distance)
        columns[LEGS_IN_50] += side & (off <= spread[at[1]] * near)
        counts = np.where(side, weight, 0.0)
        columns[learned] = np.minimum(columns[learned] + counts, MEMORY_LEGS)
        miss = np.minimum(off / np.maximum(distance, DISTANCE_MIN), MISS_MAX)
        pace = counts / np.maximum(columns[learned], 1.0)
        columns[misses] += pace * (miss - columns[misses])
        own = (PRIOR_LEGS + columns[learned] * columns[misses] / MISS_EXPECTED) / (PRIOR_LEGS + columns[learned])
        columns[widening] = np.where(side, np.clip(own, SPREAD_MIN, SPREAD_MAX) - 1.0, columns[widening])


def _start(
    slots: Slots, columns: Float64, at: Rows, outlook: Outlook, basis: Basis, scorer: Scorer, state: Float64
) -> None:
    """Starts the legs of places `at`: the model is asked for the time to use up the leg's quantity."""
    fixed = slots.fixed[outlook.rows[at]].T
    capacity = fixed[F_CAPACITY]
    quantity = np.clip(LEG_DAYS * outlook.rate[at], LEG_SHARE * capacity, LEG_SHARE_MAX * capacity)
    said = ask(scorer, basis.of(at, quantity))
    columns[LEG_MS, at] = state[at, LAST_MS]
    columns[LEG_USED, at] = state[at, USED]
    columns[LEG_QUANTITY, at] = quantity
    for column, level in zip((LEG_05, LEG_25, LEG_50, LEG_75, LEG_95), LEVELS_SAID, strict=True):
        columns[column, at] = said[:, level]
