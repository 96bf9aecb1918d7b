"""Counted use: increments and running counters, with restarts, glitches, duplicates and late readings."""

from __future__ import annotations

import numpy as np
import pytest

from star.analyse import QUANTILES
from tests.stream.analysis_bench import AnalysisBench, counter

MEDIAN = QUANTILES.index(0.5)


def test_the_level_is_a_full_capacity_less_what_was_used_plus_what_came() -> None:
    """Ten cups from a hundred, then a delivery of fifty: the level may exceed the capacity, and shows it."""
    bench = AnalysisBench(counter("c"))
    for cup in range(10):
        bench.send("c/beans_used", cup / 10, 1.0)
    bench.declare("c/beans", 1.0, quantity=50.0)
    bench.tick(1.0)
    assert bench.forecast("c/beans", 1.0).level == 140.0
    assert bench.stages() == ["declared"]


def test_a_delivery_without_a_quantity_is_one_pack() -> None:
    """Nobody said how much: a pack."""
    bench = AnalysisBench(counter("c", pack=30.0))
    bench.send("c/beans_used", 0.0, 1.0)
    bench.declare("c/beans", 0.5)
    bench.tick(0.5)
    assert bench.forecast("c/beans", 0.5).level == 129.0


def test_more_used_than_there_was_shows_an_empty_item() -> None:
    """Below nothing the level is shown as 0, all quantiles are 0, and a delivery first fills the hole."""
    bench = AnalysisBench(counter("c"))
    bench.send_with_ticks("c/beans_used", [(day / 2, 12.0) for day in range(10)])
    empty = bench.forecast("c/beans", 5.0)
    assert empty.level == 0.0
    assert set(empty.days) == {0.0}
    bench.declare("c/beans", 5.0, quantity=100.0)
    assert bench.forecast("c/beans", 5.0).level == 80.0


@pytest.mark.parametrize("restarts", [False, True])
def test_a_running_counter_counts_through_restarts(restarts: bool) -> None:
    """A counter that starts again from zero twice has counted what was truly used, within what a restart hides."""
    rng = np.random.default_rng(1)
    bench, total, used = AnalysisBench(counter("c", capacity=1000.0)), 500.0, 0.0
    for hour in range(24 * 20):
        cups = float(rng.poisson(0.3))
        total, used = total + cups, used + cups
        if restarts and hour in (100, 300):
            total = 0.0
        bench.send("c/beans_total", hour / 24, total)
    bench.tick(20.0)
    assert bench.forecast("c/beans", 20.0).level == pytest.approx(1000.0 - used, abs=3.0)


def test_what_restarts_hide_does_not_add_up() -> None:
    """A counter read four times a day that starts again every ten days, between readings, stays near the truth for a year."""
    bench, shown, used = AnalysisBench(counter("c", capacity=10_000.0)), 0.0, 0.0
    for hour in range(24 * 360):
        if hour % 240 == 123:  # three hours after a reading and three before the next
            shown = 0.0
        shown, used = shown + 1.0, used + 1.0
        if hour % 6 == 0:
            bench.send("c/beans_total", hour / 24, shown)
    bench.tick(360.0)
    hidden = 36 * 3.0  # what the readings never show
    assert bench.forecast("c/beans", 360.0).level == pytest.approx(10_000.0 - used, abs=0.25 * hidden)


@pytest.mark.parametrize("glitch", [0.0, 1e7])
def test_a_glitch_of_a_running_counter_is_not_use(glitch: float) -> None:
    """One wild value of a counter, after which it goes on as before, changes nothing."""
    bench = AnalysisBench(counter("c"))
    for hour in range(48):
        value = glitch if hour == 20 else 700.0 + hour / 4
        bench.send("c/beans_total", hour / 24, value)
    bench.tick(2.0)
    assert bench.forecast("c/beans", 2.0).level == pytest.approx(100.0 - 47 / 4, abs=0.3)


