"""Jump confirmation: level readings far from the prediction are candidates until further readings confirm or reject them.

A run of readings that agree with each other is confirmed. Refills are emitted as provisional, confirmed or retracted; a rise
that a declared delivery or a spare pack explains emits none. A confirmed jump that is reversed soon, as the level returns, is
undone: a false drop was no use, a false rise no refill.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.analyse import RefillStage
from star.times import DAY_MS, HOUR_MS
from stream.detectors.slots import daily_usage
from stream.detectors.slots.state_schema import (
    CANDIDATE_COUNT,
    CANDIDATE_NEWEST_MS,
    CANDIDATE_SINCE_MS,
    CANDIDATE_VALUE,
    CONFIRMED_RISE,
    CONFIRMED_RISE_MS,
    CUMULATIVE_USE,
    DECLARED_MS,
    F_CAPACITY,
    F_HAS_SPARE_PACKS,
    F_PACK,
    LAST_MS,
    LEVEL,
    OUTLIER_RATE,
    PENDING_DELIVERY,
    PROVISIONAL_EMITTED,
    RATE,
    RATE_BEFORE_DROP,
    RATE_VARIANCE,
    RATE_VARIANCE_BEFORE_DROP,
    RECENT_DROP,
    RECENT_DROP_FROM_MS,
    RECENT_DROP_MS,
    RECENT_RISE,
    RECENT_RISE_MATCHED,
    RECENT_RISE_MS,
    RECKONED_MS,
    REPORT_INTERVAL_MS,
    SPARE_STOCK,
    Float64,
    SlotState,
)
from stream.state.state_table import Rows

GATE = 4.5
"""Standard deviations within which a reading is near the prediction."""
AGREEMENT_GATE = 6.4
"""Standard deviations of one reading within which two are the same level."""
AGREEMENT_SHARE = 0.03
"""Readings that agree differ by no more than that, or this share of the capacity."""
AGREEMENT_USE_SHARE = 0.5
"""And by this share of the use between them."""
AGREEING_MIN, AGREEING_MS = 3.0, 2.0 * HOUR_MS
"""Readings that must agree with each other, and over what time, before a jump is believed."""
AGREEING_TWO_MS = 18.0 * HOUR_MS
"""Two are enough that are so far apart."""
PACK_SHARE, PACK_MS = 0.15, 3.0 * HOUR_MS
"""And, of a sensor that is seldom wrong, when they say that about a pack came; so long apart at least."""
SPARSE_MS, SPARSE_OUTLIERS_MAX = 1.5 * DAY_MS, 0.05
"""A sensor that reports so seldom, and is no more often wrong, is believed at once when it says that the level rose."""
SPARSE_DROP_RATES, SPARSE_DROP_SHARE = 3.0, 0.1
"""And when it fell, by no more than so many times the usual use and this share of the capacity."""
EXPLAINED_RATIO_MAX = 1.3
"""A rise of more than so much of what was declared is not explained by it."""
FULL_SHARE = 0.985
"""Of the capacity: so full after a delivery, a tank may have had no room for all of it."""
COMPLETE_DELIVERY_SHARE = 0.35
"""A rise of so much of what was declared is all that comes."""
EMIT_SHARE, EMIT_PACKS, EMIT_SHARE_MIN, EMIT_STEPS = 0.08, 0.3, 0.03, 1.5
"""A rise is told as a refill from so much of the capacity, or of a pack where that is less, but not under the last or so many steps."""
JUMP_MEMORY_MS = 3.0 * DAY_MS
"""How long before its declaration a delivery may be seen in the level, and how long a jump can be taken back."""
JUMP_MEMORY_INTERVALS = 2.5
"""And how many of a sensor's intervals, where it speaks seldom."""
OUTLIER_RATE_GAIN = 0.02
"""What one reading moves their share by."""
DECLARED_TOLERANCE = 0.1
"""A rise that differs from what was declared by no more of it shows just that."""
REVERSAL_TOLERANCE = 0.2
"""The level has come back when a jump differs from the one before by no more of it."""

Bools = NDArray[np.bool_]


