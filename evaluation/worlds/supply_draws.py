"""Supply, drawn before any order: lead times, quantities and fates of an item's first order, second order, and so on, and prices.

Policies that order at different times meet the same draws: common random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.worlds.scenario_families import SupplierSpec, SupplySpec
from reactor.decision.lead_time import Z_90

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
Int64 = NDArray[np.int64]

ORDERS_MAX = 256
"""Orders of an item with draws of their own; later orders reuse them from the first on."""


class OrderFate(IntEnum):
    """The fate of an order."""

    ARRIVES = 0
    FAILS = 1  # the supplier reports it at the time of the delivery
    LOST = 2


class StreamSource(Protocol):
    """Random streams by name (scenarios.RandomStreams)."""

    def draw(self, stream: str, make: Callable[[np.random.Generator], NDArray[Any]]) -> NDArray[Any]:
        """The arrays that `make` draws for each seed, concatenated along the first axis."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyDraws:
    """The draws by item and ordinal of its order.

    lead_days: (n, suppliers, ORDERS_MAX) true lead times. The rest is (n, ORDERS_MAX): fate; delivered_share: of the quantity ordered;
    declared_quantity_share: as the supplier reports it; declared: whether the delivery is reported.
    """

    lead_days: Float64
    fate: Int64
    delivered_share: Float64
    declared_quantity_share: Float64
    declared: Bools


@dataclass(frozen=True, slots=True)
class OrderOption:
    """An order option. supplier: its number; price_share: price as a share of that of as many single packs."""

    supplier: int
    packs: int
    price_share: float


def order_options(supply: SupplySpec) -> tuple[OrderOption, ...]:
    """All options, each supplier's single pack before its quantity breaks."""
    options = []
    for number, supplier in enumerate(supply.suppliers):
        options.append(OrderOption(number, 1, 1.0))
        options.extend(OrderOption(number, packs, share) for packs, share in supplier.quantity_breaks)
    return tuple(options)


def draw_supplies(supply: SupplySpec, chance: StreamSource, items: int) -> SupplyDraws:
    """Draws the supply of `items` items for each seed."""
    shape = (items, ORDERS_MAX)
    normal = chance.draw("lead", lambda rng: rng.standard_normal(shape))
    tail = chance.draw("tail", lambda rng: rng.random(shape))
    lead = np.stack([_lead_days(supplier, normal, tail) for supplier in supply.suppliers], axis=1)
    fate = chance.draw("fate", lambda rng: rng.random(shape))
    lost = np.where(
        fate < supply.lost_share / 2.0,
        OrderFate.LOST,
        np.where(fate < supply.lost_share, OrderFate.FAILS, OrderFate.ARRIVES),
    )
    kind = chance.draw("kind", lambda rng: rng.random(shape))
    part = chance.draw("part", lambda rng: rng.uniform(0.4, 0.9, shape))
    other = chance.draw("other", lambda rng: rng.choice([0.5, 0.75, 1.25], shape))
    partial = kind < supply.partial_share
    wrong = ~partial & (kind < supply.partial_share + supply.wrong_share)
    share = np.where(partial, part, np.where(wrong, other, 1.0))
    return SupplyDraws(
        lead_days=lead,
        fate=lost.astype(np.int64),
        delivered_share=share,
        declared_quantity_share=np.where(wrong, 1.0, share),
        declared=chance.draw("told", lambda rng: rng.random(shape) < supply.declared_share),
    )


def _lead_days(supplier: SupplierSpec, normal: Float64, tail: Float64) -> Float64:
    low, high = np.log(supplier.true_lead_days or supplier.stated_lead_days)
    days = np.exp((low + high) / 2.0 + (high - low) / (2.0 * Z_90) * normal)
    return np.asarray(np.where(tail < supplier.tail_share, supplier.tail_factor, 1.0) * days)


def draw_prices(supply: SupplySpec, chance: StreamSource, days: int) -> Float64:
    """(seeds, suppliers, days) price of a pack: constant, or stepping around the list price where the family has price changes."""
    count = len(supply.suppliers)
    listed = np.array([supplier.price for supplier in supply.suppliers])
    moves = chance.draw("price-steps", lambda rng: rng.random((1, count, days)) < supply.price_steps_per_year / 365.0)
    swing = chance.draw("price-swing", lambda rng: rng.uniform(-1.0, 1.0, (1, count, days)) * supply.price_swing)
    moves[:, :, 0] = False
    since = np.maximum.accumulate(np.where(moves, np.arange(days), 0), axis=2)
    factor = 1.0 + np.where(since > 0, np.take_along_axis(swing, since, axis=2), 0.0)
    return np.asarray(np.round(listed[None, :, None] * factor, 2))
