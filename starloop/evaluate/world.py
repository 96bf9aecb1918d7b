"""One life of n items under one policy: use, deliveries, readings and money, hour by hour, for all items at once.

A policy hears readings and what suppliers say, and orders at ticks. What it orders arrives by the draws of the item's next
order. The world keeps the true levels and the account; amounts balance exactly (`imbalance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from starloop.evaluate.gauges import Faults, Gauges, Readings
from starloop.evaluate.lives import ORDER_COST, Lives
from starloop.evaluate.supplies import ORDERS_MAX, Choice, Fate, choices

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

TICK_HOURS = 6
"""Policies decide so often: as often as the profiles of the service look at a silent device."""
SHIPS_AFTER = 0.6
"""Of the lead time: from then on an order can't be cancelled any more."""
EMPTY_SHARE = 1e-9
"""Of the capacity: what counts as nothing left."""


class What(StrEnum):
    """What a policy is told of."""

    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFILLED = "refilled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something said to the policy. order: None for a refill from elsewhere; quantity: as it is said."""

    what: What
    row: int
    quantity: float
    order: Order | None = None


@dataclass(slots=True, kw_only=True)
class Order:
    """An order under way. arrives: the hour; ships: the hour from which it can't be cancelled; quantity: ordered."""

    number: int
    row: int
    choice: Choice
    hour: int
    arrives: int
    ships: int
    quantity: float
    price: float
    comes: float
    said: float
    told: bool
    fate: Fate
    ended: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """An order that a policy wants. free_until: the hour until which it may not ship; name: the policy's own id of it."""

    row: int
    choice: Choice
    free_until: int = 0
    name: str = ""


class Policy(Protocol):
    """What lives in a world. `world` has only what a policy may know in `orders_open`, `quotes` and `allowed`."""

    def hear(self, hour: int, readings: Readings) -> None:
        """Readings that arrive at the hour."""

    def told(self, hour: int, told: Told) -> None:
        """What suppliers and people say at the hour."""

    def decide(self, hour: int, world: World) -> Sequence[Wish]:
        """The orders of this tick."""
        ...


@dataclass(slots=True, kw_only=True)
class Account:
    """What came of n items, each (n,). days_early: the sum over packs delivered; premium: paid over the least price seen;
    wasted: money for what did not fit."""

    run_outs: Float64
    empty_days: Float64
    pack_days_early: Float64
    packs: Float64
    orders: Float64
    premium: Float64
    wasted: Float64
    cancelled: Float64
    days: int

    def cost(self, lives: Lives) -> Float64:
        """(n,) money of the whole life."""
        return np.asarray(
            lives.stockout * self.run_outs
            + lives.per_day * self.empty_days
            + lives.holding * self.pack_days_early
            + ORDER_COST * self.orders
            + self.premium
            + self.wasted
        )


