"""Outside temperatures that devices report: the mean of each UTC day, the annual wave learned from them, and its forecast.

Readings are added to the sum of their day one after the other, so that order and batching change nothing. The forecast is the
usual temperature of the season plus the deviation of the latest days, which decays. No other source of weather is used.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from star.times import DAY_MS, HOUR_MS
from stream.state.state_table import MatrixSpec, Rows, Table

Float64 = NDArray[np.float64]

METRIC = "temperature"
"""The name of the value that is an outside temperature, in °C."""
COLDEST_C, HOTTEST_C = -60.0, 60.0
"""Outside these it is no outside temperature in °C."""
FUTURE_TOLERANCE_MS = HOUR_MS
RING_DAYS = 64
"""Days of means that are kept."""
HEATING_BASE_C = 15.5
"""Degree days of heating are counted below this mean temperature of a day."""

YEAR_DAYS = 365.25
COLDEST_DAY = 20.0
"""Of the year, where January is winter."""
SEASON_MEMORY_DAYS = 500.0
PRIOR_MEAN_C, PRIOR_COSINE_C = 10.0, -6.0
"""Before much is known: a temperate climate of the northern half of the earth. A season of other readings unlearns it."""
_PRIOR_PRECISION = (1.0 / 64.0, 1.0 / 25.0, 1.0 / 9.0)
_DAY_PRECISION = 1.0 / 81.0
"""Of one day's mean about the season: 3 °C, and nine days in a row tell as much as one alone."""
PERSISTENCE = 0.8
"""Of the deviation from the season, from one day to the next."""
DEVIATION_C = 3.0
SEASON_ERROR_C = 1.2
"""How far whole months are off the season."""
LATEST_DAYS, LATEST_DECAY = 5, 0.6
"""So many days' deviation from the season tells that of today, each with so much less weight than the one after it."""
ERROR_DAYS = 400

TEMPERATURE_SUM_NAMES = tuple(f"sum_{n}" for n in range(RING_DAYS))
TEMPERATURE_COUNT_NAMES = tuple(f"count_{n}" for n in range(RING_DAYS))
SEASON_NAMES = ("newest", "latest_ms", "latest", "learned_day", "n", "c", "s", "cc", "cs", "t", "tc", "ts")
NEWEST, LATEST_MS, LATEST, LEARNED_DAY, N, C, S, CC, CS, T, TC, TS = range(len(SEASON_NAMES))


