"""Coming days as they will be, beside days as they usually are: what adjusts a forecast to what is known beside.

The model sees a history of ordinary days and says how many of them a quantity lasts. Past days are expressed as they would
have been under the weather that is to come, days of absence are unknown; and the ordinary days that the model says are laid
out over the calendar, in which a day of absence or a mild one counts less than a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.features import DAYS
from star.analyse import DAYS_MAX, QUANTILES
from star.times import DAY_MS
from stream.detectors.absence import SHARE_SPREAD
from stream.detectors.beside import DEGREES, USE, Beside, ahead_of, share_of_absence, slope_of, use_at
from stream.detectors.weather import error_of_mean_c
from stream.state import Rows, Table

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_SPANS = np.array([1.0] * 14 + [7.0] * 9 + [28.0] * 11)
STARTS = np.concatenate([[0.0], np.cumsum(_SPANS)])
"""Of the spans of coming days, from now on: single days, then weeks, then months, a year in all."""
_MIDDLES = STARTS[:-1] + 0.5 * _SPANS
NEAR = 14
"""The mean of so many coming days' use is an ordinary day's."""
RATIO_MAX = 6.0
"""A past day is expressed as at most so many times, or such a part of, what it was."""
WEIGHT_MIN = 0.01
PARTLY_MAX = 0.25
"""A past day with more absence than this is unknown, one with less is expressed as a whole one."""
_NORMALS = np.array([NormalDist().inv_cdf(level) for level in QUANTILES])
_MEDIAN = QUANTILES.index(0.50)


@dataclass(frozen=True, slots=True)
class Calendar:
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
    felt: Float64
    after: Float64

    def part(self, at: Rows) -> Calendar:
        """That of the items at places `at`."""
        return Calendar(self.place[at], self.present, self.absent, self.shares, self.felt, self.after)

    def laid_out(self, days: Float64) -> Float64:
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
        for start in range(1, STARTS.size):
            span += passed(start) <= ordinary
        inside = np.minimum(span, _SPANS.size - 1).astype(np.intp)
        before, until = passed(inside), passed(inside + 1)
        within = STARTS[inside] + (ordinary - before) / (until - before) * _SPANS[inside]
        beyond = STARTS[-1] + (ordinary - until) / self.after[at]
        out = np.where(span < _SPANS.size, within, beyond)
        error = self.felt[inside[_MEDIAN] + 1, at] / until[_MEDIAN] * error_of_mean_c(out[_MEDIAN])
        laid: Float64 = days.copy()
        laid[some] = _spread(np.minimum(out, DAYS_MAX), error).T
        return laid


def _spread(days: Float64, error: Float64) -> Float64:
    """(quantiles, k) days with what is not known of the weather to come: `error`, (k,) standard deviation of the use until the
    median's time, relative to it."""
    if not error.any():
        return days
    median = np.maximum(days[_MEDIAN], 1e-9)
    logs = np.log(np.maximum(days, 1e-9) / median)
    more = np.log1p(np.abs(_NORMALS)[:, None] * error)
    off = np.where(_NORMALS[:, None] < 0.0, -1.0, 1.0) * np.sqrt(logs * logs + more * more)
    off[_MEDIAN] = 0.0
    return np.where((days > 0.0) & (error > 0.0), np.minimum(median * np.exp(off), DAYS_MAX), days)


