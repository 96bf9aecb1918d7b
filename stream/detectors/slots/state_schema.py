"""The columns of a slot's state, and what is fixed about a slot.

FILTER holds what each reading changes, COURT what only some readings need, LOOK what looks and events change, DAYS the use of
each day by its number modulo the ring's length. All quantities in the slot's unit, times in milliseconds since the epoch, rates
a day. A counter of a part that no slot counts is kept as a row of the same table.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS
from star.analyse import RefillUpdate
from stream.detectors.covariates.covariates import Covariates
from stream.state.state_table import MatrixSpec, Rows, Table

Float64 = NDArray[np.float64]

FILTER_NAMES = (
    "seen",  # readings believed
    "first_ms",
    "last_ms",  # measured, of the latest reading believed
    "last_value",
    "level",  # estimated at last_ms
    "variance",  # of that estimate
    "rate",  # moving mean of the use a day
    "rate_variance",  # of single days about it
    "day",  # number of the UTC day that `today` counts
    "today",  # use so far in it, signed: noise goes both ways
    "carry",  # negative use owed by earlier days
    "used",  # ever
    "days",  # complete days counted
    "interval_ms",  # moving mean of the time between readings
    "outliers",  # moving share of readings not believed
    "spread_of_reading",  # moving median of |change between near readings|
    "step",  # what most changes are a multiple of, for sensors of coarse steps; 0: none yet
    "step_votes",  # changes that agree with it, less those that do not
    "equal",  # moving share of readings equal to the one before
    "rises",  # moving share of believed readings a little above the one before: noise, as use only lowers them
    "same",  # equal readings in a row
    "same_ms",  # since when
    "doubt",  # readings in a row that agree with each other and not with the estimate
    "doubt_ms",
    "doubt_value",
    "told",  # 1: a provisional refill was told
    "total",  # latest value of a running counter, NaN: none
    "pending",  # declared, and not yet seen in the level
    "pending_ms",
    "spare",  # unopened packs
    "jump",  # rise seen and confirmed lately, for matching a later declaration
    "jump_ms",
    "fresh",  # 1: new readings since the last look, 2: look whatever they are
    "flagged",  # readings with a measured time that can't be
    "late",  # readings older than the latest believed
    "gap_from_ms",  # the latest gap of more than a day, for readings that arrive late
    "gap_from_level",
    "gap_to_ms",
    "gap_to_level",
    "slow_error",  # moving mean of the squared relative error of predictions over SPAN_DAYS, single days' chance left out
    "longest_same_ms",  # how long readings stayed equal at most, forgotten slowly
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
    "reckoned",  # level at reckoned_ms with what was declared until then, for as long as no later reading is believed
    "reckoned_ms",
    "denied",  # believed readings since the latest declaration that do not show it
    "shows",  # 1: the gauge has shown more than a capacity, so what comes is in it at once
    "doubt_newest_ms",  # measured, of the readings in doubt
    "fall",  # believed lately against the prediction, to be taken back where the level returns
    "fall_ms",
    "fall_from_ms",
    "fall_rate",  # rate and its variance before it
    "fall_rate_variance",
    "rose",  # the same upwards
    "rose_ms",
    "rose_took",  # of what was declared
    "span_ms",  # a span of days over which the rate is compared with what was used
    "span_used",
    "span_rate",
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
    "look_ms",
    "look_level",
    "look_q05",
    "wake_ms",
    "leg_ms",  # a leg: the time to consume `leg_quantity` from here, said at its start, compared at its end
    "leg_used",
    "leg_quantity",
    "leg_days_05",
    "leg_days_25",
    "leg_days_50",
    "leg_days_75",
    "leg_days_95",
    "widening_early",  # calibration: 1 less than the multiplier of the log-spread under the median, 0 as the model says
    "widening_late",  # and over it
    "misses_early",  # moving mean of how far legs ended before the median, in units of the model's own 5 % distance
    "misses_late",  # and after it, in units of the 95 % distance
    "learned_early",  # how many legs those rest on, ones of items known for long
    "learned_late",
    "legs",
    "legs_in_90",
    "legs_in_50",
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
    "look_every_ms",
    "counts",
    "spare_packs",
    "net_days",
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
    MatrixSpec(name="filter", names=FILTER_NAMES, fill=0.0),
    MatrixSpec(name="court", names=ANOMALY_STATE_NAMES, fill=0.0),
    MatrixSpec(name="look", names=EVALUATION_NAMES, fill=0.0),
    MatrixSpec(name="days", names=tuple(f"day_{n}" for n in range(HISTORY_DAYS)), fill=float("nan"), dtype="<f4"),
)


@dataclass
class SlotState:
    """The slots' table and what is fixed about each row (`fixed`: rows by FIXED_NAMES); told: refills seen since the last tick.

    judged: the legs that ended at the last look, by row with the level that they ended at (calibration.py). beside: what is known
    besides the items' own readings. `fixed` comes from the catalogue; neither it nor judged is part of a checkpoint.
    """

    table: Table
    fixed: Float64
    emitted_refills: list[tuple[int, RefillUpdate]]
    ended_windows: list[tuple[int, float]] = field(default_factory=list)
    covariates: Covariates = field(default_factory=Covariates)

    @classmethod
    def empty(cls) -> SlotState:
        return cls(table=Table("slots", SLOT_COLUMNS), fixed=np.zeros((0, len(FIXED_NAMES))), emitted_refills=[])

    def gather(self, rows: Rows) -> Float64:
        """(columns, n): a copy of the filter's state of `rows`, each column contiguous."""
        return np.ascontiguousarray(self.table["filter"][rows].T)

    def scatter(self, rows: Rows, state: Float64) -> None:
        """Puts `gather`'s columns back."""
        self.table["filter"][rows] = state.T

    def reserve(self) -> None:
        """Makes room in `fixed` for every place of the table."""
        places = self.table.device.shape[0]
        if self.fixed.shape[0] < places:
            more = np.zeros((places - self.fixed.shape[0], len(FIXED_NAMES)))
            self.fixed = np.concatenate([self.fixed, more])
