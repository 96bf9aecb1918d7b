"""Tanks with ground truth: what the service believes of their levels, refills and use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from star.analyse import QUANTILES
from stream.detectors.slots.state_schema import USED_TODAY
from tests.stream.analysis_bench import AnalysisBench, tank

HOURS = 24


class Tank:
    """A tank of 1,000 that is emptied at about 40 a day, with a sensor of some noise, steps and spikes."""

    def __init__(self, seed: int, *, noise: float = 10.0, step: float = 0.0, spikes: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.noise, self.step, self.spikes = noise, step, spikes
        self.level = 900.0
        self.used = 0.0

    def reading(self) -> float:
        if self.rng.random() < self.spikes:
            return float(self.rng.choice([0.0, 1000.0, self.rng.uniform(0.0, 1000.0)]))
        value = self.level + self.rng.normal() * self.noise
        return float(round(value / self.step) * self.step) if self.step else float(value)

    def hours(self, days: float, start: float = 0.0, rate: float = 40.0) -> Iterator[tuple[float, float]]:
        for hour in range(round(days * HOURS)):
            use = float(self.rng.gamma(2.0, rate / 48.0))
            self.level, self.used = self.level - use, self.used + use
            yield start + hour / HOURS, self.reading()


@pytest.mark.parametrize(
    ("noise", "step", "spikes", "off_max"),
    [(10.0, 0.0, 0.0, 12.0), (10.0, 0.0, 0.03, 15.0), (5.0, 50.0, 0.0, 30.0), (5.0, 50.0, 0.02, 35.0)],
)
def test_the_level_believed_stays_near_the_true_one(noise: float, step: float, spikes: float, off_max: float) -> None:
    """Noise of 1 %, steps of 5 % and spikes: after three days 95 % of the estimates are near the truth."""
    bench, truth = AnalysisBench(tank("t")), Tank(3, noise=noise, step=step, spikes=spikes)
    off = []
    for day, value in truth.hours(18):
        bench.send("t/oil", day, value)
        if day > 3:
            off.append(abs(bench.forecast("t/oil", day).level - truth.level))
    assert np.percentile(off, 95) < off_max


@pytest.mark.parametrize("step", [0.0, 50.0])
def test_use_by_day_adds_up_to_what_was_truly_used(step: float) -> None:
    """Noise is not counted as use: over 20 days the days' sum is within 5 % of the truth."""
    bench, truth = AnalysisBench(tank("t", capacity=1000.0)), Tank(5, step=step)
    bench.send_with_ticks("t/oil", truth.hours(1))
    before = truth.used
    bench.send_with_ticks("t/oil", truth.hours(19, start=1.0))
    row = bench.slots.table.row("t/oil")
    days = bench.slots.table["daily_usage"][row]
    closed = float(np.nansum(days))
    today = float(bench.slots.table["filter"][row, USED_TODAY])
    assert closed + today == pytest.approx(truth.used - before, rel=0.06)


@pytest.mark.parametrize("value", [0.0, 3.0, 1000.0, -50.0])
def test_a_single_wild_reading_fires_nothing(value: float) -> None:
    """One air gap or spike among good readings leaves level, needs and refills as they were."""
    bench, truth = AnalysisBench(tank("t")), Tank(1)
    bench.send_with_ticks("t/oil", truth.hours(5))
    level = bench.forecast("t/oil", 5.0).level
    q05 = bench.forecast("t/oil", 5.0).days[QUANTILES.index(0.05)]
    bench.send("t/oil", 5.0, value)
    bench.tick(5.0)
    after = bench.forecast("t/oil", 5.0)
    assert after.level == pytest.approx(level, abs=3.0)
    assert after.days[QUANTILES.index(0.05)] > 0.75 * q05
    bench.send_with_ticks("t/oil", truth.hours(1, start=5.0 + 1 / HOURS))
    assert bench.stages() == []


def test_an_air_gap_as_the_very_first_reading_opens_no_need() -> None:
    """A first reading of nothing waits for a second one; a plausible low one does not."""
    bench = AnalysisBench(tank("t"), tank("u"))
    bench.send("t/oil", 0.0, 0.0)
    bench.send("u/oil", 0.0, 60.0)
    bench.tick(0.0)
    assert bench.needs("t/oil") == []
    assert len(bench.needs("u/oil")) == 1
    bench.send("t/oil", 0.1, 0.0)
    bench.tick(0.1)
    assert len(bench.needs("t/oil")) == 1


def test_a_refill_is_provisional_then_confirmed_with_its_quantity() -> None:
    """A rise of 600 that stays is told once as provisional and once as confirmed, within a few readings."""
    bench, truth = AnalysisBench(tank("t")), Tank(2)
    bench.send_with_ticks("t/oil", truth.hours(18))
    truth.level += 600.0
    bench.send_with_ticks("t/oil", truth.hours(1, start=18.0))
    assert [str(r.stage) for r in bench.refills] == ["provisional", "confirmed"]
    assert bench.refills[1].quantity == pytest.approx(600.0, abs=25.0)
    assert bench.forecast("t/oil", 19.0).level == pytest.approx(truth.level, abs=15.0)


