"""What a supplier's price will probably be: it moves now and then, and a move brings it back among the prices that were seen.

A simple model and an honest one: moves come at the rate that was seen, whatever the price is, and each brings a price drawn from
those seen, the listed one among them. So an unusual price is expected to come back in the time that moves take, never more, and
a supplier whose price never moved is expected to keep it. What follows for the moment of an order is weighed in policy.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reactor.state import SupplierMemory
from star.times import DAY_MS

Floats = NDArray[np.float64]

LISTED_WEIGHT = 2.0
"""The listed price counts like so many prices seen."""
SPREAD_WEIGHT = 3.0
SPREAD_SHARE = 0.1
"""Before any was seen prices are taken to deviate by this share; it counts like SPREAD_WEIGHT prices."""
SURE_MOVES = 3.0
"""After so many moves half of what they promise is believed."""
WATCHED_LEAST_DAYS = 30.0
"""How often prices move is reckoned over at least so long."""
BLOCKED_DAYS_MAX = 30.0
"""A price above what the customer allows is reckoned to stay so at most so long: people change their mind, or buy elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceAhead:
    """Of one pack. gap: the expected price after a move, less the price now; moves_per_day; over: the probability that a price
    drawn after a move is more than the customer allows; fine: whether the price now is not."""

    gap: float = 0.0
    moves_per_day: float = 0.0
    over: float = 0.0
    fine: bool = True

    def moved(self, days: Floats) -> Floats:
        """The probability of a move within `days`."""
        gone: Floats = -np.expm1(-self.moves_per_day * days)
        return gone

    def refused(self, days: Floats) -> Floats:
        """The probability that the price is too high for the customer after `days`."""
        moved = self.moved(days)
        refused: Floats = moved * self.over if self.fine else 1.0 - moved * (1.0 - self.over)
        return refused


def with_price(memory: SupplierMemory, price: float, at_ms: int) -> SupplierMemory:
    """After a supplier said its price of a pack. The same price again is no move."""
    if price == memory.price:
        return memory
    first_ms = at_ms if memory.price_first_ms is None else memory.price_first_ms
    return replace(
        memory,
        price=price,
        price_first_ms=first_ms,
        price_moves=memory.price_moves + 1,
        price_sum=memory.price_sum + price,
        price_squares=memory.price_squares + price * price,
    )


def price_ahead(
    listed: float, now: float, memory: SupplierMemory | None, at_ms: int, price_max: float | None
) -> PriceAhead:
    """What a pack will cost, `now` being its price and `listed` what the fleet file says. price_max: the customer's."""
    fine = price_max is None or now <= price_max + 1e-9
    if memory is None or memory.price_first_ms is None or listed <= 0.0:
        return PriceAhead(fine=fine)
    moves = memory.price_moves
    mean = (LISTED_WEIGHT * listed + memory.price_sum) / (LISTED_WEIGHT + moves)
    squares = LISTED_WEIGHT * listed**2 + memory.price_squares - (LISTED_WEIGHT + moves) * mean**2
    variance = (max(squares, 0.0) + SPREAD_WEIGHT * (SPREAD_SHARE * listed) ** 2) / (SPREAD_WEIGHT + moves)
    watched_days = max((at_ms - memory.price_first_ms) / DAY_MS, 0.0) + WATCHED_LEAST_DAYS
    over = 0.0 if price_max is None else 0.5 * math.erfc((price_max - mean) / math.sqrt(2.0 * variance))
    sure = moves / (moves + SURE_MOVES)
    return PriceAhead(gap=sure * (mean - now), moves_per_day=moves / watched_days, over=over, fine=fine)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOutlook:
    """What waiting does to the price of an order, and to whether it may be made at all. ahead: of the order's own supplier;
    sellers: of all whom the customer accepts; packs: of the order; stockout, per_day: money, of running out."""

    ahead: PriceAhead
    sellers: tuple[PriceAhead, ...]
    packs: float
    stockout: float
    per_day: float

    def cost(self, days: Floats) -> Floats:
        """The expected cost of ordering after `days` beside that of ordering now."""
        found: Floats = self.ahead.gap * self.ahead.moved(days) * self.packs + self.refused(days)
        return found

    def refused(self, days: Floats) -> Floats:
        """What it costs that after `days` all prices may be too high for the customer."""
        share = np.ones_like(days)
        for one in self.sellers:
            share = share * one.refused(days)
        slowest = max(one.moves_per_day for one in self.sellers)
        lasts_days = min(1.0 / slowest, BLOCKED_DAYS_MAX) if slowest > 0.0 else BLOCKED_DAYS_MAX
        cost: Floats = share * (self.stockout + self.per_day * lasts_days)
        return cost
