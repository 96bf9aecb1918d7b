"""What is known of slots at a moment: level, history by day - the model's input -, trust, and the forecast it gives.

Nothing here changes state, so that a forecast can be asked for at any time. Rows depend on themselves only, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.features import DAYS, Known, run_out_features
from models.guess import days_to_empty
from star.analyse import DAYS_MAX, QUANTILES
from star.ports import Scorer
from star.times import DAY_MS
from stream.detectors.calendar import Calendar, adjusted
from stream.detectors.columns import (
    CARRY,
    DAY,
    DOUBT,
    F_CAPACITY,
    F_COUNTS,
    F_RATE,
    F_SPREAD,
    FIRST_MS,
    INTERVAL_MS,
    LAST_MS,
    LEVEL,
    LONG_DAYS,
    LONG_SQUARES,
    LONG_USE,
    OUTLIERS,
    RATE,
    SAME,
    SAME_MS,
    SEEN,
    TODAY,
    WIDENING_EARLY,
    WIDENING_LATE,
    Float64,
    Slots,
)
from stream.detectors.reckoning import fallen, grounds, spread
from stream.detectors.sensor import sensor, surely_stuck
from stream.state import Rows

SILENT_INTERVALS = 3.0
"""A silence of so many of the item's own intervals between readings is silence."""
SILENT_DAYS_MIN = 1.0
QUIET_INTERVALS, QUIET_DAYS_MIN = 5.0, 3.0
"""The same for a counter, which says nothing over a weekend either: until then it was not used."""
UNREAD_INTERVALS, UNREAD_DAYS_MAX = 1.25, 1.0
"""But what it counts within one of its intervals is not read yet, where it reports daily or more often."""
TRUST_MIN = 0.05
TRUST_OF_SILENCE, TRUST_OF_FEW = 0.6, 0.6
"""What is reckoned from long ago, or rests on one reading or two, is uncertain by known reasons, which the forecast says."""
DISTRUST_WIDENS = 0.4
"""Without any trust the log-spread is so much wider: more would let distrust alone fire orders."""

