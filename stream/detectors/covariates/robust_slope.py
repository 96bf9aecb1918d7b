"""The slope of a regression line from decaying sums, shrunk by its support: 0 below a t-value of 3.2, whole above 5.5."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

T_SQUARED_NONE, T_SQUARED_FULL = 10.0, 30.0
"""Squares of the t-value at which a slope begins to count, and from which on it counts fully."""


def robust_slope(n: Float64, xx: Float64, xy: Float64, yy: Float64, *, points_min: float, spread_min: float) -> Float64:
    """(k,) slopes through the origin from sums of 1, x², xy and y²; 0 where fewer points or a smaller sum of x² are known."""
    enough = (n >= points_min) & (xx > spread_min) & (yy > 0.0)
    spread = np.where(enough, xx, 1.0)
    slope = np.where(enough, xy / spread, 0.0)
    unexplained = np.maximum(yy - slope * xy, 1e-6 * yy) / np.maximum(n, 1.0)
    square = slope * slope * spread / np.where(enough, unexplained, 1.0)
    support: Float64 = slope * np.clip((square - T_SQUARED_NONE) / (T_SQUARED_FULL - T_SQUARED_NONE), 0.0, 1.0)
    return support
