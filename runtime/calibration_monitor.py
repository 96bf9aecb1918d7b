"""Whether forecasts keep their promise lately: over the latest of those that were judged, wherever they are.

A judged forecast is a number u: the probability level at which the truth fell within what was said (topic `honesty`). Of honest
forecasts u is uniform. So the share within 0.05 and 0.95 should be 0.90, and how far u is from uniform is how far the model has
drifted from the world: its population stability index (PSI), over ten equal bins. What PSI of this kind does not see: inputs that
change while forecasts stay honest; that is no harm.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

WINDOW_FORECASTS = 2_000
"""So many forecasts are looked back on."""
FORECASTS_MIN = 100
"""With fewer than these there is no figure: of 100 honest forecasts PSI is 0.09 by chance alone."""
PSI_BINS = 10
INTERVALS = {"0.90": (0.05, 0.95), "0.50": (0.25, 0.75)}


class CalibrationMonitor:
    """A window over the levels of judged forecasts."""

    def __init__(self, window: int = WINDOW_FORECASTS) -> None:
        self._levels: deque[float] = deque(maxlen=window)

    def add(self, levels: Iterable[float]) -> None:
        """Adds forecasts that were judged; the oldest go."""
        self._levels.extend(levels)

    def count(self) -> int:
        """How many the figures rest on."""
        return len(self._levels)

    def coverage(self) -> dict[str, float] | None:
        """The share that came true within each promise; None while there are too few."""
        count = len(self._levels)
        if count < FORECASTS_MIN:
            return None
        return {
            promise: sum(low <= level <= high for level in self._levels) / count
            for promise, (low, high) in INTERVALS.items()
        }

    def psi(self) -> float | None:
        """The population stability index against uniform; None while there are too few. Over 0.2 is a drift to look at."""
        count = len(self._levels)
        if count < FORECASTS_MIN:
            return None
        bins = [0] * PSI_BINS
        for level in self._levels:
            bins[min(int(level * PSI_BINS), PSI_BINS - 1)] += 1
        # Half a forecast more in every bin, so that an empty one is far off and not infinitely far.
        shares = [(found + 0.5) / (count + 0.5 * PSI_BINS) for found in bins]
        return sum((share - 1 / PSI_BINS) * math.log(share * PSI_BINS) for share in shares)
