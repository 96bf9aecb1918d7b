"""What suppliers do, drawn before anyone orders: lead times and fates by an item's first order, second order, and so on.

So two policies that order at different moments meet the same draws: common random numbers.
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
"""Orders of an item with draws of their own; later ones begin again at the first."""


class OrderFate(IntEnum):
    """What becomes of an order."""

    ARRIVES = 0
    FAILS = 1  # the supplier says so when it should have come
    LOST = 2


class StreamSource(Protocol):
    """Random streams by name (lives.Chance)."""

    def draw(self, stream: str, make: Callable[[np.random.Generator], NDArray[Any]]) -> NDArray[Any]:
        """What `make` draws for each seed along the first axis."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyDraws:
    """By item and ordinal of its order. lead_days: (n, sellers, ORDERS_MAX); fate; share: of the quantity that comes;
    said: of the quantity that is said to have come; told: whether anything is said; each (n, ORDERS_MAX)."""

    lead_days: Float64
    fate: Int64
    delivered_share: Float64
    declared_quantity_share: Float64
    declared: Bools


@dataclass(frozen=True, slots=True)
class OrderOption:
    """Something that can be ordered: which seller's, how many packs, at which share of the price of as many packs."""

    supplier: int
    packs: int
    price_share: float


def order_options(supply: SupplySpec) -> tuple[OrderOption, ...]:
    """Everything that can be ordered, a seller's single pack first."""
    found = []
    for number, seller in enumerate(supply.suppliers):
        found.append(OrderOption(number, 1, 1.0))
        found.extend(OrderOption(number, packs, share) for packs, share in seller.quantity_breaks)
    return tuple(found)


def draw_supplies(supply: SupplySpec, chance: StreamSource, items: int) -> SupplyDraws:
    """Draws what becomes of the orders of `items` items a seed."""
    shape = (items, ORDERS_MAX)
    normal = chance.draw("lead", lambda rng: rng.standard_normal(shape))
    tail = chance.draw("tail", lambda rng: rng.random(shape))
    lead = np.stack([_lead_days(seller, normal, tail) for seller in supply.suppliers], axis=1)
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


def _lead_days(seller: SupplierSpec, normal: Float64, tail: Float64) -> Float64:
    low, high = np.log(seller.true_lead_days or seller.stated_lead_days)
    days = np.exp((low + high) / 2.0 + (high - low) / (2.0 * Z_90) * normal)
    return np.asarray(np.where(tail < seller.tail_share, seller.tail_factor, 1.0) * days)


def draw_prices(supply: SupplySpec, chance: StreamSource, days: int) -> Float64:
    """(seeds, sellers, days) price of a pack: moves by steps around the list price where the family says so."""
    count = len(supply.suppliers)
    listed = np.array([seller.price for seller in supply.suppliers])
    moves = chance.draw("price-steps", lambda rng: rng.random((1, count, days)) < supply.price_steps_per_year / 365.0)
    swing = chance.draw("price-swing", lambda rng: rng.uniform(-1.0, 1.0, (1, count, days)) * supply.price_swing)
    moves[:, :, 0] = False
    since = np.maximum.accumulate(np.where(moves, np.arange(days), 0), axis=2)
    factor = 1.0 + np.where(since > 0, np.take_along_axis(swing, since, axis=2), 0.0)
    return np.asarray(np.round(listed[None, :, None] * factor, 2))
