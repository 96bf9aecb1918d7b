"""Forecasts of slots at a moment, from their level, daily usage (the model's input), sensor trust and calibration.

Nothing here changes state, so that a forecast can be made at any time. Rows depend on themselves only, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS, ConsumptionHistory, run_out_features
from models.gamma_baseline import days_to_empty
from star.analyse import DAYS_MAX, QUANTILES
from star.ports import Scorer
from star.times import DAY_MS
from stream.detectors.covariates.calendar_adjustment import CalendarAdjustment, adjust_history
from stream.detectors.slots.dead_reckoning import baseline_level, deplete, prediction_variance
from stream.detectors.slots.sensor_model import is_stuck, step_and_noise
from stream.detectors.slots.state_schema import (
    ACCEPTED_READINGS,
    CANDIDATE_COUNT,
    CURRENT_DAY,
    DEFICIT,
    F_CAPACITY,
    F_IS_COUNTER,
    F_RATE,
    F_RATE_SPREAD,
    FIRST_MS,
    LAST_MS,
    LEVEL,
    LONG_DAYS,
    LONG_SQUARES,
    LONG_USE,
    OUTLIER_RATE,
    RATE,
    REPEAT_COUNT,
    REPEAT_SINCE_MS,
    REPORT_INTERVAL_MS,
    SPREAD_FACTOR_EARLY,
    SPREAD_FACTOR_LATE,
    USED_TODAY,
    Float64,
    SlotState,
)
from stream.state.state_table import Rows

SILENT_INTERVALS = 3.0
"""A silence of so many of the item's own intervals between readings is silence."""
SILENT_DAYS_MIN = 1.0
COUNTER_SILENT_INTERVALS, COUNTER_SILENT_DAYS_MIN = 5.0, 3.0
"""The same for a counter, which says nothing over a weekend either: until then it was not used."""
REPORT_DUE_INTERVALS, REPORT_DUE_DAYS_MAX = 1.25, 1.0
"""But what it counts within one of its intervals is not read yet, where it reports daily or more often."""
TRUST_MIN = 0.05
TRUST_MIN_SILENT, TRUST_MAX_FEW = 0.6, 0.6
"""What is reckoned from long ago, or rests on one reading or two, is uncertain by known reasons, which the forecast says."""
DISTRUST_SPREAD_GAIN = 0.4
"""Without any trust the log-spread is so much wider: more would let distrust alone fire orders."""

_MEDIAN = QUANTILES.index(0.50)
_INNER = [QUANTILES.index(0.25), QUANTILES.index(0.75)]
_DAYS_BACK = np.arange(1.0, HISTORY_DAYS + 1.0)


@dataclass(frozen=True, slots=True)
class SlotForecasts:
    """Of n rows at `at_ms`: level (with what waits unseen), trust 0 to 1, days (n, 9) to empty."""

    rows: Rows
    at_ms: int
    level: Float64
    rate: Float64
    trust: Float64
    days: Float64


@dataclass(frozen=True, slots=True)
class ForecastInputs:
    """What forecasts of n rows rest on: what is known, in ordinary days, and the calendar of the coming ones."""

    history: ConsumptionHistory
    calendar: CalendarAdjustment | None

    def for_quantity(self, at: Rows, quantity: Float64) -> ForecastInputs:
        """That of places `at`, for the time to use up `quantity` (at,) from now on."""
        history = replace(self.history.select(at), level=quantity, silent_days=np.zeros(at.size))
        return ForecastInputs(history, None if self.calendar is None else self.calendar.subset(at))


