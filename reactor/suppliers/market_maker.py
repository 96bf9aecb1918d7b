"""The kind `market-maker`: suppliers that compete for an order with quotes."""

from __future__ import annotations

from reactor.suppliers.base import ListPriceStrategy


class MarketMaker(ListPriceStrategy):
    """Ordered from at list prices, as there are no rounds of quotes yet."""