_MEDIAN = QUANTILES.index(0.50)
_INNER = [QUANTILES.index(0.25), QUANTILES.index(0.75)]
_BACK = np.arange(1.0, DAYS + 1.0)


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of n rows at `at_ms`: level (with what waits unseen), trust 0 to 1, days (n, 9) to empty."""

    rows: Rows
    at_ms: int
    level: Float64
    rate: Float64
    trust: Float64
    days: Float64


@dataclass(frozen=True, slots=True)
class Basis:
    """What forecasts of n rows rest on: what is known, in ordinary days, and the calendar of the coming ones."""

    known: Known
    calendar: Calendar | None

    def of(self, at: Rows, quantity: Float64) -> Basis:
        """That of places `at`, for the time to use up `quantity` (at,) from now on."""
        known = replace(self.known.take(at), level=quantity, silent_days=np.zeros(at.size))
        return Basis(known, None if self.calendar is None else self.calendar.part(at))


def look(slots: Slots, rows: Rows, at_ms: int, scorer: Scorer) -> tuple[Outlook, Basis]:
    """The outlook of `rows`, items with a reading, and what it rests on."""
    state, fixed = slots.gather(rows), slots.fixed[rows].T
    state[RATE] = slots.beside.ordinary_rate(slots.table, rows, state[RATE], at_ms)
    unread = _unread(state, fixed, at_ms)
    silent_days = _silent_days(state, fixed, unread, at_ms)
    level, since_ms = state[LEVEL].copy(), state[LAST_MS].copy()
    levels = np.nonzero(fixed[F_COUNTS] == 0.0)[0]
    if levels.size:
        level[levels], since_ms[levels] = grounds(slots, rows[levels], state[:, levels], fixed[:, levels])
        silent_days[levels] = np.maximum(at_ms - since_ms[levels], 0.0) / DAY_MS
    silent_days -= np.minimum(slots.beside.idle_days(slots.table, rows, since_ms, at_ms), silent_days)
    now = fallen(level, np.where(unread, 0.0, state[RATE] * silent_days))
    read_high = np.clip(slots.beside.reads_high(slots.table, rows, fixed[F_CAPACITY]), None, np.maximum(now, 0.0))
    before_days = np.maximum(since_ms - state[LAST_MS], 0.0) / DAY_MS
    quiet = (fixed[F_COUNTS] > 0.0) & ~unread & (silent_days == 0.0)
    basis = _basis(slots, rows, state, fixed, level - read_high, before_days, silent_days, quiet, at_ms)
    idle_days = slots.beside.idle_days(slots.table, rows, state[SAME_MS], at_ms)
    of_sensor = _trust_of_sensor(state, fixed, at_ms, idle_days)
    distrust = 1.0 + DISTRUST_WIDENS * (1.0 - of_sensor)
    looks = slots.table["look"][rows]
    early, late = distrust * (1.0 + looks[:, WIDENING_EARLY]), distrust * (1.0 + looks[:, WIDENING_LATE])
    days = np.maximum.accumulate(widened(ask(scorer, basis), multipliers(early, late)), axis=1)
    trust = np.clip(of_sensor * _trust_of_time(state, at_ms), TRUST_MIN, 1.0)
    return Outlook(rows, at_ms, now - read_high, state[RATE].copy(), trust, days), basis


def ask(scorer: Scorer, basis: Basis) -> Float64:
    """(n, 9) days until the level is used up, as the model says: 0 where there is none."""
    features, guess = run_out_features(basis.known)
    days = days_to_empty(scorer.score(features), guess)
    if basis.calendar is not None:
        days = basis.calendar.laid_out(days)
    days = np.maximum.accumulate(days, axis=1)
    empty: Float64 = np.where((basis.known.level > 0.0)[:, None], days, 0.0)
    return empty


def multipliers(early: Float64, late: Float64) -> Float64:
    """(n, 9) by which the log-spread of each quantile is multiplied, for those under and over the median: (n,) each.

    Where the outer ones are drawn in, the inner ones are half as much: what is seldom far off is often a little off.
    """
    factor = np.empty((early.size, len(QUANTILES)))
    factor[:, :_MEDIAN], factor[:, _MEDIAN:] = early[:, None], late[:, None]
    inner = factor[:, _INNER]
    factor[:, _INNER] = np.where(inner < 1.0, np.sqrt(inner), inner)
    return factor


def widened(days: Float64, factor: Float64) -> Float64:
    """`days` with the log-spread of each quantile about the median multiplied by `factor`, both (n, 9)."""
    median = np.maximum(days[:, _MEDIAN : _MEDIAN + 1], 1e-9)
    ratio = np.ascontiguousarray(np.maximum(days, 1e-9) / median)
    wide = median * np.exp(np.minimum(np.log(ratio) * factor, 50.0))
    return np.where(days > 0.0, np.minimum(wide, DAYS_MAX), 0.0)


def _unread(state: Float64, fixed: Float64, at_ms: int) -> NDArray[np.bool_]:
    """Which counters are not due to report yet: what they counted since their latest reading is not known."""
    due_ms = np.minimum(UNREAD_INTERVALS * state[INTERVAL_MS], UNREAD_DAYS_MAX * DAY_MS)
    unread: NDArray[np.bool_] = (fixed[F_COUNTS] > 0.0) & (at_ms - state[LAST_MS] <= due_ms)
    return unread


def _silent_days(state: Float64, fixed: Float64, unread: NDArray[np.bool_], at_ms: int) -> Float64:
    """Days whose use is not known: since the latest reading, but for a counter that did not report when it usually does.

    Such a one was not used, until its silence is out of its ways.
    """
    days = np.maximum(at_ms - state[LAST_MS], 0.0) / DAY_MS
    usual = np.maximum(QUIET_INTERVALS * state[INTERVAL_MS] / DAY_MS, QUIET_DAYS_MIN)
    silent: Float64 = np.where((fixed[F_COUNTS] > 0.0) & ~unread, np.maximum(days - usual, 0.0), days)
    return silent


def _basis(
    slots: Slots,
    rows: Rows,
    state: Float64,
    fixed: Float64,
    level: Float64,
    before_days: Float64,
    silent_days: Float64,
    quiet: NDArray[np.bool_],
    at_ms: int,
) -> Basis:
    """level: (n,) `silent_days` ago, reckoned over `before_days` since the latest reading believed; quiet: which were not used."""
    today = float(at_ms // DAY_MS)
    elapsed = at_ms / DAY_MS - today
    places = ((today - _BACK) % DAYS).astype(np.intp)
    daily = slots.table["days"][rows][:, places]
    day = today - _BACK[None, :]
    current = state[DAY][:, None]
    unknown = (day >= current) | (day < current - DAYS) | (day <= np.floor(state[FIRST_MS] / DAY_MS)[:, None])
    daily[unknown] = np.nan
    counts = fixed[F_COUNTS] > 0.0
    so_far = np.maximum(state[TODAY] + state[CARRY], 0.0)
    _fill_since(daily, state, so_far, quiet, day)
    same_day = state[DAY] == today
    started_ms = np.maximum(state[LAST_MS], today * DAY_MS)
    since = np.where(quiet, 0.0, state[RATE] * np.maximum(at_ms - started_ms, 0.0) / DAY_MS)
    began_today = np.floor(state[FIRST_MS] / DAY_MS) == today
    so_far = np.where(same_day & ~began_today, so_far + since, np.where(quiet & ~began_today, 0.0, np.nan))
    step, _ = sensor(state, fixed)
    coarse = np.where(counts, 0.0, step * step / 12.0)
    variance = np.maximum(np.maximum(spread(state, before_days), coarse), 0.0)
    daily, today_use, calendar = adjusted(slots.beside, slots.table, rows, at_ms, daily, so_far.astype(np.float32))
    known = Known(
        daily=daily,
        today=today_use,
        today_fraction=np.full(rows.size, elapsed, dtype=np.float32),
        level=level,
        noise=np.sqrt(variance),
        silent_days=silent_days,
        prior_rate=fixed[F_RATE],
        prior_spread=fixed[F_SPREAD],
        long_days=state[LONG_DAYS],
        long_use=state[LONG_USE],
        long_squares=state[LONG_SQUARES],
    )
    return Basis(known, calendar)


def _fill_since(
    daily: NDArray[np.float32], state: Float64, so_far: Float64, quiet: NDArray[np.bool_], day: Float64
) -> None:
    """The days that are over but not closed, as nothing came since: of a quiet counter they are known."""
    some = np.nonzero(quiet & (state[DAY] < day[0, 0] + 1.0))[0]
    if some.size == 0:
        return
    part = daily[some]
    current = state[DAY][some][:, None]
    began = np.floor(state[FIRST_MS][some] / DAY_MS)[:, None]
    part[np.broadcast_to(day, part.shape) > current] = 0.0
    last = (np.broadcast_to(day, part.shape) == current) & (current > began)
    part[last] = np.broadcast_to(so_far[some][:, None], part.shape)[last].astype(np.float32)
    daily[some] = part


def _trust_of_time(state: Float64, at_ms: int) -> Float64:
    """How much is to be believed of what was seen so long ago, or so seldom yet: never so little that nothing is decided."""
    usual_ms = np.maximum(SILENT_INTERVALS * state[INTERVAL_MS], SILENT_DAYS_MIN * DAY_MS)
    age_ms = np.maximum(at_ms - state[LAST_MS], 0.0)
    trust = np.where(age_ms > usual_ms, np.maximum(usual_ms / np.maximum(age_ms, 1.0), TRUST_OF_SILENCE), 1.0)
    return np.asarray(np.minimum(trust, np.where(state[SEEN] < 3.0, TRUST_OF_FEW, 1.0)))


def _trust_of_sensor(state: Float64, fixed: Float64, at_ms: int, idle_days: Float64) -> Float64:
    """How much the latest readings are to be believed, from outliers, sameness and disagreement.

    idle_days: (n,) of those since which all readings were the same, how many had no use to show, as nobody was there.
    """
    trust = 1.0 - np.minimum(3.0 * state[OUTLIERS], 0.6)
    trust *= np.where(state[DOUBT] > 0.0, 0.8, 1.0)
    step, noise = sensor(state, fixed)
    same_use = state[RATE] * np.maximum((at_ms - state[SAME_MS]) / DAY_MS - idle_days, 0.0)
    levels = fixed[F_COUNTS] == 0.0
    sure = levels & surely_stuck(state)
    trust *= np.where(sure, 0.4, 1.0)
    perhaps = (
        levels
        & ~sure
        & (state[SAME] >= 2.0)
        & (same_use > np.maximum(2.0 * step + 4.0 * noise, 0.03 * fixed[F_CAPACITY]))
    )
    return np.asarray(trust * np.where(perhaps, 0.7, 1.0))