def confirm_jumps(
    slots: SlotState,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    at_ms: Float64,
    value: Float64,
    predicted: Float64,
    expected: Float64,
    noise: Float64,
    step: Float64,
) -> tuple[Float64, Float64]:
    """Readings of n items far from the prediction: (jump that is believed now, 0 where none is (yet); time of it), (n,) each.

    state: (columns, n), changed; expected: the level with what was declared; noise, step: of a reading.
    """
    anomaly_state = slots.table["anomaly_state"]
    expected_use = state[RATE] * (at_ms - state[CANDIDATE_SINCE_MS]) / DAY_MS
    candidate = state[CANDIDATE_VALUE] - expected_use
    tolerance = np.maximum(
        np.maximum(AGREEMENT_GATE * noise, step), AGREEMENT_SHARE * fixed[F_CAPACITY]
    ) + AGREEMENT_USE_SHARE * np.abs(expected_use)
    up = value > predicted
    keeps_falling = ~up & (value < candidate) & (at_ms > state[CANDIDATE_SINCE_MS])
    agrees = (state[CANDIDATE_COUNT] > 0.0) & (keeps_falling | (np.abs(value - candidate) <= tolerance))
    agrees &= up == (state[CANDIDATE_VALUE] > predicted)
    starts_anew = ~agrees
    reject_candidates(slots, state, rows, at_ms, starts_anew & (state[PROVISIONAL_EMITTED] > 0.0))
    count = np.where(agrees, state[CANDIDATE_COUNT] + 1.0, 1.0)
    since = np.where(agrees, np.minimum(state[CANDIDATE_SINCE_MS], at_ms), at_ms)
    newest = np.where(agrees, np.maximum(anomaly_state[rows, CANDIDATE_NEWEST_MS], at_ms), at_ms)
    restarts = keeps_falling & (np.abs(value - candidate) > tolerance)
    mean = np.where(agrees & ~restarts, candidate + (value - candidate) / count, value)
    state[CANDIDATE_VALUE] = mean + state[RATE] * (at_ms - since) / DAY_MS
    state[CANDIDATE_SINCE_MS] = since
    anomaly_state[rows, CANDIDATE_NEWEST_MS] = newest
    confirmed = _confirmed(state, fixed, at_ms, value, predicted, expected, count, newest - since)
    confirmed |= _reverses_sparse_rise(state, anomaly_state[rows], at_ms, predicted - value)
    state[CANDIDATE_COUNT] = np.where(confirmed, 0.0, count)
    state[OUTLIER_RATE] -= np.where(confirmed, np.minimum(OUTLIER_RATE_GAIN * count, state[OUTLIER_RATE]), 0.0)
    rise = np.where(confirmed, mean - predicted, 0.0)
    min_rise = _min_emitted_rise(fixed, step)
    for place in np.nonzero(starts_anew & up & ~confirmed & (value - predicted >= min_rise))[0].tolist():
        slots.emit_refill(rows[place], at_ms[place], RefillStage.PROVISIONAL, value[place] - predicted[place])
        state[PROVISIONAL_EMITTED, place] = 1.0
    return rise, np.where(confirmed, newest, at_ms)


def _confirmed(
    state: Float64,
    fixed: Float64,
    at_ms: Float64,
    value: Float64,
    predicted: Float64,
    expected: Float64,
    count: Float64,
    span_ms: Float64,
) -> Bools:
    """Which doubts are over: enough agree, something declared explains the rise, or the sensor is a good one that speaks seldom."""
    up = value > predicted
    confirmed: Bools = (count >= AGREEING_MIN) & (span_ms >= AGREEING_MS)
    confirmed |= (count >= 2.0) & (span_ms >= AGREEING_TWO_MS)
    packs = (value - predicted) / fixed[F_PACK]
    a_pack = (packs > 1.0 - PACK_SHARE) & (np.abs(packs - np.rint(packs)) <= PACK_SHARE)
    confirmed |= a_pack & (count >= 2.0) & (span_ms >= PACK_MS) & (state[OUTLIER_RATE] <= SPARSE_OUTLIERS_MAX)
    confirmed |= up & (value - predicted <= EXPLAINED_RATIO_MAX * (expected - predicted))
    use = state[RATE] * np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    usual = predicted - value <= (SPARSE_DROP_RATES - 1.0) * use + SPARSE_DROP_SHARE * fixed[F_CAPACITY]
    confirmed |= (up | usual) & (state[REPORT_INTERVAL_MS] >= SPARSE_MS) & (state[OUTLIER_RATE] <= SPARSE_OUTLIERS_MAX)
    return confirmed


