"""A retailer has several products: which of them suits is worked out from quantity, price, use and room."""

from __future__ import annotations

from collections.abc import Sequence

from config.fleet import Supplier
from reactor.suppliers.quote import Quote, Terms, Want


def quotes(supplier: Supplier, terms: Terms) -> tuple[Quote, ...]:
    """Every product of the table, at the price in the table: the terms in force price packs, not products."""
    return tuple(
        Quote(
            supplier=supplier.id,
            sku=product.sku,
            quantity=product.quantity,
            price=product.price,
            lead_time_days=terms.lead_time_days,
        )
        for product in supplier.products
    )


def choose_product(offered: Sequence[Quote], want: Want) -> Quote | None:
    """The quote that costs least in the long run, of those within `price_max`; None where none is.

    Of equals the smaller, then the one named first: the choice does not depend on rounding of the last digit.
    """
    within = [quote for quote in offered if want.price_max is None or quote.pack_price(want.pack) <= want.price_max]
    return min(within, key=lambda quote: (round(cost_per_day(quote, want), 9), quote.quantity), default=None)


def cost_per_day(quote: Quote, want: Want) -> float:
    """What it costs a day (money) to live on this product: buying it, ordering it, and keeping half of it on average.

    What does not fit is lost, so it is paid and not used. This is the economic order quantity's sum.
    """
    useful = min(quote.quantity, max(want.room, 0.0))
    if useful <= 0.0:
        return float("inf")
    buying = want.rate_per_day * (quote.price + want.order_cost) / useful
    keeping = want.holding_cost_per_day * useful / (2.0 * want.pack)
    return buying + keeping
