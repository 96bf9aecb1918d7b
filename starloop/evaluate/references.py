"""Reference policies that know what a service could know: a fixed threshold, a moving average, (s,S), the newsvendor.

Each orders when nothing of the item's is under way and its rule says so, keeps the customer's mandate, and gives an order up
as late as the service does. docs/explanation/evaluation.md tells them in words.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reactor.lead_time import NORMAL_90, log_normal, lost_after_days
from starloop.evaluate.gauges import Readings
from starloop.evaluate.lives import ORDER_COST, Lives
from starloop.evaluate.supplies import Choice
from starloop.evaluate.tracker import Tracker
from starloop.evaluate.world import TICK_HOURS, Told, What, Wish, World

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

PRIOR_WEIGHT = 4.0
"""A stated lead time counts like so many deliveries."""
THRESHOLD = 0.2
SAFETY = 2.0537
"""Standard deviations of the (s,S) policy's safety stock: 98 %."""
SMOOTHING = 0.1
"""Of a day, in the newsvendor's smoothed rate."""
LEAST_VARIATION = 0.2
"""A day's use deviates by at least this share of the rate."""
INTERMITTENT_SHARE = 0.3
"""With more days without use than this, size and probability are smoothed apart (Teunter, Syntetos, Babai)."""


class LeadTimes:
    """What deliveries taught of each seed's sellers: a log-normal, the stated one counting like PRIOR_WEIGHT deliveries."""

    def __init__(self, lives: Lives) -> None:
        sellers = lives.family.supply.sellers
        shape = (len(lives.seeds), len(sellers))
        stated = [log_normal(seller.stated) for seller in sellers]
        middle = np.broadcast_to([row[0] for row in stated], shape)
        spread = np.broadcast_to([row[1] for row in stated], shape)
        self._count = np.full(shape, PRIOR_WEIGHT)
        self._sum = PRIOR_WEIGHT * middle
        self._squares = PRIOR_WEIGHT * (middle**2 + spread**2)

    def learn(self, seed: int, seller: int, days: float) -> None:
        """A delivery took so long."""
        log = float(np.log(max(days, 0.02)))
        self._count[seed, seller] += 1.0
        self._sum[seed, seller] += log
        self._squares[seed, seller] += log * log

    def logs(self) -> tuple[Float64, Float64]:
        """(seeds, sellers) mean and standard deviation of the logarithm of days."""
        mean = self._sum / self._count
        return mean, np.sqrt(np.maximum(self._squares / self._count - mean**2, 0.01))

    def moments(self) -> tuple[Float64, Float64]:
        """(seeds, sellers) mean and variance in days."""
        mean, spread = self.logs()
        days = np.exp(mean + spread**2 / 2.0)
        return days, days**2 * np.expm1(spread**2)

    def lost_after_hours(self) -> Float64:
        """(seeds, sellers) when an order is given up."""
        mean, spread = self.logs()
        high = np.exp(mean + NORMAL_90 * spread)
        days = [[lost_after_days((one, one)) for one in row] for row in high.tolist()]
        return 24.0 * np.array(days)


