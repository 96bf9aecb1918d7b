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

from reactor.lead_time import NORMAL_90
from starloop.evaluate.families import Seller, Supply

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
Int64 = NDArray[np.int64]

ORDERS_MAX = 256
"""Orders of an item with draws of their own; later ones begin again at the first."""


class Fate(IntEnum):
    """What becomes of an order."""

    COMES = 0
    FAILS = 1  # the supplier says so when it should have come
    VANISHES = 2


class Streams(Protocol):
    """Random streams by name (lives.Chance)."""

    def draw(self, stream: str, make: Callable[[np.random.Generator], NDArray[Any]]) -> NDArray[Any]:
        """What `make` draws for each seed along the first axis."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """By item and ordinal of its order. lead_days: (n, sellers, ORDERS_MAX); fate; share: of the quantity that comes;
    said: of the quantity that is said to have come; told: whether anything is said; each (n, ORDERS_MAX)."""

    lead_days: Float64
    fate: Int64
    share: Float64
    said: Float64
    told: Bools


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that can be ordered: which seller's, how many packs, at which share of the price of as many packs."""

    seller: int
    packs: int
    of_price: float


def choices(supply: Supply) -> tuple[Choice, ...]:
    """Everything that can be ordered, a seller's single pack first."""
    found = []
    for number, seller in enumerate(supply.sellers):
        found.append(Choice(number, 1, 1.0))
        found.extend(Choice(number, packs, share) for packs, share in seller.breaks)
    return tuple(found)


def draw_supplies(supply: Supply, chance: Streams, items: int) -> Draws:
    """Draws what becomes of the orders of `items` items a seed."""
    shape = (items, ORDERS_MAX)
    normal = chance.draw("lead", lambda rng: rng.standard_normal(shape))
    tail = chance.draw("tail", lambda rng: rng.random(shape))
    lead = np.stack([_lead_days(seller, normal, tail) for seller in supply.sellers], axis=1)
    fate = chance.draw("fate", lambda rng: rng.random(shape))
    lost = np.where(fate < supply.lost / 2.0, Fate.VANISHES, np.where(fate < supply.lost, Fate.FAILS, Fate.COMES))
    kind = chance.draw("kind", lambda rng: rng.random(shape))
    part = chance.draw("part", lambda rng: rng.uniform(0.4, 0.9, shape))
    other = chance.draw("other", lambda rng: rng.choice([0.5, 0.75, 1.25], shape))
    partial = kind < supply.partial
    wrong = ~partial & (kind < supply.partial + supply.wrong)
    share = np.where(partial, part, np.where(wrong, other, 1.0))
    return Draws(
        lead_days=lead,
        fate=lost.astype(np.int64),
        share=share,
        said=np.where(wrong, 1.0, share),
        told=chance.draw("told", lambda rng: rng.random(shape) < supply.told),
    )


def _lead_days(seller: Seller, normal: Float64, tail: Float64) -> Float64:
    low, high = np.log(seller.truly or seller.stated)
    days = np.exp((low + high) / 2.0 + (high - low) / (2.0 * NORMAL_90) * normal)
    return np.asarray(np.where(tail < seller.tail, seller.tail_times, 1.0) * days)


def draw_prices(supply: Supply, chance: Streams, days: int) -> Float64:
    """(seeds, sellers, days) price of a pack: moves by steps around the list price where the family says so."""
    count = len(supply.sellers)
    listed = np.array([seller.price for seller in supply.sellers])
    moves = chance.draw("price-steps", lambda rng: rng.random((1, count, days)) < supply.price_steps_per_year / 365.0)
    swing = chance.draw("price-swing", lambda rng: rng.uniform(-1.0, 1.0, (1, count, days)) * supply.price_swing)
    moves[:, :, 0] = False
    since = np.maximum.accumulate(np.where(moves, np.arange(days), 0), axis=2)
    factor = 1.0 + np.where(since > 0, np.take_along_axis(swing, since, axis=2), 0.0)
    return np.asarray(np.round(listed[None, :, None] * factor, 2))