def compute_forecasts(slots: SlotState, rows: Rows, at_ms: int, scorer: Scorer) -> tuple[SlotForecasts, ForecastInputs]:
    """The outlook of `rows`, items with a reading, and what it rests on."""
    state, fixed = slots.gather(rows), slots.fixed[rows].T
    state[RATE] = slots.covariates.rate_when_present(slots.table, rows, state[RATE], at_ms)
    not_due = _report_not_due(state, fixed, at_ms)
    silent_days = _days_of_unknown_use(state, fixed, not_due, at_ms)
    level, since_ms = state[LEVEL].copy(), state[LAST_MS].copy()
    levels = np.nonzero(fixed[F_IS_COUNTER] == 0.0)[0]
    if levels.size:
        level[levels], since_ms[levels] = baseline_level(slots, rows[levels], state[:, levels], fixed[:, levels])
        silent_days[levels] = np.maximum(at_ms - since_ms[levels], 0.0) / DAY_MS
    silent_days -= np.minimum(slots.covariates.idle_days(slots.table, rows, since_ms, at_ms), silent_days)
    now = deplete(level, np.where(not_due, 0.0, state[RATE] * silent_days))
    thermal_offset = np.clip(
        slots.covariates.thermal_offset(slots.table, rows, fixed[F_CAPACITY]), None, np.maximum(now, 0.0)
    )
    before_days = np.maximum(since_ms - state[LAST_MS], 0.0) / DAY_MS
    unused = (fixed[F_IS_COUNTER] > 0.0) & ~not_due & (silent_days == 0.0)
    inputs = _forecast_inputs(
        slots, rows, state, fixed, level - thermal_offset, before_days, silent_days, unused, at_ms
    )
    idle_days = slots.covariates.idle_days(slots.table, rows, state[REPEAT_SINCE_MS], at_ms)
    sensor_trust = _sensor_trust(state, fixed, at_ms, idle_days)
    distrust = 1.0 + DISTRUST_SPREAD_GAIN * (1.0 - sensor_trust)
    evaluation = slots.table["evaluation"][rows]
    early, late = (
        distrust * (1.0 + evaluation[:, SPREAD_FACTOR_EARLY]),
        distrust * (1.0 + evaluation[:, SPREAD_FACTOR_LATE]),
    )
    days = np.maximum.accumulate(
        scale_log_spread(predict_quantiles(scorer, inputs), spread_factors(early, late)), axis=1
    )
    trust = np.clip(sensor_trust * _recency_trust(state, at_ms), TRUST_MIN, 1.0)
    return SlotForecasts(rows, at_ms, now - thermal_offset, state[RATE].copy(), trust, days), inputs


def predict_quantiles(scorer: Scorer, inputs: ForecastInputs) -> Float64:
    """(n, 9) days until the level is used up, as the model says: 0 where there is none."""
    features, baseline = run_out_features(inputs.history)
    days = days_to_empty(scorer.score(features), baseline)
    if inputs.calendar is not None:
        days = inputs.calendar.to_calendar_days(days)
    days = np.maximum.accumulate(days, axis=1)
    empty: Float64 = np.where((inputs.history.level > 0.0)[:, None], days, 0.0)
    return empty


def spread_factors(early: Float64, late: Float64) -> Float64:
    """(n, 9) by which the log-spread of each quantile is multiplied, for those under and over the median: (n,) each.

    Where the outer ones are drawn in, the inner ones are half as much: what is seldom far off is often a little off.
    """
    factor = np.empty((early.size, len(QUANTILES)))
    factor[:, :_MEDIAN], factor[:, _MEDIAN:] = early[:, None], late[:, None]
    inner = factor[:, _INNER]
    factor[:, _INNER] = np.where(inner < 1.0, np.sqrt(inner), inner)
    return factor


def scale_log_spread(days: Float64, factor: Float64) -> Float64:
    """`days` with the log-spread of each quantile about the median multiplied by `factor`, both (n, 9)."""
    median = np.maximum(days[:, _MEDIAN : _MEDIAN + 1], 1e-9)
    ratio = np.ascontiguousarray(np.maximum(days, 1e-9) / median)
    wide = median * np.exp(np.minimum(np.log(ratio) * factor, 50.0))
    return np.where(days > 0.0, np.minimum(wide, DAYS_MAX), 0.0)


def _report_not_due(state: Float64, fixed: Float64, at_ms: int) -> NDArray[np.bool_]:
    """Which counters are not due to report yet: what they counted since their latest reading is not known."""
    due_ms = np.minimum(REPORT_DUE_INTERVALS * state[REPORT_INTERVAL_MS], REPORT_DUE_DAYS_MAX * DAY_MS)
    not_due: NDArray[np.bool_] = (fixed[F_IS_COUNTER] > 0.0) & (at_ms - state[LAST_MS] <= due_ms)
    return not_due


def _days_of_unknown_use(state: Float64, fixed: Float64, not_due: NDArray[np.bool_], at_ms: int) -> Float64:
    """Days whose use is not known: since the latest reading, but for a counter that did not report when it usually does.

    Such a one was not used, until its silence is out of its ways.
    """
    days = np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    usual = np.maximum(COUNTER_SILENT_INTERVALS * state[REPORT_INTERVAL_MS] / DAY_MS, COUNTER_SILENT_DAYS_MIN)
    silent: Float64 = np.where((fixed[F_IS_COUNTER] > 0.0) & ~not_due, np.maximum(days - usual, 0.0), days)
    return silent


