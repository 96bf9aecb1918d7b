"""What is known beside an item's own readings - the weather, declared absence - is in its forecast, and nowhere else."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.fleet import Customer, Device
from star.analyse import QUANTILES
from star.records import FleetChange
from star.sense import Readings
from stream.detectors.covariates.absence import absence_spans_ms
from stream.detectors.covariates.covariates import degree_day_slope
from tests.stream.analysis_bench import AnalysisBench, at_day_ms, counter, date_of, tank

LOW, MEDIAN = QUANTILES.index(0.05), QUANTILES.index(0.5)
HEATING_BASE_C = 15.5
STEADY = 20.0


def synthetic_weather(seed: int, days: int, mean: float = 8.0) -> list[float]:
    """Days of a mild winter, with weather that lasts."""
    rng = np.random.default_rng(seed)
    off, out = 0.0, []
    for _ in range(days):
        off = 0.8 * off + float(rng.normal(0.0, 2.4))
        out.append(mean + off)
    return out


class Home:
    """A tank that is read four times a day with its outside temperature, refilled in time, and declared so."""

    def __init__(
        self,
        bench: AnalysisBench,
        seed: int,
        *,
        base: float,
        slope: float,
        named: str = "temperature",
        drift: float = 0.0,
    ) -> None:
        self.bench, self.base, self.slope, self.named, self.drift = bench, base, slope, named, drift
        self.rng = np.random.default_rng(seed)
        self.level = 1000.0

    def use(self, degrees: float) -> float:
        return self.base + self.slope * max(HEATING_BASE_C - degrees, 0.0)

    def simulate(self, from_day: int, temperatures: list[float], away: range = range(0)) -> None:
        for day, degrees in enumerate(temperatures, start=from_day):
            daily = self.use(degrees) * float(self.rng.gamma(50.0, 1.0 / 50.0)) * (0.05 if day in away else 1.0)
            for quarter in range(4):
                now = day + quarter / 4
                self.bench.send(f"t/{self.named}", now, degrees + float(self.rng.normal(0.0, 0.3)))
                shown = self.level + self.drift * (degrees - 15.0) + float(self.rng.normal(0.0, 2.0))
                self.bench.send("t/oil", now, max(shown, 0.0))
                self.bench.tick(now)
                self.level -= daily / 4
                if self.level < 250.0:
                    self.bench.declare("t/oil", now, quantity=700.0)
                    self.level += 700.0

    def median_days(self, temperatures: list[float]) -> float:
        """Days until empty, if these come, and the last one for good."""
        level, days = self.level, 0.0
        for degrees in temperatures + [temperatures[-1]] * 1000:
            use = self.use(degrees)
            if use >= level:
                return days + level / use
            level, days = level - use, days + 1.0
        return days


def test_a_house_that_heats_is_known_to_last_less_when_it_gets_cold() -> None:
    """After seven weeks of mild weather and four days of frost, the median is that of frosty days that slowly end."""
    mild, frost = synthetic_weather(1, 50), [-6.0] * 4
    medians = []
    for named in ("temperature", "humidity"):
        bench = AnalysisBench(tank("t"))
        home = Home(bench, 2, base=4.0, slope=3.0, named=named)
        home.simulate(0, mild + frost)
        medians.append(bench.forecast("t/oil", 54.0).days[MEDIAN])
        truth = home.median_days([-4.0, -2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 5.0])
    assert medians[0] == pytest.approx(truth, rel=0.2)
    assert medians[1] > 1.25 * medians[0]


def test_use_that_has_nothing_to_do_with_the_weather_is_forecast_as_if_no_temperature_came() -> None:
    """The same readings with and without a thermometer give the same forecasts, to the bit."""
    found = []
    for named in ("temperature", "humidity"):
        bench = AnalysisBench(tank("t"))
        Home(bench, 3, base=STEADY, slope=0.0, named=named).simulate(0, synthetic_weather(4, 60))
        found.append([bench.forecast("t/oil", 60.0 + day) for day in range(5)])
    assert found[0] == found[1]


def test_an_absence_ahead_makes_what_is_left_last_so_much_longer() -> None:
    """Twenty days of absence from tomorrow on: the median is later by most of them, and not before they are declared."""
    bench, told = AnalysisBench(tank("t")), AnalysisBench(tank("t"), away=((date_of(41), date_of(60)),))
    for one in (bench, told):
        Home(one, 5, base=STEADY, slope=0.0).simulate(0, synthetic_weather(6, 40))
    without, declared = bench.forecast("t/oil", 40.0), told.forecast("t/oil", 40.0)
    assert without.days[MEDIAN] > 5.0
    assert 14.0 < declared.days[MEDIAN] - without.days[MEDIAN] < 20.0
    assert without.days[LOW] < declared.days[LOW] < declared.days[MEDIAN]
    assert list(declared.days) == sorted(declared.days)


def test_what_runs_out_before_the_absence_begins_is_not_put_off() -> None:
    """Days of absence count from when they begin."""
    bench, told = AnalysisBench(tank("t")), AnalysisBench(tank("t"), away=((date_of(60), date_of(80)),))
    for one in (bench, told):
        one.send_with_ticks("t/oil", [(day / 4, 1000.0 - 5.0 * day) for day in range(4 * 45)])
    assert told.forecast("t/oil", 45.0).days[MEDIAN] == bench.forecast("t/oil", 45.0).days[MEDIAN] < 14.0


def test_a_declared_absence_does_not_make_a_household_look_small() -> None:
    """Back from two weeks away, the forecast is that of the weeks before, and not of the mean with two empty weeks."""
    away = range(30, 44)
    quiet = AnalysisBench(tank("t"))
    told = AnalysisBench(tank("t"), away=((date_of(30), date_of(43)),))
    medians: list[float] = []
    rates: list[float] = []
    for bench in (told, quiet):
        home = Home(bench, 7, base=STEADY, slope=0.0)
        home.simulate(0, synthetic_weather(8, 45), away)
        rates.append(bench.forecast("t/oil", 45.0).rate_per_day)
        medians.append(bench.forecast("t/oil", 45.0).days[MEDIAN] / (home.level / STEADY))
    assert medians[0] == pytest.approx(1.0, abs=0.2)
    assert medians[1] > 1.25 * medians[0]
    assert rates[1] < 0.8 * rates[0] == pytest.approx(0.8 * STEADY, rel=0.1)


def test_what_an_item_uses_while_nobody_is_there_is_learned() -> None:
    """An item that goes on as ever through two absences is not expected to rest in the third."""
    spans = ((date_of(20), date_of(33)), (date_of(45), date_of(58)), (date_of(71), date_of(90)))
    bench, alone = AnalysisBench(tank("t"), away=spans), AnalysisBench(tank("t"), away=spans[2:])
    for one in (bench, alone):
        home = Home(one, 9, base=STEADY, slope=0.0)
        home.simulate(0, synthetic_weather(10, 70))
    learned, unknown = bench.forecast("t/oil", 70.0).days[MEDIAN], alone.forecast("t/oil", 70.0).days[MEDIAN]
    ordinary = home.level / STEADY
    assert learned - ordinary < 0.3 * (unknown - ordinary)


def test_a_tank_that_falls_silent_while_its_owner_is_away_is_not_thought_empty() -> None:
    """Ten days without a reading, declared as absence: the level is reckoned on by what such days use, not ordinary ones."""
    levels = {}
    for away in ((), ((date_of(40), date_of(50)),)):
        bench = AnalysisBench(tank("t"), away=away)
        bench.send_with_ticks("t/oil", [(day / 4, 1000.0 - 5.0 * day) for day in range(4 * 40)])
        levels[bool(away)] = bench.forecast("t/oil", 50.0).level
    assert levels[False] < 30.0
    assert 150.0 < levels[True] < 200.0


def test_a_gauge_that_drifts_with_the_temperature_is_read_as_at_fifteen_degrees() -> None:
    """It reads 0.4 % of the tank too low for each degree of frost: after two months most of that is known."""
    off = {}
    for named in ("temperature", "humidity"):
        bench = AnalysisBench(tank("t"))
        home = Home(bench, 12, base=STEADY, slope=0.0, named=named, drift=4.0)
        home.simulate(0, synthetic_weather(13, 60))
        errors = []
        for day, degrees in enumerate(synthetic_weather(14, 8, mean=-2.0), start=60):
            home.simulate(day, [degrees])
            errors.append(bench.forecast("t/oil", day + 0.75).level - home.level - home.use(degrees) / 4)
        off[named] = abs(float(np.mean(errors)))
    assert off["humidity"] > 50.0
    assert off["temperature"] < 0.5 * off["humidity"]


def test_an_absence_that_is_taken_back_no_longer_counts() -> None:
    """The fleet changes: the forecast is at once that of an ordinary household."""
    bench, plain = AnalysisBench(tank("t"), away=((date_of(41), date_of(60)),)), AnalysisBench(tank("t"))
    for one in (bench, plain):
        one.send_with_ticks("t/oil", [(day / 4, 1000.0 - 5.0 * day) for day in range(4 * 40)])
    tables = {"customers": [{"id": "maria", "experience": "auto", "consents": ["replenishment"], "away": []}]}
    bench.ingest(FleetChange(at_ms=at_day_ms(40.0), tables=json.dumps(tables)))
    assert bench.forecast("t/oil", 40.0).days == plain.forecast("t/oil", 40.0).days


def test_an_absence_is_whole_days_of_the_customers_own_calendar() -> None:
    """In Auckland the first of March begins at 11:00 UTC of the day before; spans that touch are one."""
    maria = Customer(
        id="maria", timezone="Pacific/Auckland", away=(("2026-03-03", "2026-03-04"), ("2026-03-01", "2026-03-02"))
    )
    ((start, end),) = absence_spans_ms(maria)
    assert datetime.fromtimestamp(start / 1000, UTC) == datetime(2026, 2, 28, 11, tzinfo=UTC)
    assert datetime.fromtimestamp(end / 1000, UTC) == datetime(2026, 3, 4, 11, tzinfo=UTC)
    for_ever = Customer(id="maria", away=(("2026-03-01", "9999-12-31"),))
    assert absence_spans_ms(for_ever)[0][1] > end


def test_temperatures_that_come_late_or_twice_or_cannot_be_leave_the_days_mean_right() -> None:
    """Out of order, doubled, of another planet, or measured in 1970: the day has the mean of what was measured in it."""
    bench = AnalysisBench(tank("t"))
    for day, degrees, arrived in ((3.2, 4.0, 3.2), (2.1, 10.0, 3.3), (2.6, 12.0, 3.4), (2.6, 12.0, 3.5)):
        bench.send("t/temperature", day, degrees, arrived=arrived)
    for degrees in (-273.0, 61.0, 1e9):
        bench.send("t/temperature", 2.7, degrees, arrived=3.5)
    bench.send("t/temperature", -20_000.0, 6.0, arrived=3.6)
    temperatures = bench.slots.covariates.temperatures
    days = at_day_ms(0.0) // 86_400_000 + np.array([1.0, 2.0, 3.0])
    means = temperatures.daily_means(np.array([0]), days)[:, 0]
    assert np.isnan(means[0])
    assert means[1:].tolist() == [11.0, 5.0]


def weather_story(seed: int, devices: int, days: int) -> list[Readings]:
    """Quarter days of homes that heat, more or less."""
    rng = np.random.default_rng(seed)
    level, out = np.full(devices, 1000.0), []
    for day, degrees in enumerate(synthetic_weather(seed, days)):
        for quarter in range(4):
            now = at_day_ms(day + quarter / 4)
            rows = []
            for nth in range(devices):
                level[nth] -= (1.0 + nth * 0.7 * max(HEATING_BASE_C - degrees, 0.0)) / 4 * float(rng.gamma(9.0, 1 / 9))
                level[nth] += 800.0 if level[nth] < 100.0 else 0.0
                rows.append((2 * nth, now, now, float(level[nth] + rng.normal()), -1, -1))
                rows.append((2 * nth + 1, now, now, degrees + float(rng.normal()), -1, -1))
            out.append(Readings.from_rows(rows))
    return out


def homes(count: int) -> tuple[AnalysisBench, list[Device]]:
    devices = [tank(f"t{nth}") for nth in range(count)]
    bench = AnalysisBench(*devices, away=((date_of(12), date_of(15)), (date_of(40), date_of(50))))
    for device in devices:
        bench.names.number(f"{device.id}/oil")
        bench.names.number(f"{device.id}/temperature")
    return bench, devices


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1_000), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_weather_and_absence_are_the_same_bits_however_readings_are_batched_and_taken_up_again(
    seed: int, sizes: list[int]
) -> None:
    """Batches cut anywhere, a restart in the middle, and items alone or beside others: the same forecasts."""
    (whole, _), (pieces, _), (alone, _) = homes(4), homes(4), homes(4)
    turn = 0
    for number, readings in enumerate(weather_story(seed, 4, 30)):
        now = number / 4
        whole.ingest(readings)
        only = readings.select(np.isin(readings.metric, (4, 5)))
        alone.ingest(only)
        start = 0
        while start < len(readings):
            size = sizes[turn % len(sizes)]
            pieces.ingest(readings.select(slice(start, start + size)))
            start, turn = start + size, turn + 1
        if number == 70:
            blocks = pieces.analysis.dirty_shards()
            pieces.analysis.load_shards(blocks)
        for bench in (whole, pieces, alone):
            bench.tick(now)
    found = whole.analysis.forecasts(at_day_ms(30.0))
    assert found == pieces.analysis.forecasts(at_day_ms(30.0))
    assert found[2] == alone.analysis.forecasts(at_day_ms(30.0))[0]
    beside = whole.slots.covariates
    assert len(beside.table) == len(beside.temperatures.table) == 4
    assert degree_day_slope(beside.table["learned"][:4].T).any()


def test_a_device_without_slots_has_no_thermometer() -> None:
    """A pump that reports a temperature is scored for it, and no forecast is made of it."""
    bench = AnalysisBench(counter("c"), Device(id="pump", customer="maria", profile="generic-monitor"))
    bench.send("pump/temperature", 0.0, 20.0)
    bench.send("c/temperature", 0.0, 20.0)
    assert bench.slots.covariates.temperatures.table.names == ["c"]
