"""When to act: the comparison of acting now with every wait, its distributions, and what deliveries teach."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.decision.lead_time import PRIOR_WEIGHT, LeadTime, lead_time_distribution, lost_after_days
from reactor.decision.lead_time_stats import add_delivery, add_failure, add_loss, apply_feedback, learned_lead_time
from reactor.decision.reorder_policy import (
    TIMING_SHIFT_MAX,
    Costs,
    OverdueOrder,
    evaluate_timing,
    p_stockout_before_delivery,
    should_replace_now,
)
from reactor.decision.time_to_empty import TimeToEmpty
from reactor.state import ItemRecord, LeadTimeSample
from star.analyse import DAYS_MAX, QUANTILES
from star.quantiles import Z_EXACT
from star.times import DAY_MS
from tests.support.household import forecast_of

LEAD_DAYS = (2.0, 5.0)
LEAD = lead_time_distribution(LEAD_DAYS)
COSTS = Costs(stockout_cost=400.0, stockout_cost_per_day=40.0, holding_cost_per_day=0.05)


def order_point(costs: Costs = COSTS, lead: LeadTime = LEAD, **choices: float) -> float:
    """The median days to empty at which the order goes out, falling."""
    look = choices.pop("look_days", 0.25)
    for tenth in range(1200, 0, -1):
        if evaluate_timing(forecast_of(tenth / 10, 0), 0, lead, costs, evaluation_days=look, **choices).act:  # type: ignore[arg-type]
            return tenth / 10
    return 0.0


def test_dearer_running_out_orders_earlier_and_dearer_holding_later() -> None:
    """The newsvendor's critical ratio at work."""
    usual = order_point()
    assert order_point(replace(COSTS, stockout_cost=4_000.0)) > usual
    assert order_point(replace(COSTS, holding_cost_per_day=5.0)) < usual
    assert order_point(COSTS.with_timing_shift(2.0)) > usual > order_point(COSTS.with_timing_shift(-2.0))
    assert COSTS.with_timing_shift(99.0) == COSTS.with_timing_shift(TIMING_SHIFT_MAX)


def test_a_slower_supplier_a_rarer_look_and_an_answer_to_wait_for_order_earlier() -> None:
    """Each by about the time it takes."""
    usual = order_point()
    assert order_point(lead=lead_time_distribution((6.0, 12.0))) > usual + 4.0
    assert order_point(look_days=2.0) >= usual
    assert order_point(answer_days=1.0) > usual


def test_a_level_of_many_packs_is_not_added_to_for_an_early_tail() -> None:
    """With six packs on hand a hundredth that says five days is no reason to order a seventh; with one it is."""
    forecast = replace(forecast_of(150.0, 0), days=(5.0, 19.0, 34.0, 72.0, 152.0, 265.0, 437.0, 573.0, 1102.0))
    assert evaluate_timing(forecast, 0, LEAD, COSTS, evaluation_days=0.25).act
    assert not evaluate_timing(forecast, 0, LEAD, replace(COSTS, packs_left=6.5), evaluation_days=0.25).act


def test_an_overdue_order_is_replaced_the_sooner_the_less_is_left_and_the_likelier_it_is_lost() -> None:
    """With nothing left it is given up; with weeks left, or a supplier that is known to be slow, it is waited for."""
    late = OverdueOrder(lead_time=LEAD, waited_days=8.0, duplicate_cost=1.5)
    assert should_replace_now(forecast_of(1.0, 0), 0, LEAD, COSTS, late, evaluation_days=0.25)
    assert not should_replace_now(forecast_of(90.0, 0), 0, LEAD, COSTS, late, evaluation_days=0.25)
    slow = OverdueOrder(lead_time=lead_time_distribution((5.0, 12.0)), waited_days=8.0, duplicate_cost=50.0)
    assert not should_replace_now(
        forecast_of(9.0, 0), 0, lead_time_distribution((5.0, 12.0)), COSTS, slow, evaluation_days=0.25
    )
    assert late.lead_time.p_lost_after(8.0) > slow.lead_time.p_lost_after(8.0)