@dataclass(slots=True)
class World:
    """A life. `run()` lives it to its end. least: (n,) the lowest price of a pack in it; months: of each day, counted on."""

    lives: Lives
    policy: Policy
    faults: Faults
    hour: int = 0
    orders: list[Order] = field(default_factory=list)
    level: Float64 = field(init=False)
    consumed: Float64 = field(init=False)
    delivered: Float64 = field(init=False)
    spilled: Float64 = field(init=False)
    account: Account = field(init=False)
    choices: tuple[Choice, ...] = field(init=False)
    ordered: Int64 = field(init=False)
    _gauges: Gauges = field(init=False)
    _coming: dict[int, list[Order]] = field(default_factory=dict)
    _empty: Bools = field(init=False)
    least: Float64 = field(init=False)
    months: Int64 = field(init=False)
    _spent: dict[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lives, count = self.lives, len(self.lives)
        self.level = lives.level.copy()
        self.consumed, self.delivered, self.spilled = np.zeros(count), np.zeros(count), np.zeros(count)
        self.account = Account(**{name: np.zeros(count) for name in _SUMS}, days=lives.family.days)
        self.choices = choices(lives.family.supply)
        self.ordered = np.zeros(count, dtype=np.int64)
        self._gauges = Gauges(lives, self.faults)
        self._empty = np.zeros(count, dtype=bool)
        factors = np.array([[choice.of_price] for choice in self.choices])
        sellers = [choice.seller for choice in self.choices]
        lived = lives.prices[:, sellers, : lives.family.days] * factors
        self.least = lived.min(axis=(1, 2))[lives.seed]
        self.months = np.array([_month_of(lives.first_day + day) for day in range(lives.use.shape[1] // 24)])

    def run(self) -> Account:
        """Lives every hour."""
        while self.hour < self.lives.hours:
            self._live_hour()
            self.hour += 1
        return self.account

    def imbalance(self) -> float:
        """The largest share of a capacity by which an item's amounts do not add up."""
        left = self.lives.level + self.delivered - self.spilled - self.consumed
        return float((np.abs(left - self.level) / self.lives.capacity).max())

    def quotes(self, day: int | None = None) -> Float64:
        """(n, choices) price of each whole order now, or on another day."""
        day = self.hour // 24 if day is None else day
        sellers = [choice.seller for choice in self.choices]
        factors = np.array([choice.of_price * choice.packs for choice in self.choices])
        return np.asarray(self.lives.prices[:, sellers, day][self.lives.seed] * factors)

    def under_limit(self, quotes: Float64) -> Bools:
        """(n, choices) whether orders at these prices keep the highest price of a pack."""
        limit = self.lives.family.mandate.price_max
        if limit is None:
            return np.ones(quotes.shape, dtype=bool)
        packs = np.array([choice.packs for choice in self.choices])
        return np.asarray(quotes / packs <= limit * self.lives.family.supply.sellers[0].price + 1e-9)

    def in_budget(self, quotes: Float64) -> Bools:
        """(n, choices) whether what is left of this month's budget pays for orders at these prices."""
        lives, month = self.lives, int(self.months[self.hour // 24])
        if lives.family.mandate.budget is None:
            return np.ones(quotes.shape, dtype=bool)
        spent = np.array([self._spent.get((int(customer), month), 0.0) for customer in lives.customer])
        return np.asarray(spent[:, None] + quotes <= lives.budget[:, None] + 1e-9)

    def allowed(self) -> Bools:
        """(n, choices) whether price, budget and declared absence let a policy order now."""
        lives, quotes = self.lives, self.quotes()
        fine = self.under_limit(quotes) & self.in_budget(quotes)
        if lives.family.declared:
            for number, choice in enumerate(self.choices):
                fine[:, number] &= ~away_hits(lives, self.hour, lives.family.supply.sellers[choice.seller].stated)
        return fine

    def cancel(self, order: Order) -> bool:
        """Whether an order could still be called off; it is then."""
        if order.ended or self.hour >= order.ships:
            return False
        order.ended = True
        self.account.cancelled[order.row] += 1.0
        self._pay_back(order)
        return True

    def _live_hour(self) -> None:
        hour, lives = self.hour, self.lives
        refilled = self._arrivals()
        readings = self._gauges.read(hour, self.level, self.consumed, refilled)
        if readings.rows.size or readings.late:
            self.policy.hear(hour, readings)
        if hour % TICK_HOURS == 0:
            for wish in self.policy.decide(hour, self):
                self._order(wish)
        wanted = lives.use[:, hour]
        taken = np.minimum(self.level, wanted)
        self.level -= taken
        self.consumed += taken
        empty = self.level <= EMPTY_SHARE * lives.capacity
        self.account.run_outs += empty & ~self._empty
        self.account.empty_days += empty / 24.0
        self._empty = empty

    def _arrivals(self) -> Bools:
        """Deliveries and purchases elsewhere of this hour; which items were refilled."""
        hour, lives = self.hour, self.lives
        refilled = np.zeros(len(lives), dtype=bool)
        for order in self._coming.pop(hour, ()):
            if order.ended:
                continue
            order.ended = True
            if order.fate is Fate.COMES:
                refilled[order.row] = True
                self._deliver(order)
                if order.told:
                    self.policy.told(
                        hour,
                        Told(what=What.DELIVERED, row=order.row, quantity=order.said * order.quantity, order=order),
                    )
            else:
                self._pay_back(order)
                if order.fate is Fate.FAILS:
                    self.policy.told(hour, Told(what=What.FAILED, row=order.row, quantity=0.0, order=order))
        for row in np.flatnonzero(lives.elsewhere[:, hour]):
            quantity = float(lives.elsewhere[row, hour])
            self._fill(int(row), quantity)
            refilled[row] = True
            if lives.elsewhere_told[row, hour]:
                self.policy.told(hour, Told(what=What.REFILLED, row=int(row), quantity=quantity))
        return refilled

    def _deliver(self, order: Order) -> None:
        """The order's packs come: what they cost over the least price, and how long before each is needed, if it fits."""
        lives, row = self.lives, order.row
        quantity, before = order.comes * order.quantity, float(self.level[row])
        packs = quantity / lives.pack[row]
        lost = self._fill(row, quantity) / lives.pack[row]
        steps = np.arange(0.0, packs - lost - 1e-9)
        needed = lives.empty_at(np.full(len(steps), row), self.hour, before + steps * lives.pack[row])
        early = np.maximum(np.minimum(needed, lives.use.shape[1]) - self.hour, 0.0) / 24.0
        self.account.pack_days_early[row] += float(early @ np.minimum(packs - lost - steps, 1.0))
        self.account.packs[row] += packs
        self.account.premium[row] += order.price * order.comes - packs * self.least[row]
        self.account.wasted[row] += lost * self.least[row]

    def _fill(self, row: int, quantity: float) -> float:
        """Adds to the level; the amount that did not fit."""
        lives = self.lives
        room = np.inf if lives.spare[row] else max(lives.capacity[row] - self.level[row], 0.0)
        lost = max(quantity - room, 0.0)
        self.level[row] += quantity - lost
        self.delivered[row] += quantity
        self.spilled[row] += lost
        self._empty[row] = self.level[row] <= EMPTY_SHARE * lives.capacity[row]
        return float(lost)

    def _order(self, wish: Wish) -> None:
        lives, row, choice = self.lives, wish.row, wish.choice
        ordinal = int(self.ordered[row]) % ORDERS_MAX
        self.ordered[row] += 1
        draws = lives.supplies
        lead = 24.0 * float(draws.lead_days[row, choice.seller, ordinal])
        arrives = max(int(np.ceil(self.hour + lead)), self.hour + 1, wish.free_until + 1)
        price = float(lives.prices[lives.seed[row], choice.seller, self.hour // 24] * choice.packs * choice.of_price)
        order = Order(
            number=len(self.orders),
            row=row,
            choice=choice,
            hour=self.hour,
            arrives=arrives,
            ships=max(int(self.hour + SHIPS_AFTER * lead), wish.free_until),
            quantity=float(lives.pack[row]) * choice.packs,
            price=price,
            comes=float(draws.share[row, ordinal]),
            said=float(draws.said[row, ordinal]),
            told=bool(draws.told[row, ordinal]),
            fate=Fate(int(draws.fate[row, ordinal])),
            name=wish.name,
        )
        self.orders.append(order)
        self._coming.setdefault(arrives, []).append(order)
        self.account.orders[row] += 1.0
        month = (int(lives.customer[row]), int(self.months[self.hour // 24]))
        self._spent[month] = self._spent.get(month, 0.0) + price

    def _pay_back(self, order: Order) -> None:
        month = (int(self.lives.customer[order.row]), int(self.months[order.hour // 24]))
        self._spent[month] -= order.price


_SUMS = ("run_outs", "empty_days", "pack_days_early", "packs", "orders", "premium", "wasted", "cancelled")


def away_hits(lives: Lives, hour: int, stated: tuple[float, float]) -> Bools:
    """(n,) whether an order of `hour` could arrive on a day of a declared absence."""
    first, last = int((hour + 24.0 * stated[0]) // 24), int((hour + 24.0 * stated[1]) // 24)
    hits = [any(first <= end and start <= last for start, end in spans) for spans in lives.vacations]
    return np.array(hits, dtype=bool)


def _month_of(day: int) -> int:
    moment = datetime.fromtimestamp(day * 86_400, UTC)
    return moment.year * 12 + moment.month