def test_a_rise_that_goes_away_is_retracted() -> None:
    """Two readings near the top among low ones are told as provisional and taken back; the level stays."""
    bench, truth = AnalysisBench(tank("t")), Tank(2)
    bench.send_with_ticks("t/oil", truth.hours(15))
    level = truth.level
    bench.send_with_ticks("t/oil", [(15.0, 990.0), (15.0 + 1 / HOURS, level), (15.0 + 2 / HOURS, level)])
    assert [str(r.stage) for r in bench.refills] == ["provisional", "retracted"]
    assert bench.forecast("t/oil", 15.1).level == pytest.approx(level, abs=15.0)


def test_a_partial_refill_is_seen() -> None:
    """A rise of 12 % of the capacity is a refill too."""
    bench, truth = AnalysisBench(tank("t")), Tank(7)
    bench.send_with_ticks("t/oil", truth.hours(10))
    truth.level += 120.0
    bench.send_with_ticks("t/oil", truth.hours(1, start=10.0))
    assert bench.stages() == ["confirmed"]


def test_daily_readings_confirm_a_refill_with_the_second_one() -> None:
    """A sensor that reports once a day does not wait for a third reading."""
    bench = AnalysisBench(tank("t"))
    bench.send_with_ticks("t/oil", [(float(day), 800.0 - 40 * day) for day in range(10)])
    bench.send_with_ticks("t/oil", [(10.0, 900.0), (11.0, 860.0)])
    assert [str(r.stage) for r in bench.refills] == ["provisional", "confirmed"]


@pytest.mark.parametrize("delay_days", [-2.0, 0.2, 1.5])
def test_a_delivery_makes_no_second_need_whether_the_sensor_is_early_or_late(delay_days: float) -> None:
    """A delivery declared before, with or after its rise is one refill, and no need is seen from the first of both on."""
    bench, truth = AnalysisBench(tank("t")), Tank(4)
    bench.send_with_ticks("t/oil", truth.hours(20))
    assert bench.needs("t/oil")
    seen_from = 22.0 if delay_days > 0 else 22.0 + delay_days
    rise_day, declared_day = 22.0 + delay_days, 22.0
    declared = raised = False
    for day, value in truth.hours(6, start=20.0, rate=10.0):
        if not declared and day >= declared_day:
            bench.declare(None, declared_day, "delivered", reaction="t/oil/1/order/1", quantity=700.0)
            declared = True
        if not raised and day >= rise_day:
            truth.level += 700.0
            value += 700.0
            raised = True
        bench.send("t/oil", day, value)
        bench.tick(day)
    assert len(bench.stages()) == 1
    low = [n for n in bench.needs("t/oil") if n.at_ms > bench.facts[0].at_ms + (seen_from + 0.3) * 86_400_000]
    assert all(need.forecast.level > 600.0 for need in low)


def test_a_delivery_that_is_never_seen_counts_for_two_days_only() -> None:
    """A declared delivery without any rise of the level is not believed for longer than its grace."""
    bench, truth = AnalysisBench(tank("t")), Tank(4)
    bench.send_with_ticks("t/oil", truth.hours(20))
    bench.declare(None, 20.0, "delivered", reaction="t/oil/1/order/1", quantity=700.0)
    bench.send_with_ticks("t/oil", truth.hours(1.5, start=20.0, rate=10.0))
    assert bench.forecast("t/oil", 21.5).level > 700.0
    bench.send_with_ticks("t/oil", truth.hours(1, start=21.5, rate=10.0))
    assert bench.forecast("t/oil", 22.5).level == pytest.approx(truth.level, abs=15.0)


def test_the_same_delivery_told_twice_counts_once() -> None:
    """Another outcome with the same reaction, and the same outcome again, change nothing."""
    bench = AnalysisBench(tank("t", spare_packs=True))
    bench.send_with_ticks("t/oil", [(0.0, 300.0), (0.1, 300.0)])
    for name in ("a", "a", "b"):
        bench.declare(None, 0.2, "delivered", reaction="t/oil/1/order/1", quantity=500.0, id=name)
    bench.tick(0.2)
    assert bench.forecast("t/oil", 0.2).level == pytest.approx(800.0, abs=5.0)
    assert bench.stages() == ["declared"]
    assert len(bench.facts[-1].events) == 2


