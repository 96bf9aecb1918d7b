"""What is believed when readings and declarations disagree: stuck gauges, false falls and rises, silences, late news."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from stream.detectors.slots import dead_reckoning
from stream.detectors.slots.state_schema import CUMULATIVE_USE, CURRENT_DAY, RATE, USED_TODAY
from tests.stream.analysis_bench import AnalysisBench, tank
from tests.stream.detectors.test_level_filter import Tank


def rate_of(bench: AnalysisBench) -> float:
    """The rate believed of the tank."""
    slots = bench.slots.table
    return float(slots["filter"][slots.row("t/oil"), RATE])


def four_a_day(truth: Tank, days: float, start: float = 0.0) -> Iterator[tuple[float, float]]:
    """Every sixth of the hours' readings."""
    return itertools.islice(truth.hours(days, start=start), 0, None, 6)


def test_a_delivery_counts_for_as_long_as_the_gauge_is_stuck() -> None:
    """Stuck for twelve days, with a delivery on the second: the level goes on from there, and is true when the gauge moves."""
    bench, truth = AnalysisBench(tank("t")), Tank(6)
    bench.send_with_ticks("t/oil", four_a_day(truth, 15.0))
    held = truth.reading()
    for day, _ in four_a_day(truth, 2.0, 15.0):
        bench.send_with_ticks("t/oil", [(day, held)])
    truth.level += 500.0
    bench.declare("t/oil", 17.0, quantity=500.0)
    for day, _ in four_a_day(truth, 10.0, 17.0):
        bench.send_with_ticks("t/oil", [(day, held)])
        assert bench.forecast("t/oil", day).level == pytest.approx(truth.level, abs=70.0)
    bench.send_with_ticks("t/oil", four_a_day(truth, 0.5, 27.0))
    assert bench.forecast("t/oil", 27.5).level == pytest.approx(truth.level, abs=25.0)
    assert bench.stages() == ["declared"]


@pytest.mark.parametrize("wild", [(22.75,), (18.75, 20.75, 22.75)])
def test_wild_readings_of_a_stuck_gauge_take_back_no_delivery(wild: tuple[float, ...]) -> None:
    """It reads empty now and then, just as it would be without what came, and sticks again: what came is there all the same."""
    bench, truth = AnalysisBench(tank("t")), Tank(6)
    bench.send_with_ticks("t/oil", four_a_day(truth, 15.0))
    held = truth.reading()
    bench.send_with_ticks("t/oil", [(15.0, held)])
    truth.level += 500.0
    bench.declare("t/oil", 15.1, quantity=500.0)
    for day, _ in four_a_day(truth, 9.0, 15.25):
        bench.send_with_ticks("t/oil", [(day, 0.0 if day in wild else held)])
        assert bench.forecast("t/oil", day).level == pytest.approx(truth.level, abs=80.0)


def test_what_came_to_an_empty_silent_item_counts_from_nothing() -> None:
    """Reckoned empty for days and then filled, all in one silence: what came is there, and is used from then on."""
    bench = AnalysisBench(tank("t"))
    bench.send_with_ticks("t/oil", [(day / 4, 500.0 - 10.0 * day) for day in range(41)])
    bench.declare("t/oil", 20.0, quantity=500.0)
    assert bench.forecast("t/oil", 20.0).level == pytest.approx(500.0, abs=1.0)
    assert bench.forecast("t/oil", 25.0).level == pytest.approx(500.0 - 5 * rate_of(bench), abs=1.0)


def test_readings_only_after_refills_set_the_rate_from_what_was_delivered() -> None:
    """Each refill of 500 is declared and read once: soon the rate is the truth, whatever the profile said."""
    bench = AnalysisBench(tank("t", capacity=1000.0))
    bench.send_with_ticks("t/oil", [(0.0, 900.0)])
    for cycle in range(1, 5):
        bench.declare("t/oil", 20.0 * cycle, quantity=500.0, id=f"refill-{cycle}")
        bench.send_with_ticks("t/oil", [(20.0 * cycle, 900.0)])
    assert rate_of(bench) == pytest.approx(25.0, rel=0.05)
    assert bench.stages() == ["declared"] * 4
    assert bench.forecast("t/oil", 90.0).level == pytest.approx(900.0 - 250.0, abs=20.0)


