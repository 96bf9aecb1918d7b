"""Outdoor temperature by day: a yearly wave plus autocorrelated weather."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

YEAR_DAYS = 365.25
_COLDEST_DAY = 20.0  # day of the year
_PERSISTENCE = 0.8  # autocorrelation of the deviation from one day to the next


def daily_temperature_c(
    rng: np.random.Generator, places: int, days: int, first_day: int, *, mean_c: float = 11.0, swing_c: float = 8.0
) -> Float64:
    """(places, days) mean temperature in °C. first_day: days since the epoch; mean_c, swing_c: of the yearly wave."""
    day = first_day + np.arange(days)
    season = -swing_c * np.cos(2.0 * np.pi * (day - _COLDEST_DAY) / YEAR_DAYS)
    climate = mean_c + rng.normal(0.0, 1.5, (places, 1)) + rng.uniform(0.8, 1.2, (places, 1)) * season
    return np.asarray(climate + ar1_process(rng, places, days, 3.0, _PERSISTENCE))


def ar1_process(rng: np.random.Generator, rows: int, days: int, spread: float, persistence: float) -> Float64:
    """(rows, days) of a first-order autoregressive normal process: mean 0, standard deviation `spread`, autocorrelation `persistence`."""
    shocks = rng.normal(0.0, spread * np.sqrt(1.0 - persistence**2), (days, rows))
    out = np.empty((days, rows))
    now = rng.normal(0.0, spread, rows)
    for day in range(days):
        now = persistence * now + shocks[day]
        out[day] = now
    return np.ascontiguousarray(out.T)
