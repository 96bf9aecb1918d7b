"""Calendar adjustment: forecasts for the coming days as temperature and absence will make them.

The model sees a history of ordinary days and forecasts how many of them a quantity lasts. Past days are restated as they would
have been under the weather to come, and days of absence count as unknown. The forecast of ordinary days is then mapped to the
calendar, where a day of absence or a mild day counts for less than a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS
from star.analyse import DAYS_MAX, QUANTILES
from star.quantiles import Z
from star.times import DAY_MS
from stream.detectors.covariates.absence import USE_SHARE_LOG_SPREAD
from stream.detectors.covariates.covariates import (
    MEAN_DEGREES,
    MEAN_USE,
    Covariates,
    absence_use_share,
    degree_day_slope,
    expected_degree_days_ahead,
    expected_use,
)
from stream.detectors.covariates.weather import mean_temperature_error_c
from stream.state.state_table import Rows, Table

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_SPAN_DAYS = np.array([1.0] * 14 + [7.0] * 9 + [28.0] * 11)
SPAN_STARTS = np.concatenate([[0.0], np.cumsum(_SPAN_DAYS)])
"""Of the spans of coming days, from now on: single days, then weeks, then months, a year in all."""
_SPAN_MIDDLES = SPAN_STARTS[:-1] + 0.5 * _SPAN_DAYS
BASELINE_DAYS = 14
"""The mean of so many coming days' use is an ordinary day's."""
RATIO_MAX = 6.0
"""A past day is expressed as at most so many times, or such a part of, what it was."""
WEIGHT_MIN = 0.01
PARTIAL_ABSENCE_MAX = 0.25
"""A past day with more absence than this is unknown, one with less is expressed as a whole one."""
_NORMAL_QUANTILES = np.array(list(Z.values()))
_MEDIAN = QUANTILES.index(0.50)


@dataclass(frozen=True, slots=True)
class CalendarAdjustment:
    """Of k of n items, how many ordinary days have passed at each of STARTS.

    place: (n,) which of the k each item is, -1 for those that have no calendar. present: (starts, k) without days of absence;
    absent: (starts, k) those of absence, None where nobody is away, of which only a share counts, shares: (quantiles, k).
    felt: (starts, k) how much more, in ordinary days too, were each day 1 °C colder than expected. after: (k,) weight of a
    day beyond.
    """

    place: Rows
    present: Float64
    absent: Float64 | None
    shares: Float64
    temperature_sensitivity: Float64
    tail_weight: Float64

    def subset(self, at: Rows) -> CalendarAdjustment:
        """That of the items at places `at`."""
        return CalendarAdjustment(
            self.place[at], self.present, self.absent, self.shares, self.temperature_sensitivity, self.tail_weight
        )

    def to_calendar_days(self, days: Float64) -> Float64:
        """(n, 9) days of the calendar, from quantiles in ordinary days."""
        some = np.nonzero(self.place >= 0)[0]
        if some.size == 0:
            return days
        at = self.place[some]
        ordinary = np.ascontiguousarray(days[some].T)
        present, absent = self.present[:, at], None if self.absent is None else self.absent[:, at]
        shares = self.shares[:, at]

        columns = np.arange(some.size)

        def passed(start: NDArray[np.intp] | int) -> Float64:
            """(quantiles, k) or (k,) ordinary days until the start of a span."""
            here = start if isinstance(start, int) else (start, columns)
            days = present[here]
            return days if absent is None else days + shares * absent[here]

        span = np.zeros(ordinary.shape, dtype=np.uint8)
        for start in range(1, SPAN_STARTS.size):
            span += passed(start) <= ordinary
        inside = np.minimum(span, _SPAN_DAYS.size - 1).astype(np.intp)
        before, until = passed(inside), passed(inside + 1)
        within = SPAN_STARTS[inside] + (ordinary - before) / (until - before) * _SPAN_DAYS[inside]
        beyond = SPAN_STARTS[-1] + (ordinary - until) / self.tail_weight[at]
        out = np.where(span < _SPAN_DAYS.size, within, beyond)
        error = (
            self.temperature_sensitivity[inside[_MEDIAN] + 1, at]
            / until[_MEDIAN]
            * mean_temperature_error_c(out[_MEDIAN])
        )
        calendar_days: Float64 = days.copy()
        calendar_days[some] = _add_weather_variance(np.minimum(out, DAYS_MAX), error).T
        return calendar_days


def _add_weather_variance(days: Float64, error: Float64) -> Float64:
    """(quantiles, k) days with what is not known of the weather to come: `error`, (k,) standard deviation of the use until the
    median's time, relative to it."""
    if not error.any():
        return days
    median = np.maximum(days[_MEDIAN], 1e-9)
    logs = np.log(np.maximum(days, 1e-9) / median)
    more = np.log1p(np.abs(_NORMAL_QUANTILES)[:, None] * error)
    off = np.where(_NORMAL_QUANTILES[:, None] < 0.0, -1.0, 1.0) * np.sqrt(logs * logs + more * more)
    off[_MEDIAN] = 0.0
    return np.where((days > 0.0) & (error > 0.0), np.minimum(median * np.exp(off), DAYS_MAX), days)


