"""Policies that know what nobody can: the informed one the level and all future use, the clairvoyant one everything.

The informed policy knows lead times as a distribution only, and takes today's prices to last: about what perfect sensing and
forecasting would reach. The clairvoyant's cost is what all others are measured by. Both have at most one order of an item under
way, as the service has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reactor.lead_time import lost_after_days
from starloop.evaluate.gauges import Readings
from starloop.evaluate.lives import ORDER_COST, Lives
from starloop.evaluate.supplies import ORDERS_MAX, Fate
from starloop.evaluate.world import TICK_HOURS, Order, Told, Wish, World, away_hits

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

WAITS = 60 * 24 // TICK_HOURS
"""Ticks ahead that acting now is compared with: sixty days."""
_HORIZON_H = WAITS * TICK_HOURS
INFORMED_QUANTILE = 0.9
"""The informed policy takes so high a quantile of a second order's lead time, where two are needed in a row."""
NEXT_PACKS = 24
"""Packs that are looked ahead to, where use comes in lumps."""
_QUANTILES = 400
_IN_A_ROW = 8
_FEW = 20
"""So many of the quantiles stand for all, where room for what comes is reckoned."""


class Foresight(ABC):
    """What both share: they need not hear anything."""

    def __init__(self, lives: Lives) -> None:
        self.lives = lives
        self._under_way: dict[int, Order] = {}
        self._awaited: list[int] = []
        self._closed = _closed_ticks(lives)
        self._soon_h = np.full(len(lives), float((WAITS - 1) * TICK_HOURS))  # what lasts longer is not looked at

    def hear(self, hour: int, readings: Readings) -> None:
        """Nothing new."""
        return

    def told(self, hour: int, told: Told) -> None:
        """Nothing new."""
        return

    def decide(self, hour: int, world: World) -> Sequence[Wish]:
        """An order for each item whose cost would grow by waiting."""
        for row in self._awaited:
            self._under_way[row] = next(order for order in reversed(world.orders) if order.row == row)
        self._awaited = []
        for row in [row for row, order in self._under_way.items() if self._over(order, hour)]:
            del self._under_way[row]
        free = np.array([row for row in range(len(self.lives)) if row not in self._under_way], dtype=np.int64)
        if not free.size:
            return ()
        empty = self._empty_at(free, hour, world)
        soon = empty - hour < self._soon_h[free]
        rows, empty = free[soon], empty[soon]
        if not rows.size:
            return ()
        empty = self._with_next(rows, empty, hour, world)
        chosen = self.act(rows, empty, hour, world)
        wishes = [
            Wish(int(row), world.choices[choice]) for row, choice in zip(rows, chosen, strict=True) if choice >= 0
        ]
        self._awaited = [wish.row for wish in wishes]
        return wishes

    @abstractmethod
    def act(self, rows: Int64, empty: Float64, hour: int, world: World) -> Int64:
        """(rows,) the number of the choice to order now, or -1. empty: (rows,) the hour in which each is empty."""

    @abstractmethod
    def quotes(self, rows: Int64, hour: int, world: World) -> Float64:
        """(rows, choices, WAITS or 1) prices of whole orders at this and the coming ticks, as far as the policy knows."""

    def open(self, rows: Int64, hour: int, world: World) -> Bools:
        """(rows, choices, WAITS) whether the order is allowed at this and the coming ticks.

        What this month's budget does not pay for now it does not pay for later in the month.
        """
        tick = hour // TICK_HOURS
        sellers = [choice.seller for choice in world.choices]
        closed = self._closed[:, :, tick : tick + WAITS]
        missing = WAITS - closed.shape[2]
        out = ~np.pad(closed, ((0, 0), (0, 0), (0, missing)))[rows][:, sellers]
        if self.lives.family.mandate.price_max is not None:
            quotes = self.quotes(rows, hour, world)
            out &= world.under_limit(quotes.swapaxes(1, 2)).swapaxes(1, 2)
        if self.lives.family.mandate.budget is not None:
            days = (hour + TICK_HOURS * np.arange(WAITS)) // 24
            later = world.months[days] > world.months[hour // 24]
            out &= later | world.in_budget(world.quotes())[rows][:, :, None]
        return np.asarray(out)

    def _empty_at(self, rows: Int64, hour: int, world: World) -> Float64:
        return _last_hour(self.lives.empty_at(rows, hour, world.level[rows]))

    def _with_next(self, rows: Int64, empty: Float64, hour: int, world: World) -> Float64:
        """The hour by which a pack must have come, where more than one is needed within the time that orders take.

        The second pack can only be ordered when the first has come, so the first is needed a lead time before the second is.
        """
        lives = self.lives
        packs = np.arange(1, NEXT_PACKS)
        needed = np.stack(
            [
                lives.used[row].searchsorted(lives.used[row, hour] + world.level[row] + packs * lives.pack[row]) - 1.0
                for row in rows
            ]
        )
        needed[needed >= lives.use.shape[1]] = np.inf  # beyond what is known
        first = (needed - self.usual_hours(rows, world)).min(axis=1)
        return np.asarray(np.minimum(empty, np.maximum(first, hour)))

    @abstractmethod
    def usual_hours(self, rows: Int64, world: World) -> Float64:
        """(rows, NEXT_PACKS - 1) hours that one, two, … orders in a row will take after the first, as far as the policy knows."""

    def _over(self, order: Order, hour: int) -> bool:
        """Whether the order is known to be over: it came, failed, or is given up."""
        if order.fate is not Fate.VANISHES:
            return order.arrives <= hour
        stated = self.lives.family.supply.sellers[order.choice.seller].stated
        return hour - order.hour > 24.0 * lost_after_days(stated)


class Informed(Foresight):
    """Knows the level and all future use, and of lead times how they are distributed, losses included."""

    def __init__(self, lives: Lives) -> None:
        super().__init__(lives)
        leads = [self._lead_quantiles(seller) for seller in range(len(lives.family.supply.sellers))]
        ahead = np.arange(-_HORIZON_H, _HORIZON_H + 1) / 24.0
        late = np.stack([(np.maximum(days[None, :] - ahead[:, None], 0.0)).mean(axis=1) for days in leads])
        early = np.stack([(np.maximum(ahead[:, None] - days[None, :], 0.0)).mean(axis=1) for days in leads])
        out = np.stack([(days[None, :] > ahead[:, None]).mean(axis=1) for days in leads])
        self._out, self._late, self._early = out, late, early
        self._few = 24.0 * np.stack([days[_QUANTILES // _FEW // 2 :: _QUANTILES // _FEW] for days in leads])
        self._not_before = self._best_ahead()
        ahead_packs = np.arange(1, NEXT_PACKS)
        high = float(np.quantile(leads[0], INFORMED_QUANTILE) - leads[0].mean())
        self._usual = 24.0 * (leads[0].mean() * ahead_packs + high * np.sqrt(ahead_packs)) + TICK_HOURS * ahead_packs

    def usual_hours(self, rows: Int64, world: World) -> Float64:
        """A high quantile of the first seller's."""
        return np.broadcast_to(self._usual, (len(rows), NEXT_PACKS - 1))

    def act(self, rows: Int64, empty: Float64, hour: int, world: World) -> Int64:
        """(rows,) the best choice now, unless a later tick is better for some choice at today's prices."""
        lives = self.lives
        out = np.full(len(rows), -1)
        near = empty - hour <= self._not_before[rows]
        rows, ahead = rows[near], (empty[near] - hour).astype(np.int64)
        if not rows.size:
            return out
        packs = np.array([choice.packs for choice in world.choices])
        sellers = [choice.seller for choice in world.choices]
        place = np.clip(ahead[:, None] - TICK_HOURS * np.arange(WAITS)[None, :], -_HORIZON_H, _HORIZON_H) + _HORIZON_H
        cost = (
            lives.stockout[rows, None, None] * self._out[sellers][:, place].transpose(1, 0, 2)
            + lives.per_day[rows, None, None] * self._late[sellers][:, place].transpose(1, 0, 2)
            + lives.holding[rows, None, None] * self._early[sellers][:, place].transpose(1, 0, 2)
        )
        fixed = self.quotes(rows, hour, world)[:, :, 0] + ORDER_COST + _later_packs(lives, rows, packs, hour)
        ticks = hour + TICK_HOURS * np.arange(WAITS)
        for few in self._few.T:
            arrives = np.ceil(ticks[None, :] + few[sellers][:, None]).astype(np.int64)
            cost += _spilled(lives, rows, packs, np.broadcast_to(arrives, (len(rows), *arrives.shape)), world) / _FEW
        cost = np.where(self.open(rows, hour, world), cost + (fixed / packs)[:, :, None], np.inf)
        out[near] = _first_is_best(cost)
        return out

    def quotes(self, rows: Int64, hour: int, world: World) -> Float64:
        """(rows, choices, 1) as they are today."""
        return world.quotes()[rows][:, :, None]

    def _best_ahead(self) -> Float64:
        """(n,) hours before its end from which on an item is looked at: earlier, waiting is better, unless a day is closed."""
        lives = self.lives
        if lives.family.declared:
            return np.full(len(lives), float(_HORIZON_H))
        best = np.zeros(len(lives))
        for out, late, early in zip(self._out, self._late, self._early, strict=True):
            cost = lives.stockout[:, None] * out + lives.per_day[:, None] * late + lives.holding[:, None] * early
            best = np.maximum(best, cost.argmin(axis=1) - _HORIZON_H)
        return best + 2.0 * TICK_HOURS

    def _lead_quantiles(self, seller: int) -> Float64:
        """Lead times in days; a lost order counts as the time until it is given up, and a second lead time."""
        draws = self.lives.supplies
        days = draws.lead_days[:, seller].ravel()
        gone = draws.fate.ravel()
        after = lost_after_days(self.lives.family.supply.sellers[seller].stated)
        second = np.roll(days, 1)
        days = np.where(gone == Fate.VANISHES, after + second, np.where(gone == Fate.FAILS, days + second, days))
        return np.asarray(np.quantile(days, (np.arange(_QUANTILES) + 0.5) / _QUANTILES))


class Clairvoyant(Foresight):
    """Knows use, purchases elsewhere, prices, and what becomes of each order before it is made."""

    def __init__(self, lives: Lives) -> None:
        super().__init__(lives)
        self._bought = [np.flatnonzero(row) for row in lives.elsewhere]
        if not lives.family.supply.price_steps_per_year and not lives.family.declared:
            # Nothing is gained by ordering earlier than some orders in a row can take.
            self._soon_h = np.minimum(24.0 * _IN_A_ROW * lives.supplies.lead_days.max(axis=(1, 2)), self._soon_h)

    def usual_hours(self, rows: Int64, world: World) -> Float64:
        """What the first seller's order will take."""
        ordinal = (world.ordered[rows][:, None] + np.arange(1, NEXT_PACKS)[None, :]) % ORDERS_MAX
        return np.asarray((24.0 * self.lives.supplies.lead_days[rows[:, None], 0, ordinal] + TICK_HOURS).cumsum(axis=1))

    def act(self, rows: Int64, empty: Float64, hour: int, world: World) -> Int64:
        """(rows,) the choice whose cost is least now; the draws of lost orders are passed over."""
        lives, draws = self.lives, self.lives.supplies
        for row in rows:
            while draws.fate[row, world.ordered[row] % ORDERS_MAX] != Fate.COMES:
                world.ordered[row] += 1
        ordinal = world.ordered[rows] % ORDERS_MAX
        packs = np.array([choice.packs for choice in world.choices])
        sellers = [choice.seller for choice in world.choices]
        lead = draws.lead_days[rows[:, None], np.array(sellers)[None, :], ordinal[:, None]]
        ticks = hour + TICK_HOURS * np.arange(WAITS)
        arrives = np.maximum(np.ceil(ticks[None, None, :] + 24.0 * lead[:, :, None]), ticks + 1)
        late = np.maximum(arrives - empty[:, None, None], 0.0) / 24.0
        early = np.maximum(empty[:, None, None] - arrives, 0.0) / 24.0
        cost = (
            lives.stockout[rows, None, None] * (late > 0.0)
            + lives.per_day[rows, None, None] * late
            + lives.holding[rows, None, None] * early
        )
        cost += _spilled(lives, rows, packs, arrives.astype(np.int64), world)
        fixed = self.quotes(rows, hour, world) + ORDER_COST + _later_packs(lives, rows, packs, hour)[:, :, None]
        return _first_is_best(np.where(self.open(rows, hour, world), cost + fixed / packs[None, :, None], np.inf))

    def quotes(self, rows: Int64, hour: int, world: World) -> Float64:
        """(rows, choices, WAITS) as they will be."""
        lives = self.lives
        days = np.minimum((hour + TICK_HOURS * np.arange(WAITS)) // 24, lives.prices.shape[2] - 1)
        factors = np.array([choice.of_price * choice.packs for choice in world.choices])
        sellers = [choice.seller for choice in world.choices]
        return np.asarray(lives.prices[:, sellers][lives.seed[rows]][:, :, days] * factors[None, :, None])

    def _empty_at(self, rows: Int64, hour: int, world: World) -> Float64:
        """With what will be bought elsewhere in the meantime."""
        lives, level = self.lives, world.level[rows].copy()
        empty = super()._empty_at(rows, hour, world)
        for place, row in enumerate(rows):
            bought = self._bought[row]
            for moment in bought[bought.searchsorted(hour, side="right") :]:
                if moment > empty[place] or empty[place] - hour > _HORIZON_H:
                    break
                level[place] += lives.elsewhere[row, moment]
                empty[place] = _last_hour(lives.empty_at(rows[place : place + 1], hour, level[place : place + 1]))[0]
        return empty


def _last_hour(empty: Float64) -> Float64:
    """The hour within which an item is used up: what comes at its beginning is in time."""
    return np.asarray(np.where(np.isfinite(empty), np.ceil(empty) - 1.0, np.inf))


def _later_packs(lives: Lives, rows: Int64, packs: Int64, hour: int) -> Float64:
    """(rows, choices) holding cost of the packs beyond the first, which wait until those before are used up."""
    if packs.max() == 1:
        return np.zeros((len(rows), len(packs)))
    days = np.array([lives.pack[row] / max(lives.use[row, hour : hour + 1440].mean() * 24.0, 1e-9) for row in rows])
    return np.asarray((lives.holding[rows] * days)[:, None] * (packs * (packs - 1) / 2.0)[None, :])


def _spilled(lives: Lives, rows: Int64, packs: Int64, arrives: Int64, world: World) -> Float64:
    """(rows, choices, WAITS) money a pack for what would not fit of packs that come at these hours."""
    out = np.zeros(arrives.shape)
    full = np.flatnonzero(
        ~lives.spare[rows] & (world.level[rows] + packs.max() * lives.pack[rows] > lives.capacity[rows])
    )
    if full.size:
        row = rows[full][:, None, None]
        used = lives.used[row, np.minimum(arrives[full], lives.use.shape[1])] - lives.used[row, world.hour]
        left = np.maximum(world.level[row] - used, 0.0)
        lost = np.maximum(left + packs[None, :, None] * lives.pack[row] - lives.capacity[row], 0.0)
        out[full] = lost / lives.pack[row] * world.least[row] / packs[None, :, None]
    return out


def _first_is_best(cost: Float64) -> Int64:
    """(rows,) the choice whose cost now is least and no more than any later one; -1 where waiting is better."""
    now = cost[:, :, 0].min(axis=1)
    later = cost[:, :, 1:].min(axis=(1, 2))
    return np.asarray(np.where(np.isfinite(now) & (now <= later), cost[:, :, 0].argmin(axis=1), -1))


def _closed_ticks(lives: Lives) -> Bools:
    """(n, sellers, ticks) whether a declared absence forbids an order then."""
    sellers = lives.family.supply.sellers
    ticks = lives.hours // TICK_HOURS
    out = np.zeros((len(lives), len(sellers), ticks), dtype=bool)
    if lives.family.declared:
        for number, seller in enumerate(sellers):
            for tick in range(ticks):
                out[:, number, tick] = away_hits(lives, tick * TICK_HOURS, seller.stated)
    return out
