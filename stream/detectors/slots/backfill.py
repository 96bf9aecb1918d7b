"""Backfill: level readings older than the last accepted one tell when within a gap the use was, and nothing of the present level.

The use of a gap was spread evenly over it. A late reading within it, between the levels at its ends, splits the gap, and the use
is spread again over the days before and after it. Other late readings are only counted. One at a time, as these are rare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS
from star.times import DAY_MS
from stream.detectors.slots.state_schema import (
    CURRENT_DAY,
    GAP_END_LEVEL,
    GAP_END_MS,
    GAP_START_LEVEL,
    GAP_START_MS,
    Float64,
    SlotState,
)
from stream.state.state_table import Rows


def backfill_levels(slots: SlotState, rows: Rows, at_ms: Float64, value: Float64) -> None:
    """Late readings of `rows`, all different."""
    filters, ring = slots.table["filter"], slots.table["daily_usage"]
    for row, late_ms, level in zip(rows.tolist(), at_ms.tolist(), value.tolist(), strict=True):
        _split_gap(filters[row], ring[row], late_ms, level)


def _split_gap(state: Float64, ring: NDArray[np.float32], at_ms: float, value: float) -> None:
    from_ms, to_ms = float(state[GAP_START_MS]), float(state[GAP_END_MS])
    high, low = float(state[GAP_START_LEVEL]), float(state[GAP_END_LEVEL])
    if not from_ms < at_ms < to_ms or not low <= value <= high:
        return
    _spread_use(state, ring, from_ms, to_ms, low - high)
    _spread_use(state, ring, from_ms, at_ms, high - value)
    _spread_use(state, ring, at_ms, to_ms, value - low)
    state[GAP_START_MS], state[GAP_START_LEVEL] = at_ms, value


def _spread_use(state: Float64, ring: NDArray[np.float32], from_ms: float, to_ms: float, use: float) -> None:
    """Adds `use`, even over the time, to the days that are over and known."""
    newest = int(state[CURRENT_DAY])
    for day in range(max(int(from_ms // DAY_MS), newest - HISTORY_DAYS + 1), min(int(to_ms // DAY_MS), newest - 1) + 1):
        share = (min(to_ms, (day + 1) * DAY_MS) - max(from_ms, day * DAY_MS)) / (to_ms - from_ms)
        place = day % HISTORY_DAYS
        if ring[place] == ring[place]:
            ring[place] = max(float(ring[place]) + use * share, 0.0)