def test_what_did_not_fit_into_a_tank_is_no_use() -> None:
    """A delivery of 500 to a tank with room for 300, after ten days of silence: 100 was used in them, and not 300."""
    bench = AnalysisBench(tank("t"))
    bench.send_with_ticks("t/oil", [(day / 2, 1000.0 - 5.0 * day) for day in range(41)])
    before = rate_of(bench)
    bench.declare("t/oil", 30.0, quantity=500.0)
    bench.send_with_ticks("t/oil", [(30.1, 1000.0)])
    assert rate_of(bench) <= before


@pytest.mark.parametrize("came", [250.0, 375.0, 500.0])
def test_less_than_was_said_is_corrected_by_the_level(came: float) -> None:
    """Said 500: as soon as the gauge shows what truly came, that is the level."""
    bench, truth = AnalysisBench(tank("t")), Tank(3)
    bench.send_with_ticks("t/oil", four_a_day(truth, 15.0))
    bench.declare("t/oil", 15.0, quantity=500.0)
    truth.level += came
    bench.send_with_ticks("t/oil", four_a_day(truth, 1.0, 15.0))
    assert bench.forecast("t/oil", 16.0).level == pytest.approx(truth.level, abs=25.0)
    assert rate_of(bench) == pytest.approx(40.0, rel=0.25)


def test_two_air_gaps_in_a_row_are_not_believed() -> None:
    """Four readings a day, two of them nothing: level and rate stay."""
    bench, truth = AnalysisBench(tank("t")), Tank(1)
    bench.send_with_ticks("t/oil", four_a_day(truth, 10.0))
    bench.send_with_ticks("t/oil", [(10.0, 0.0), (10.25, 0.0)])
    assert bench.forecast("t/oil", 10.25).level == pytest.approx(truth.level, abs=30.0)


def test_a_fall_that_stays_is_believed_within_three_readings() -> None:
    """Half the tank in an hour: after three readings it is the level."""
    bench, truth = AnalysisBench(tank("t")), Tank(1)
    bench.send_with_ticks("t/oil", four_a_day(truth, 8.0))
    truth.level -= 450.0
    bench.send_with_ticks("t/oil", four_a_day(truth, 0.75, 8.0))
    assert bench.forecast("t/oil", 8.75).level == pytest.approx(truth.level, abs=30.0)


def test_a_fall_that_is_taken_back_was_no_use_and_the_return_no_refill() -> None:
    """An air gap of a day is believed; when the level returns, use, rate and days are what they were, and no refill is told."""
    bench, truth = AnalysisBench(tank("t")), Tank(1)
    bench.send_with_ticks("t/oil", four_a_day(truth, 10.0))
    table = bench.slots.table
    row = table.row("t/oil")
    used, rate = float(table["filter"][row, CUMULATIVE_USE]), rate_of(bench)
    bench.send_with_ticks("t/oil", [(10.0 + n / 4, 3.0) for n in range(5)])
    assert bench.forecast("t/oil", 11.0).level < 50.0
    held = truth.level
    bench.send_with_ticks("t/oil", [(11.25 + n / 4, held + n % 2) for n in range(4)])
    assert bench.forecast("t/oil", 12.0).level == pytest.approx(held, abs=25.0)
    assert bench.stages() == []
    assert float(table["filter"][row, CUMULATIVE_USE]) == pytest.approx(used, abs=60.0)
    assert rate_of(bench) == pytest.approx(rate, rel=0.15)
    days = table["daily_usage"][row]
    assert float(np.nanmax(days)) < 150.0
    assert float(table["filter"][row, USED_TODAY]) < 150.0


@pytest.mark.parametrize("seed", range(6))
def test_news_of_a_silence_in_any_order_makes_the_level_of_the_newest(seed: int) -> None:
    """Six days offline with a refill that nobody declared: however its readings come, level and refill are the same."""
    bench, truth = AnalysisBench(tank("t")), Tank(5)
    bench.send_with_ticks("t/oil", four_a_day(truth, 12.0))
    kept = list(four_a_day(truth, 3.0, 12.0))
    truth.level += 500.0
    kept += list(four_a_day(truth, 3.0, 15.0))
    for place in np.random.default_rng(seed).permutation(len(kept)):
        day, value = kept[place]
        bench.send("t/oil", day, value, arrived=18.0)
    bench.tick(18.0)
    assert bench.forecast("t/oil", 18.0).level == pytest.approx(truth.level, abs=30.0)
    assert bench.stages() == ["confirmed"]


