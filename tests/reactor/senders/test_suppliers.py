"""What suppliers can be asked for, and which of it suits a customer."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config.fleet import Product, Supplier, SupplierKind
from reactor.suppliers import Quote, Terms, Want, quotes
from reactor.suppliers.curated import OPTIONS_MAX, curate
from reactor.suppliers.retailer import choose_product, cost_per_day

TERMS = Terms(price=9.0, lead_time_days=(1.0, 3.0))
SMALL, MIDDLE, LARGE = (
    Product(sku=sku, quantity=quantity, price=price)
    for sku, quantity, price in (("s", 250.0, 6.0), ("m", 500.0, 9.0), ("l", 2000.0, 30.0))
)


def want_of(**changes: Any) -> Want:
    """Coffee by the gram: a pack is 500, 20 a day."""
    fields = {"pack": 500.0, "room": math.inf, "rate_per_day": 20.0, "order_cost": 0.25, "holding_cost_per_day": 0.01}
    return Want(**{**fields, **changes})


def shop(kind: SupplierKind = SupplierKind.RETAILER, *products: Product) -> Supplier:
    """A supplier of this kind."""
    return Supplier(id="shop", kind=kind, products=products, price=10.0)


def test_a_producer_delivers_one_pack_at_the_price_in_force() -> None:
    """The fleet file's price has been replaced by the terms; the sku is that of the pack, if it has one."""
    assert quotes(shop(SupplierKind.PRODUCER), TERMS, want_of()) == (
        Quote(supplier="shop", sku=None, quantity=500.0, price=9.0, lead_time_days=(1.0, 3.0)),
    )
    assert quotes(shop(SupplierKind.PRODUCER, SMALL, MIDDLE), TERMS, want_of())[0].sku == "m"


def test_a_retailer_offers_what_is_on_its_shelf() -> None:
    """Each product at its own price; one without products sells the pack."""
    found = quotes(shop(SupplierKind.RETAILER, SMALL, LARGE), TERMS, want_of())
    assert [(quote.sku, quote.price) for quote in found] == [("s", 6.0), ("l", 30.0)]
    assert [quote.quantity for quote in quotes(shop(), TERMS, want_of())] == [500.0]


def chosen(**changes: Any) -> str | None:
    """The sku chosen of small, middle and large."""
    want = want_of(**changes)
    quote = choose_product(quotes(shop(SupplierKind.RETAILER, SMALL, MIDDLE, LARGE), TERMS, want), want)
    return None if quote is None else quote.sku


def test_a_heavy_user_gets_the_large_one_and_a_light_user_a_small_one() -> None:
    """Buying in bulk pays where it is used up before keeping it costs more than it saves."""
    assert chosen(rate_per_day=100.0) == "l"
    assert chosen(rate_per_day=0.3) == "s"


def test_what_does_not_fit_is_not_bought() -> None:
    """With room for 500, the large one would be three quarters lost."""
    assert chosen(rate_per_day=100.0, room=500.0) == "m"


def test_nothing_is_chosen_above_the_price_that_the_customer_set() -> None:
    """price_max is of one pack; a cheaper unit price in a large package is within it."""
    assert chosen(price_max=8.0) == "l"
    assert chosen(price_max=5.0) is None


@given(
    st.floats(0.1, 500), st.floats(0, 3000), st.permutations([SMALL, MIDDLE, LARGE]), st.floats(0, 1), st.floats(0, 5)
)
def test_no_other_product_would_have_cost_less(
    rate: float, room: float, shelf: list[Product], keep: float, order: float
) -> None:
    """Whatever the use, the room and the order on the shelf."""
    want = want_of(rate_per_day=rate, room=room, holding_cost_per_day=keep, order_cost=order)
    offered = quotes(shop(SupplierKind.RETAILER, *shelf), TERMS, want)
    best = choose_product(offered, want)
    assert best is not None
    costs = [cost_per_day(quote, want) for quote in offered]
    assert cost_per_day(best, want) <= min(costs) + 1e-6 or math.isinf(min(costs))


def test_a_customer_chooses_among_few_that_differ_each_with_its_reason() -> None:
    """What suits, what comes soonest, what costs least today - in their language, none twice."""
    want = want_of(rate_per_day=100.0)
    near = Quote(supplier="near", sku=None, quantity=500.0, price=12.0, lead_time_days=(0.5, 1.0))
    offered = (*quotes(shop(SupplierKind.RETAILER, SMALL, MIDDLE, LARGE), TERMS, want), near)
    options = curate(offered, want, "en")
    assert [(option.supplier, option.sku, option.why) for option in options] == [
        ("shop", "l", "Costs the least for the way you use it."),
        ("near", "", "Comes soonest."),
        ("shop", "s", "Costs the least today."),
    ]
    assert len({option.why for option in curate(offered, want, "fr")} - {option.why for option in options}) == 3
    assert len(options) <= OPTIONS_MAX


def test_a_single_choice_is_called_so_and_none_is_none() -> None:
    """No reason is made up where there is nothing to compare."""
    want = want_of()
    assert [option.why for option in curate(quotes(shop(), TERMS, want), want, "en")] == ["The one that can be had."]
    assert curate((), want, "en") == ()
