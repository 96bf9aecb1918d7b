"""Thermal compensation: how much a gauge reads too high or low with the temperature, learned from pairs of close readings.

Between two evaluations a level falls by the use; what it falls less as it gets warmer, and more as it gets colder, is due to the
gauge. Where that is well supported, the reported level is what the gauge would show at REFERENCE_C. The estimate itself is not
corrected: readings are accepted as they came, and refills are differences in any case.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS, HOUR_MS
from stream.detectors.covariates.robust_slope import robust_slope
from stream.state.state_table import MatrixSpec

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

THERMAL_STATE_NAMES = tuple(f"thermal_{name}" for name in ("ms", "value", "c", "n", "xx", "xy", "yy"))
"""Of the latest look with a reading: its time, the value that it read, the temperature; and sums over looks since."""
THERMAL_MATRIX = MatrixSpec(
    name="thermal",
    names=THERMAL_STATE_NAMES,
    fill=0.0,
    renamed={name.replace("thermal_", "drift_"): name for name in THERMAL_STATE_NAMES},
    former_name="drift",
)

REFERENCE_C = 15.0
"""Volumes are stated, and gauges set, at this temperature."""
PAIR_GAP_MAX_MS = 36.0 * HOUR_MS
"""Looks further apart say more of use than of the gauge."""
TEMPERATURE_AGE_MS = 12.0 * HOUR_MS
"""A level is compared with a temperature measured no longer before or after it."""
MEMORY_PAIRS = 1_000.0
SURPLUS_MAX = 0.10
"""Of the capacity: a larger surplus or lack between two looks is a refill, or anything but drift."""
OUTLIER = 4.0
PAIRS_MIN = 20.0
SLOPE_MIN, SLOPE_MAX = 0.0008, 0.015
"""Of the capacity for each °C: less is not worth a correction, more is no gauge."""


def update_thermal_slope(
    state: Float64, which: Bools, last_ms: Float64, value: Float64, rate: Float64, capacity: Float64, degrees: Float64
) -> None:
    """Compares this look with the one before. state: (NAMES, n), changed; which: (n,) levels with a temperature of their time;
    last_ms, value: of the latest reading believed; rate: use a day; degrees: °C."""
    ms, before, was_c, n, yy = state[0], state[1], state[2], state[3], state[6]
    days = (last_ms - ms) / DAY_MS
    pair = which & (ms > 0.0) & (days > 0.0) & (last_ms - ms <= PAIR_GAP_MAX_MS)
    x = degrees - was_c
    y = (value - before + rate * days) / np.where(capacity > 0.0, capacity, 1.0)
    pair &= (np.abs(y) <= SURPLUS_MAX) & (np.abs(x) > 0.0)
    usual = OUTLIER * np.sqrt(yy / np.maximum(n, 1.0))
    y = np.where(n >= PAIRS_MIN, np.clip(y, -usual, usual), y)
    keeps = 1.0 - 1.0 / MEMORY_PAIRS
    for column, term in ((3, np.ones(x.size)), (4, x * x), (5, x * y), (6, y * y)):
        state[column] = np.where(pair, keeps * state[column] + term, state[column])
    newer = which & (last_ms > ms)
    state[0], state[1], state[2] = np.where(newer, (last_ms, value, degrees), state[:3])


def offset_from_reference(state: Float64, capacity: Float64) -> Float64:
    """(n,) by how much the gauge reads too high, in the level's unit, at the latest look; 0 where it is not known to drift."""
    _, _, degrees, n, xx, xy, yy = state
    slope = robust_slope(n, xx, xy, yy, points_min=PAIRS_MIN, spread_min=0.0)
    believed = np.where(np.abs(slope) >= SLOPE_MIN, slope, 0.0)
    high: Float64 = np.clip(believed, -SLOPE_MAX, SLOPE_MAX) * (degrees - REFERENCE_C) * capacity
    return high