def test_impossible_increments_are_not_believed_and_lower_trust() -> None:
    """Negative and astronomical increments leave the level, and are noticed."""
    bench = AnalysisBench(counter("c"))
    bench.send_with_ticks("c/beans_used", [(hour / 24, 0.2) for hour in range(48)])
    before = bench.forecast("c/beans", 2.0)
    bench.send_with_ticks("c/beans_used", [(2.0 + hour / 24, value) for hour, value in enumerate([-5.0, 1e9, -1e6])])
    after = bench.forecast("c/beans", 2.2)
    assert after.level == before.level
    assert after.trust < before.trust


def test_increments_that_come_late_count_once_and_in_their_own_day() -> None:
    """A week offline, delivered afterwards and twice: the level is right, and so is each day."""
    bench = AnalysisBench(counter("c"))
    for day in range(10):
        late = 3 <= day < 8
        if not late:
            bench.send("c/beans_used", day + 0.5, 2.0 + day, boot=1, seq=day)
    for _ in range(2):
        for day in range(7, 2, -1):
            bench.send("c/beans_used", day + 0.5, 2.0 + day, arrived=9.6, boot=1, seq=day)
    bench.tick(10.0)
    assert bench.forecast("c/beans", 10.0).level == 100.0 - sum(2.0 + day for day in range(10))
    ring = bench.slots.table["daily_usage"][bench.slots.table.row("c/beans")]
    assert sorted(ring[~np.isnan(ring)].tolist()) == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    assert bench.analysis.duplicates() == {"c": 5}


def test_a_counter_that_says_nothing_was_not_used() -> None:
    """Two quiet days do not lower the level; two quiet months do, as then something is wrong."""
    bench = AnalysisBench(counter("c"))
    bench.send_with_ticks("c/beans_used", [(hour / 6, 0.7) for hour in range(60)])
    level = bench.forecast("c/beans", 10.0).level
    assert bench.forecast("c/beans", 12.0).level == level
    assert bench.forecast("c/beans", 70.0).level < 0.2 * level


@pytest.mark.parametrize("rate", [0.5, 4.0, 30.0])
def test_steady_use_is_forecast_within_its_interval(rate: float) -> None:
    """After a month the median is near the truth, whatever the profile supposed."""
    rng = np.random.default_rng(3)
    bench = AnalysisBench(counter("c", capacity=60.0 * rate))
    bench.send_with_ticks("c/beans_used", [(hour / 24, float(rng.gamma(2.0, rate / 48.0))) for hour in range(24 * 30)])
    forecast = bench.forecast("c/beans", 30.0)
    assert forecast.days[MEDIAN] == pytest.approx(30.0, rel=0.25)


@pytest.mark.parametrize("metric", ["beans_total", "beans_used"])
def test_all_that_was_there_may_be_used_at_once(metric: str) -> None:
    """A whole capacity between two readings, rounded up: it is use, and the item is empty."""
    bench = AnalysisBench(counter("c"))
    bench.send_with_ticks(
        f"c/{metric}", [(0.0, 0.0), (0.125, 100.0001), (0.25, 100.0001 if metric == "beans_total" else 0.0)]
    )
    assert bench.forecast("c/beans", 0.25).level == pytest.approx(0.0, abs=0.01)


def test_what_a_counter_has_not_reported_yet_is_reckoned() -> None:
    """Read every six hours and used steadily: just before the next reading its end is as much nearer as time has passed."""
    bench = AnalysisBench(counter("c"))
    bench.send_with_ticks("c/beans_total", [(n / 4, n / 2.0) for n in range(81)])
    early, late = bench.forecast("c/beans", 20.0), bench.forecast("c/beans", 20.24)
    assert late.level == early.level == pytest.approx(60.0)
    assert late.days[MEDIAN] == pytest.approx(early.days[MEDIAN] - 0.24, abs=0.1)
