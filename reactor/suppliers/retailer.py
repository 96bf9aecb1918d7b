"""The kind `retailer`: a shop that sells products of several makers, ordered from directly."""

from __future__ import annotations

from reactor.suppliers.base import ListPriceStrategy


class Retailer(ListPriceStrategy):
    """Ordered from at list prices."""
