"""The level filter: accepts or rejects readings of a measured level, and updates the estimate.

A filter predicts the level by the rate of use, and a reading within its gate corrects it. One outside is a candidate until others
confirm it (a refill, a large use) or reject it (a spike, an air gap), so that no single reading has a consequence. A coarse step
tells no more than its interval. Every function works on (columns, n) of different items, elementwise with + - * / and sqrt only,
so that the result for a reading has the same bits whatever else is in the batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS
from stream.detectors.slots import daily_usage, dead_reckoning, delivery_matching, jump_confirmation
from stream.detectors.slots.backfill import backfill_levels
from stream.detectors.slots.jump_confirmation import GATE
from stream.detectors.slots.sensor_model import (
    STUCK_READINGS,
    mask_stuck_readings,
    step_and_noise,
    update_noise,
    update_step,
)
from stream.detectors.slots.state_schema import (
    ACCEPTED_READINGS,
    CANDIDATE_COUNT,
    CANDIDATE_SINCE_MS,
    CUMULATIVE_USE,
    CURRENT_DAY,
    DECLARED_MS,
    DIRTY,
    F_CAPACITY,
    F_EVALUATE_EVERY_MS,
    F_NOISE,
    F_RATE,
    FIRST_MS,
    GAP_END_LEVEL,
    GAP_END_MS,
    GAP_START_LEVEL,
    GAP_START_MS,
    LAST_MS,
    LAST_VALUE,
    LATE_READINGS,
    LEVEL,
    MEDIAN_CHANGE,
    OUTLIER_RATE,
    OVER_CAPACITY_SEEN,
    PENDING_DELIVERY,
    RATE,
    RATE_BIAS_VARIANCE,
    RATE_VARIANCE,
    REPEAT_COUNT,
    REPEAT_SINCE_MS,
    REPORT_INTERVAL_MS,
    SPARE_STOCK,
    VARIANCE,
    Float64,
    SlotState,
)
from stream.detectors.slots.timestamp_validation import validated_ms
from stream.state.state_table import Rows

GATE_UP_SHARE, GATE_DOWN_SHARE = 0.02, 0.03
"""And at least so much of the capacity."""
EMPTY_SHARE = 0.005
"""Of the capacity: a level that low is taken for nothing."""
INTERVAL_CAP_AFTER, INTERVAL_CAP_TIMES = 10.0, 3.0
"""After so many readings a gap counts for no more than so many of the item's own intervals between readings."""

Bools = NDArray[np.bool_]


