"""Covariates of an item's use besides its own history: outside temperature and declared absence.

For items that have either, it learns how use depends on degree days, and what is used while the customer is away. Both are
learned from past days, about a moving mean of ordinary days, so that trends and changes of a household are not attributed to
the weather. Neither has an effect before it is well supported. Rows without covariates are not touched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS
from star.times import DAY_MS
from stream.detectors.covariates import thermal_compensation, weather
from stream.detectors.covariates.absence import Absences, posterior_use_share
from stream.detectors.covariates.robust_slope import robust_slope
from stream.detectors.covariates.weather import Temperatures, degree_days
from stream.state.state_table import MatrixSpec, Rows, Table

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

COVARIATE_NAMES = (
    "learned_day",  # number of the newest day that was learned from
    "days_learned",  # ordinary days learned from, and of these
    "mean_use",  # moving mean of the use
    "mean_degrees",  # moving mean of the degree days
    "sum_weights",  # fading sums over days, about those means
    "degrees_degrees",
    "degrees_use",
    "use_use",
    "absence_use",  # fading sums over days of absence: used, and what would have been
    "absence_expected_use",
)
LEARNED_DAY, DAYS_LEARNED, MEAN_USE, MEAN_DEGREES, SUM_WEIGHTS, XX, XY, YY, ABSENCE_USE, ABSENCE_EXPECTED_USE = range(
    len(COVARIATE_NAMES)
)

FORMER_COVARIATE_NAMES = {
    "learned": "learned_day",
    "days": "days_learned",
    "use": "mean_use",
    "degrees": "mean_degrees",
    "n": "sum_weights",
    "absent_used": "absence_use",
    "absent_expected": "absence_expected_use",
}
"""Names of columns in state of format 1."""

MEAN_DAYS = 28.0
"""The moving means remember about so many days: what changes slower than that is not weather."""
MEMORY_DAYS = 300.0
"""What the weather does is remembered about so long: over a summer without any."""
ABSENT_MEMORY_DAYS = 40.0
ABSENCE_FELT_DAYS, PRESENT_DAYS_MIN = 90.0, 7.0
"""So long an absence is felt in the moving mean of all days; and so many ordinary days make a mean of their own."""
SUPPORT_DAYS_MIN = 14.0
SUPPORT_SPREAD_MIN = 30.0
"""Fewer days, or a smaller sum of squares of degrees, say nothing about the weather."""
FLOOR_SHARE = 0.08
"""The use expected of a day is at least such a share of the moving mean."""
ORDINARY_MAX, ABSENT_MIN = 0.02, 0.98
"""A day with at most so much absence is ordinary, with at least so much it is one of absence; others say nothing."""


class Covariates:
    """The absences in force, the temperatures by device, and by slot what was learned of both."""

    def __init__(self) -> None:
        self.absences = Absences()
        self.temperatures = Temperatures()
        of_days = MatrixSpec(name="learned", names=COVARIATE_NAMES, fill=0.0, renamed=FORMER_COVARIATE_NAMES)
        self.table = Table("covariates", (of_days, thermal_compensation.THERMAL_MATRIX), former_name="beside")
        self._temperature_rows_known = 0
        self._temperature_row = np.empty(0, dtype=np.intp)
        self._covariate_row = np.empty(0, dtype=np.intp)

    @property
    def available(self) -> bool:
        """Whether any item has anything known beside."""
        return self.absences.spans.shape[0] > 0 or len(self.temperatures.table) > 0

    def temperature_rows(self, slots: Table, rows: Rows) -> Rows:
        """(n,) of slot rows, the row of their device among the temperatures; -1 where it reports none."""
        known = len(self.temperatures.table)
        if known == 0:
            return np.full(rows.size, -1, dtype=np.intp)
        if known != self._temperature_rows_known or self._temperature_row.size < len(slots):
            index = self.temperatures.table.index
            self._temperature_row = np.array(
                [index.get(name.split("/", 1)[0], -1) for name in slots.names], dtype=np.intp
            )
            self._temperature_rows_known = known
        return self._temperature_row[rows]

    def covariate_rows(self, slots: Table, rows: Rows) -> Rows:
        """(n,) of slot rows, the row of what was learned; -1 where nothing was yet."""
        if self._covariate_row.size < len(slots):
            self._covariate_row = np.array([self.table.index.get(name, -1) for name in slots.names], dtype=np.intp)
        return self._covariate_row[rows]

    def learn(self, slots: Table, rows: Rows, today: float, first_day: Float64, current_day: Float64) -> None:
        """Learns from the days of slot `rows` that are closed. first_day: (n,) their first, partial day; current_day: still open."""
        if not self.available:
            return
        device = self.temperature_rows(slots, rows)
        now_ms = today * DAY_MS
        some_absence = self.absences.any_between(rows, now_ms - HISTORY_DAYS * DAY_MS, now_ms)
        at = np.nonzero((device >= 0) | some_absence | (self.covariate_rows(slots, rows) >= 0))[0]
        if at.size == 0:
            return
        reporting = np.unique(device[at][device[at] >= 0])
        if reporting.size:
            self.temperatures.learn(reporting, today)
        state_rows = self._ensure_rows(slots, rows[at])
        behind = np.nonzero(self.table["learned"][state_rows, LEARNED_DAY] < current_day[at] - 1.0)[0]
        if behind.size:
            at, state_rows = at[behind], state_rows[behind]
            self._learn_days(slots, rows[at], state_rows, device[at], today, first_day[at], current_day[at])

    def learn_thermal_drift(
        self,
        slots: Table,
        rows: Rows,
        levels: Bools,
        last_ms: Float64,
        value: Float64,
        rate: Float64,
        capacity: Float64,
    ) -> None:
        """Learns how the gauges of slot `rows`, those with measured `levels`, drift with the temperature (thermal_compensation.py)."""
        device = self.temperature_rows(slots, rows)
        at = np.nonzero((device >= 0) & levels)[0]
        if at.size == 0:
            return
        state_rows = self._ensure_rows(slots, rows[at])
        degrees_ms, degrees = self.temperatures.latest(device[at])
        near = np.abs(degrees_ms - last_ms[at]) <= thermal_compensation.TEMPERATURE_AGE_MS
        state = np.ascontiguousarray(self.table["thermal"][state_rows].T)
        thermal_compensation.update_thermal_slope(state, near, last_ms[at], value[at], rate[at], capacity[at], degrees)
        self.table["thermal"][state_rows] = state.T

    def thermal_offset(self, slots: Table, rows: Rows, capacity: Float64) -> Float64:
        """(n,) by how much the levels of slot `rows` read too high, in their unit; 0 where no drift is known."""
        if len(self.temperatures.table) == 0:
            return np.zeros(rows.size)
        state_rows = self.covariate_rows(slots, rows)
        state = np.ascontiguousarray(self.table["thermal"][np.maximum(state_rows, 0)].T) if len(self.table) else None
        return (
            np.zeros(rows.size)
            if state is None
            else np.where(state_rows >= 0, thermal_compensation.offset_from_reference(state, capacity), 0.0)
        )

    def _ensure_rows(self, slots: Table, rows: Rows) -> Rows:
        state_rows = self.covariate_rows(slots, rows)
        for row in rows[state_rows < 0].tolist():
            self._covariate_row[row] = self.table.add(slots.names[row], int(slots.device[row]))
        return self.covariate_rows(slots, rows)

    def _learn_days(
        self,
        slots: Table,
        rows: Rows,
        state_rows: Rows,
        device: Rows,
        today: float,
        first_day: Float64,
        current_day: Float64,
    ) -> None:
        state = np.ascontiguousarray(self.table["learned"][state_rows].T)
        ring = slots["daily_usage"]
        since = np.maximum(np.maximum(state[LEARNED_DAY], first_day), today - HISTORY_DAYS)
        for back in range(int(today - since.min()) - 1, 0, -1):
            day = today - back
            use = ring[rows, int(day % HISTORY_DAYS)].astype(np.float64)
            known = (day > since) & (day < current_day) & (use == use)
            if not known.any():
                continue
            one_day = np.array([day])
            degrees, absent = self.degree_days(device, one_day)[0], self.absence_share(rows, one_day)[0]
            use = np.where(known, use, 0.0)
            _update_regression(state, known & (absent <= ORDINARY_MAX) & (degrees == degrees), use, degrees)
            whole_absence = known & (absent >= ABSENT_MIN) & (degrees == degrees) & (state[DAYS_LEARNED] > 0.0)
            _update_absence_use(state, whole_absence, use, degrees)
        state[LEARNED_DAY] = np.maximum(current_day - 1.0, state[LEARNED_DAY])
        self.table["learned"][state_rows] = state.T

    def degree_days(self, device: Rows, days: Float64) -> Float64:
        """(m, n) of the m days at the thermometers `device`: NaN where it is not known, 0 of none (-1)."""
        if not (device >= 0).any():
            return np.zeros((days.size, device.size))
        found = degree_days(self.temperatures.daily_means(np.maximum(device, 0), days))
        return np.where(device >= 0, found, 0.0)

    def absence_share(self, rows: Rows, days: Float64) -> Float64:
        """(m, n) the share of the m UTC days in which the customers of slot `rows` are away."""
        return self.absences.absent_share(rows, days * DAY_MS, (days + 1.0) * DAY_MS)

    def rate_when_present(self, slots: Table, rows: Rows, rate: Float64, at_ms: float) -> Float64:
        """(n,) use a day of slot `rows`: the moving mean `rate`, or where that counts absence, the mean of ordinary days."""
        some_absence = self.absences.any_between(rows, at_ms - ABSENCE_FELT_DAYS * DAY_MS, at_ms)
        if not some_absence.any():
            return rate
        state = self.learned_state(slots, rows)
        return np.where(some_absence & (state[DAYS_LEARNED] >= PRESENT_DAYS_MIN), state[MEAN_USE], rate)

    def idle_days(self, slots: Table, rows: Rows, from_ms: Float64, to_ms: Float64 | float) -> Float64:
        """(n,) days of ordinary use that slot `rows` were spared since their `from_ms`, as nobody was there."""
        away_ms = self.absences.away_ms(rows, from_ms, to_ms)
        if not away_ms.any():
            return away_ms
        return np.maximum(1.0 - absence_use_share(self.learned_state(slots, rows)), 0.0) * away_ms / DAY_MS

    def learned_state(self, slots: Table, rows: Rows) -> Float64:
        """(names, n) what was learned of slot `rows`, zeros where nothing was."""
        state_rows = self.covariate_rows(slots, rows)
        if len(self.table) == 0:
            return np.zeros((len(COVARIATE_NAMES), rows.size))
        state = self.table["learned"][np.maximum(state_rows, 0)].T
        return np.where(state_rows >= 0, state, 0.0)


def _update_regression(state: Float64, which: Bools, use: Float64, degrees: Float64) -> None:
    """An ordinary day moves the means, and from the second on its distance from them the sums."""
    degrees = np.where(which, degrees, 0.0)
    x, y = degrees - state[MEAN_DEGREES], use - state[MEAN_USE]
    counts = which & (state[DAYS_LEARNED] >= 5.0)
    decay = 1.0 - 1.0 / MEMORY_DAYS
    for column, value in ((SUM_WEIGHTS, np.ones(x.size)), (XX, x * x), (XY, x * y), (YY, y * y)):
        state[column] = np.where(counts, decay * state[column] + value, state[column])
    state[DAYS_LEARNED] += which
    weight = np.where(which, 1.0 / np.clip(state[DAYS_LEARNED], 1.0, MEAN_DAYS), 0.0)
    state[MEAN_USE] += weight * y
    state[MEAN_DEGREES] += weight * x


def _update_absence_use(state: Float64, which: Bools, use: Float64, degrees: Float64) -> None:
    if not which.any():
        return
    decay = 1.0 - 1.0 / ABSENT_MEMORY_DAYS
    expected = expected_use(state, degree_day_slope(state), np.where(which, degrees, 0.0))
    for column, value in ((ABSENCE_USE, use), (ABSENCE_EXPECTED_USE, expected)):
        state[column] = np.where(which, decay * state[column] + value, state[column])


def degree_day_slope(state: Float64) -> Float64:
    """(n,) use for each degree day as far as it is supported, 0 or more. state: (names, n)."""
    n, xx, xy, yy = state[SUM_WEIGHTS], state[XX], state[XY], state[YY]
    slope = robust_slope(n, xx, xy, yy, points_min=SUPPORT_DAYS_MIN, spread_min=SUPPORT_SPREAD_MIN)
    return np.maximum(slope, 0.0)


def expected_use(state: Float64, slope: Float64, degrees: Float64) -> Float64:
    """The use expected of an ordinary day with so many degree days, (n,) or (days, n)."""
    use: Float64 = np.maximum(state[MEAN_USE] + slope * (degrees - state[MEAN_DEGREES]), FLOOR_SHARE * state[MEAN_USE])
    return use


def absence_use_share(state: Float64) -> Float64:
    """(n,) what is used on a day of absence, as a share of an ordinary one."""
    return posterior_use_share(state[ABSENCE_USE], state[ABSENCE_EXPECTED_USE], state[MEAN_USE])


def expected_degree_days_ahead(
    temperatures: Temperatures, device: Rows, today: float, days: Float64
) -> tuple[Float64, Float64]:
    """(m, n) degree days to expect at thermometers `device`, so many `days` after the beginning of `today`, and their fall
    with the temperature."""
    return weather.expected_degree_days(temperatures.forecast(device, today, days))