def adjust_history(
    covariates: Covariates, slots: Table, rows: Rows, at_ms: int, daily: Float32, today_use: Float32
) -> tuple[Float32, Float32, CalendarAdjustment | None]:
    """The history of `rows` as the model is to see it, and their calendar; None where nothing is known beside of any.

    daily: (n, DAYS) use, newest complete UTC day first; today_use: (n,) so far today.
    """
    if not covariates.available:
        return daily, today_use, None
    device = covariates.temperature_rows(slots, rows)
    away = covariates.absences.any_between(
        rows, at_ms - (HISTORY_DAYS + 1.0) * DAY_MS, at_ms + SPAN_STARTS[-1] * DAY_MS
    )
    some = np.nonzero((device >= 0) | away)[0]
    state = covariates.learned_state(slots, rows[some])
    slope = np.where(device[some] >= 0, degree_day_slope(state), 0.0)
    has_effect = (slope > 0.0) | away[some]
    some, state, slope = some[has_effect], state[:, has_effect], slope[has_effect]
    if some.size == 0:
        return daily, today_use, None
    heated = slope > 0.0
    place = np.full(rows.size, -1, dtype=np.intp)
    place[some] = np.arange(some.size)
    today = float(at_ms // DAY_MS)
    weight, fall, baseline_use = _future_weights(covariates, device[some], state, slope, heated, at_ms)
    daily, today_use = daily.copy(), today_use.copy()
    past, today_factor = _past_factors(
        covariates, rows[some], device[some], state, slope, heated, baseline_use, today, bool(away.any())
    )
    daily[some] *= past.astype(np.float32)
    today_use[some] *= today_factor.astype(np.float32)
    lengths = _SPAN_DAYS[:, None]
    absent = None
    if away.any():
        from_ms = at_ms + SPAN_STARTS * DAY_MS
        absent = lengths * weight * covariates.absences.absent_share(rows[some], from_ms[:-1], from_ms[1:])
    weight *= lengths
    share = absence_use_share(state)
    calendar = CalendarAdjustment(
        place=place,
        present=_cumulative(weight if absent is None else weight - absent),
        absent=None if absent is None else _cumulative(absent),
        shares=np.clip(share * np.exp(-USE_SHARE_LOG_SPREAD * _NORMAL_QUANTILES)[:, None], WEIGHT_MIN, 1.5),
        temperature_sensitivity=_cumulative(fall * lengths),
        tail_weight=np.maximum(weight.cumsum(axis=0)[-1] / SPAN_STARTS[-1], WEIGHT_MIN),
    )
    return daily, today_use, calendar


def _cumulative(spans: Float64) -> Float64:
    """(starts, k) running sums of (spans, k)."""
    sums = np.zeros((spans.shape[0] + 1, spans.shape[1]))
    np.add.accumulate(spans, axis=0, out=sums[1:])
    return sums


def _future_weights(
    covariates: Covariates, device: Rows, state: Float64, slope: Float64, heated: NDArray[np.bool_], at_ms: int
) -> tuple[Float64, Float64, Float64]:
    """(spans, k) weights of days in each span but for absence; how much more each weighs if it is 1 °C colder; and (k,) the
    ordinary day's use: that of the coming days."""
    weight = np.ones((_SPAN_DAYS.size, device.size))
    fall, baseline_use = np.zeros_like(weight), np.ones(device.size)
    at = np.nonzero(heated)[0]
    if at.size:
        since = at_ms / DAY_MS - at_ms // DAY_MS
        degrees, falls = expected_degree_days_ahead(
            covariates.temperatures, device[at], float(at_ms // DAY_MS), since + _SPAN_MIDDLES
        )
        use = expected_use(state[:, at], slope[at], degrees)
        baseline = np.maximum(use[:BASELINE_DAYS].cumsum(axis=0)[-1] / BASELINE_DAYS, state[MEAN_USE, at])
        weight[:, at] = np.maximum(use / baseline, WEIGHT_MIN)
        fall[:, at] = slope[at] * falls / baseline
        baseline_use[at] = baseline
    return weight, fall, baseline_use


def _past_factors(
    covariates: Covariates,
    rows: Rows,
    device: Rows,
    state: Float64,
    slope: Float64,
    heated: NDArray[np.bool_],
    baseline_use: Float64,
    today: float,
    away: bool,
) -> tuple[Float64, Float64]:
    """(k, DAYS) what past days are multiplied with, NaN where they were of absence, and (k,) the same of today."""
    days = today - np.arange(HISTORY_DAYS + 1.0)
    factors = np.ones((HISTORY_DAYS + 1, rows.size))
    if heated.any():
        degrees = covariates.degree_days(device, days)
        np.copyto(degrees, state[MEAN_DEGREES], where=degrees != degrees)
        ratio = baseline_use / np.maximum(expected_use(state, slope, degrees), 1e-12)
        np.clip(ratio, 1.0 / RATIO_MAX, RATIO_MAX, out=factors, where=heated)
    if away:
        absent = covariates.absence_share(rows, days)
        present_use = 1.0 - absent * (1.0 - absence_use_share(state))
        factors = np.where(absent <= PARTIAL_ABSENCE_MAX, factors / present_use, np.nan)
    return np.ascontiguousarray(factors[1:].T), factors[0]