def ingest_levels(slots: SlotState, rows: Rows, at_ms: Float64, arrived_ms: Float64, value: Float64) -> None:
    """One reading of each of `rows`, all different. at_ms: measured; value: (n,) finite, in the slot's unit."""
    state, fixed = slots.gather(rows), slots.fixed[rows].T
    at_ms = validated_ms(state, at_ms, arrived_ms)
    value = np.maximum(value, 0.0)
    state[DIRTY] = np.maximum(state[DIRTY], 1.0)
    first = state[ACCEPTED_READINGS] == 0.0
    if first.any():
        _initialise(state, fixed, first, at_ms, value)
    late = at_ms < state[LAST_MS]
    state[LATE_READINGS] += late
    in_order = ~late
    days, predicted, variance = _predict(state, at_ms)
    step, noise = step_and_noise(state, fixed)
    was_stuck = state[REPEAT_COUNT] >= STUCK_READINGS
    ignored = mask_stuck_readings(state, fixed, in_order & ~first, at_ms, value)
    in_order &= ~ignored
    noise_variance = noise * noise
    innovation = value - predicted
    excess = np.maximum(np.abs(innovation) - 0.5 * step, 0.0)
    innovation = np.where(innovation < 0.0, -excess, excess)
    gate = GATE * np.sqrt(variance + noise_variance)
    within_gate = innovation >= -np.maximum(gate, GATE_DOWN_SHARE * fixed[F_CAPACITY])
    # However long it was, no use lets the level rise: upwards the latest level is the measure, not the prediction.
    gate_up = GATE * np.sqrt(state[VARIANCE] + noise_variance)
    within_gate &= value - state[LEVEL] - 0.5 * step <= np.maximum(gate_up, GATE_UP_SHARE * fixed[F_CAPACITY])
    within_gate &= in_order
    jump, expected = np.zeros(rows.size), predicted
    awaiting = in_order & (state[PENDING_DELIVERY] + state[SPARE_STOCK] > 0.0)
    if awaiting.any():
        at, expected = np.nonzero(awaiting)[0], predicted.copy()
        jump[at], expected[at] = delivery_matching.match_readings(
            slots, state, fixed, rows, at, at_ms, value, predicted, variance + noise_variance
        )
        # One reading of a gauge that stood still is no word against what was declared since: it may stand still again.
        within_gate &= (jump == 0.0) & ~(was_stuck & awaiting)
    gated_out = in_order & ~within_gate & (jump == 0.0)
    state[OUTLIER_RATE] += np.where(in_order, jump_confirmation.OUTLIER_RATE_GAIN, 0.0) * (
        gated_out - state[OUTLIER_RATE]
    )
    update_noise(state, fixed, in_order & ~first & ~awaiting, within_gate, value, days)
    gain = variance / (variance + noise_variance)
    level = np.where(within_gate, predicted + gain * innovation, value)
    inside = (step > 0.0) & (excess == 0.0)
    posterior_variance = np.where(inside, np.minimum(variance, step * step / 12.0), (1.0 - gain) * variance)
    # A reading that only repeats what was believed says nothing of the level, but that the ones between were wild.
    rejected = (within_gate | ignored) & (state[CANDIDATE_COUNT] > 0.0)
    if rejected.any():
        jump_confirmation.reject_candidates(slots, state, rows, at_ms, rejected & (at_ms >= state[CANDIDATE_SINCE_MS]))
    moment_ms = at_ms
    if gated_out.any():
        at, moment_ms = np.nonzero(gated_out)[0], at_ms.copy()
        jump[at], moment_ms[at], level[at] = _confirm_jumps(
            slots, state, fixed, rows, at, at_ms, value, predicted, expected, noise, step
        )
    non_use, at = np.zeros(rows.size), np.nonzero(jump)[0]
    if at.size:
        non_use[at] = jump_confirmation.apply_jumps(slots, state, fixed, rows, at, moment_ms, jump, step)
        posterior_variance[at] = noise_variance[at] + step[at] * step[at] / 12.0
    awaiting &= within_gate
    if awaiting.any():
        delivery_matching.count_contradictions(slots, state, rows, np.nonzero(awaiting)[0], at_ms, value)
    believed = within_gate | (jump != 0.0)
    update_step(state, fixed, in_order & ~first, within_gate & ~first, value)
    _apply_updates(slots, state, fixed, rows, believed, moment_ms, level, posterior_variance, non_use, value)
    slots.scatter(rows, state)
    if late.any():
        backfill_levels(slots, rows[late], at_ms[late], value[late])


def _initialise(state: Float64, fixed: Float64, first: Bools, at_ms: Float64, value: Float64) -> None:
    """The first reading of an item is its level, and the profile says the rest."""
    noise = np.maximum(fixed[F_NOISE], 1e-4 * fixed[F_CAPACITY])
    for column, start in (
        (FIRST_MS, at_ms),
        (LAST_MS, at_ms),
        (REPEAT_SINCE_MS, at_ms),
        (LEVEL, value),
        (LAST_VALUE, value),
        (VARIANCE, noise * noise),
        (RATE, fixed[F_RATE]),
        (RATE_VARIANCE, fixed[F_RATE] * fixed[F_RATE]),
        (CURRENT_DAY, daily_usage.utc_day(at_ms)),
        (RATE_BIAS_VARIANCE, np.full(at_ms.size, dead_reckoning.RATE_BIAS_START)),
        (PENDING_DELIVERY, np.where(at_ms >= state[DECLARED_MS], 0.0, state[PENDING_DELIVERY])),
        (REPORT_INTERVAL_MS, np.minimum(fixed[F_EVALUATE_EVERY_MS], float(DAY_MS))),
        (MEDIAN_CHANGE, noise),
    ):
        state[column] = np.where(first, start, state[column])