def _forecast_inputs(
    slots: SlotState,
    rows: Rows,
    state: Float64,
    fixed: Float64,
    level: Float64,
    before_days: Float64,
    silent_days: Float64,
    unused: NDArray[np.bool_],
    at_ms: int,
) -> ForecastInputs:
    """level: (n,) `silent_days` ago, reckoned over `before_days` since the latest reading believed; quiet: which were not used."""
    today = float(at_ms // DAY_MS)
    elapsed = at_ms / DAY_MS - today
    places = ((today - _DAYS_BACK) % HISTORY_DAYS).astype(np.intp)
    daily = slots.table["daily_usage"][rows][:, places]
    day = today - _DAYS_BACK[None, :]
    current = state[CURRENT_DAY][:, None]
    unknown = (day >= current) | (day < current - HISTORY_DAYS) | (day <= np.floor(state[FIRST_MS] / DAY_MS)[:, None])
    daily[unknown] = np.nan
    counts = fixed[F_IS_COUNTER] > 0.0
    used_today = np.maximum(state[USED_TODAY] + state[DEFICIT], 0.0)
    _fill_open_days(daily, state, used_today, unused, day)
    same_day = state[CURRENT_DAY] == today
    started_ms = np.maximum(state[LAST_MS], today * DAY_MS)
    used_since = np.where(unused, 0.0, state[RATE] * np.maximum(at_ms - started_ms, 0.0) / DAY_MS)
    began_today = np.floor(state[FIRST_MS] / DAY_MS) == today
    used_today = np.where(
        same_day & ~began_today, used_today + used_since, np.where(unused & ~began_today, 0.0, np.nan)
    )
    step, _ = step_and_noise(state, fixed)
    coarse = np.where(counts, 0.0, step * step / 12.0)
    variance = np.maximum(np.maximum(prediction_variance(state, before_days), coarse), 0.0)
    daily, today_use, calendar = adjust_history(
        slots.covariates, slots.table, rows, at_ms, daily, used_today.astype(np.float32)
    )
    history = ConsumptionHistory(
        daily=daily,
        today=today_use,
        today_fraction=np.full(rows.size, elapsed, dtype=np.float32),
        level=level,
        noise=np.sqrt(variance),
        silent_days=silent_days,
        prior_rate=fixed[F_RATE],
        prior_spread=fixed[F_RATE_SPREAD],
        long_days=state[LONG_DAYS],
        long_use=state[LONG_USE],
        long_squares=state[LONG_SQUARES],
    )
    return ForecastInputs(history, calendar)


def _fill_open_days(
    daily: NDArray[np.float32], state: Float64, used_today: Float64, unused: NDArray[np.bool_], day: Float64
) -> None:
    """The days that are over but not closed, as nothing came since: of a quiet counter they are known."""
    some = np.nonzero(unused & (state[CURRENT_DAY] < day[0, 0] + 1.0))[0]
    if some.size == 0:
        return
    part = daily[some]
    current = state[CURRENT_DAY][some][:, None]
    began = np.floor(state[FIRST_MS][some] / DAY_MS)[:, None]
    part[np.broadcast_to(day, part.shape) > current] = 0.0
    last = (np.broadcast_to(day, part.shape) == current) & (current > began)
    part[last] = np.broadcast_to(used_today[some][:, None], part.shape)[last].astype(np.float32)
    daily[some] = part


def _recency_trust(state: Float64, at_ms: int) -> Float64:
    """How much is to be believed of what was seen so long ago, or so seldom yet: never so little that nothing is decided."""
    usual_ms = np.maximum(SILENT_INTERVALS * state[REPORT_INTERVAL_MS], SILENT_DAYS_MIN * DAY_MS)
    age_ms = np.maximum(at_ms - state[LAST_MS], 0.0)
    trust = np.where(age_ms > usual_ms, np.maximum(usual_ms / np.maximum(age_ms, 1.0), TRUST_MIN_SILENT), 1.0)
    return np.asarray(np.minimum(trust, np.where(state[ACCEPTED_READINGS] < 3.0, TRUST_MAX_FEW, 1.0)))


def _sensor_trust(state: Float64, fixed: Float64, at_ms: int, idle_days: Float64) -> Float64:
    """How much the latest readings are to be believed, from outliers, sameness and disagreement.

    idle_days: (n,) of those since which all readings were the same, how many had no use to show, as nobody was there.
    """
    trust = 1.0 - np.minimum(3.0 * state[OUTLIER_RATE], 0.6)
    trust *= np.where(state[CANDIDATE_COUNT] > 0.0, 0.8, 1.0)
    step, noise = step_and_noise(state, fixed)
    use_while_repeating = state[RATE] * np.maximum((at_ms - state[REPEAT_SINCE_MS]) / DAY_MS - idle_days, 0.0)
    levels = fixed[F_IS_COUNTER] == 0.0
    stuck = levels & is_stuck(state)
    trust *= np.where(stuck, 0.4, 1.0)
    maybe_stuck = (
        levels
        & ~stuck
        & (state[REPEAT_COUNT] >= 2.0)
        & (use_while_repeating > np.maximum(2.0 * step + 4.0 * noise, 0.03 * fixed[F_CAPACITY]))
    )
    return np.asarray(trust * np.where(maybe_stuck, 0.7, 1.0))