class Reference(ABC):
    """A policy with a tracker of beliefs. Subclasses say what is `wanted`.

    It learns how long deliveries take, to give up those that do not come, and how long from the first order to the delivery,
    orders that were lost in between included: that is what has to be waited for.
    """

    filtered = False

    def __init__(self, lives: Lives) -> None:
        self.lives = lives
        self.tracker = Tracker(lives, filtered=self.filtered)
        self.leads = LeadTimes(lives)
        self.waits = LeadTimes(lives)
        self._since = np.full(len(lives), -1)
        self._first = np.full(len(lives), -1)
        self._seller = np.zeros(len(lives), dtype=np.int64)

    def hear(self, hour: int, readings: Readings) -> None:
        """Readings go to the tracker."""
        self.tracker.hear(hour, readings)

    def told(self, hour: int, told: Told) -> None:
        """Deliveries teach lead times; what has failed is under way no more."""
        if told.what in (What.DELIVERED, What.REFILLED):
            self.tracker.told(hour, told.row, told.quantity)
        if told.order is not None and self._since[told.row] == told.order.hour:
            if told.what is What.DELIVERED:
                self._arrived(told.row, hour)
            self._since[told.row] = -1

    def decide(self, hour: int, world: World) -> Sequence[Wish]:
        """An order for each item that wants one, is known, and has none under way."""
        if hour % 24 == 0:
            self.tracker.close_day(hour)
            self.day(hour)
        risen = self.tracker.risen & (self._since >= 0)
        for row in np.flatnonzero(risen):
            self._arrived(int(row), hour)
        self._since[risen] = -1
        self.tracker.risen[:] = False
        seeds = self.lives.seed
        late = (self._since >= 0) & (hour - self._since > self.leads.lost_after_hours()[seeds, self._seller])
        self._since[late] = -1
        free = (self._since < 0) & self.tracker.known
        if not free.any():
            return ()
        allowed = world.allowed()
        chosen = self.chosen(world, allowed)
        level = self.tracker.level_at(hour)
        wanted = free & allowed[np.arange(len(level)), chosen] & self.wanted(level, chosen, world)
        wishes = [
            Wish(int(row), self.amount(int(row), world.choices[chosen[row]], level)) for row in np.flatnonzero(wanted)
        ]
        for wish in wishes:
            self._since[wish.row], self._seller[wish.row] = hour, wish.choice.seller
            self._first[wish.row] = hour if self._first[wish.row] < 0 else self._first[wish.row]
        return wishes

    def day(self, hour: int) -> None:
        """Midnight."""
        return

    def chosen(self, world: World, allowed: Bools) -> Int64:
        """(n,) which choice would be ordered: the first that is allowed."""
        return np.asarray(allowed.argmax(axis=1))

    @abstractmethod
    def wanted(self, level: Float64, chosen: Int64, world: World) -> Bools:
        """(n,) whether to order at this level."""

    def amount(self, row: int, choice: Choice, level: Float64) -> Choice:
        """How much of it is ordered."""
        return choice

    def _arrived(self, row: int, hour: int) -> None:
        seed, seller = int(self.lives.seed[row]), int(self._seller[row])
        self.leads.learn(seed, seller, (hour - self._since[row]) / 24.0)
        self.waits.learn(seed, seller, (hour - self._first[row]) / 24.0)
        self._first[row] = -1

    def _lead(self, chosen: Int64, world: World) -> tuple[Float64, Float64]:
        """(n,) mean and variance of the days that the chosen seller is waited for."""
        seller = np.array([choice.seller for choice in world.choices])[chosen]
        mean, variance = self.waits.moments()
        return mean[self.lives.seed, seller], variance[self.lives.seed, seller]


class Threshold(Reference):
    """Orders below a fifth of the capacity."""

    def wanted(self, level: Float64, chosen: Int64, world: World) -> Bools:
        """(n,) under the threshold."""
        return np.asarray(level <= THRESHOLD * self.lives.capacity)


class MovingAverage(Reference):
    """Orders when the level lasts no longer than a mean lead time at the mean rate of 28 days."""

    def wanted(self, level: Float64, chosen: Int64, world: World) -> Bools:
        """(n,) under the mean demand of a mean lead time."""
        return np.asarray(level <= self.tracker.rate() * self._lead(chosen, world)[0])


class OrderUpTo(Reference):
    """(s,S): s covers the lead time with a normal safety stock on 28 days; S is the capacity, in whole packs."""

    def wanted(self, level: Float64, chosen: Int64, world: World) -> Bools:
        """(n,) under s."""
        days, variance = self._lead(chosen, world)
        rate = self.tracker.rate()
        spread = np.sqrt(days * self.tracker.deviation() ** 2 + rate**2 * variance)
        return np.asarray(level <= rate * days + SAFETY * spread)

    def amount(self, row: int, choice: Choice, level: Float64) -> Choice:
        """As many packs as fit, one at least; a budget is for single packs."""
        if choice.packs > 1 or self.lives.family.mandate.budget is not None:
            return choice
        room = self.lives.capacity[row] - level[row]
        return Choice(choice.seller, max(int(room / self.lives.pack[row]), 1), 1.0)