def _predict(state: Float64, at_ms: Float64) -> tuple[Float64, Float64, Float64]:
    """(days since the latest reading believed, level predicted, its variance)."""
    days = np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    return (
        days,
        dead_reckoning.deplete(state[LEVEL], state[RATE] * days),
        dead_reckoning.prediction_variance(state, days),
    )


def _confirm_jumps(
    slots: SlotState,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    at: Rows,
    at_ms: Float64,
    value: Float64,
    predicted: Float64,
    expected: Float64,
    noise: Float64,
    step: Float64,
) -> tuple[Float64, Float64, Float64]:
    """Of the readings at places `at`, outside their gate: the confirmed jumps, their moments, and the levels that follow."""
    columns = state[:, at]
    jump, moment_ms = jump_confirmation.confirm_jumps(
        slots,
        columns,
        fixed[:, at],
        rows[at],
        at_ms[at],
        value[at],
        predicted[at],
        expected[at],
        noise[at],
        step[at],
    )
    state[:, at] = columns
    return jump, moment_ms, predicted[at] + jump - columns[RATE] * (moment_ms - at_ms[at]) / DAY_MS


def _apply_updates(
    slots: SlotState,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    believed: Bools,
    at_ms: Float64,
    level: Float64,
    variance: Float64,
    non_use: Float64,
    value: Float64,
) -> None:
    """Believed readings become the state, and the net decrease since the one before is use. came: not by use, either way."""
    at = np.nonzero(believed)[0]
    if at.size == 0:
        return
    every_row = at.size == rows.size
    columns, parameters = (state, fixed) if every_row else (state[:, at], fixed[:, at])
    now_ms, since_ms = at_ms[at], columns[LAST_MS].copy()
    before, after = columns[LEVEL] + non_use[at], level[at]
    known = columns[ACCEPTED_READINGS] > 0.0
    use = np.where(known, before - after, 0.0)
    gap = now_ms - since_ms
    # An empty item may want more than it can use: such a time says nothing against the rate.
    is_empty = known & (after - non_use[at] <= EMPTY_SHARE * parameters[F_CAPACITY])
    counted = np.where(is_empty, np.maximum(use, columns[RATE] * gap / DAY_MS), use) if is_empty.any() else use
    day = columns[CURRENT_DAY].copy()
    daily_usage.add_use(columns, slots.table["daily_usage"], rows[at], counted, since_ms, now_ms)
    columns[CUMULATIVE_USE] += use
    long_gap = gap > DAY_MS
    if long_gap.any():
        for column, new in (
            (GAP_START_MS, since_ms),
            (GAP_START_LEVEL, before),
            (GAP_END_MS, now_ms),
            (GAP_END_LEVEL, after),
        ):
            columns[column] = np.where(long_gap, new, columns[column])
    pace = np.where(known, np.maximum(0.1, 1.0 / (columns[ACCEPTED_READINGS] + 1.0)), 0.0)
    usual = np.where(
        columns[ACCEPTED_READINGS] >= INTERVAL_CAP_AFTER,
        np.minimum(gap, INTERVAL_CAP_TIMES * columns[REPORT_INTERVAL_MS]),
        gap,
    )
    columns[REPORT_INTERVAL_MS] += pace * (usual - columns[REPORT_INTERVAL_MS])
    columns[LEVEL] = after
    columns[LAST_VALUE] = value[at]
    columns[VARIANCE] = variance[at]
    columns[LAST_MS] = now_ms
    columns[ACCEPTED_READINGS] += 1.0
    day_closed = np.nonzero(columns[CURRENT_DAY] != day)[0]
    if day_closed.size:
        dead_reckoning.update_rate_bias(slots, rows[at], columns, day_closed, day, now_ms)
    full = np.nonzero(after > delivery_matching.OVER_CAPACITY_SHARE * parameters[F_CAPACITY])[0]
    if full.size:
        slots.table["anomaly_state"][rows[at[full]], OVER_CAPACITY_SEEN] = 1.0
    if not every_row:
        state[:, at] = columns
