"""State schema of slots: the columns of their table, and their parameters from the catalogue.

Matrices: filter, changed by each reading; anomaly_state, needed by some readings only; evaluation, changed by evaluations and
events; daily_usage, the use of each UTC day at its number modulo the columns. Quantities are in the slot's unit, times in ms
since the epoch, rates per day. A counter of a part that no slot counts is a row of the same table.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS
from star.analyse import RefillStage, RefillUpdate
from stream.detectors import DetectorContext, FleetView
from stream.detectors.covariates.covariates import Covariates
from stream.detectors.slots.former_names import (
    FORMER_ANOMALY_STATE_NAMES,
    FORMER_EVALUATION_NAMES,
    FORMER_FILTER_NAMES,
)
from stream.state.state_table import MatrixSpec, Rows, Table

Float64 = NDArray[np.float64]

FILTER_NAMES = (
    "accepted_readings",  # readings believed
    "first_ms",
    "last_ms",  # measured, of the latest reading believed
    "last_value",
    "level",  # estimated at last_ms
    "variance",  # of that estimate
    "rate",  # moving mean of the use a day
    "rate_variance",  # of single days about it
    "current_day",  # number of the UTC day that `today` counts
    "used_today",  # use so far in it, signed: noise goes both ways
    "deficit",  # negative use owed by earlier days
    "cumulative_use",  # ever
    "complete_days",  # complete days counted
    "report_interval_ms",  # moving mean of the time between readings
    "outlier_rate",  # moving share of readings not believed
    "median_change",  # moving median of |change between near readings|
    "step",  # what most changes are a multiple of, for sensors of coarse steps; 0: none yet
    "step_votes",  # changes that agree with it, less those that do not
    "repeat_rate",  # moving share of readings equal to the one before
    "rise_rate",  # moving share of believed readings a little above the one before: noise, as use only lowers them
    "repeat_count",  # equal readings in a row
    "repeat_since_ms",  # since when
    "candidate_count",  # readings in a row that agree with each other and not with the estimate
    "candidate_since_ms",
    "candidate_value",
    "provisional_emitted",  # 1: a provisional refill was told
    "counter_value",  # latest value of a running counter, NaN: none
    "pending_delivery",  # declared, and not yet seen in the level
    "declared_ms",
    "spare_stock",  # unopened packs
    "confirmed_rise",  # rise seen and confirmed lately, for matching a later declaration
    "confirmed_rise_ms",
    "dirty",  # 1: new readings since the last look, 2: look whatever they are
    "invalid_timestamps",  # readings with a measured time that can't be
    "late_readings",  # readings older than the latest believed
    "gap_start_ms",  # the latest gap of more than a day, for readings that arrive late
    "gap_start_level",
    "gap_end_ms",
    "gap_end_level",
    "rate_bias_variance",  # moving mean of the squared relative error of predictions over SPAN_DAYS, single days' chance left out
    "longest_repeat_ms",  # how long readings stayed equal at most, forgotten slowly
    "long_days",  # of the days closed, their number, use and squares of use: sums that slowly forget (models/features.py)
    "long_use",
    "long_squares",
)
(
    ACCEPTED_READINGS,
    FIRST_MS,
    LAST_MS,
    LAST_VALUE,
    LEVEL,
    VARIANCE,
    RATE,
    RATE_VARIANCE,
    CURRENT_DAY,
    USED_TODAY,
    DEFICIT,
    CUMULATIVE_USE,
    COMPLETE_DAYS,
    REPORT_INTERVAL_MS,
    OUTLIER_RATE,
    MEDIAN_CHANGE,
    STEP,
    STEP_VOTES,
    REPEAT_RATE,
    RISE_RATE,
    REPEAT_COUNT,
    REPEAT_SINCE_MS,
    CANDIDATE_COUNT,
    CANDIDATE_SINCE_MS,
    CANDIDATE_VALUE,
    PROVISIONAL_EMITTED,
    COUNTER_VALUE,
    PENDING_DELIVERY,
    DECLARED_MS,
    SPARE_STOCK,
    CONFIRMED_RISE,
    CONFIRMED_RISE_MS,
    DIRTY,
    INVALID_TIMESTAMPS,
    LATE_READINGS,
    GAP_START_MS,
    GAP_START_LEVEL,
    GAP_END_MS,
    GAP_END_LEVEL,
    RATE_BIAS_VARIANCE,
    LONGEST_REPEAT_MS,
    LONG_DAYS,
    LONG_USE,
    LONG_SQUARES,
) = range(len(FILTER_NAMES))

ANOMALY_STATE_NAMES = (
    "reckoned_level",  # level at reckoned_ms with what was declared until then, for as long as no later reading is believed
    "reckoned_ms",
    "contradictions",  # believed readings since the latest declaration that do not show it
    "over_capacity_seen",  # 1: the gauge has shown more than a capacity, so what comes is in it at once
    "candidate_newest_ms",  # measured, of the readings in doubt
    "recent_drop",  # believed lately against the prediction, to be taken back where the level returns
    "recent_drop_ms",
    "recent_drop_from_ms",
    "rate_before_drop",  # rate and its variance before it
    "rate_variance_before_drop",
    "recent_rise",  # the same upwards
    "recent_rise_ms",
    "recent_rise_matched",  # of what was declared
    "rate_check_ms",  # a span of days over which the rate is compared with what was used
    "rate_check_use",
    "rate_check_rate",
)
(
    RECKONED_LEVEL,
    RECKONED_MS,
    CONTRADICTIONS,
    OVER_CAPACITY_SEEN,
    CANDIDATE_NEWEST_MS,
    RECENT_DROP,
    RECENT_DROP_MS,
    RECENT_DROP_FROM_MS,
    RATE_BEFORE_DROP,
    RATE_VARIANCE_BEFORE_DROP,
    RECENT_RISE,
    RECENT_RISE_MS,
    RECENT_RISE_MATCHED,
    RATE_CHECK_MS,
    RATE_CHECK_USE,
    RATE_CHECK_RATE,
) = range(len(ANOMALY_STATE_NAMES))

EVALUATION_NAMES = (
    "evaluated_ms",
    "evaluated_level",
    "evaluated_q05",
    "next_evaluation_ms",
    "window_start_ms",  # a leg: the time to consume `leg_quantity` from here, said at its start, compared at its end
    "window_start_use",
    "window_quantity",
    "window_q05",
    "window_q25",
    "window_q50",
    "window_q75",
    "window_q95",
    "spread_factor_early",  # calibration: 1 less than the multiplier of the log-spread under the median, 0 as the model says
    "spread_factor_late",  # and over it
    "residual_scale_early",  # moving mean of how far legs ended before the median, in units of the model's own 5 % distance
    "residual_scale_late",  # and after it, in units of the 95 % distance
    "windows_learned_early",  # how many legs those rest on, ones of items known for long
    "windows_learned_late",
    "windows",
    "windows_in_90",
    "windows_in_50",
)
(
    EVALUATED_MS,
    EVALUATED_LEVEL,
    EVALUATED_Q05,
    NEXT_EVALUATION_MS,
    WINDOW_START_MS,
    WINDOW_START_USE,
    WINDOW_QUANTITY,
    WINDOW_Q05,
    WINDOW_Q25,
    WINDOW_Q50,
    WINDOW_Q75,
    WINDOW_Q95,
    SPREAD_FACTOR_EARLY,
    SPREAD_FACTOR_LATE,
    RESIDUAL_SCALE_EARLY,
    RESIDUAL_SCALE_LATE,
    WINDOWS_LEARNED_EARLY,
    WINDOWS_LEARNED_LATE,
    WINDOWS,
    WINDOWS_IN_90,
    WINDOWS_IN_50,
) = range(len(EVALUATION_NAMES))

FIXED_NAMES = (
    "capacity",
    "pack",
    "noise",
    "step",
    "rate",
    "rate_spread",
    "evaluate_every_ms",
    "is_counter",
    "has_spare_packs",
    "reorder_horizon_days",
    "active",
)
(
    F_CAPACITY,
    F_PACK,
    F_NOISE,
    F_STEP,
    F_RATE,
    F_RATE_SPREAD,
    F_EVALUATE_EVERY_MS,
    F_IS_COUNTER,
    F_HAS_SPARE_PACKS,
    F_REORDER_HORIZON,
    F_ACTIVE,
) = range(len(FIXED_NAMES))

SLOT_COLUMNS = (
    MatrixSpec(name="filter", names=FILTER_NAMES, fill=0.0, renamed=FORMER_FILTER_NAMES),
    MatrixSpec(
        name="anomaly_state",
        names=ANOMALY_STATE_NAMES,
        fill=0.0,
        renamed=FORMER_ANOMALY_STATE_NAMES,
        former_name="court",
    ),
    MatrixSpec(
        name="evaluation", names=EVALUATION_NAMES, fill=0.0, renamed=FORMER_EVALUATION_NAMES, former_name="look"
    ),
    MatrixSpec(
        name="daily_usage",
        names=tuple(f"day_{n}" for n in range(HISTORY_DAYS)),
        fill=float("nan"),
        dtype="<f4",
        former_name="days",
    ),
)


class SlotState:
    """The slots' table and what detectors of slots and counters share besides it.

    fixed: (places, FIXED_NAMES) parameters of each row, from `fleet`. ended_windows: calibration windows that ended at the last
    evaluation, (row, probability level). dirty_rows: rows with readings or events since the last tick, in parts. None of these
    is part of a checkpoint. Make it with DetectorContext.shared, so that all detectors have the same one.
    """

    def __init__(self, context: DetectorContext) -> None:
        self._emit = context.emit_refill
        self.table = Table("slots", SLOT_COLUMNS)
        self.covariates = Covariates()
        self.fixed: Float64 = np.zeros((0, len(FIXED_NAMES)))
        self.fleet: FleetView | None = None
        self.ended_windows: list[tuple[int, float]] = []
        self.dirty_rows: list[Rows] = []
        self._changed: Rows = np.empty(0, dtype=np.intp)
        self._changed_at: int | None = None

    def gather(self, rows: Rows) -> Float64:
        """(columns, n): a copy of the filter's state of `rows`, each column contiguous."""
        return np.ascontiguousarray(self.table["filter"][rows].T)

    def scatter(self, rows: Rows, state: Float64) -> None:
        """Writes `gather`'s columns back."""
        self.table["filter"][rows] = state.T

    def reserve(self) -> None:
        """Makes room in `fixed` for every place of the table."""
        places = self.table.device.shape[0]
        if self.fixed.shape[0] < places:
            more = np.zeros((places - self.fixed.shape[0], len(FIXED_NAMES)))
            self.fixed = np.concatenate([self.fixed, more])

    def emit_refill(self, row: int, at_ms: float, stage: RefillStage, quantity: float) -> None:
        """Reports a refill of a slot. quantity: in its unit; an estimate below 0 counts as 0."""
        quantity = float(quantity) if quantity > 0.0 else 0.0
        update = RefillUpdate(item=self.table.names[row], at_ms=int(at_ms), stage=stage, quantity=quantity)
        self._emit(int(self.table.device[row]), update)

    def changed_rows(self, offset: int) -> Rows:
        """The dirty rows at the tick with this offset: the same ones for every detector that asks; they are dirty no more."""
        if self._changed_at != offset:
            self._changed_at = offset
            self._changed = np.unique(np.concatenate(self.dirty_rows)) if self.dirty_rows else self._changed[:0]
            self.dirty_rows = []
        return self._changed