def test_what_does_not_fit_is_waited_for() -> None:
    """With no room for a pack an order waits until there is, unless running out is nearer."""
    full = replace(COSTS, headroom=100.0, quantity=500.0, unit_price=1.2)
    assert order_point(full) < order_point()
    assert evaluate_timing(forecast_of(1.0, 0), 0, LEAD, full, evaluation_days=0.25).act


def test_with_nothing_to_lose_nothing_is_hurried() -> None:
    """A tie without any risk waits, also where holding costs nothing."""
    free = replace(COSTS, holding_cost_per_day=0.0)
    assert not evaluate_timing(forecast_of(300.0, 0), 0, LEAD, free, evaluation_days=0.25).act
    assert evaluate_timing(forecast_of(6.0, 0), 0, LEAD, free, evaluation_days=0.25).act


def test_the_costs_are_those_of_the_definition() -> None:
    """Against plain averages over a hundred thousand draws of both distributions."""
    forecast, rng = forecast_of(6.0, 0), np.random.default_rng(7)
    curve = TimeToEmpty(forecast, 0)
    empty = np.interp(rng.random(100_000), curve.p_empty_by(days := np.linspace(0.0, 30.0, 30_001)), days)
    arrival = np.interp(rng.random(100_000), np.cumsum(LEAD.weights) - 0.5 * np.array(LEAD.weights), LEAD.days)
    late = arrival - empty
    drawn = (400.0 * (late > 0) + 40.0 * np.maximum(late, 0) + 0.05 * np.maximum(-late, 0)).mean()
    found = evaluate_timing(forecast, 0, LEAD, COSTS, evaluation_days=0.25)
    assert found.cost_now == pytest.approx(drawn, rel=0.05)
    assert p_stockout_before_delivery(forecast, LEAD) == pytest.approx((late > 0).mean(), abs=0.01)


@given(
    days=st.lists(st.floats(0.0, DAYS_MAX), min_size=9, max_size=9),
    at=st.floats(0.0, 5_000.0),
    low=st.floats(0.01, 50.0),
    times=st.floats(1.0, 10.0),
)
def test_any_forecast_gives_probabilities_and_finite_costs(
    days: list[float], at: float, low: float, times: float
) -> None:
    """Equal quantiles, zeros and the longest times included."""
    forecast = replace(forecast_of(1.0, 0), days=tuple(sorted(days)))
    curve = TimeToEmpty(forecast, 0)
    assert 0.0 <= float(curve.p_empty_by(np.array([at]))[0]) <= 1.0
    assert -1e-6 <= float(curve.expected_empty_days(np.array([at]))[0]) <= at + 1e-6
    found = evaluate_timing(forecast, 0, lead_time_distribution((low, low * times)), COSTS, evaluation_days=0.25)
    assert math.isfinite(found.cost_now)
    assert math.isfinite(found.cost_wait)
    assert 0.0 <= p_stockout_before_delivery(forecast, lead_time_distribution((low, low * times))) <= 1.0


def test_time_that_has_passed_since_the_forecast_counts() -> None:
    """Two days later the same forecast has two days less."""
    forecast = forecast_of(9.0, 0)
    then = evaluate_timing(forecast, 2 * DAY_MS, LEAD, COSTS, evaluation_days=0.25)
    assert then.p_stockout > evaluate_timing(forecast, 0, LEAD, COSTS, evaluation_days=0.25).p_stockout


def test_a_forecast_keeps_its_quantiles_and_goes_on_beyond_them() -> None:
    """What the forecast says is kept; below its 1 % quantile there is less than one in a hundred, and never nothing at once."""
    forecast = forecast_of(20.0, 0)
    curve = TimeToEmpty(forecast, 0)
    assert curve.p_empty_by(np.array(forecast.days)) == pytest.approx(QUANTILES, abs=1e-3)
    low = curve.p_empty_by(np.array([0.9, 0.95, 0.99]) * forecast.days[0])
    assert np.all(np.diff(low) > 0.0)
    assert 0.002 < low[0] < low[-1] < 0.01