def _reverses_sparse_rise(state: Float64, anomaly_state: Float64, at_ms: Float64, drop: Float64) -> Bools:
    """Which falls only take back a rise that a seldom heard sensor was believed at its word, one reading ago."""
    recent_rise = anomaly_state[:, RECENT_RISE]
    single_reading = (
        (recent_rise > 0.0)
        & (anomaly_state[:, RECENT_RISE_MATCHED] == 0.0)
        & (state[LAST_MS] <= anomaly_state[:, RECENT_RISE_MS])
    )
    sparse = (state[REPORT_INTERVAL_MS] >= SPARSE_MS) & (
        at_ms - anomaly_state[:, RECENT_RISE_MS] <= JUMP_MEMORY_INTERVALS * state[REPORT_INTERVAL_MS]
    )
    reverses: Bools = single_reading & sparse & (np.abs(drop - recent_rise) <= REVERSAL_TOLERANCE * recent_rise)
    return reverses


def reject_candidates(slots: SlotState, state: Float64, rows: Rows, at_ms: Float64, which: Bools) -> None:
    """A reading near the prediction, or the same as before the doubt, ends it: what was told of a refill is taken back."""
    if not which.any():
        return
    for place in np.nonzero(which & (state[PROVISIONAL_EMITTED] > 0.0))[0].tolist():
        slots.emit_refill(
            rows[place],
            at_ms[place],
            RefillStage.RETRACTED,
            abs(state[CANDIDATE_VALUE, place] - state[LEVEL, place]),
        )
    state[CANDIDATE_COUNT] = np.where(which, 0.0, state[CANDIDATE_COUNT])
    state[PROVISIONAL_EMITTED] = np.where(which, 0.0, state[PROVISIONAL_EMITTED])


def apply_jumps(
    slots: SlotState, state: Float64, fixed: Float64, rows: Rows, at: Rows, at_ms: Float64, jump: Float64, step: Float64
) -> Float64:
    """Jumps of places `at` that are believed: (at,) how much of each came or went without use. Refills are told."""
    non_use, min_rise = np.zeros(at.size), _min_emitted_rise(fixed, step)
    for number, place in enumerate(at.tolist()):
        item_state, moment_ms, offset = state[:, place], float(at_ms[place]), float(jump[place])
        if offset < 0.0:
            non_use[number] = offset if _reverses_rise(slots, item_state, int(rows[place]), moment_ms, -offset) else 0.0
            continue
        non_use[number] = offset
        if not _delivery_pending(slots, item_state, int(rows[place]), moment_ms) and _reverses_drop(
            slots, item_state, int(rows[place]), moment_ms, offset
        ):
            unexplained = 0.0
        else:
            unexplained = _unexplained_rise(slots, item_state, fixed[:, place], int(rows[place]), moment_ms, offset)
        if unexplained >= min_rise[place]:
            slots.emit_refill(rows[place], moment_ms, RefillStage.CONFIRMED, unexplained)
            item_state[CONFIRMED_RISE], item_state[CONFIRMED_RISE_MS] = offset, moment_ms
        else:
            if unexplained > 0.0:
                # Too little for a refill: what a noisy gauge takes back of the falls it showed, which were counted as use.
                non_use[number] = 0.0
            if item_state[PROVISIONAL_EMITTED] > 0.0:
                slots.emit_refill(rows[place], moment_ms, RefillStage.RETRACTED, offset)
        item_state[PROVISIONAL_EMITTED] = item_state[CANDIDATE_COUNT] = 0.0
    return non_use


def _min_emitted_rise(fixed: Float64, step: Float64) -> Float64:
    min_rise = np.minimum(EMIT_SHARE * fixed[F_CAPACITY], EMIT_PACKS * fixed[F_PACK])
    min_emitted: Float64 = np.maximum(min_rise, np.maximum(EMIT_SHARE_MIN * fixed[F_CAPACITY], EMIT_STEPS * step))
    return min_emitted


