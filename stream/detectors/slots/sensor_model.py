"""The sensor model of a level: noise, coarse steps, and whether the sensor is stuck, learned from its readings.

Each reading moves the estimates by a little, without a history. A stuck sensor is distinguished from a coarse one, and from an
item that is not used, by its earlier readings: they rose a little now and then, as noise does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS, HOUR_MS
from stream.detectors.slots.state_schema import (
    ACCEPTED_READINGS,
    DECLARED_MS,
    F_CAPACITY,
    F_STEP,
    LAST_MS,
    LAST_VALUE,
    LONGEST_REPEAT_MS,
    MEDIAN_CHANGE,
    PENDING_DELIVERY,
    RATE,
    REPEAT_COUNT,
    REPEAT_RATE,
    REPEAT_SINCE_MS,
    RISE_RATE,
    SPARE_STOCK,
    STEP,
    STEP_VOTES,
    Float64,
)

STUCK_READINGS = 6
"""Equal readings in a row of a sensor whose readings otherwise differ: it is stuck."""
STUCK_REPEAT_RATE_MAX, STUCK_RISE_RATE_MIN = 0.15, 0.05
"""Of neighbours equal at most, and rising at least, so large a share: the sensor's readings are taken to differ."""
REPEATS_COUNTED = 2.0
"""Of equal readings in a row, so many count for the share of equal neighbours: a sensor that sticks is not a coarse one."""
RARE_REPEAT_RATE_MAX, RARE_RISE_RATE_MIN = 0.1, 0.01
"""The same where hardly any were equal; a sensor without any noise shows no rises at all."""
STUCK_READINGS_MIN = 30.0
"""Readings from which on that is known."""
OFFSET_BY_USE_SHARE = 0.5
REPEATS_MIN, REPEAT_DAYS_MIN, REPEAT_TIMES = 3.0, 7.0, 2.5
REPEAT_USE_SHARE, REPEAT_STEPS = 0.15, 3.0
"""Of any sensor: so many equal readings, over so many days, so many times longer than ever, while the rate says so much use: of the
capacity, and of its steps."""
LONGEST_REPEAT_DECAY = 0.995
NEAR_MS = 12.0 * HOUR_MS
"""Readings so near to each other tell the noise."""
RISE_SHARE_MAX = 0.15
"""Of the capacity: a rise of no more may be noise."""
LEARNING_RATE = 0.04
STEP_SHARE_MAX = 0.25
STEP_VOTES_MIN, STEP_VOTES_MAX = 3.0, 20.0
"""Changes that must agree on a step before it counts, and the most that are remembered."""

Bools = NDArray[np.bool_]


def step_and_noise(state: Float64, fixed: Float64) -> tuple[Float64, Float64]:
    """(step, noise) of the readings as learned so far: resolution, and standard deviation of one."""
    coarse = (state[REPEAT_RATE] > 0.25) & (state[STEP_VOTES] >= STEP_VOTES_MIN)
    step = np.maximum(fixed[F_STEP], np.where(coarse, state[STEP], 0.0))
    step = np.minimum(step, STEP_SHARE_MAX * fixed[F_CAPACITY])
    noise = np.maximum(1.048 * state[MEDIAN_CHANGE], 1e-4 * fixed[F_CAPACITY])
    return step, noise


def mask_stuck_readings(state: Float64, fixed: Float64, in_order: Bools, at_ms: Float64, value: Float64) -> Bools:
    """Counts equal readings in a row; which of these readings say nothing, as they only repeat one that no longer holds.

    They repeat a value though the sensor's readings always differed; or though a delivery was declared since; or for much longer
    than they ever did, while much should have been used. Then the level goes on by the rate, and does not stay where it was.
    """
    equal: Bools = in_order & (np.abs(value - state[LAST_VALUE]) <= _equality_tolerance(value))
    changed = in_order & ~equal
    repeated_ms = at_ms - state[REPEAT_SINCE_MS]
    ended = changed & (state[REPEAT_COUNT] > 0.0)
    if ended.any():
        longest = np.maximum(state[LONGEST_REPEAT_MS] * LONGEST_REPEAT_DECAY, repeated_ms)
        state[LONGEST_REPEAT_MS] = np.where(ended, longest, state[LONGEST_REPEAT_MS])
    state[REPEAT_COUNT] = np.where(equal, state[REPEAT_COUNT] + 1.0, np.where(changed, 0.0, state[REPEAT_COUNT]))
    state[REPEAT_SINCE_MS] = np.where(changed, at_ms, state[REPEAT_SINCE_MS])
    if not equal.any():
        return equal
    # What is not believed is not learned from either, but that a sensor's readings begin to be equal must be seen.
    state[REPEAT_RATE] += np.where(equal & (state[REPEAT_COUNT] <= REPEATS_COUNTED), LEARNING_RATE, 0.0) * (
        1.0 - state[REPEAT_RATE]
    )
    use = state[RATE] * repeated_ms / DAY_MS
    ignored: Bools = equal & _normally_varies(state)
    # What came may just make up for what was used in a silence before it, and else must have shown.
    use_before_delivery = state[RATE] * (state[DECLARED_MS] - state[LAST_MS]) / DAY_MS
    ignored |= (
        equal
        & (state[PENDING_DELIVERY] > 0.0)
        & (at_ms > state[DECLARED_MS])
        & (use_before_delivery < OFFSET_BY_USE_SHARE * state[PENDING_DELIVERY])
    )
    long_repeat = (state[REPEAT_COUNT] >= REPEATS_MIN) & (
        repeated_ms > np.maximum(REPEAT_DAYS_MIN * DAY_MS, REPEAT_TIMES * state[LONGEST_REPEAT_MS])
    )
    long_repeat &= state[PENDING_DELIVERY] + state[SPARE_STOCK] <= 0.0
    ignored |= (
        equal & long_repeat & (use > np.maximum(REPEAT_USE_SHARE * fixed[F_CAPACITY], REPEAT_STEPS * state[STEP]))
    )
    return ignored


