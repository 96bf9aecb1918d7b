"""Price model of a supplier: price changes at a constant rate, each to a price drawn from those observed.

The rate is the observed one, whatever the price is; the listed price is among those drawn from. So an unusual price is expected to
revert in the time that changes take, and a supplier whose price never changed is expected to keep it. What follows for the moment
of an order is reorder_policy.py's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reactor.state import SupplierRecord
from star.times import DAY_MS

Floats = NDArray[np.float64]

LISTED_WEIGHT = 2.0
"""The listed price counts like so many prices seen."""
SPREAD_WEIGHT = 3.0
SPREAD_SHARE = 0.1
"""Before any was seen prices are taken to deviate by this share; it counts like SPREAD_WEIGHT prices."""
MOVES_HALF_BELIEVED = 3.0
"""After so many moves half of what they promise is believed."""
OBSERVED_DAYS_MIN = 30.0
"""How often prices move is reckoned over at least so long."""
BLOCKED_DAYS_MAX = 30.0
"""A price above what the customer allows is reckoned to stay so at most so long: people change their mind, or buy elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceForecast:
    """Of one pack. gap: the expected price after a move, less the price now; moves_per_day; over: the probability that a price
    drawn after a move is more than the customer allows; fine: whether the price now is not."""

    expected_change: float = 0.0
    moves_per_day: float = 0.0
    p_over_limit_after_move: float = 0.0
    within_limit: bool = True

    def p_moved(self, days: Floats) -> Floats:
        """The probability of a move within `days`."""
        gone: Floats = -np.expm1(-self.moves_per_day * days)
        return gone

    def p_over_limit(self, days: Floats) -> Floats:
        """The probability that the price is too high for the customer after `days`."""
        moved = self.p_moved(days)
        refused: Floats = (
            moved * self.p_over_limit_after_move
            if self.within_limit
            else 1.0 - moved * (1.0 - self.p_over_limit_after_move)
        )
        return refused


def record_price(record: SupplierRecord, price: float, at_ms: int) -> SupplierRecord:
    """After a supplier said its price of a pack. The same price again is no move."""
    if price == record.price:
        return record
    first_ms = at_ms if record.price_first_ms is None else record.price_first_ms
    return replace(
        record,
        price=price,
        price_first_ms=first_ms,
        price_moves=record.price_moves + 1,
        price_sum=record.price_sum + price,
        price_squares=record.price_squares + price * price,
    )


def forecast_price(
    listed: float, price: float, record: SupplierRecord | None, at_ms: int, price_max: float | None
) -> PriceForecast:
    """What a pack will cost, `now` being its price and `listed` what the fleet file says. price_max: the customer's."""
    fine = price_max is None or price <= price_max + 1e-9
    if record is None or record.price_first_ms is None or listed <= 0.0:
        return PriceForecast(within_limit=fine)
    moves = record.price_moves
    mean = (LISTED_WEIGHT * listed + record.price_sum) / (LISTED_WEIGHT + moves)
    squares = LISTED_WEIGHT * listed**2 + record.price_squares - (LISTED_WEIGHT + moves) * mean**2
    variance = (max(squares, 0.0) + SPREAD_WEIGHT * (SPREAD_SHARE * listed) ** 2) / (SPREAD_WEIGHT + moves)
    watched_days = max((at_ms - record.price_first_ms) / DAY_MS, 0.0) + OBSERVED_DAYS_MIN
    over = 0.0 if price_max is None else 0.5 * math.erfc((price_max - mean) / math.sqrt(2.0 * variance))
    sure = moves / (moves + MOVES_HALF_BELIEVED)
    return PriceForecast(
        expected_change=sure * (mean - price),
        moves_per_day=moves / watched_days,
        p_over_limit_after_move=over,
        within_limit=fine,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRisk:
    """What waiting does to the price of an order, and to whether it may be made at all. ahead: of the order's own supplier;
    sellers: of all whom the customer accepts; packs: of the order; stockout, per_day: money, of running out."""

    price_forecast: PriceForecast
    supplier_forecasts: tuple[PriceForecast, ...]
    packs: float
    stockout_cost: float
    stockout_cost_per_day: float

    def cost(self, days: Floats) -> Floats:
        """The expected cost of ordering after `days` beside that of ordering now."""
        found: Floats = self.price_forecast.expected_change * self.price_forecast.p_moved(
            days
        ) * self.packs + self.refusal_cost(days)
        return found

    def refusal_cost(self, days: Floats) -> Floats:
        """What it costs that after `days` all prices may be too high for the customer."""
        share = np.ones_like(days)
        for one in self.supplier_forecasts:
            share = share * one.p_over_limit(days)
        slowest = max(one.moves_per_day for one in self.supplier_forecasts)
        lasts_days = min(1.0 / slowest, BLOCKED_DAYS_MAX) if slowest > 0.0 else BLOCKED_DAYS_MAX
        cost: Floats = share * (self.stockout_cost + self.stockout_cost_per_day * lasts_days)
        return cost
