"""Online calibration: is what the forecast says true that often, for this item?

A leg is the time to consume a fixed quantity, said as quantiles when it starts and compared when it ends. (Timely deliveries
hide the true run-outs, so the time to consume is what can be checked.) Each leg that ends moves the item's log-spread a
little: wider after a miss of the 5 to 95 % interval, narrower after a hit, in the proportion that makes 90 % hits the balance
(adaptive conformal inference, Gibbs and Candès 2021, on the log-spread).
"""

from __future__ import annotations

import numpy as np

from star.analyse import QUANTILES
from star.ports import Scorer
from star.times import DAY_MS
from stream.detectors.columns import (
    F_CAPACITY,
    LAST_MS,
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
    NARROWING,
    USED,
    Float64,
    Slots,
)
from stream.detectors.outlook import History, Outlook, ask, widened
from stream.state import Rows

LEG_SHARE = 0.10
LEG_DAYS = 7.0
LEG_SHARE_MAX = 0.50
"""A leg is so many days' use, but between these shares of the capacity."""
STEP = 0.12
"""How far one leg moves the multiplier of the log-spread."""
SPREAD_MIN, SPREAD_MAX = 0.6, 3.0
"""Limits of that multiplier."""
OVERDUE = 3.0
"""A leg that takes so many times its 95 % quantile is a miss, and over."""
LEVELS_SAID = tuple(QUANTILES.index(level) for level in (0.05, 0.25, 0.50, 0.75, 0.95))


def legs(slots: Slots, outlook: Outlook, history: History, scorer: Scorer) -> None:
    """Ends the legs that are over at this look, and starts those that are due."""
    rows = outlook.rows
    columns = np.ascontiguousarray(slots.table["look"][rows].T)
    state = slots.table["filter"][rows]
    used = state[:, USED] - columns[LEG_USED]
    days = np.maximum(state[:, LAST_MS] - columns[LEG_MS], 0.0) / DAY_MS
    running = columns[LEG_MS] > 0.0
    reached = running & (used >= columns[LEG_QUANTITY]) & (columns[LEG_QUANTITY] > 0.0)
    overdue = running & ~reached & (days > OVERDUE * columns[LEG_95] + 1.0)
    took = np.where(reached, days * columns[LEG_QUANTITY] / np.where(reached, used, 1.0), days)
    _compare(columns, reached | overdue, took)
    starts = np.nonzero((~running | reached | overdue) & (outlook.trust >= 0.5))[0]
    idle = (reached | overdue) & (outlook.trust < 0.5)
    columns[LEG_MS] = np.where(idle, 0.0, columns[LEG_MS])
    if starts.size:
        _start(slots, columns, starts, outlook, history, scorer, state)
    slots.table["look"][rows] = columns.T


def _compare(columns: Float64, over: np.ndarray[tuple[int], np.dtype[np.bool_]], took: Float64) -> None:
    hit = over & (took >= columns[LEG_05]) & (took <= columns[LEG_95])
    miss = over & ~hit
    spread = 1.0 + columns[NARROWING]
    moved = spread * np.where(miss, 1.0 + 0.9 * STEP, np.where(hit, 1.0 - 0.1 * STEP, 1.0))
    columns[NARROWING] = np.where(over, np.clip(moved, SPREAD_MIN, SPREAD_MAX) - 1.0, columns[NARROWING])
    columns[LEGS] += over
    columns[LEGS_IN_90] += hit
    columns[LEGS_IN_50] += over & (took >= columns[LEG_25]) & (took <= columns[LEG_75])


def _start(
    slots: Slots, columns: Float64, at: Rows, outlook: Outlook, history: History, scorer: Scorer, state: Float64
) -> None:
    """Starts the legs of places `at`: the model is asked for the time to use up the leg's quantity."""
    fixed = slots.fixed[outlook.rows[at]].T
    capacity = fixed[F_CAPACITY]
    quantity = np.clip(LEG_DAYS * outlook.rate[at], LEG_SHARE * capacity, LEG_SHARE_MAX * capacity)
    part = History(
        daily=history.daily[at],
        today=history.today[at],
        today_fraction=history.today_fraction[at],
        weekday=history.weekday[at],
    )
    said = widened(ask(scorer, part, quantity, fixed, outlook.deviation[at]), 1.0 + columns[NARROWING, at])
    columns[LEG_MS, at] = state[at, LAST_MS]
    columns[LEG_USED, at] = state[at, USED]
    columns[LEG_QUANTITY, at] = quantity
    for column, level in zip((LEG_05, LEG_25, LEG_50, LEG_75, LEG_95), LEVELS_SAID, strict=True):
        columns[column, at] = said[:, level]
