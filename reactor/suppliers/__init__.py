"""Who delivers, by how they answer: what each kind of supplier can be asked for, and which of it suits the item.

Pure functions of the fleet's tables and the terms in force; sending is reactor/sender.py's, deciding whether to is the
engine's. One file a kind; `quotes` is the door to all of them.
"""

from __future__ import annotations

from config.fleet import Supplier, SupplierKind
from reactor.suppliers import producer, retailer
from reactor.suppliers.quote import Quote, Terms, Want

__all__ = ["Quote", "Terms", "Want", "quotes"]


def quotes(supplier: Supplier, terms: Terms, want: Want) -> tuple[Quote, ...]:
    """What the supplier can deliver of what is wanted, in the order of its table; never empty.

    A market maker, a crowd or a peer that publishes its products is asked like a retailer.
    """
    if supplier.kind is SupplierKind.PRODUCER or not supplier.products:
        return producer.quotes(supplier, terms, want)
    return retailer.quotes(supplier, terms)
