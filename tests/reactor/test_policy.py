"""When to act: the comparison of acting now with every wait, its distributions, and what deliveries teach."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.curve import TimeToEmpty, lead_nodes, lead_weights
from reactor.learning import PRIOR_WEIGHT, learned_lead_days, with_delivery, with_feedback, with_loss
from reactor.policy import SHIFT_MAX, Costs, p_out_before_delivery, timing
from reactor.state import ItemMemory, Lesson
from star.analyse import DAYS_MAX
from star.times import DAY_MS
from tests.reactor.homes import forecast_of

LEAD = (2.0, 5.0)
COSTS = Costs(stockout=400.0, per_day=40.0, holding=0.05)


def order_point(costs: Costs = COSTS, lead: tuple[float, float] = LEAD, **choices: float) -> float:
    """The median days to empty at which the order goes out, falling."""
    look = choices.pop("look_days", 0.25)
    for tenth in range(1200, 0, -1):
        if timing(forecast_of(tenth / 10, 0), 0, lead, costs, look_days=look, **choices).act:  # type: ignore[arg-type]
            return tenth / 10
    return 0.0


def test_dearer_running_out_orders_earlier_and_dearer_holding_later() -> None:
    """The newsvendor's critical ratio at work."""
    usual = order_point()
    assert order_point(replace(COSTS, stockout=4_000.0)) > usual
    assert order_point(replace(COSTS, holding=5.0)) < usual
    assert order_point(COSTS.shifted(2.0)) > usual > order_point(COSTS.shifted(-2.0))
    assert COSTS.shifted(99.0) == COSTS.shifted(SHIFT_MAX)


def test_a_slower_supplier_a_rarer_look_and_an_answer_to_wait_for_order_earlier() -> None:
    """Each by about the time it takes."""
    usual = order_point()
    assert order_point(lead=(6.0, 12.0)) > usual + 4.0
    assert order_point(look_days=2.0) >= usual
    assert order_point(answer_days=1.0) > usual


def test_what_does_not_fit_is_waited_for() -> None:
    """With no room for a pack an order waits until there is, unless running out is nearer."""
    full = replace(COSTS, room=100.0, quantity=500.0, unit_price=1.2)
    assert order_point(full) < order_point()
    assert timing(forecast_of(1.0, 0), 0, LEAD, full, look_days=0.25).act


def test_with_nothing_to_lose_nothing_is_hurried() -> None:
    """A tie without any risk waits, also where holding costs nothing."""
    free = replace(COSTS, holding=0.0)
    assert not timing(forecast_of(300.0, 0), 0, LEAD, free, look_days=0.25).act
    assert timing(forecast_of(6.0, 0), 0, LEAD, free, look_days=0.25).act


def test_the_costs_are_those_of_the_definition() -> None:
    """Against plain averages over a hundred thousand draws of both distributions."""
    forecast, rng = forecast_of(6.0, 0), np.random.default_rng(7)
    curve = TimeToEmpty(forecast, 0)
    levels = np.array([0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0])
    empty = np.interp(rng.random(100_000), levels, curve.knots)
    middle, spread = math.log(math.sqrt(10.0)), math.log(2.5) / (2 * 1.2815515655446004)
    arrival = np.exp(middle + spread * rng.standard_normal(100_000))
    late = arrival - empty
    drawn = (400.0 * (late > 0) + 40.0 * np.maximum(late, 0) + 0.05 * np.maximum(-late, 0)).mean()
    found = timing(forecast, 0, LEAD, COSTS, look_days=0.25)
    assert found.cost_now == pytest.approx(drawn, rel=0.05)
    assert p_out_before_delivery(forecast, LEAD) == pytest.approx((late > 0).mean(), abs=0.01)


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
    assert 0.0 <= float(curve.empty_by(np.array([at]))[0]) <= 1.0
    assert -1e-6 <= float(curve.empty_days(np.array([at]))[0]) <= at + 1e-6
    found = timing(forecast, 0, (low, low * times), COSTS, look_days=0.25)
    assert math.isfinite(found.cost_now)
    assert math.isfinite(found.cost_wait)
    assert 0.0 <= p_out_before_delivery(forecast, (low, low * times)) <= 1.0


def test_time_that_has_passed_since_the_forecast_counts() -> None:
    """Two days later the same forecast has two days less."""
    forecast = forecast_of(9.0, 0)
    then = timing(forecast, 2 * DAY_MS, LEAD, COSTS, look_days=0.25)
    assert then.p_out > timing(forecast, 0, LEAD, COSTS, look_days=0.25).p_out


def test_lead_times_are_log_normal_through_their_quantiles() -> None:
    """The nodes have the mean of the distribution."""
    middle, spread = math.log(math.sqrt(10.0)), math.log(2.5) / (2 * 1.2815515655446004)
    assert float(lead_nodes(LEAD) @ lead_weights()) == pytest.approx(math.exp(middle + spread**2 / 2), rel=1e-6)


def test_learned_lead_times_move_from_the_stated_towards_the_seen() -> None:
    """As many deliveries as the prior weighs bring them half the way; losses count as long waits."""
    lesson = Lesson(supplier="acme", day=0)
    assert learned_lead_days(LEAD, None) == learned_lead_days(LEAD, lesson) == LEAD
    for _ in range(round(PRIOR_WEIGHT)):
        lesson = with_delivery(lesson, 0, 8 * DAY_MS)
    low, high = learned_lead_days(LEAD, lesson)
    assert math.sqrt(low * high) == pytest.approx(math.sqrt(math.sqrt(10.0) * 8.0), rel=1e-6)
    for _ in range(200):
        lesson = with_delivery(lesson, 0, 8 * DAY_MS)
    low, high = learned_lead_days(LEAD, lesson)
    assert 6.0 < low < 8.0 < high < 10.0
    assert with_loss(Lesson(supplier="acme", day=0), 0, 10 * DAY_MS).lost == 1


def test_feedback_moves_timing_within_bounds_and_fades() -> None:
    """Twenty complaints count as three, and praise brings it back."""
    memory = ItemMemory(item="d/i")
    for _ in range(20):
        memory = with_feedback(memory, "late")
    assert memory.shift == SHIFT_MAX
    for _ in range(20):
        memory = with_feedback(memory, "right")
    assert 0.0 < memory.shift < 0.1
    assert with_feedback(memory, "early").shift < 0.0