class Temperatures:
    """A row for each device that reports its outside temperature, known by the device's name.

    degrees, counts: sum and number of the readings of each day, at its number modulo RING. season: the newest day with a
    reading, the latest reading, the last day learned from, and fading sums over days of 1, cosine, sine, their products, and of
    those with the temperature.
    """

    def __init__(self) -> None:
        self.table = Table(
            "temperatures",
            (
                MatrixSpec(
                    name="sums",
                    names=TEMPERATURE_SUM_NAMES,
                    fill=0.0,
                    renamed={f"degrees_{n}": name for n, name in enumerate(TEMPERATURE_SUM_NAMES)},
                    former_name="degrees",
                ),
                MatrixSpec(name="counts", names=TEMPERATURE_COUNT_NAMES, fill=0.0, dtype="<f4"),
                MatrixSpec(name="season", names=SEASON_NAMES, fill=0.0, renamed={"learned": "learned_day"}),
            ),
        )

    def ingest(self, rows: Rows, at_ms: Float64, arrived_ms: Float64, value: Float64) -> None:
        """Readings in their order, of any rows. A time that can't be, or too long ago to matter, is that of arrival."""
        invalid = (at_ms > arrived_ms + FUTURE_TOLERANCE_MS) | (at_ms < arrived_ms - RING_DAYS * DAY_MS)
        at_ms = np.where(invalid, arrived_ms, at_ms)
        possible = (value >= COLDEST_C) & (value <= HOTTEST_C)
        rows, at_ms, value = rows[possible], at_ms[possible], value[possible]
        if rows.size == 0:
            return
        day = np.floor(at_ms / DAY_MS)
        degrees, counts, season = self.table["sums"], self.table["counts"], self.table["season"]
        some = np.unique(rows)
        before = season[some, NEWEST]
        np.maximum.at(season, (rows, np.full(rows.size, NEWEST)), day)
        np.maximum.at(season, (rows, np.full(rows.size, LATEST_MS)), at_ms)
        latest = np.nonzero(at_ms == season[rows, LATEST_MS])[0]
        season[rows[latest], LATEST] = value[latest]  # of several at one time the last one, as numpy assigns in order
        newest = season[some, NEWEST]
        advanced = np.nonzero(newest > before)[0]
        if advanced.size:
            end, places = newest[advanced, None], np.arange(float(RING_DAYS))[None, :]
            passed = end - (end - places) % RING_DAYS > before[advanced, None]
            at, place = np.nonzero(passed)
            degrees[some[advanced[at]], place] = 0.0
            counts[some[advanced[at]], place] = 0.0
        kept = day > season[rows, NEWEST] - RING_DAYS
        place = (day[kept] % RING_DAYS).astype(np.intp)
        np.add.at(degrees, (rows[kept], place), value[kept])
        np.add.at(counts, (rows[kept], place), np.float32(1.0))

    def daily_means(self, rows: Rows, days: Float64) -> Float64:
        """(m, n) the mean temperatures of the m days with these numbers, NaN where none was reported."""
        place = (days % RING_DAYS).astype(np.intp)
        newest = self.table["season"][rows, NEWEST]
        count = np.ascontiguousarray(self.table["counts"][rows][:, place].T)
        known = (count > 0.0) & (days[:, None] <= newest) & (days[:, None] > newest - RING_DAYS)
        sums = np.ascontiguousarray(self.table["sums"][rows][:, place].T)
        mean: Float64 = np.where(known, sums / np.where(known, count, 1.0), np.nan)
        return mean

    def latest(self, rows: Rows) -> tuple[Float64, Float64]:
        """(when in ms, °C) of the latest reading of `rows`: a time of 0 where none was possible."""
        season = self.table["season"][rows]
        return season[:, LATEST_MS], season[:, LATEST]

    def learn(self, rows: Rows, today: float) -> None:
        """Takes the days that are over before `today` into the season of `rows`, all different."""
        season = self.table["season"]
        state = season[rows]
        rows, state = rows[state[:, LEARNED_DAY] < today - 1.0], state[state[:, LEARNED_DAY] < today - 1.0]
        if rows.size == 0:
            return
        oldest = max(float(state[:, LEARNED_DAY].min()) + 1.0, today - RING_DAYS)
        decay = 1.0 - 1.0 / SEASON_MEMORY_DAYS
        for back in range(int(today - oldest), 0, -1):
            day = today - back
            mean = self.daily_means(rows, np.array([day]))[0]
            new = (state[:, LEARNED_DAY] < day) & (mean == mean)
            cosine, sine = annual_phase(day)
            degrees = np.where(new, mean, 0.0)
            for column, value in (
                (N, 1.0),
                (C, cosine),
                (S, sine),
                (CC, cosine * cosine),
                (CS, cosine * sine),
                (T, degrees),
                (TC, degrees * cosine),
                (TS, degrees * sine),
            ):
                state[:, column] = np.where(new, decay * state[:, column] + value, state[:, column])
        state[:, LEARNED_DAY] = today - 1.0
        season[rows] = state

    def annual_wave(self, rows: Rows) -> tuple[Float64, Float64, Float64]:
        """(mean, cosine, sine) of the yearly wave of `rows`: least squares, drawn to the prior."""
        sums = self.table["season"][rows].T * _DAY_PRECISION
        a, b, c = sums[N] + _PRIOR_PRECISION[0], sums[C], sums[S]
        d, e, f = sums[CC] + _PRIOR_PRECISION[1], sums[CS], sums[N] - sums[CC] + _PRIOR_PRECISION[2]
        x = sums[T] + _PRIOR_PRECISION[0] * PRIOR_MEAN_C
        y = sums[TC] + _PRIOR_PRECISION[1] * PRIOR_COSINE_C
        z = sums[TS]
        # The inverse of the symmetric matrix ((a, b, c), (b, d, e), (c, e, f)) by its cofactors: no BLAS, the same bits always.
        aa, bb, cc = d * f - e * e, c * e - b * f, b * e - c * d
        dd, ee, ff = a * f - c * c, b * c - a * e, a * d - b * b
        whole = a * aa + b * bb + c * cc
        return (
            (aa * x + bb * y + cc * z) / whole,
            (bb * x + dd * y + ee * z) / whole,
            (cc * x + ee * y + ff * z) / whole,
        )

    def forecast(self, rows: Rows, today: float, days: Float64) -> Float64:
        """(m, n) the temperatures to expect so many `days` after the beginning of `today`."""
        mean, cosine, sine = self.annual_wave(rows)
        latest = self.daily_means(rows, today - np.arange(float(LATEST_DAYS)))
        deviation, known = np.zeros(rows.size), np.zeros(rows.size)
        for back, observed in enumerate(latest):
            c, s = annual_phase(today - back)
            reported = observed == observed
            weight = LATEST_DECAY**back
            deviation += np.where(reported, weight * (observed - (mean + cosine * c + sine * s)), 0.0)
            known += np.where(reported, weight, 0.0)
        deviation /= np.maximum(known, 1.0)
        angles = np.array([annual_phase(today + ahead) for ahead in days.tolist()])
        decay = np.array([PERSISTENCE**ahead for ahead in days.tolist()])
        expected: Float64 = mean + cosine * angles[:, :1] + sine * angles[:, 1:] + deviation * decay[:, None]
        return expected


