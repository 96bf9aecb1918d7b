"""Delivery matching: declared deliveries and refills against the level, which may show them before, after or never.

Usage slots count a declaration at once. For a level slot it makes a rise expected: it counts in the level until a reading shows it,
or until later readings contradict it - several that change, over days, as a stuck or silent gauge is no evidence. A rise that was
seen up to three days before is matched with its declaration instead, so that neither a late nor an early sensor opens a second
need. Spare packs that wait unopened count in the level, and opening one is no refill.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from star.analyse import RefillStage
from star.times import DAY_MS, HOUR_MS
from stream.detectors.slots import dead_reckoning, jump_confirmation
from stream.detectors.slots.state_schema import (
    ACCEPTED_READINGS,
    CONFIRMED_RISE,
    CONFIRMED_RISE_MS,
    CONTRADICTIONS,
    DECLARED_MS,
    DIRTY,
    F_CAPACITY,
    F_HAS_SPARE_PACKS,
    F_IS_COUNTER,
    F_PACK,
    LAST_MS,
    LAST_VALUE,
    LEVEL,
    OVER_CAPACITY_SEEN,
    PENDING_DELIVERY,
    PROVISIONAL_EMITTED,
    RATE,
    RECKONED_LEVEL,
    RECKONED_MS,
    SPARE_STOCK,
    Float64,
    SlotState,
)
from stream.state.state_table import Rows

MATCHED_RISE_SHARE = 0.7
"""A rise of so much of a declared quantity is that delivery; what is missing is not awaited."""
EARLY_READING_MS = float(HOUR_MS)
"""A reading made so long before a declaration may show it."""
QUANTITY_ERROR = 0.1
"""Relative standard deviation of a quantity as it is said, where the use in a silence before it is not known well either."""
EXCESS_SHARE = 0.3
"""A reading higher than the level reckoned by so much of what was declared may still show just that."""
RATE_AFTER_FULL_MS = 2.0 * DAY_MS
"""So long after it was full, what is gone tells the rate."""
USE_ERROR_MIN = 0.1
"""Relative standard deviation, at least, of a use that only the rate tells."""
ARRIVAL_LOG_ODDS = 6.0
"""Twice the logarithm of the odds that what was declared came, before a reading."""
CONTRADICTIONS_MIN, CONTRADICTED_MS = 3.0, 2.0 * DAY_MS
CONTRADICTIONS_FEW_MIN, CONTRADICTED_FEW_MS = 2.0, 6.0 * DAY_MS
"""Believed readings that differ from each other and don't show a declaration, and how long after it: then it is forgotten."""
EMPTY_SHARE, CONTRADICTED_EMPTY_MS = 0.01, 0.5 * DAY_MS
"""Of the capacity: so little in use, and a spare pack would have been opened; so long after it was declared."""
OVER_CAPACITY_SHARE = 1.1
"""A gauge that shows more of the capacity than this has spare packs in it."""

Bools = NDArray[np.bool_]


def apply_declaration(slots: SlotState, row: int, at_ms: int, quantity: float | None) -> None:
    """A delivery or refill of `row`, declared at `at_ms` (arrived). quantity: in the slot's unit; None: one pack."""
    state, fixed = slots.table["filter"][row], slots.fixed[row]
    amount = float(fixed[F_PACK]) if quantity is None else quantity
    state[DIRTY] = 2.0
    if fixed[F_IS_COUNTER]:
        state[LEVEL] += amount
        slots.emit_refill(row, at_ms, RefillStage.DECLARED, amount)
        return
    if state[CONFIRMED_RISE] > 0.0 and at_ms - state[CONFIRMED_RISE_MS] <= jump_confirmation.JUMP_MEMORY_MS:
        seen = float(state[CONFIRMED_RISE])
        state[CONFIRMED_RISE] = max(seen - amount, 0.0)
        amount = 0.0 if seen >= MATCHED_RISE_SHARE * amount else amount - seen
        if fixed[F_HAS_SPARE_PACKS]:
            state[SPARE_STOCK] += amount
        return
    state[PROVISIONAL_EMITTED] = 0.0
    _expect_delivery(slots, row, at_ms, amount)
    slots.emit_refill(row, at_ms, RefillStage.DECLARED, amount)


