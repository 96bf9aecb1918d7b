"""The kind `crowd`: many providers, of whom the first to accept an open call delivers."""

from __future__ import annotations

from reactor.suppliers.base import ListPriceStrategy


class Crowd(ListPriceStrategy):
    """Ordered from at list prices, as there are no open calls yet."""
