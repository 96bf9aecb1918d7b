"""Which order: several packs, another supplier, an unusual price - by what a pack costs in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reactor.decision.price_model import PriceRisk, forecast_price, record_price
from reactor.state import SupplierRecord
from star.react import Reaction
from star.times import DAY_MS
from tests.support.household import ACME, START_MS, Household, catalogue_of, household_of

THREE: dict[str, Any] = {"sku": "oil-1500", "quantity": 1500.0, "price": 1500.0}
SWIFT: dict[str, Any] = {"id": "swift", "lead_time_days": [0.5, 1.0], "price": 640.0}
FAR: dict[str, Any] = {"id": "far", "lead_time_days": [12.0, 20.0], "price": 540.0}


def falling(home: Household, first: float = 40.0) -> Reaction:
    """The first order of an item that falls by half a day's use at each look; a pack lasts a month."""
    for half in range(round(2 * first), 0, -1):
        days = half / 2
        reactions = home.passes(days=0.5).sees(days, level=days * 500.0 / 30.0).tick()
        if reactions:
            return reactions[0]
    raise AssertionError("nothing was ordered")


def days_left(order: Reaction) -> float:
    """The median days to empty at which it was ordered."""
    assert order.forecast is not None
    return order.forecast.days[4]


def of(
    slot: dict[str, Any] | None = None, suppliers: tuple[dict[str, Any], ...] = (ACME,), **choices: Any
) -> Household:
    """A home where packs wait unopened, with these suppliers."""
    names = [supplier["id"] for supplier in suppliers]
    own = {"spare_packs": True, "price_max": 700.0, "suppliers": names, **(slot or {})}
    return household_of(catalogue_of(choices, own, suppliers))


def test_three_packs_are_ordered_where_they_cost_less_than_the_cupboard() -> None:
    """Not where holding is dear, nor over the budget; and what another thing's packs cost is no price of this one's."""
    sells = {**ACME, "products": [THREE]}
    order = falling(of(suppliers=(sells,)))
    assert (order.quantity, order.sku, order.price) == (1500.0, "oil-1500", 1500.0)
    assert falling(of({"holding_cost_per_day": 5.0}, (sells,))).quantity == 500.0
    assert falling(of(suppliers=(sells,), budget_per_month=1000.0)).quantity == 500.0
    other = {**ACME, "products": [{**THREE, "price": 60.0}]}
    assert falling(of({"holding_cost_per_day": 1.0}, (other,))).quantity == 500.0


def test_three_packs_are_not_ordered_where_they_do_not_fit() -> None:
    """What does not fit is lost."""
    sells = {**ACME, "products": [{**THREE, "price": 1700.0}]}
    assert falling(of({"spare_packs": False, "capacity": 900.0}, (sells,))).quantity == 500.0


def test_packs_that_last_shorter_than_a_delivery_takes_are_ordered_together() -> None:
    """As only one order can be under way: with a pack for a month one is enough, with a pack for four days it is not."""
    slow = {**ACME, "lead_time_days": [5.0, 9.0]}
    dear = {"order_cost": 0.0, "holding_cost_per_day": 1.0}
    assert falling(of(dear, (slow,))).quantity == 500.0
    home = of(dear, (slow,))
    many = home.sees(9.0, level=9.0 * 500.0 / 4.0).tick()[0]
    assert many.quantity is not None
    assert many.quantity >= 1000.0


def test_the_slow_cheap_supplier_is_ordered_from_in_time_and_the_fast_one_when_it_is_late() -> None:
    """Each is weighed at its own best moment."""
    order = falling(of(suppliers=(SWIFT, FAR)), first=60.0)
    assert order.supplier == "far"
    assert days_left(order) > 20.0
    assert of(suppliers=(SWIFT, FAR)).sees(2.0).tick()[0].supplier == "swift"


def with_prices(home: Household, prices: list[float]) -> Household:
    """Prices that are said a month apart; the last one is today's."""
    for price in prices:
        home.passes(days=30).terms(price=price).tick()
    return home


def test_an_unusual_price_moves_an_order_a_little_and_never_over_a_run_out() -> None:
    """A high one is waited out for as long as that is safe, at a low one the order goes out before it must."""
    dear = {"holding_cost_per_day": 0.5}
    usual = [600.0, 620.0, 600.0, 620.0, 600.0, 620.0, 600.0]
    plain = days_left(falling(with_prices(of(dear), [*usual, 610.0])))
    low = days_left(falling(with_prices(of(dear), [*usual, 500.0])))
    high = days_left(falling(with_prices(of(dear), [*usual, 690.0])))
    assert low > plain > high > 4.0


def test_a_price_that_often_goes_too_high_is_reason_to_order_while_it_is_not() -> None:
    """What the customer does not allow can't be bought: the risk of it counts like running out."""
    dear = {"holding_cost_per_day": 3.0}
    prices = [600.0, 760.0, 600.0, 760.0, 600.0, 760.0, 600.0]
    risky = days_left(falling(with_prices(of({**dear, "price_max": 700.0}), prices), first=60.0))
    free = days_left(falling(with_prices(of({**dear, "price_max": None}), prices), first=60.0))
    assert risky > free


def test_what_is_expected_of_a_price_rests_on_what_was_seen() -> None:
    """Nothing seen: it stays. Moves seen: it comes back among them in their time, and the same price again is no move."""
    memory = SupplierRecord(supplier="acme")
    assert forecast_price(600.0, 600.0, memory, START_MS, None).moves_per_day == 0.0
    for month, price in enumerate((620.0, 620.0, 580.0, 600.0, 500.0)):
        memory = record_price(memory, price, START_MS + month * 30 * DAY_MS)
    assert memory.price_moves == 4
    ahead = forecast_price(600.0, 500.0, memory, START_MS + 120 * DAY_MS, 700.0)
    assert 0.01 < ahead.moves_per_day < 0.04
    assert 0.0 < ahead.expected_change < 100.0
    assert ahead.p_over_limit_after_move < 0.05
    outlook = PriceRisk(
        price_forecast=ahead, supplier_forecasts=(ahead,), packs=2.0, stockout_cost=0.0, stockout_cost_per_day=0.0
    )
    cost = outlook.cost(np.array([0.0, 10.0, 1000.0]))
    assert cost[0] == 0.0 < cost[1] < cost[2] == pytest.approx(2.0 * ahead.expected_change, rel=1e-3)