def adjusted(
    beside: Beside, slots: Table, rows: Rows, at_ms: int, daily: Float32, today_use: Float32
) -> tuple[Float32, Float32, Calendar | None]:
    """The history of `rows` as the model is to see it, and their calendar; None where nothing is known beside of any.

    daily: (n, DAYS) use, newest complete UTC day first; today_use: (n,) so far today.
    """
    if not beside.anything:
        return daily, today_use, None
    device = beside.thermometer(slots, rows)
    away = beside.absences.any_between(rows, at_ms - (DAYS + 1.0) * DAY_MS, at_ms + STARTS[-1] * DAY_MS)
    some = np.nonzero((device >= 0) | away)[0]
    state = beside.learned(slots, rows[some])
    slope = np.where(device[some] >= 0, slope_of(state), 0.0)
    acts = (slope > 0.0) | away[some]
    some, state, slope = some[acts], state[:, acts], slope[acts]
    if some.size == 0:
        return daily, today_use, None
    warm = slope > 0.0
    place = np.full(rows.size, -1, dtype=np.intp)
    place[some] = np.arange(some.size)
    today = float(at_ms // DAY_MS)
    weight, fall, usual = _coming(beside, device[some], state, slope, warm, at_ms)
    daily, today_use = daily.copy(), today_use.copy()
    past, so_far = _past(beside, rows[some], device[some], state, slope, warm, usual, today, bool(away.any()))
    daily[some] *= past.astype(np.float32)
    today_use[some] *= so_far.astype(np.float32)
    lengths = _SPANS[:, None]
    absent = None
    if away.any():
        from_ms = at_ms + STARTS * DAY_MS
        absent = lengths * weight * beside.absences.share_of(rows[some], from_ms[:-1], from_ms[1:])
    weight *= lengths
    share = share_of_absence(state)
    calendar = Calendar(
        place=place,
        present=_from_start(weight if absent is None else weight - absent),
        absent=None if absent is None else _from_start(absent),
        shares=np.clip(share * np.exp(-SHARE_SPREAD * _NORMALS)[:, None], WEIGHT_MIN, 1.5),
        felt=_from_start(fall * lengths),
        after=np.maximum(weight.cumsum(axis=0)[-1] / STARTS[-1], WEIGHT_MIN),
    )
    return daily, today_use, calendar


def _from_start(spans: Float64) -> Float64:
    """(starts, k) running sums of (spans, k)."""
    sums = np.zeros((spans.shape[0] + 1, spans.shape[1]))
    np.add.accumulate(spans, axis=0, out=sums[1:])
    return sums


def _coming(
    beside: Beside, device: Rows, state: Float64, slope: Float64, warm: NDArray[np.bool_], at_ms: int
) -> tuple[Float64, Float64, Float64]:
    """(spans, k) weights of days in each span but for absence; how much more each weighs if it is 1 °C colder; and (k,) the
    ordinary day's use: that of the coming days."""
    weight = np.ones((_SPANS.size, device.size))
    fall, usual = np.zeros_like(weight), np.ones(device.size)
    at = np.nonzero(warm)[0]
    if at.size:
        since = at_ms / DAY_MS - at_ms // DAY_MS
        degrees, falls = ahead_of(beside.temperatures, device[at], float(at_ms // DAY_MS), since + _MIDDLES)
        use = use_at(state[:, at], slope[at], degrees)
        near = np.maximum(use[:NEAR].cumsum(axis=0)[-1] / NEAR, state[USE, at])
        weight[:, at] = np.maximum(use / near, WEIGHT_MIN)
        fall[:, at] = slope[at] * falls / near
        usual[at] = near
    return weight, fall, usual


def _past(
    beside: Beside,
    rows: Rows,
    device: Rows,
    state: Float64,
    slope: Float64,
    warm: NDArray[np.bool_],
    usual: Float64,
    today: float,
    away: bool,
) -> tuple[Float64, Float64]:
    """(k, DAYS) what past days are multiplied with, NaN where they were of absence, and (k,) the same of today."""
    days = today - np.arange(DAYS + 1.0)
    factors = np.ones((DAYS + 1, rows.size))
    if warm.any():
        degrees = beside.degree_days(device, days)
        np.copyto(degrees, state[DEGREES], where=degrees != degrees)
        ratio = usual / np.maximum(use_at(state, slope, degrees), 1e-12)
        np.clip(ratio, 1.0 / RATIO_MAX, RATIO_MAX, out=factors, where=warm)
    if away:
        absent = beside.absent(rows, days)
        worth = 1.0 - absent * (1.0 - share_of_absence(state))
        factors = np.where(absent <= PARTLY_MAX, factors / worth, np.nan)
    return np.ascontiguousarray(factors[1:].T), factors[0]
