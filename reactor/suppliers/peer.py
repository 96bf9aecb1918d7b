"""The kind `peer`: a neighbour who gives away a surplus."""

from __future__ import annotations

from reactor.suppliers.base import ListPriceStrategy


class Peer(ListPriceStrategy):
    """Ordered from at list prices, as no surplus is offered yet."""
