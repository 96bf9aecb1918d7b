"""What is wanted, on what terms, and what can be had: the words in which suppliers and experiences speak."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A supplier's terms now in force: price of one pack (money), lead time (10 % and 90 % quantiles, days)."""

    price: float
    lead_time_days: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What a need asks for. Quantities in the slot's unit, money as in the fleet file.

    room: what fits when it arrives; ask infinity where spare packs are kept. rate_per_day: the median use, above 0.
    """

    pack: float
    room: float
    rate_per_day: float
    order_cost: float
    holding_cost_per_day: float
    price_max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Something that can be had: price is of the whole quantity; sku None: the pack, nothing to choose."""

    supplier: str
    sku: str | None
    quantity: float
    price: float
    lead_time_days: tuple[float, float]

    def pack_price(self, pack: float) -> float:
        """The price of one pack at this quote's price of a unit: what `price_max` speaks of."""
        return self.price * pack / self.quantity
