"""Stock estimation for the reference policies: the current level of n items, and their consumption on each of the last 28 days.

The plain tracker takes the latest reading as true. The filtered one takes a median of three readings, and rejects implausible and
stuck ones. Both extrapolate by the mean rate. The service does not use this module: it has its own filter.
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
"""Days that a capacity lasts before any history is known, as in the shipped profiles."""
MEDIAN_OF = 3
RECENT_HOURS = 36.0
"""Age beyond which a reading is left out of the median."""
IMPLAUSIBLE_SHARE = 0.15
"""Share of the capacity by which a reading may differ from the expected level, besides four times the expected consumption;
beyond it the reading counts as implausible."""
IMPLAUSIBLE_ACCEPTED_AFTER = 3
"""Implausible readings in a row after which they are accepted as a true change."""
STUCK_SHARE = 0.08
"""Expected consumption, as a share of the capacity, after which an unchanged reading counts as stuck."""
RISE_SHARE = 0.4
"""Share of a pack from which an undeclared rise counts as a delivery."""


class StockTracker:
    """Estimates of n items, in each item's unit.

    daily: (n, HISTORY_DAYS) consumption per day, newest first, NaN where unknown. undeclared_rise: (n,) whether the level has risen
    without a declaration since the policy last reset it. days_closed: (n,) number of days that the last `close_day` closed, whose mean
    is daily[:, 0]; 0 where there was no new reading.
    """

    def __init__(self, scenarios: ScenarioBatch, *, filtered: bool) -> None:
        count = len(scenarios)
        self._scenarios = scenarios
        # Where every delivery is declared, a rise is noise.
        self._detects_rises = scenarios.family.supply.declared_share < 1.0
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
        """(n,) whether the item has had a reading."""
        return ~np.isnan(self.level)

    def rate(self) -> Float64:
        """(n,) mean consumption per day over the known days, the prior weighing like three of them."""
        known = ~np.isnan(self.daily)
        total = np.where(known, self.daily, 0.0).sum(axis=1)
        return np.asarray((total + 3.0 * self._scenarios.capacity / PRIOR_DAYS) / (known.sum(axis=1) + 3.0))

    def deviation(self) -> Float64:
        """(n,) standard deviation of a day's consumption over the known days, at least a tenth of the rate."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            spread = np.nanstd(self.daily, axis=1)
        rate = self.rate()
        return np.maximum(np.where(np.isnan(spread), rate, spread), 0.1 * rate)

    def level_at(self, hour: int) -> Float64:
        """(n,) the estimated level now; NaN before the first reading."""
        if self._sensing is Sensing.INCREMENTS:
            return np.maximum(self.level, 0.0)
        return np.maximum(self.level - self.rate() * (hour - self.measured_hour) / 24.0, 0.0)

    def add_delivery(self, hour: int, row: int, quantity: float) -> None:
        """Adds a declared delivery; what can't have fitted is left out."""
        scenarios = self._scenarios
        room = np.inf if scenarios.stores_spares[row] else max(scenarios.capacity[row] - self.level_at(hour)[row], 0.0)
        fits = min(quantity, room)
        self.level[row] += fits
        self._added[row] += fits
        self._recent[row] += fits
        self._delivered[row] = True

    def ingest(self, hour: int, readings: HourlyReadings) -> None:
        """Updates the estimates with the readings of an hour."""
        if self._sensing is Sensing.LEVEL:
            rows, values, at = _newest_readings(hour, readings)
            if self._filtered:
                self._ingest_filtered(rows, values, at)
            else:
                self._accept(rows, values, at)
        else:
            self._ingest_counts(hour, readings)

    def close_day(self, hour: int) -> None:
        """Closes a day: the consumption since the last closed day is spread evenly over the days in between."""
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
        # A stuck gauge was right when it began to stick, and deliveries since then are known.
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
        # The median of those that are not NaN, as NaN sorts last.
        ranked, known = np.sort(forward, axis=1), np.isfinite(forward).sum(axis=1)
        each = np.arange(len(rows))
        self.level[rows] = (ranked[each, (known - 1) // 2] + ranked[each, known // 2]) / 2.0
        self.measured_hour[rows] = at

    def _ingest_counts(self, hour: int, readings: HourlyReadings) -> None:
        """Updates items whose consumption is counted: increments are summed, of a running total the newest counts."""
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
    """(rows, values, hours measured) of each item's newest reading; late readings only of items without a current one."""
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