def annual_phase(day: float) -> tuple[float, float]:
    """Cosine and sine of the time of year of the day with this number."""
    angle = 2.0 * math.pi * (day - COLDEST_DAY) / YEAR_DAYS
    return math.cos(angle), math.sin(angle)


def degree_days(mean_c: Float64) -> Float64:
    """Of heating, on a day with this mean."""
    return np.maximum(HEATING_BASE_C - mean_c, 0.0)


def expected_degree_days(mean_c: Float64) -> tuple[Float64, Float64]:
    """The mean of the degree days where the temperature is only expected, within DEVIATION_C; and how they fall with it."""
    width = 0.5755 * DEVIATION_C  # a soft bend that is as high as the normal mean where the temperature is the limit
    over = np.clip((HEATING_BASE_C - mean_c) / width, -30.0, 30.0)
    grown = np.exp(over)
    return width * np.log1p(grown), grown / (1.0 + grown)


def _mean_temperature_errors_c() -> Float64:
    """(ERROR_DAYS,) standard deviation of the mean temperature of 1, 2, … coming days about what is expected."""
    errors, variance = [], 0.0
    for days in range(1, ERROR_DAYS + 1):
        reach = (1.0 - PERSISTENCE**days) / (1.0 - PERSISTENCE)
        variance += (1.0 - PERSISTENCE**2) * reach * reach
        errors.append(math.sqrt(DEVIATION_C**2 * variance / days**2 + SEASON_ERROR_C**2))
    return np.array(errors)


_ERRORS_C = _mean_temperature_errors_c()


def mean_temperature_error_c(days: Float64) -> Float64:
    """Standard deviation of the mean temperature of so many coming days about what is expected; same shape."""
    errors: Float64 = _ERRORS_C[np.clip(days, 1.0, ERROR_DAYS).astype(np.intp) - 1]
    return errors