def _reverses_rise(slots: SlotState, state: Float64, row: int, at_ms: float, drop: float) -> bool:
    """Whether a fall takes back a rise that was believed lately; else it is remembered, to be taken back itself.

    A rise that readings went on to show was one, and what fell since was used: sooner, where the rise was declared, and at once,
    where it was just what was declared.
    """
    anomaly_state = slots.table["anomaly_state"][row]
    recent_rise = anomaly_state[RECENT_RISE]
    matched = anomaly_state[RECENT_RISE_MATCHED]
    held = state[LAST_MS] - anomaly_state[RECENT_RISE_MS] > (AGREEING_MS if matched > 0.0 else AGREEING_TWO_MS)
    held |= matched > 0.0 and abs(recent_rise - matched) <= DECLARED_TOLERANCE * matched
    recent = at_ms - anomaly_state[RECENT_RISE_MS] <= max(
        JUMP_MEMORY_MS, JUMP_MEMORY_INTERVALS * float(state[REPORT_INTERVAL_MS])
    )
    if recent_rise > 0.0 and recent and not held and abs(drop - recent_rise) <= REVERSAL_TOLERANCE * recent_rise:
        state[PENDING_DELIVERY if slots.fixed[row, F_HAS_SPARE_PACKS] == 0.0 else SPARE_STOCK] += anomaly_state[
            RECENT_RISE_MATCHED
        ]
        state[OUTLIER_RATE] += OUTLIER_RATE_GAIN
        anomaly_state[RECENT_RISE] = state[CONFIRMED_RISE] = 0.0
        return True
    anomaly_state[RECENT_DROP], anomaly_state[RECENT_DROP_MS], anomaly_state[RECENT_DROP_FROM_MS] = (
        drop,
        at_ms,
        state[LAST_MS],
    )
    anomaly_state[RATE_BEFORE_DROP], anomaly_state[RATE_VARIANCE_BEFORE_DROP] = state[RATE], state[RATE_VARIANCE]
    return False


def _reverses_drop(slots: SlotState, state: Float64, row: int, at_ms: float, rise: float) -> bool:
    """Whether a rise takes back a fall that was believed lately: it was no use, and the rate is what it was before."""
    anomaly_state = slots.table["anomaly_state"][row]
    drop = anomaly_state[RECENT_DROP]
    if not (
        drop > 0.0
        and at_ms - anomaly_state[RECENT_DROP_MS] <= JUMP_MEMORY_MS
        and abs(rise - drop) <= REVERSAL_TOLERANCE * drop
    ):
        return False
    daily_usage.subtract_use(
        state, slots.table["daily_usage"][row], anomaly_state[RECENT_DROP_FROM_MS], anomaly_state[RECENT_DROP_MS], drop
    )
    state[CUMULATIVE_USE] -= drop
    state[RATE], state[RATE_VARIANCE] = anomaly_state[RATE_BEFORE_DROP], anomaly_state[RATE_VARIANCE_BEFORE_DROP]
    anomaly_state[RECENT_DROP] = 0.0
    return True


def _delivery_pending(slots: SlotState, state: Float64, row: int, at_ms: float) -> bool:
    """Whether something declared is not seen yet that a rise at `at_ms` may be. state: one item's."""
    pending = state[PENDING_DELIVERY if slots.fixed[row, F_HAS_SPARE_PACKS] == 0.0 else SPARE_STOCK]
    return bool(pending > 0.0 and at_ms >= state[DECLARED_MS] - JUMP_MEMORY_MS)


def _unexplained_rise(slots: SlotState, state: Float64, fixed: Float64, row: int, at_ms: float, rise: float) -> float:
    """What of a rise is news: nothing of one that a declaration or a spare pack explains. state, fixed: one item's."""
    anomaly_state = slots.table["anomaly_state"][row]
    pending_column = PENDING_DELIVERY if fixed[F_HAS_SPARE_PACKS] == 0.0 else SPARE_STOCK
    pending = float(state[pending_column])
    anomaly_state[RECENT_RISE], anomaly_state[RECENT_RISE_MS], anomaly_state[RECENT_RISE_MATCHED] = rise, at_ms, 0.0
    if not _delivery_pending(slots, state, row, at_ms):
        return rise
    if pending_column == PENDING_DELIVERY:
        full = state[LEVEL] + rise >= FULL_SHARE * fixed[F_CAPACITY]
        left = 0.0 if full or rise >= COMPLETE_DELIVERY_SHARE * pending else pending - rise
    else:
        packs = max(1.0, float(np.floor(rise / fixed[F_PACK] + 0.5)))
        left = (
            0.0
            if rise >= (1.0 - COMPLETE_DELIVERY_SHARE) * pending
            else max(0.0, pending - packs * float(fixed[F_PACK]))
        )
    state[pending_column], anomaly_state[RECENT_RISE_MATCHED] = left, pending - left
    anomaly_state[RECKONED_MS] = 0.0
    return 0.0
