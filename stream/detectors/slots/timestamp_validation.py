"""Timestamp validation: a measured time may not be after the arrival, nor so long before it that the clock must be wrong.

An invalid time is replaced by that of arrival, and counted. Readings that are merely old are backfill.
"""

from __future__ import annotations

import numpy as np

from star.times import DAY_MS
from stream.detectors.slots.state_schema import ACCEPTED_READINGS, INVALID_TIMESTAMPS, Float64

CLOCK_ERROR_MS = 400.0 * DAY_MS
"""A measured time further back says that the device has no clock."""
FIRST_READING_AGE_MAX_MS = 60.0 * DAY_MS
"""The same for an item's first reading: nothing of it is known yet that an old reading could fill in."""


def validated_ms(state: Float64, at_ms: Float64, arrived_ms: Float64) -> Float64:
    """The times to go by; flags in `state` (columns, n) those that were put right."""
    age_max_ms = np.where(state[ACCEPTED_READINGS] == 0.0, FIRST_READING_AGE_MAX_MS, CLOCK_ERROR_MS)
    invalid = (at_ms > arrived_ms) | (arrived_ms - at_ms > age_max_ms)
    state[INVALID_TIMESTAMPS] += invalid
    return np.where(invalid, arrived_ms, at_ms)