def _expect_delivery(slots: SlotState, row: int, at_ms: int, amount: float) -> None:
    """From now on the level is reckoned with `amount` more, as far as it fits."""
    state, anomaly_state, fixed = slots.table["filter"][row], slots.table["anomaly_state"][row], slots.fixed[row]
    before = dead_reckoning.reckoned_level(slots, np.array([row]), state[:, None], fixed[:, None], at_ms)
    state[SPARE_STOCK if fixed[F_HAS_SPARE_PACKS] else PENDING_DELIVERY] += amount
    state[DECLARED_MS] = at_ms
    anomaly_state[CONTRADICTIONS] = 0.0
    if state[ACCEPTED_READINGS] > 0.0:
        anomaly_state[RECKONED_LEVEL] = _capped_to_capacity(state, fixed, max(float(before[0]), 0.0) + amount)
        anomaly_state[RECKONED_MS] = at_ms


def _capped_to_capacity(state: Float64, fixed: Float64, level: float) -> float:
    """As much of `level` as fits. state, fixed: one item's."""
    return level if fixed[F_HAS_SPARE_PACKS] else min(level, max(float(fixed[F_CAPACITY]), float(state[LEVEL])))


def match_readings(
    slots: SlotState,
    state: Float64,
    fixed: Float64,
    rows: Rows,
    at: Rows,
    at_ms: Float64,
    value: Float64,
    predicted: Float64,
    variance: Float64,
) -> tuple[Float64, Float64]:
    """Of places `at`, with something declared and not seen: (rise, reckoned), the rise 0 where the reading shows none of it.

    A reading nearer to the level with the delivery than to the one without shows it, and so does one that could be either. How
    much of it came is what was said where the use since the reading before is not known, and what is read where it is. variance:
    of the prediction and the reading.
    """
    columns, parameters = state[:, at], fixed[:, at]
    expected = dead_reckoning.reckoned_level(slots, rows[at], columns, parameters, at_ms[at])
    declared_rise = expected - predicted[at]
    residual = value[at] - expected
    possible = (declared_rise > 0.0) & (at_ms[at] >= columns[DECLARED_MS] - EARLY_READING_MS)
    gate = jump_confirmation.GATE * np.sqrt(variance[at])
    residual_without_delivery = value[at] - predicted[at]
    # A spare pack may lie unopened for long; what was poured in is there, unless the reading speaks clearly against it.
    log_odds = np.where(
        (parameters[F_HAS_SPARE_PACKS] == 0.0) | (slots.table["anomaly_state"][rows[at], OVER_CAPACITY_SEEN] > 0.0),
        ARRIVAL_LOG_ODDS,
        0.0,
    )
    matched = (
        possible
        & (residual * residual - residual_without_delivery * residual_without_delivery < log_odds * variance[at])
        & (residual <= EXCESS_SHARE * declared_rise + gate)
    )
    matched &= residual_without_delivery >= -gate  # what is far under both shows neither
    declared_error = QUANTITY_ERROR * declared_rise
    rise = declared_rise + residual * (declared_error * declared_error) / (
        declared_error * declared_error + variance[at]
    )
    for place in np.nonzero(matched & (parameters[F_HAS_SPARE_PACKS] == 0.0))[0].tolist():
        now_ms, level = float(at_ms[at[place]]), float(value[at[place]])
        rise[place] = _rise_with_overflow(
            columns[:, place], parameters[:, place], now_ms, level, float(declared_rise[place]), float(rise[place])
        )
    return np.where(matched, rise, 0.0), np.where(possible, expected, predicted[at])