def test_a_long_silence_is_known_the_better_the_steadier_the_use_was() -> None:
    """A reading a week of an even use: after months a silence of a week leaves little doubt; of an uneven use, much."""
    spread = {}
    for name, swing in (("even", 0.0), ("uneven", 0.8)):
        bench, level = AnalysisBench(tank("t")), 900.0
        for week in range(30):
            level -= 140.0 * (1.0 + swing * (-1) ** (week // 2))
            if level < 300.0:
                bench.declare("t/oil", 7.0 * week, quantity=500.0, id=f"{week}")
                level += 500.0
            bench.send_with_ticks("t/oil", [(7.0 * week + 0.01, level)])
        slots = bench.slots
        state = slots.gather(np.array([slots.table.row("t/oil")]))
        spread[name] = float(np.sqrt(dead_reckoning.prediction_variance(state, np.array([7.0]))[0]))
    assert spread["even"] < 0.12 * 140.0
    assert spread["uneven"] > 3 * spread["even"]


def test_a_reading_that_could_be_either_shows_what_was_declared() -> None:
    """Twice the usual use in a silence that ended with a delivery of 500: the delivery came, and the use was twice the usual."""
    bench = AnalysisBench(tank("t"))
    for cycle in range(5):
        bench.declare("t/oil", 20.0 * cycle, quantity=500.0, id=f"refill-{cycle}")
        bench.send_with_ticks("t/oil", [(20.0 * cycle, 900.0 + cycle)])
    bench.declare("t/oil", 97.0, quantity=500.0, id="last")
    bench.send_with_ticks("t/oil", [(97.0, 650.0)])
    assert rate_of(bench) > 30.0
    assert bench.forecast("t/oil", 97.0).level == pytest.approx(650.0, abs=20.0)


def test_a_tank_that_is_always_full_after_a_delivery_is_used_less_than_was_thought() -> None:
    """Each delivery of 500 overflows: the use is no more than 500 a cycle, and each cycle the rate is thought smaller."""
    bench, rates = AnalysisBench(tank("t")), []
    for cycle in range(8):
        bench.declare("t/oil", 15.0 * cycle, quantity=500.0, id=f"refill-{cycle}")
        bench.send_with_ticks("t/oil", [(15.0 * cycle, 1000.0 - cycle % 3)])
        rates.append(rate_of(bench))
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 25.0


def test_a_rise_of_a_pack_is_believed_with_the_second_reading_of_a_good_sensor() -> None:
    """Four readings a day, and nobody said that 500 came: after six hours it is told, and not again."""
    bench, truth = AnalysisBench(tank("t")), Tank(2)
    bench.send_with_ticks("t/oil", four_a_day(truth, 15.0))
    truth.level += 500.0
    bench.send_with_ticks("t/oil", four_a_day(truth, 0.5, 15.0))
    assert bench.stages() == ["confirmed"]
    bench.send_with_ticks("t/oil", four_a_day(truth, 1.0, 15.5))
    assert bench.stages() == ["confirmed"]


@pytest.mark.parametrize("spare_packs", [False, True])
def test_what_came_and_was_used_up_at_once_is_not_there_any_more(spare_packs: bool) -> None:
    """A pack is delivered, shown, and used up within the day: it did come, and the level is what the gauge says."""
    bench, truth = AnalysisBench(tank("t", spare_packs=spare_packs)), Tank(1)
    truth.level = 420.0
    bench.send_with_ticks("t/oil", four_a_day(truth, 8.0))
    bench.declare("t/oil", 8.1, quantity=500.0)
    bench.send_with_ticks(
        "t/oil", [(8.25, truth.level + 495.0), (8.5, truth.level + 190.0), (8.75, truth.level - 60.0)]
    )
    bench.send_with_ticks("t/oil", [(9.0 + n / 4, truth.level - 62.0 - n) for n in range(3)])
    assert bench.forecast("t/oil", 9.5).level == pytest.approx(truth.level - 64.0, abs=15.0)


def test_a_delivery_after_a_great_use_is_not_its_return() -> None:
    """A pack's worth is used in an hour, a pack is ordered and comes: the level is what the gauge says, with nothing still to come."""
    bench, truth = AnalysisBench(tank("t", spare_packs=True)), Tank(1)
    bench.send_with_ticks("t/oil", four_a_day(truth, 8.0))
    truth.level -= 500.0
    bench.send_with_ticks("t/oil", four_a_day(truth, 1.0, 8.0))
    bench.declare("t/oil", 9.0, quantity=500.0)
    truth.level += 500.0
    bench.send_with_ticks("t/oil", four_a_day(truth, 1.0, 9.1))
    assert bench.forecast("t/oil", 10.0).level == pytest.approx(truth.level, abs=30.0)


def test_nobody_leaves_a_spare_pack_unopened_beside_an_empty_one() -> None:
    """Declared and never seen by a gauge that may not see what is unopened: at nothing for a day, there is none."""
    bench = AnalysisBench(tank("t", spare_packs=True))
    bench.send_with_ticks("t/oil", [(day / 4, max(300.0 - 10.0 * day, 0.0)) for day in range(29)])
    bench.declare("t/oil", 7.1, quantity=500.0)
    bench.send_with_ticks("t/oil", [(7.25 + n / 4, 0.0) for n in range(2)])
    assert bench.forecast("t/oil", 7.5).level > 400.0
    bench.send_with_ticks("t/oil", [(7.75 + n / 4, 0.0) for n in range(3)])
    assert bench.forecast("t/oil", 8.5).level == pytest.approx(0.0, abs=5.0)


def test_a_noisy_gauge_that_is_read_daily_makes_up_no_use() -> None:
    """Noise of several days' use: what it shows too much of a fall, it takes back, and a year's use is what was used."""
    bench, truth = AnalysisBench(tank("t")), Tank(3, noise=50.0)
    rng = np.random.default_rng(3)
    for day in range(200):
        if truth.level < 250.0:
            truth.level += 500.0
            bench.declare("t/oil", float(day), quantity=500.0)
        bench.send_with_ticks("t/oil", [(day + 0.25, truth.reading())])
        truth.level -= rng.uniform(8.0, 12.0)
    assert rate_of(bench) == pytest.approx(10.0, rel=0.35)
    slots = bench.slots.table
    assert float(slots["filter"][slots.row("t/oil"), CUMULATIVE_USE]) == pytest.approx(2_000.0, rel=0.2)


def test_the_steps_of_a_coarse_gauge_are_not_taken_for_use_in_lumps() -> None:
    """Steps of a tenth, each of ten days' use: the days between are known by the rate, and none stands for all ten."""
    bench = AnalysisBench(tank("t"))
    bench.send_with_ticks("t/oil", [(n / 24, round((1000.0 - 10.0 * n / 24) / 100.0) * 100.0) for n in range(2_280)])
    table = bench.slots.table
    row = table.row("t/oil")
    days, today = table["daily_usage"][row], int(table["filter"][row, CURRENT_DAY])
    assert max(float(days[(today - back) % len(days)]) for back in range(1, 29)) < 50.0
    assert rate_of(bench) == pytest.approx(10.0, rel=0.3)


def test_wild_readings_days_apart_of_a_gauge_that_stands_still_are_no_fall() -> None:
    """A tank had no room for most of its delivery, and its coarse gauge says full again and again: thrice it reads nothing."""
    bench = AnalysisBench(tank("t"))
    bench.send_with_ticks("t/oil", [(n / 24, round((1000.0 - n / 2.0) / 50.0) * 50.0) for n in range(120)])
    bench.declare("t/oil", 5.0, quantity=500.0)
    bench.send_with_ticks("t/oil", [(5.0 + n / 24, 0.0 if n in (6, 13, 20) else 1000.0) for n in range(21)])
    assert bench.forecast("t/oil", 5.84).level == pytest.approx(990.0, abs=20.0)


def test_a_rise_of_a_seldom_heard_gauge_is_taken_back_by_its_next_reading() -> None:
    """It is believed at its word that it rose; when the next reading is where it was, that was no refill, and its fall no use."""
    bench = AnalysisBench(tank("t"))
    bench.send_with_ticks("t/oil", [(3.0 * n, 900.0 - 30.0 * n) for n in range(10)])
    bench.send_with_ticks("t/oil", [(30.0, 1600.0)])
    assert bench.forecast("t/oil", 30.0).level > 1000.0
    bench.send_with_ticks("t/oil", [(33.0, 570.0), (36.0, 540.0)])
    assert bench.forecast("t/oil", 36.0).level == pytest.approx(540.0, abs=30.0)
    assert rate_of(bench) == pytest.approx(10.0, rel=0.35)