def is_stuck(state: Float64) -> Bools:
    """Which sensors repeat a value though their readings always differed."""
    stuck: Bools = (state[REPEAT_COUNT] >= STUCK_READINGS) & _normally_varies(state)
    return stuck


def _normally_varies(state: Float64) -> Bools:
    noisy: Bools = (state[REPEAT_RATE] < STUCK_REPEAT_RATE_MAX) & (state[RISE_RATE] > STUCK_RISE_RATE_MIN)
    noisy |= (state[REPEAT_RATE] < RARE_REPEAT_RATE_MAX) & (state[RISE_RATE] > RARE_RISE_RATE_MIN)
    noisy &= state[ACCEPTED_READINGS] > STUCK_READINGS_MIN
    return noisy


def _equality_tolerance(value: Float64) -> Float64:
    return 1e-9 * np.maximum(np.abs(value), 1.0)


def update_step(state: Float64, fixed: Float64, in_order: Bools, which: Bools, value: Float64) -> None:
    """How many readings differ from the one before, of believed ones (`which`), and what most changes are a multiple of.

    now: readings that are no older than the latest; a coarse sensor's next step may be in doubt at first, and is one all the same.
    """
    change = np.abs(value - state[LAST_VALUE])
    equal = change <= _equality_tolerance(value)
    changed = which & ~equal
    gain = np.where(changed, LEARNING_RATE, 0.0)
    state[REPEAT_RATE] -= gain * state[REPEAT_RATE]
    gain = np.where(which & equal & (state[REPEAT_COUNT] <= REPEATS_COUNTED), LEARNING_RATE, gain)
    state[RISE_RATE] += 0.5 * gain * ((changed & (value > state[LAST_VALUE])) - state[RISE_RATE])
    # A majority vote (Boyer and Moore): a step that too few changes agree with gives way to the next change.
    ratio = change / np.where(state[STEP] > 0.0, state[STEP], np.inf)
    steps = in_order & ~equal & (change <= 1.01 * STEP_SHARE_MAX * fixed[F_CAPACITY])
    agrees = steps & (ratio > 0.5) & (np.abs(ratio - np.rint(ratio)) < 0.1)
    votes = state[STEP_VOTES] + np.where(agrees, 1.0, np.where(steps, -1.0, 0.0))
    replaced = steps & (votes < 0.0)
    state[STEP] = np.where(replaced | (steps & (state[STEP] == 0.0)), change, state[STEP])
    state[STEP_VOTES] = np.clip(np.where(replaced, 1.0, votes), 0.0, STEP_VOTES_MAX)


def update_noise(state: Float64, fixed: Float64, which: Bools, near: Bools, value: Float64, days: Float64) -> None:
    """Tracks the median of what readings differ by, beyond the use: each moves it by a few per cent.

    Of `near` ones soon after each other every difference tells; else only small rises do, as no use makes a level rise.
    """
    change = value - state[LAST_VALUE]
    close_in_time = near & (days * DAY_MS <= NEAR_MS)
    rose = ~close_in_time & (change > _equality_tolerance(value)) & (change <= RISE_SHARE_MAX * fixed[F_CAPACITY])
    change = np.where(close_in_time, np.abs(change + state[RATE] * days), change)
    gain = np.where(state[ACCEPTED_READINGS] < 50.0, np.where(rose, 0.2, 0.1), 0.03)
    factor = np.where(change > state[MEDIAN_CHANGE], 1.0 + gain, 1.0 - gain)
    learned = np.clip(state[MEDIAN_CHANGE] * factor, 1e-4 * fixed[F_CAPACITY], 0.05 * fixed[F_CAPACITY])
    state[MEDIAN_CHANGE] = np.where(which & (close_in_time | rose), learned, state[MEDIAN_CHANGE])
