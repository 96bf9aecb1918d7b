"""The kind `producer`: the maker of the connected device or its consumable, ordered from directly."""

from __future__ import annotations

from reactor.suppliers.base import ListPriceStrategy


class Producer(ListPriceStrategy):
    """Ordered from at list prices."""
