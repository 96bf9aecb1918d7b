"""A producer delivers what the device takes: one pack, at one price."""

from __future__ import annotations

from config.fleet import Supplier
from reactor.suppliers.quote import Quote, Terms, Want


def quotes(supplier: Supplier, terms: Terms, want: Want) -> tuple[Quote, ...]:
    """One pack at the price in force, under its own sku where the producer names one of that quantity."""
    sku = next((product.sku for product in supplier.products if product.quantity == want.pack), None)
    return (
        Quote(
            supplier=supplier.id,
            sku=sku,
            quantity=want.pack,
            price=terms.price,
            lead_time_days=terms.lead_time_days,
        ),
    )
