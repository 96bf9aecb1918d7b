"""Measured times that can be: not after the arrival, and not so long before it that the clock must be wrong.

What is not plausible is kept with the time of arrival, and flagged. Readings that are merely old are backfill.
"""

from __future__ import annotations

import numpy as np

from star.times import DAY_MS
from stream.detectors.columns import FLAGGED, SEEN, Float64

CLOCK_WRONG_MS = 400.0 * DAY_MS
"""A measured time further back says that the device has no clock."""
FIRST_BACK_MS = 60.0 * DAY_MS
"""The same for an item's first reading: nothing of it is known yet that an old reading could fill in."""


def plausible_ms(state: Float64, at_ms: Float64, arrived_ms: Float64) -> Float64:
    """The times to go by; flags in `state` (columns, n) those that were put right."""
    back_max = np.where(state[SEEN] == 0.0, FIRST_BACK_MS, CLOCK_WRONG_MS)
    wrong = (at_ms > arrived_ms) | (arrived_ms - at_ms > back_max)
    state[FLAGGED] += wrong
    return np.where(wrong, arrived_ms, at_ms)
