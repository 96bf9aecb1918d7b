"""What a level's sensor is like, learned from its readings: noise, coarse steps, and whether it is stuck.

Each reading moves what is known by a little; nothing needs a history. A sensor that sticks is told from one of coarse steps
and from an item that is not used by what its readings did before: they rose a little now and then, as noise does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS, HOUR_MS
from stream.detectors.columns import (
    EQUAL,
    F_CAPACITY,
    F_STEP,
    LAST_MS,
    LAST_VALUE,
    LONGEST_SAME_MS,
    PENDING,
    PENDING_MS,
    RATE,
    RISES,
    SAME,
    SAME_MS,
    SEEN,
    SPARE,
    SPREAD_OF_READING,
    STEP,
    STEP_VOTES,
    Float64,
)

STUCK_READINGS = 6
"""Equal readings in a row of a sensor whose readings otherwise differ: it is stuck."""
STUCK_EQUAL_MAX, STUCK_RISES_MIN = 0.15, 0.05
"""Of neighbours equal at most, and rising at least, so large a share: the sensor's readings are taken to differ."""
EQUAL_COUNTED = 2.0
"""Of equal readings in a row, so many count for the share of equal neighbours: a sensor that sticks is not a coarse one."""
NEVER_EQUAL_MAX, SOME_RISES_MIN = 0.1, 0.01
"""The same where hardly any were equal; a sensor without any noise shows no rises at all."""
STUCK_SEEN_MIN = 30.0
"""Readings from which on that is known."""
MADE_UP_SHARE = 0.5
SAME_MIN, SAME_DAYS_MIN, SAME_TIMES = 3.0, 7.0, 2.5
SAME_USE_SHARE, SAME_STEPS = 0.15, 3.0
"""Of any sensor: so many equal readings, over so many days, so many times longer than ever, while the rate says so much use: of the
capacity, and of its steps."""
LONGEST_KEPT = 0.995
NEAR_MS = 12.0 * HOUR_MS
"""Readings so near to each other tell the noise."""
RISE_SHARE_MAX = 0.15
"""Of the capacity: a rise of no more may be noise."""
PACE = 0.04
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


def count_same(state: Float64, fixed: Float64, now: Bools, at_ms: Float64, value: Float64) -> Bools:
    """Counts equal readings in a row; which of these readings say nothing, as they only repeat one that no longer holds.

    They repeat a value though the sensor's readings always differed; or though a delivery was declared since; or for much longer
    than they ever did, while much should have been used. Then the level goes on by the rate, and does not stay where it was.
    """
    equal: Bools = now & (np.abs(value - state[LAST_VALUE]) <= _same_within(value))
    differs = now & ~equal
    same_ms = at_ms - state[SAME_MS]
    ended = differs & (state[SAME] > 0.0)
    if ended.any():
        longest = np.maximum(state[LONGEST_SAME_MS] * LONGEST_KEPT, same_ms)
        state[LONGEST_SAME_MS] = np.where(ended, longest, state[LONGEST_SAME_MS])
    state[SAME] = np.where(equal, state[SAME] + 1.0, np.where(differs, 0.0, state[SAME]))
    state[SAME_MS] = np.where(differs, at_ms, state[SAME_MS])
    if not equal.any():
        return equal
    # What is not believed is not learned from either, but that a sensor's readings begin to be equal must be seen.
    state[EQUAL] += np.where(equal & (state[SAME] <= EQUAL_COUNTED), PACE, 0.0) * (1.0 - state[EQUAL])
    use = state[RATE] * same_ms / DAY_MS
    silent: Bools = equal & _always_differs(state)
    # What came may just make up for what was used in a silence before it, and else must have shown.
    before = state[RATE] * (state[PENDING_MS] - state[LAST_MS]) / DAY_MS
    silent |= equal & (state[PENDING] > 0.0) & (at_ms > state[PENDING_MS]) & (before < MADE_UP_SHARE * state[PENDING])
    long = (state[SAME] >= SAME_MIN) & (
        same_ms > np.maximum(SAME_DAYS_MIN * DAY_MS, SAME_TIMES * state[LONGEST_SAME_MS])
    )
    long &= state[PENDING] + state[SPARE] <= 0.0
    silent |= equal & long & (use > np.maximum(SAME_USE_SHARE * fixed[F_CAPACITY], SAME_STEPS * state[STEP]))
    return silent