class Newsvendor(Reference):
    """Orders at the level whose expected cost is least: gamma demand over a learned lead time and the wait for a tick."""

    def __init__(self, lives: Lives) -> None:
        super().__init__(lives)
        self._rate = lives.capacity / 30.0
        self._variance = self._rate**2
        self._size = self._rate.copy()
        self._share = np.ones(len(lives))
        self._zeros = np.zeros(len(lives))
        self._days = np.zeros(len(lives))

    def day(self, hour: int) -> None:
        """Smooths rate and variance with the day's use, faster while there are few days."""
        gap = self.tracker.gap
        some = gap > 0
        use = np.where(some, self.tracker.daily[:, 0], 0.0)
        self._days += gap
        gain = np.where(some, np.maximum(1.0 - (1.0 - SMOOTHING) ** gap, gap / (2.0 + self._days)), 0.0)
        off = use - self._rate
        self._variance += gain * (gap * off**2 - self._variance)
        self._rate += gain * off
        positive = (use > 0.0) & some
        self._zeros += gain * ((use <= 0.0) - self._zeros)
        self._size += np.where(positive, gain, 0.0) * (use - self._size)
        self._share += gain * (positive - self._share)

    def rates(self) -> Float64:
        """(n,) use a day: smoothed, or size times probability where use is intermittent."""
        rate = np.where(self._zeros > INTERMITTENT_SHARE, self._size * self._share, self._rate)
        return np.asarray(np.maximum(rate, 1e-3 * self.lives.capacity / 30.0))

    def chosen(self, world: World, allowed: Bools) -> Int64:
        """(n,) the cheapest a pack, what waits in the cupboard counted."""
        packs = np.array([choice.packs for choice in world.choices])
        waits = (self.lives.pack / self.rates())[:, None] * (packs - 1.0) / 2.0
        cost = (world.quotes() + ORDER_COST) / packs + self.lives.holding[:, None] * waits
        first = np.where(packs > 1, 0.0, -0.05 * cost[:, :1])  # the first choice unless another one is clearly cheaper
        first[:, 1:] = 0.0
        return np.asarray(np.where(allowed, cost + first, np.inf).argmin(axis=1))

    def wanted(self, level: Float64, chosen: Int64, world: World) -> Bools:
        """(n,) at or under the reorder point of least expected cost."""
        days, variance = self._lead(chosen, world)
        days = days + TICK_HOURS / 24.0
        rate = self.rates()
        mean = rate * days
        daily = np.maximum(self._variance, (LEAST_VARIATION * rate) ** 2)
        unseen = np.maximum(world.hour - self.tracker.at, 0.0) / 24.0
        spread = (days + unseen) * daily + rate**2 * variance
        demand = mean[:, None] * gamma_quantiles(mean**2 / np.maximum(spread, 1e-12))
        # The levels are ascending: what lies above or below each is a sum from one end.
        below = np.cumsum(demand, axis=1)
        many = np.arange(1, demand.shape[1] + 1)
        over = (many * demand - below) / many[-1]
        short = (below[:, -1:] - below - (many[-1] - many) * demand) / many[-1]
        out = 1.0 - many / many[-1]
        lives = self.lives
        cost = (
            lives.stockout[:, None] * out[None, :]
            + lives.per_day[:, None] * short / rate[:, None]
            + lives.holding[:, None] * over / rate[:, None]
        )
        packs = np.array([choice.packs for choice in world.choices])[chosen]
        room = np.where(lives.spare, np.inf, lives.capacity - packs * lives.pack + mean)
        price = (world.quotes()[np.arange(len(level)), chosen] / (packs * lives.pack))[:, None]
        cost += price * np.maximum(demand - room[:, None], 0.0)  # what would not fit when it comes
        point = demand[np.arange(len(level)), cost.argmin(axis=1)]
        return np.asarray(level <= point)


class FilteredNewsvendor(Newsvendor):
    """The newsvendor behind a sensor filter."""

    filtered = True


_SHAPES = np.geomspace(0.05, 400.0, 64)
_LEVELS_COUNT = 96


@lru_cache(maxsize=1)
def _gamma_table() -> Float64:
    """(shapes, levels) quantiles of gamma distributions of mean 1, from sorted draws of a fixed seed."""
    rng = np.random.default_rng(7)
    places = ((np.arange(_LEVELS_COUNT) + 0.5) / _LEVELS_COUNT * 20_000).astype(np.int64)
    rows = [np.sort(rng.gamma(shape, 1.0 / shape, 20_000)) for shape in _SHAPES]
    # The last level stands for the tail, so that a reorder point may lie there.
    return np.stack([np.append(row[places[:-1]], row[-40]) for row in rows])


def gamma_quantiles(shape: Float64) -> Float64:
    """(n, levels) quantiles of gamma distributions of mean 1 with these shapes."""
    place = np.abs(np.log(np.maximum(shape, 1e-6))[:, None] - np.log(_SHAPES)).argmin(axis=1)
    return np.asarray(_gamma_table()[place])
