"""What a reference policy believes of n items: the level now, and how much was used on each of the last 28 days.

Two of them: the plain one takes the latest reading as the truth; the filtered one takes a median of three readings, and leaves
out what is implausible or stuck. Both bring what they believe forward by the mean rate. The service is not here: it has its own.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from evaluation.worlds.scenario_families import Sensing
from evaluation.worlds.scenarios import ScenarioBatch
from evaluation.worlds.sensor_faults import HourlyReadings

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

HISTORY_DAYS = 28
PRIOR_DAYS = 30.0
"""Without any history a capacity is taken to last so long, as the shipped profiles do."""
MEDIAN_OF = 3
RECENT_HOURS = 36.0
"""Older readings are left out of the median."""
IMPLAUSIBLE_SHARE = 0.15
"""Of the capacity: a reading further from what was expected, use at four times the rate included, is not believed at once."""
IMPLAUSIBLE_ACCEPTED_AFTER = 3
"""So many implausible readings one after the other are believed."""
STUCK_SHARE = 0.08
"""Of the capacity: when so much should have been used and the reading has not moved at all, it is stuck."""
RISE_SHARE = 0.4
"""Of a pack: a rise that nobody told of is taken for a delivery."""


class StockTracker:
    """Beliefs by item. `level_at(hour)` and `daily` are what policies use; risen: since last asked, a rise not told of.

    gap: (n,) how many days the last `close_day` closed, whose mean use is daily[:, 0]; 0 where nothing is known of the day.
    """

    def __init__(self, scenarios: ScenarioBatch, *, filtered: bool) -> None:
        count = len(scenarios)
        self._scenarios = scenarios
        self._detects_rises = (
            scenarios.family.supply.declared_share < 1.0
        )  # who is told of every delivery need not look for them
        self._sensing = scenarios.family.sensor.sensing
        self._filtered = filtered
        counted = self._sensing is not Sensing.LEVEL
        self.level = scenarios.capacity.copy() if counted else np.full(count, np.nan)
        self.measured_hour = np.zeros(count)
        self.daily = np.full((count, HISTORY_DAYS), np.nan)
        self.days_closed = np.zeros(count, dtype=np.int64)
        self.undeclared_rise = np.zeros(count, dtype=bool)
        self._total = np.zeros(count)
        self._recent = np.full((count, MEDIAN_OF), np.nan)
        self._recent_at = np.zeros((count, MEDIAN_OF))
        self._implausible_count = np.zeros(count, dtype=np.int64)
        self._last = np.full(count, np.nan)
        self._same_since = np.zeros(count)
        self._delivered = np.zeros(count, dtype=bool)
        self._closed_level = self.level.copy()
        self._closed_at = np.zeros(count)
        self._added = np.zeros(count)
        self._deficit = np.zeros(count)

    @property
    def known(self) -> Bools:
        """(n,) whether there has been any reading."""
        return ~np.isnan(self.level)

    def rate(self) -> Float64:
        """(n,) mean use a day of the days known, the prior counting like three of them."""
        known = ~np.isnan(self.daily)
        total = np.where(known, self.daily, 0.0).sum(axis=1)
        return np.asarray((total + 3.0 * self._scenarios.capacity / PRIOR_DAYS) / (known.sum(axis=1) + 3.0))

    def deviation(self) -> Float64:
        """(n,) standard deviation of a day's use over the days known, at least a tenth of the rate."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            spread = np.nanstd(self.daily, axis=1)
        rate = self.rate()
        return np.maximum(np.where(np.isnan(spread), rate, spread), 0.1 * rate)

    def level_at(self, hour: int) -> Float64:
        """(n,) the level believed now; NaN before the first reading."""
        if self._sensing is Sensing.INCREMENTS:
            return np.maximum(self.level, 0.0)
        return np.maximum(self.level - self.rate() * (hour - self.measured_hour) / 24.0, 0.0)

    def add_delivery(self, hour: int, row: int, quantity: float) -> None:
        """So much was said to have come."""
        scenarios = self._scenarios
        room = np.inf if scenarios.stores_spares[row] else max(scenarios.capacity[row] - self.level_at(hour)[row], 0.0)
        fits = min(quantity, room)
        self.level[row] += fits
        self._added[row] += fits
        self._recent[row] += fits
        self._delivered[row] = True

    def ingest(self, hour: int, readings: HourlyReadings) -> None:
        """Takes readings in."""
        if self._sensing is Sensing.LEVEL:
            rows, values, at = _newest_readings(hour, readings)
            if self._filtered:
                self._ingest_filtered(rows, values, at)
            else:
                self._accept(rows, values, at)
        else:
            self._ingest_counts(hour, readings)

    def close_day(self, hour: int) -> None:
        """A day is over: what was used since the day that was closed last, spread evenly over the days between."""
        news = (self.measured_hour if self._sensing is Sensing.LEVEL else float(hour)) > self._closed_at
        first = news & np.isnan(self._closed_level)
        days = np.maximum(np.round((hour - self._closed_at) / 24.0), 1.0).astype(np.int64)
        now = self.level_at(hour)
        used = self._closed_level + self._added - now + self._deficit
        some = news & ~first & (hour > 0)
        for gap in np.unique(days[some]):
            rows = some & (days == gap)
            shift = min(int(gap), HISTORY_DAYS)
            self.daily[rows, shift:] = self.daily[rows, : HISTORY_DAYS - shift]
            self.daily[rows, :shift] = (np.maximum(used[rows], 0.0) / gap)[:, None]
        if self._filtered:
            self._deficit = np.where(some, np.minimum(used, 0.0), self._deficit)
        closed = some | first
        self._closed_level = np.where(closed, now, self._closed_level)
        self.days_closed = np.where(some, days, 0)
        self._closed_at = np.where(closed, float(hour), self._closed_at)
        self._added = np.where(closed, 0.0, self._added)

    def _accept(self, rows: Int64, values: Float64, at: Float64) -> None:
        rose = values - self.level[rows] > RISE_SHARE * self._scenarios.pack[rows]
        self.undeclared_rise[rows] |= rose & self._detects_rises
        self._added[rows[rose]] += (values - self.level[rows])[rose]
        self.level[rows] = values
        self.measured_hour[rows] = at

    def _ingest_filtered(self, rows: Int64, values: Float64, at: Float64) -> None:
        scenarios, rate = self._scenarios, self.rate()[rows]
        passed = np.maximum(at - self.measured_hour[rows], 0.0) / 24.0
        expected = self.level[rows] - rate * passed
        first = np.isnan(expected)
        same = values == self._last[rows]
        self._same_since[rows] = np.where(same, self._same_since[rows], at)
        self._last[rows] = values
        self._delivered[rows] &= same
        long = rate * (at - self._same_since[rows]) / 24.0 > STUCK_SHARE * scenarios.capacity[rows]
        stuck = same & (long | self._delivered[rows])
        # What a stuck gauge said last was right when it began to stick, and what has come since is known.
        held = rows[stuck & long]
        self.measured_hour[held] = np.minimum(self.measured_hour[held], self._same_since[held])
        far = np.abs(values - expected) > IMPLAUSIBLE_SHARE * scenarios.capacity[rows] + 4.0 * rate * passed
        self._implausible_count[rows] = np.where(far & ~stuck, self._implausible_count[rows] + 1, 0)
        convinced = self._implausible_count[rows] >= IMPLAUSIBLE_ACCEPTED_AFTER
        take = first | ~(far | stuck) | convinced
        again = rows[convinced]
        self._recent[again] = np.nan
        self._implausible_count[again] = 0
        rose = convinced & (values - expected > RISE_SHARE * scenarios.pack[rows])
        self.undeclared_rise[rows] |= rose & self._detects_rises
        self._added[rows[rose]] += (values - expected)[rose]
        rows, values, at, rate = rows[take], values[take], at[take], rate[take]
        self._recent[rows] = np.roll(self._recent[rows], 1, axis=1)
        self._recent_at[rows] = np.roll(self._recent_at[rows], 1, axis=1)
        self._recent[rows, 0], self._recent_at[rows, 0] = values, at
        age = at[:, None] - self._recent_at[rows]
        forward = np.where(age <= RECENT_HOURS, self._recent[rows] - rate[:, None] * age / 24.0, np.nan)
        # The middle one of those that are not NaN, which are sorted last.
        ranked, known = np.sort(forward, axis=1), np.isfinite(forward).sum(axis=1)
        each = np.arange(len(rows))
        self.level[rows] = (ranked[each, (known - 1) // 2] + ranked[each, known // 2]) / 2.0
        self.measured_hour[rows] = at

    def _ingest_counts(self, hour: int, readings: HourlyReadings) -> None:
        """Use that was counted: increments are summed, of a running total the newest counts."""
        if self._sensing is Sensing.INCREMENTS:
            self.level[readings.rows] -= readings.values
            for late in readings.late:
                self.level[late.row] -= late.value
            self.measured_hour[readings.rows] = hour
            return
        rows, values, at = _newest_readings(hour, readings)
        rise = values - self._total[rows]
        self.level[rows] -= np.where(rise >= 0.0, rise, values)
        self._total[rows] = values
        self.measured_hour[rows] = at


def _newest_readings(hour: int, readings: HourlyReadings) -> tuple[Int64, Float64, Float64]:
    """(rows, values, hours measured): each item's newest; of what comes late, only where nothing comes now."""
    late: dict[int, tuple[int, float]] = {}
    for one in readings.late:
        if one.row not in late or late[one.row][0] < one.hour:
            late[one.row] = (one.hour, one.value)
    for row in readings.rows:
        late.pop(int(row), None)
    rows = np.concatenate([readings.rows, np.array(list(late), dtype=np.int64)])
    values = np.concatenate([readings.values, np.array([value for _, value in late.values()])])
    at = np.concatenate([np.full(len(readings.rows), float(hour)), np.array([float(h) for h, _ in late.values()])])
    return rows, values, at