def surely_stuck(state: Float64) -> Bools:
    """Which sensors repeat a value though their readings always differed."""
    stuck: Bools = (state[SAME] >= STUCK_READINGS) & _always_differs(state)
    return stuck


def _always_differs(state: Float64) -> Bools:
    noisy: Bools = (state[EQUAL] < STUCK_EQUAL_MAX) & (state[RISES] > STUCK_RISES_MIN)
    noisy |= (state[EQUAL] < NEVER_EQUAL_MAX) & (state[RISES] > SOME_RISES_MIN)
    noisy &= state[SEEN] > STUCK_SEEN_MIN
    return noisy


def _same_within(value: Float64) -> Float64:
    return 1e-9 * np.maximum(np.abs(value), 1.0)


def learn_step(state: Float64, fixed: Float64, now: Bools, which: Bools, value: Float64) -> None:
    """How many readings differ from the one before, of believed ones (`which`), and what most changes are a multiple of.

    now: readings that are no older than the latest; a coarse sensor's next step may be in doubt at first, and is one all the same.
    """
    change = np.abs(value - state[LAST_VALUE])
    equal = change <= _same_within(value)
    differs = which & ~equal
    pace = np.where(differs, PACE, 0.0)
    state[EQUAL] -= pace * state[EQUAL]
    pace = np.where(which & equal & (state[SAME] <= EQUAL_COUNTED), PACE, pace)
    state[RISES] += 0.5 * pace * ((differs & (value > state[LAST_VALUE])) - state[RISES])
    # A majority vote (Boyer and Moore): a step that too few changes agree with gives way to the next change.
    ratio = change / np.where(state[STEP] > 0.0, state[STEP], np.inf)
    moves = now & ~equal & (change <= 1.01 * STEP_SHARE_MAX * fixed[F_CAPACITY])
    agrees = moves & (ratio > 0.5) & (np.abs(ratio - np.rint(ratio)) < 0.1)
    votes = state[STEP_VOTES] + np.where(agrees, 1.0, np.where(moves, -1.0, 0.0))
    replaced = moves & (votes < 0.0)
    state[STEP] = np.where(replaced | (moves & (state[STEP] == 0.0)), change, state[STEP])
    state[STEP_VOTES] = np.clip(np.where(replaced, 1.0, votes), 0.0, STEP_VOTES_MAX)


def learn_noise(state: Float64, fixed: Float64, which: Bools, near: Bools, value: Float64, days: Float64) -> None:
    """Tracks the median of what readings differ by, beyond the use: each moves it by a few per cent.

    Of `near` ones soon after each other every difference tells; else only small rises do, as no use makes a level rise.
    """
    change = value - state[LAST_VALUE]
    soon = near & (days * DAY_MS <= NEAR_MS)
    rose = ~soon & (change > _same_within(value)) & (change <= RISE_SHARE_MAX * fixed[F_CAPACITY])
    change = np.where(soon, np.abs(change + state[RATE] * days), change)
    pace = np.where(state[SEEN] < 50.0, np.where(rose, 0.2, 0.1), 0.03)
    factor = np.where(change > state[SPREAD_OF_READING], 1.0 + pace, 1.0 - pace)
    learned = np.clip(state[SPREAD_OF_READING] * factor, 1e-4 * fixed[F_CAPACITY], 0.05 * fixed[F_CAPACITY])
    state[SPREAD_OF_READING] = np.where(which & (soon | rose), learned, state[SPREAD_OF_READING])
