"""Calibration of recent forecasts: coverage of their intervals and drift, over a sliding window.

An observed forecast is a number u: the probability level of the forecast distribution at which the true value fell (topic
`honesty`; the probability integral transform). For calibrated forecasts u is uniform, so 90 % of levels lie within 0.05 and 0.95.
The distance from uniform is measured by the population stability index (PSI) over ten equal bins. PSI does not show a change of
the inputs under which forecasts stay calibrated; such a change needs no action.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

WINDOW_FORECASTS = 2_000
"""Observed forecasts in the window. Larger reacts more slowly to a drift, smaller is noisier."""
FORECASTS_MIN = 100
"""Observed forecasts below which no figure is given: for 100 calibrated forecasts PSI is 0.09 by chance alone."""
PSI_BINS = 10
INTERVALS = {"0.90": (0.05, 0.95), "0.50": (0.25, 0.75)}
"""Nominal coverage -> lowest and highest level of the central interval."""


class CalibrationMonitor:
    """A sliding window over the levels of observed forecasts."""

    def __init__(self, window: int = WINDOW_FORECASTS) -> None:
        self._levels: deque[float] = deque(maxlen=window)

    def add(self, levels: Iterable[float]) -> None:
        """Adds levels, 0 to 1; the oldest leave the window."""
        self._levels.extend(levels)

    def count(self) -> int:
        """The number of forecasts in the window."""
        return len(self._levels)

    def coverage(self) -> dict[str, float] | None:
        """The observed coverage of each interval, by its nominal coverage; None while there are too few forecasts."""
        count = len(self._levels)
        if count < FORECASTS_MIN:
            return None
        return {
            nominal: sum(low <= level <= high for level in self._levels) / count
            for nominal, (low, high) in INTERVALS.items()
        }

    def psi(self) -> float | None:
        """The population stability index against uniform; None while there are too few. Above 0.2 the drift needs attention."""
        count = len(self._levels)
        if count < FORECASTS_MIN:
            return None
        bins = [0] * PSI_BINS
        for level in self._levels:
            bins[min(int(level * PSI_BINS), PSI_BINS - 1)] += 1
        # Half a forecast is added to each bin, so that an empty one gives a finite term.
        shares = [(found + 0.5) / (count + 0.5 * PSI_BINS) for found in bins]
        return sum((share - 1 / PSI_BINS) * math.log(share * PSI_BINS) for share in shares)