def test_opening_a_spare_pack_is_no_refill() -> None:
    """A cartridge that waited counts in the level, and its opening shows as a rise that closes nothing."""
    bench = AnalysisBench(tank("t", capacity=100.0, pack=100.0, spare_packs=True, price_max=None))
    bench.send_with_ticks("t/oil", [(day / 4, 40.0 - 2 * day) for day in range(16)])
    bench.declare("t/oil", 4.0, quantity=None)
    bench.tick(4.0)
    assert bench.forecast("t/oil", 4.0).level == pytest.approx(109.0, abs=3.0)
    bench.send_with_ticks("t/oil", [(4.25 + day / 4, 100.0 - 2 * day) for day in range(6)])
    assert bench.stages() == ["declared"]
    assert bench.forecast("t/oil", 5.5).level == pytest.approx(90.0, abs=3.0)


def test_a_stuck_sensor_is_trusted_less_and_its_level_goes_on_falling() -> None:
    """A noisy sensor that repeats one value for days is stuck: the level is reckoned on, with less trust and more spread."""
    bench, truth = AnalysisBench(tank("t")), Tank(6)
    bench.send_with_ticks("t/oil", truth.hours(8))
    before = bench.forecast("t/oil", 8.0)
    value = truth.reading()
    for day, _ in truth.hours(4, start=8.0):
        bench.send("t/oil", day, value)
        bench.tick(day)
    after = bench.forecast("t/oil", 12.0)
    assert after.trust < 0.6 < before.trust
    assert after.level == pytest.approx(truth.level, abs=60.0)
    bench.send_with_ticks("t/oil", truth.hours(1, start=12.0))
    assert bench.forecast("t/oil", 13.0).level == pytest.approx(truth.level, abs=20.0)


def test_a_silent_item_is_still_served() -> None:
    """Without readings the level is reckoned on, trust falls, and the need is seen when its time comes."""
    bench, truth = AnalysisBench(tank("t")), Tank(6)
    bench.send_with_ticks("t/oil", truth.hours(6))
    quiet = [bench.forecast("t/oil", 6.0 + days) for days in range(0, 12, 3)]
    medians = [f.days[QUANTILES.index(0.5)] for f in quiet]
    assert medians == sorted(medians, reverse=True)
    assert quiet[-1].trust < 0.7 < quiet[0].trust
    known = len(bench.needs("t/oil"))
    for hour in range(12 * HOURS):
        bench.tick(6.0 + hour / HOURS)
    assert len(bench.needs("t/oil")) > known


def test_readings_that_come_late_change_history_and_never_the_level() -> None:
    """A gap of six days was thought even; what arrives afterwards says that the use was on its first day."""
    bench, truth = AnalysisBench(tank("t")), Tank(8, noise=1.0)
    bench.send_with_ticks("t/oil", truth.hours(5))
    start = truth.level
    bench.send("t/oil", 11.0, start - 240.0)
    bench.tick(11.0)
    level = bench.forecast("t/oil", 11.0).level
    days = bench.slots.table["daily_usage"][bench.slots.table.row("t/oil")]
    even = float(np.nanmax(days))
    for day in (6.0, 7.0, 8.0, 9.0):
        bench.send("t/oil", day, start - 235.0, arrived=11.1)
    bench.tick(11.1)
    assert bench.forecast("t/oil", 11.0).level == level
    assert float(np.nanmax(days)) > 3 * even


@pytest.mark.parametrize("wrong_day", [-20_000.0, 40_000.0])
def test_a_clock_that_is_wrong_does_not_stop_the_item(wrong_day: float) -> None:
    """Measured in 1970 or 2100: the time of arrival counts, and the item's forecast is a usual one."""
    bench, truth = AnalysisBench(tank("t")), Tank(9)
    for count, (day, value) in enumerate(truth.hours(6)):
        bench.send("t/oil", wrong_day + count / 1000, value, arrived=day)
        bench.tick(day)
    forecast = bench.forecast("t/oil", 6.0)
    assert forecast.level == pytest.approx(truth.level, abs=20.0)
    assert 5.0 < forecast.days[QUANTILES.index(0.5)] < 60.0


def test_a_refill_between_two_readings_ten_days_apart_is_seen_at_once() -> None:
    """Sparse readings: though ten days could have used more than the rise, no use lets a level rise."""
    bench = AnalysisBench(tank("t"))
    bench.send_with_ticks("t/oil", [(10.0 * n, value) for n, value in enumerate([900.0, 600.0, 300.0, 700.0, 400.0])])
    assert bench.stages() == ["confirmed"]
    assert bench.forecast("t/oil", 40.0).level == pytest.approx(400.0, abs=20.0)


def test_a_perfect_sensor_of_an_unused_item_is_not_stuck() -> None:
    """A sensor without noise that repeats its value every night, and over a weekend, is trusted as before."""
    bench, level = AnalysisBench(tank("t")), 900.0
    for hour in range(24 * 9):
        level -= 3.0 if 7 <= hour % 24 < 21 and hour < 24 * 7 else 0.0
        bench.send_with_ticks("t/oil", [(hour / 24, level)])
        if hour > 48:
            assert bench.forecast("t/oil", hour / 24).trust >= 0.7
    assert bench.forecast("t/oil", 9.0).level == pytest.approx(level, abs=5.0)
