"""What a level's sensor is like, learned from its readings: noise, coarse steps, and whether it is stuck.

Each reading moves what is known by a little; nothing needs a history. A sensor that sticks is told from one of coarse steps
and from an item that is not used by what its readings did before: they rose a little now and then, as noise does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.detectors.columns import (
    EQUAL,
    F_CAPACITY,
    F_STEP,
    LAST_VALUE,
    RATE,
    RISES,
    SAME,
    SAME_MS,
    SEEN,
    SPREAD_OF_READING,
    STEP,
    STEP_VOTES,
    Float64,
)

STUCK_READINGS = 6
"""Equal readings in a row of a sensor whose readings otherwise differ: it is stuck."""
STUCK_EQUAL_MAX, STUCK_RISES_MIN = 0.15, 0.15
"""Of neighbours equal at most, and rising at least, so large a share: the sensor's readings are taken to differ."""
EQUAL_COUNTED = 2.0
"""Of equal readings in a row, so many count for the share of equal neighbours: a sensor that sticks is not a coarse one."""
STEP_SHARE_MAX = 0.25
STEP_VOTES_MIN, STEP_VOTES_MAX = 3.0, 20.0
"""Changes that must agree on a step before it counts, and the most that are remembered."""

Bools = NDArray[np.bool_]


def sensor(state: Float64, fixed: Float64) -> tuple[Float64, Float64]:
    """(step, noise) of the readings as learned so far: resolution, and standard deviation of one."""
    coarse = (state[EQUAL] > 0.25) & (state[STEP_VOTES] >= STEP_VOTES_MIN)
    step = np.maximum(fixed[F_STEP], np.where(coarse, state[STEP], 0.0))
    step = np.minimum(step, STEP_SHARE_MAX * fixed[F_CAPACITY])
    noise = np.maximum(1.048 * state[SPREAD_OF_READING], 1e-4 * fixed[F_CAPACITY])
    return step, noise


def count_same(state: Float64, now: Bools, at_ms: Float64, value: Float64) -> Bools:
    """Counts equal readings in a row; which rows are surely stuck."""
    equal = now & (np.abs(value - state[LAST_VALUE]) <= _same_within(value))
    differs = now & ~equal
    state[SAME] = np.where(equal, state[SAME] + 1.0, np.where(differs, 0.0, state[SAME]))
    state[SAME_MS] = np.where(differs, at_ms, state[SAME_MS])
    return now & surely_stuck(state)


def surely_stuck(state: Float64) -> Bools:
    """Which sensors repeat a value though their readings always differed."""
    stuck: Bools = (state[SAME] >= STUCK_READINGS) & (state[EQUAL] < STUCK_EQUAL_MAX) & (state[SEEN] > 30.0)
    stuck &= state[RISES] > STUCK_RISES_MIN
    return stuck


def _same_within(value: Float64) -> Float64:
    return 1e-9 * np.maximum(np.abs(value), 1.0)


def learn_step(state: Float64, which: Bools, value: Float64) -> None:
    """From believed readings: how many equal the one before, and what most changes are a multiple of."""
    change = np.abs(value - state[LAST_VALUE])
    equal = change <= _same_within(value)
    differs = which & ~equal
    counted = differs | (which & equal & (state[SAME] <= EQUAL_COUNTED))
    pace = np.where(counted, 0.04, 0.0)
    state[EQUAL] += pace * (equal - state[EQUAL])
    state[RISES] += pace * ((differs & (value > state[LAST_VALUE])) - state[RISES])
    # A majority vote (Boyer and Moore): a step that too few changes agree with gives way to the next change.
    ratio = change / np.where(state[STEP] > 0.0, state[STEP], np.inf)
    agrees = differs & (ratio > 0.5) & (np.abs(ratio - np.rint(ratio)) < 0.1)
    votes = state[STEP_VOTES] + np.where(agrees, 1.0, np.where(differs, -1.0, 0.0))
    replaced = differs & (votes < 0.0)
    state[STEP] = np.where(replaced | (differs & (state[STEP] == 0.0)), change, state[STEP])
    state[STEP_VOTES] = np.clip(np.where(replaced, 1.0, votes), 0.0, STEP_VOTES_MAX)


def learn_noise(state: Float64, fixed: Float64, which: Bools, value: Float64, days: Float64) -> None:
    """Tracks the median of what near readings differ by, beyond the use: each reading moves it by a few per cent."""
    change = np.abs(value - state[LAST_VALUE] + state[RATE] * days)
    pace = np.where(state[SEEN] < 50.0, 0.1, 0.03)
    factor = np.where(change > state[SPREAD_OF_READING], 1.0 + pace, 1.0 - pace)
    learned = np.clip(state[SPREAD_OF_READING] * factor, 1e-4 * fixed[F_CAPACITY], 0.05 * fixed[F_CAPACITY])
    state[SPREAD_OF_READING] = np.where(which, learned, state[SPREAD_OF_READING])