def _rise_with_overflow(
    state: Float64, fixed: Float64, at_ms: float, value: float, declared_rise: float, rise: float
) -> float:
    """How far a delivery raised a tank in which perhaps not all of it found room; then the use since is known only from it."""
    capacity, level = float(fixed[F_CAPACITY]), float(state[LEVEL])
    gap_ms, before_ms = at_ms - state[LAST_MS], state[DECLARED_MS] - state[LAST_MS]
    most_use = level + state[PENDING_DELIVERY] - value
    if gap_ms < DAY_MS or before_ms <= 0.0 or most_use <= 0.0:
        return rise
    share = before_ms / gap_ms
    if level - most_use * share + state[PENDING_DELIVERY] <= jump_confirmation.FULL_SHARE * capacity:
        return rise if declared_rise >= 0.99 * state[PENDING_DELIVERY] else float(state[PENDING_DELIVERY])
    if gap_ms - before_ms >= RATE_AFTER_FULL_MS:
        return float(value - level + min(max(capacity - value, 0.0) / (1.0 - share), most_use))
    days = np.full(1, gap_ms / DAY_MS)
    usual = float(state[RATE] * days[0])
    deviation = max(float(np.sqrt(dead_reckoning.prediction_variance(state[:, None], days)[0])), USE_ERROR_MIN * usual)
    return float(value - level + _truncated_normal_mean(usual, deviation, most_use))


def _truncated_normal_mean(mean: float, deviation: float, most_use: float) -> float:
    """What is to be expected of a normal quantity of which it is known that it was no more than `most`."""
    score = (most_use - mean) / max(deviation, 1e-12)
    probability_below = 0.5 * math.erfc(-score / math.sqrt(2.0))
    if probability_below < 1e-6:
        return most_use
    return max(mean - deviation * math.exp(-0.5 * score * score) / math.sqrt(2.0 * math.pi) / probability_below, 0.0)


def count_contradictions(
    slots: SlotState, state: Float64, rows: Rows, at: Rows, at_ms: Float64, value: Float64
) -> None:
    """Believed readings of places `at` that do not show what was declared: enough of them, over time, and it never came."""
    anomaly_state = slots.table["anomaly_state"]
    for place in at.tolist():
        item_state, item_anomaly = state[:, place], anomaly_state[rows[place]]
        fixed = slots.fixed[rows[place]]
        since_ms = at_ms[place] - item_state[DECLARED_MS]
        # Nobody leaves a pack unopened beside an empty one.
        empty = bool(fixed[F_HAS_SPARE_PACKS]) and value[place] <= EMPTY_SHARE * fixed[F_CAPACITY]
        if since_ms > 0.0 and (
            empty or abs(value[place] - item_state[LAST_VALUE]) > 1e-9 * max(abs(value[place]), 1.0)
        ):
            item_anomaly[CONTRADICTIONS] += 1.0
            withdrawn = item_anomaly[CONTRADICTIONS] >= CONTRADICTIONS_MIN and since_ms >= (
                CONTRADICTED_EMPTY_MS if empty else CONTRADICTED_MS
            )
            withdrawn |= item_anomaly[CONTRADICTIONS] >= CONTRADICTIONS_FEW_MIN and since_ms >= CONTRADICTED_FEW_MS
            if withdrawn and (not fixed[F_HAS_SPARE_PACKS] or item_anomaly[OVER_CAPACITY_SEEN] or empty):
                item_state[PENDING_DELIVERY] = item_state[SPARE_STOCK] = 0.0
                item_anomaly[CONTRADICTIONS] = 0.0
        if item_anomaly[RECKONED_MS] > at_ms[place]:
            use = item_state[RATE] * (item_anomaly[RECKONED_MS] - at_ms[place]) / DAY_MS
            item_anomaly[RECKONED_LEVEL] = _capped_to_capacity(
                item_state, fixed, max(value[place] - use, 0.0) + item_state[PENDING_DELIVERY] + item_state[SPARE_STOCK]
            )