def test_stated_lead_times_are_kept_with_a_tail_for_what_is_not_known_yet() -> None:
    """The stated quantiles hold; beyond them there is somewhat more than a log-normal has, and a few are lost."""
    assert LEAD.p10_p90 == LEAD_DAYS
    assert sum(LEAD.weights) == pytest.approx(1.0)
    assert LEAD.p_later_than(5.0) == pytest.approx(0.1, abs=0.01)
    beyond = math.sqrt(10.0) * math.exp(3.0 * math.log(2.5) / (2 * Z_EXACT[0.90]))
    assert 0.0014 < LEAD.p_later_than(beyond) < 0.01
    assert 0.0 < LEAD.p_lost < 0.01
    assert LEAD.p_lost_after(2.0) < LEAD.p_lost_after(8.0) < 1.0
    assert max(LEAD.days) > lost_after_days(LEAD_DAYS)


def test_learned_lead_times_move_from_the_stated_towards_the_seen() -> None:
    """As many deliveries as the prior weighs bring them half the way, and two hundred all of it."""
    lesson = LeadTimeSample(supplier="acme", day=0)
    assert learned_lead_time(LEAD_DAYS, None) == learned_lead_time(LEAD_DAYS, lesson) == LEAD
    for _ in range(round(PRIOR_WEIGHT)):
        lesson = add_delivery(lesson, 0, 8 * DAY_MS)
    low, high = learned_lead_time(LEAD_DAYS, lesson).p10_p90
    assert math.sqrt(10.0) < math.sqrt(low * high) < 8.0
    for _ in range(200):
        lesson = add_delivery(lesson, 0, 8 * DAY_MS)
    low, high = learned_lead_time(LEAD_DAYS, lesson).p10_p90
    assert 6.0 < low < 8.0 < high < 10.0


def test_a_supplier_with_a_few_very_late_deliveries_keeps_that_tail() -> None:
    """One in twenty takes three weeks: no log-normal through the others would say so."""
    lesson = LeadTimeSample(supplier="acme", day=0)
    for number in range(100):
        lesson = add_delivery(lesson, 0, 21 * DAY_MS if number % 20 == 0 else (2 + number % 4) * DAY_MS)
    assert 0.03 < learned_lead_time(LEAD_DAYS, lesson).p_later_than(15.0) < 0.08


def test_orders_that_are_lost_or_fail_make_the_next_ones_later() -> None:
    """Their share is learned; one that comes after all is no loss."""
    lesson = LeadTimeSample(supplier="acme", day=0)
    for _ in range(18):
        lesson = add_delivery(lesson, 0, 3 * DAY_MS)
    sure = learned_lead_time(LEAD_DAYS, lesson)
    often = learned_lead_time(LEAD_DAYS, add_failure(add_loss(add_loss(lesson))))
    assert often.p_lost > 10 * sure.p_lost
    beyond = [sum(w for d, w in zip(one.days, one.weights, strict=True) if d > 8.0) for one in (sure, often)]
    assert beyond[1] > beyond[0] + 0.04
    found = add_delivery(add_loss(lesson), 0, 20 * DAY_MS, was_lost=True)
    assert found.lost == 0


def test_feedback_moves_timing_within_bounds_and_fades() -> None:
    """Twenty complaints count as three, and praise brings it back."""
    memory = ItemRecord(item="d/i")
    for _ in range(20):
        memory = apply_feedback(memory, "late")
    assert memory.shift == TIMING_SHIFT_MAX
    for _ in range(20):
        memory = apply_feedback(memory, "right")
    assert 0.0 < memory.shift < 0.1
    assert apply_feedback(memory, "early").shift < 0.0
