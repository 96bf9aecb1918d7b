"""What is known beside an item's own history, and what it does to the item's use: temperature and declared absence.

Of an item with either it learns how use goes with degree days, and what is used while nobody is there. Both are learned from
days that are over, about a moving mean of ordinary days, so that trends and households that change are not taken for weather.
Nothing of it acts until it is well supported. Rows with neither are not touched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features import DAYS
from star.times import DAY_MS
from stream.detectors import drift, weather
from stream.detectors.absence import Absences, learned_share
from stream.detectors.slope import supported_slope
from stream.detectors.weather import Temperatures, degree_days
from stream.state import Column, Rows, Table

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

NAMES = (
    "learned",  # number of the newest day that was learned from
    "days",  # ordinary days learned from, and of these
    "use",  # moving mean of the use
    "degrees",  # moving mean of the degree days
    "n",  # fading sums over days, about those means
    "degrees_degrees",
    "degrees_use",
    "use_use",
    "absent_used",  # fading sums over days of absence: used, and what would have been
    "absent_expected",
)
LEARNED, DAYS_LEARNED, USE, DEGREES, N, XX, XY, YY, ABSENT_USED, ABSENT_EXPECTED = range(len(NAMES))

MEAN_DAYS = 28.0
"""The moving means remember about so many days: what changes slower than that is not weather."""
MEMORY_DAYS = 300.0
"""What the weather does is remembered about so long: over a summer without any."""
ABSENT_MEMORY_DAYS = 40.0
RATE_DAYS, RATE_DAYS_MIN = 90.0, 7.0
"""So long an absence is felt in the moving mean of all days; and so many ordinary days make a mean of their own."""
SUPPORT_DAYS_MIN = 14.0
SUPPORT_SPREAD_MIN = 30.0
"""Fewer days, or a smaller sum of squares of degrees, say nothing about the weather."""
FLOOR_SHARE = 0.08
"""The use expected of a day is at least such a share of the moving mean."""
ORDINARY_MAX, ABSENT_MIN = 0.02, 0.98
"""A day with at most so much absence is ordinary, with at least so much it is one of absence; others say nothing."""


class Beside:
    """The absences in force, the temperatures by device, and by slot what was learned of both."""

    def __init__(self) -> None:
        self.absences = Absences()
        self.temperatures = Temperatures()
        of_days = Column(name="learned", names=NAMES, start=0.0)
        self.table = Table("beside", (of_days, Column(name="drift", names=drift.NAMES, start=0.0)))
        self._devices = 0
        self._device_of = np.empty(0, dtype=np.intp)
        self._line = np.empty(0, dtype=np.intp)

    @property
    def anything(self) -> bool:
        """Whether any item has anything known beside."""
        return self.absences.spans.shape[0] > 0 or len(self.temperatures.table) > 0

    def thermometer(self, slots: Table, rows: Rows) -> Rows:
        """(n,) of slot rows, the row of their device among the temperatures; -1 where it reports none."""
        known = len(self.temperatures.table)
        if known == 0:
            return np.full(rows.size, -1, dtype=np.intp)
        if known != self._devices or self._device_of.size < len(slots):
            index = self.temperatures.table.index
            self._device_of = np.array([index.get(name.split("/", 1)[0], -1) for name in slots.names], dtype=np.intp)
            self._devices = known
        return self._device_of[rows]

    def lines(self, slots: Table, rows: Rows) -> Rows:
        """(n,) of slot rows, the row of what was learned; -1 where nothing was yet."""
        if self._line.size < len(slots):
            self._line = np.array([self.table.index.get(name, -1) for name in slots.names], dtype=np.intp)
        return self._line[rows]

    def learn(self, slots: Table, rows: Rows, today: float, first_day: Float64, current_day: Float64) -> None:
        """Learns from the days of slot `rows` that are closed. first_day: (n,) their first, partial day; current_day: still open."""
        if not self.anything:
            return
        device = self.thermometer(slots, rows)
        now_ms = today * DAY_MS
        away = self.absences.any_between(rows, now_ms - DAYS * DAY_MS, now_ms)
        at = np.nonzero((device >= 0) | away | (self.lines(slots, rows) >= 0))[0]
        if at.size == 0:
            return
        reporting = np.unique(device[at][device[at] >= 0])
        if reporting.size:
            self.temperatures.learn(reporting, today)
        lines = self._made(slots, rows[at])
        behind = np.nonzero(self.table["learned"][lines, LEARNED] < current_day[at] - 1.0)[0]
        if behind.size:
            at, lines = at[behind], lines[behind]
            self._learn_days(slots, rows[at], lines, device[at], today, first_day[at], current_day[at])

    def learn_drift(
        self,
        slots: Table,
        rows: Rows,
        levels: Bools,
        last_ms: Float64,
        value: Float64,
        rate: Float64,
        capacity: Float64,
    ) -> None:
        """Learns how the gauges of slot `rows`, those with measured `levels`, drift with the temperature (drift.py)."""
        device = self.thermometer(slots, rows)
        at = np.nonzero((device >= 0) & levels)[0]
        if at.size == 0:
            return
        lines = self._made(slots, rows[at])
        degrees_ms, degrees = self.temperatures.latest(device[at])
        near = np.abs(degrees_ms - last_ms[at]) <= drift.TEMPERATURE_AGE_MS
        state = np.ascontiguousarray(self.table["drift"][lines].T)
        drift.learn_drift(state, near, last_ms[at], value[at], rate[at], capacity[at], degrees)
        self.table["drift"][lines] = state.T

    def reads_high(self, slots: Table, rows: Rows, capacity: Float64) -> Float64:
        """(n,) by how much the levels of slot `rows` read too high, in their unit; 0 where no drift is known."""
        if len(self.temperatures.table) == 0:
            return np.zeros(rows.size)
        lines = self.lines(slots, rows)
        state = np.ascontiguousarray(self.table["drift"][np.maximum(lines, 0)].T) if len(self.table) else None
        return np.zeros(rows.size) if state is None else np.where(lines >= 0, drift.reads_high(state, capacity), 0.0)

    def _made(self, slots: Table, rows: Rows) -> Rows:
        lines = self.lines(slots, rows)
        for row in rows[lines < 0].tolist():
            self._line[row] = self.table.add(slots.names[row], int(slots.device[row]))
        return self.lines(slots, rows)

    def _learn_days(
        self,
        slots: Table,
        rows: Rows,
        lines: Rows,
        device: Rows,
        today: float,
        first_day: Float64,
        current_day: Float64,
    ) -> None:
        state = np.ascontiguousarray(self.table["learned"][lines].T)
        ring = slots["days"]
        since = np.maximum(np.maximum(state[LEARNED], first_day), today - DAYS)
        for back in range(int(today - since.min()) - 1, 0, -1):
            day = today - back
            use = ring[rows, int(day % DAYS)].astype(np.float64)
            known = (day > since) & (day < current_day) & (use == use)
            if not known.any():
                continue
            that = np.array([day])
            degrees, absent = self.degree_days(device, that)[0], self.absent(rows, that)[0]
            use = np.where(known, use, 0.0)
            _learn_ordinary(state, known & (absent <= ORDINARY_MAX) & (degrees == degrees), use, degrees)
            gone = known & (absent >= ABSENT_MIN) & (degrees == degrees) & (state[DAYS_LEARNED] > 0.0)
            _learn_absence(state, gone, use, degrees)
        state[LEARNED] = np.maximum(current_day - 1.0, state[LEARNED])
        self.table["learned"][lines] = state.T

    def degree_days(self, device: Rows, days: Float64) -> Float64:
        """(m, n) of the m days at the thermometers `device`: NaN where it is not known, 0 of none (-1)."""
        if not (device >= 0).any():
            return np.zeros((days.size, device.size))
        found = degree_days(self.temperatures.means(np.maximum(device, 0), days))
        return np.where(device >= 0, found, 0.0)

    def absent(self, rows: Rows, days: Float64) -> Float64:
        """(m, n) the share of the m UTC days in which the customers of slot `rows` are away."""
        return self.absences.share_of(rows, days * DAY_MS, (days + 1.0) * DAY_MS)

    def ordinary_rate(self, slots: Table, rows: Rows, rate: Float64, at_ms: float) -> Float64:
        """(n,) use a day of slot `rows`: the moving mean `rate`, or where that counts absence, the mean of ordinary days."""
        away = self.absences.any_between(rows, at_ms - RATE_DAYS * DAY_MS, at_ms)
        if not away.any():
            return rate
        state = self.learned(slots, rows)
        return np.where(away & (state[DAYS_LEARNED] >= RATE_DAYS_MIN), state[USE], rate)

    def idle_days(self, slots: Table, rows: Rows, from_ms: Float64, to_ms: Float64 | float) -> Float64:
        """(n,) days of ordinary use that slot `rows` were spared since their `from_ms`, as nobody was there."""
        away_ms = self.absences.away_ms(rows, from_ms, to_ms)
        if not away_ms.any():
            return away_ms
        return np.maximum(1.0 - share_of_absence(self.learned(slots, rows)), 0.0) * away_ms / DAY_MS

    def learned(self, slots: Table, rows: Rows) -> Float64:
        """(names, n) what was learned of slot `rows`, zeros where nothing was."""
        lines = self.lines(slots, rows)
        if len(self.table) == 0:
            return np.zeros((len(NAMES), rows.size))
        state = self.table["learned"][np.maximum(lines, 0)].T
        return np.where(lines >= 0, state, 0.0)


def _learn_ordinary(state: Float64, which: Bools, use: Float64, degrees: Float64) -> None:
    """An ordinary day moves the means, and from the second on its distance from them the sums."""
    degrees = np.where(which, degrees, 0.0)
    x, y = degrees - state[DEGREES], use - state[USE]
    counts = which & (state[DAYS_LEARNED] >= 5.0)
    keeps = 1.0 - 1.0 / MEMORY_DAYS
    for column, value in ((N, np.ones(x.size)), (XX, x * x), (XY, x * y), (YY, y * y)):
        state[column] = np.where(counts, keeps * state[column] + value, state[column])
    state[DAYS_LEARNED] += which
    weight = np.where(which, 1.0 / np.clip(state[DAYS_LEARNED], 1.0, MEAN_DAYS), 0.0)
    state[USE] += weight * y
    state[DEGREES] += weight * x


def _learn_absence(state: Float64, which: Bools, use: Float64, degrees: Float64) -> None:
    if not which.any():
        return
    keeps = 1.0 - 1.0 / ABSENT_MEMORY_DAYS
    expected = use_at(state, slope_of(state), np.where(which, degrees, 0.0))
    for column, value in ((ABSENT_USED, use), (ABSENT_EXPECTED, expected)):
        state[column] = np.where(which, keeps * state[column] + value, state[column])


def slope_of(state: Float64) -> Float64:
    """(n,) use for each degree day as far as it is supported, 0 or more. state: (names, n)."""
    n, xx, xy, yy = state[N], state[XX], state[XY], state[YY]
    slope = supported_slope(n, xx, xy, yy, points_min=SUPPORT_DAYS_MIN, spread_min=SUPPORT_SPREAD_MIN)
    return np.maximum(slope, 0.0)


def use_at(state: Float64, slope: Float64, degrees: Float64) -> Float64:
    """The use expected of an ordinary day with so many degree days, (n,) or (days, n)."""
    use: Float64 = np.maximum(state[USE] + slope * (degrees - state[DEGREES]), FLOOR_SHARE * state[USE])
    return use


def share_of_absence(state: Float64) -> Float64:
    """(n,) what is used on a day of absence, as a share of an ordinary one."""
    return learned_share(state[ABSENT_USED], state[ABSENT_EXPECTED], state[USE])


def ahead_of(temperatures: Temperatures, device: Rows, today: float, days: Float64) -> tuple[Float64, Float64]:
    """(m, n) degree days to expect at thermometers `device`, so many `days` after the beginning of `today`, and their fall
    with the temperature."""
    return weather.expected_degree_days(temperatures.ahead(device, today, days))
