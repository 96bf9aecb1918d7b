"""Daily usage: use by UTC day, from differences of level estimates.

What is counted adds up to the net change, so that noise does not accumulate. A day is stored at its number modulo the number of
columns, so nothing moves when days pass. A day counts use of 0 or more; a negative remainder, due to noise, is a deficit that the
next day repays. The first day of an item is partial and stays unknown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS, LONG_DAILY_DECAY
from star.times import DAY_MS
from stream.detectors.slots.state_schema import (
    COMPLETE_DAYS,
    CURRENT_DAY,
    DEFICIT,
    FIRST_MS,
    LONG_DAYS,
    LONG_SQUARES,
    LONG_USE,
    RATE,
    RATE_VARIANCE,
    USED_TODAY,
    Float64,
)
from stream.state.state_table import Rows

_MEMORY_DAYS = 28.0
"""The moving mean of the rate remembers about so many days."""
_PRIOR_DAYS = 4.0
"""The profile's rate counts as so many days of evidence."""

Bools = NDArray[np.bool_]


def utc_day(at_ms: Float64) -> Float64:
    """The number of the UTC day."""
    return np.floor(at_ms / DAY_MS)


def add_use(
    state: Float64, ring: NDArray[np.float32], rows: Rows, use: Float64, since_ms: Float64, to_ms: Float64
) -> None:
    """Counts `use` between `since_ms` and `to_ms`, spread evenly over that time; where they are equal, at `to_ms`.

    state: (columns, n), changed; ring: all rows' days; rows: (n,), all different. Days that the time passes are closed.
    """
    today = utc_day(to_ms)
    rolled = today > state[CURRENT_DAY]
    if not rolled.any():
        state[USED_TODAY] += use
        return
    state[USED_TODAY] += np.where(rolled, 0.0, use)
    some = np.nonzero(rolled)[0]
    rolled_state = state[:, some]
    span = np.maximum(to_ms[some] - since_ms[some], 0.0)
    per_ms = np.where(span > 0.0, use[some] / np.maximum(span, 1.0), 0.0)
    end_ms = (rolled_state[CURRENT_DAY] + 1.0) * DAY_MS
    rolled_state[USED_TODAY] += per_ms * np.maximum(end_ms - since_ms[some], 0.0)
    _close_day(
        rolled_state,
        ring,
        rows[some],
        rolled_state[CURRENT_DAY],
        rolled_state[USED_TODAY],
        np.ones(some.size, dtype=np.bool_),
    )
    _close_skipped_days(rolled_state, ring, rows[some], today[some], per_ms * DAY_MS)
    start_ms = today[some] * DAY_MS
    rolled_state[USED_TODAY] = np.where(
        span > 0.0, per_ms * (to_ms[some] - np.maximum(start_ms, since_ms[some])), use[some]
    )
    rolled_state[CURRENT_DAY] = today[some]
    state[:, some] = rolled_state


def _close_skipped_days(
    rolled_state: Float64, ring: NDArray[np.float32], rows: Rows, today: Float64, per_day: Float64
) -> None:
    """Closes the whole days between, at most as many as the ring has."""
    longest = int(min((today - rolled_state[CURRENT_DAY]).max() - 1.0, HISTORY_DAYS - 1.0))
    for back in range(longest, 0, -1):
        day = today - back
        _close_day(rolled_state, ring, rows, day, per_day, day > rolled_state[CURRENT_DAY])


def _close_day(
    rolled_state: Float64, ring: NDArray[np.float32], rows: Rows, day: Float64, use: Float64, which: Bools
) -> None:
    """A day is over: its use goes to the ring and moves the rate."""
    net_use = use + rolled_state[DEFICIT]
    counted = np.maximum(net_use, 0.0)
    whole = which & (day > np.floor(rolled_state[FIRST_MS] / DAY_MS))
    rolled_state[DEFICIT] = np.where(which, np.where(whole, np.minimum(net_use, 0.0), 0.0), rolled_state[DEFICIT])
    at = np.nonzero(whole)[0]
    if at.size == 0:
        return
    ring[rows[at], (day[at] % HISTORY_DAYS).astype(np.intp)] = counted[at].astype(np.float32)
    weight = np.where(whole, 1.0 / np.minimum(rolled_state[COMPLETE_DAYS] + _PRIOR_DAYS + 1.0, _MEMORY_DAYS), 0.0)
    deviation = counted - rolled_state[RATE]
    rolled_state[RATE] += weight * deviation
    rolled_state[RATE_VARIANCE] += weight * (deviation * deviation * (1.0 - weight) - rolled_state[RATE_VARIANCE])
    rolled_state[COMPLETE_DAYS] += whole
    kept = np.where(whole, LONG_DAILY_DECAY, 1.0)
    counted = np.where(whole, counted, 0.0)
    rolled_state[LONG_DAYS] = kept * rolled_state[LONG_DAYS] + whole
    rolled_state[LONG_USE] = kept * rolled_state[LONG_USE] + counted
    rolled_state[LONG_SQUARES] = kept * rolled_state[LONG_SQUARES] + counted * counted


def add_to_day(ring: NDArray[np.float32], state: Float64, column: int, row: int, at_ms: float, use: float) -> None:
    """Adds `use` to the day of `at_ms`, one that is over, where it is known; to the current day where it is that one."""
    day = at_ms // DAY_MS
    if day >= state[CURRENT_DAY, column]:
        state[USED_TODAY, column] += use
        return
    place = int(day % HISTORY_DAYS)
    if state[CURRENT_DAY, column] - day <= HISTORY_DAYS and ring[row, place] == ring[row, place]:
        ring[row, place] = max(float(ring[row, place]) + use, 0.0)


def subtract_use(state: Float64, days: NDArray[np.float32], from_ms: float, to_ms: float, use: float) -> None:
    """Takes `use`, counted evenly between two times, out again: of the current day and of those that are over and known.

    state, days: one item's.
    """
    newest = int(state[CURRENT_DAY])
    span = max(to_ms - from_ms, 1.0)
    for day in range(max(int(from_ms // DAY_MS), newest - HISTORY_DAYS + 1), min(int(to_ms // DAY_MS), newest) + 1):
        share = (min(to_ms, (day + 1.0) * DAY_MS) - max(from_ms, float(day * DAY_MS))) / span
        place = day % HISTORY_DAYS
        if day == newest:
            state[USED_TODAY] -= use * share
        elif days[place] == days[place]:
            days[place] = max(float(days[place]) - use * share, 0.0)
