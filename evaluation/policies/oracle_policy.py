"""Oracle policies: the informed one knows the level and all future consumption, the clairvoyant one everything.

The informed policy knows lead times as distributions only, and assumes that today's prices last: about what perfect sensing and
forecasting would reach. The clairvoyant's cost is the unit in which all others are given. Both have at most one open order per item,
as the service has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.worlds.closed_loop_world import (
    TICK_HOURS,
    ClosedLoopWorld,
    OrderRequest,
    OutcomeNotice,
    SimulatedOrder,
    overlaps_absence,
)
from evaluation.worlds.scenarios import ORDER_COST, ScenarioBatch
from evaluation.worlds.sensor_faults import HourlyReadings
from evaluation.worlds.supply_draws import ORDERS_MAX, OrderFate
from reactor.decision.lead_time import lost_after_days

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

TICKS_AHEAD = 60 * 24 // TICK_HOURS
"""Later ticks that ordering now is compared with: sixty days, beyond the longest lead time with its tail."""
_HORIZON_H = TICKS_AHEAD * TICK_HOURS
INFORMED_QUANTILE = 0.9
"""Quantile of a second order's lead time that the informed policy plans with, where two orders are needed in a row."""
PACKS_AHEAD = 24
"""Packs ahead for which the time of need is computed; lumpy demand may need several at once."""
_QUANTILES = 400  # of a lead time distribution, for expected costs
_CONSECUTIVE_ORDERS = 8  # longest chain of orders for which the clairvoyant orders ahead
_SPILL_QUANTILES = 20  # of the above, for the more expensive computation of overflow


class OraclePolicy(ABC):
    """The part that both share. It ignores readings and outcomes, as it reads the truth from the world."""

    def __init__(self, scenarios: ScenarioBatch) -> None:
        self.scenarios = scenarios
        self._orders_under_way: dict[int, SimulatedOrder] = {}
        self._requested_rows: list[int] = []
        self._closed = _closed_ticks(scenarios)
        # Hours before its run-out from which an item is considered.
        self._horizon_h = np.full(len(scenarios), float((TICKS_AHEAD - 1) * TICK_HOURS))

    def on_readings(self, hour: int, readings: HourlyReadings) -> None:
        """Ignored."""
        return

    def on_outcome(self, hour: int, notice: OutcomeNotice) -> None:
        """Ignored."""
        return

    def decide(self, hour: int, world: ClosedLoopWorld) -> Sequence[OrderRequest]:
        """An order for each item without an open one whose expected cost would rise by waiting."""
        for row in self._requested_rows:
            self._orders_under_way[row] = next(order for order in reversed(world.orders) if order.row == row)
        self._requested_rows = []
        for row in [row for row, order in self._orders_under_way.items() if self._is_over(order, hour)]:
            del self._orders_under_way[row]
        free = np.array(
            [row for row in range(len(self.scenarios)) if row not in self._orders_under_way], dtype=np.int64
        )
        if not free.size:
            return ()
        empty = self._empty_hour(free, hour, world)
        soon = empty - hour < self._horizon_h[free]
        rows, empty = free[soon], empty[soon]
        if not rows.size:
            return ()
        empty = self._required_by(rows, empty, hour, world)
        chosen = self.choose_options(rows, empty, hour, world)
        order_requests = [
            OrderRequest(int(row), world.options[option])
            for row, option in zip(rows, chosen, strict=True)
            if option >= 0
        ]
        self._requested_rows = [order_request.row for order_request in order_requests]
        return order_requests

    @abstractmethod
    def choose_options(self, rows: Int64, empty: Float64, hour: int, world: ClosedLoopWorld) -> Int64:
        """(rows,) index of the option to order now, or -1. empty: (rows,) hour by which each must be refilled."""

    @abstractmethod
    def quotes(self, rows: Int64, hour: int, world: ClosedLoopWorld) -> Float64:
        """(rows, options, TICKS_AHEAD or 1) prices of whole orders at this and the later ticks, as far as the policy knows."""

    def allowed_ahead(self, rows: Int64, hour: int, world: ClosedLoopWorld) -> Bools:
        """(rows, options, TICKS_AHEAD) whether the order is permitted at this tick and the later ones.

        An order beyond this month's budget stays beyond it until the month ends.
        """
        tick = hour // TICK_HOURS
        suppliers = [option.supplier for option in world.options]
        closed = self._closed[:, :, tick : tick + TICKS_AHEAD]
        missing = TICKS_AHEAD - closed.shape[2]
        out = ~np.pad(closed, ((0, 0), (0, 0), (0, missing)))[rows][:, suppliers]
        if self.scenarios.family.limits.price_max is not None:
            quotes = self.quotes(rows, hour, world)
            out &= world.within_price_limit(quotes.swapaxes(1, 2)).swapaxes(1, 2)
        if self.scenarios.family.limits.budget is not None:
            days = (hour + TICK_HOURS * np.arange(TICKS_AHEAD)) // 24
            later = world.months[days] > world.months[hour // 24]
            out &= later | world.within_budget(world.quotes())[rows][:, :, None]
        return np.asarray(out)

    def _empty_hour(self, rows: Int64, hour: int, world: ClosedLoopWorld) -> Float64:
        return _last_hour(self.scenarios.empty_hour(rows, hour, world.level[rows]))

    def _required_by(self, rows: Int64, empty: Float64, hour: int, world: ClosedLoopWorld) -> Float64:
        """(rows,) the hour by which the next pack must arrive, including for the packs after it.

        The second pack can only be ordered once the first has arrived, so the first is needed a lead time before the second.
        """
        scenarios = self.scenarios
        packs = np.arange(1, PACKS_AHEAD)
        needed = np.stack(
            [
                scenarios.cumulative_use[row].searchsorted(
                    scenarios.cumulative_use[row, hour] + world.level[row] + packs * scenarios.pack[row]
                )
                - 1.0
                for row in rows
            ]
        )
        needed[needed >= scenarios.hourly_use.shape[1]] = np.inf  # beyond the simulated time
        first = (needed - self.replenishment_hours(rows, world)).min(axis=1)
        return np.asarray(np.minimum(empty, np.maximum(first, hour)))

    @abstractmethod
    def replenishment_hours(self, rows: Int64, world: ClosedLoopWorld) -> Float64:
        """(rows, PACKS_AHEAD - 1) hours that 1, 2, … further orders in a row take, as far as the policy knows."""

    def _is_over(self, order: SimulatedOrder, hour: int) -> bool:
        """Whether the order is known to be closed: delivered, failed, or presumed lost."""
        if order.fate is not OrderFate.LOST:
            return order.arrives_hour <= hour
        stated = self.scenarios.family.supply.suppliers[order.option.supplier].stated_lead_days
        return hour - order.hour > 24.0 * lost_after_days(stated)


class InformedPolicy(OraclePolicy):
    """The informed policy: knows the level, all future consumption, and the distribution of lead times, losses included."""

    def __init__(self, scenarios: ScenarioBatch) -> None:
        super().__init__(scenarios)
        leads = [self._lead_quantiles(supplier) for supplier in range(len(scenarios.family.supply.suppliers))]
        ahead = np.arange(-_HORIZON_H, _HORIZON_H + 1) / 24.0
        late = np.stack([(np.maximum(days[None, :] - ahead[:, None], 0.0)).mean(axis=1) for days in leads])
        early = np.stack([(np.maximum(ahead[:, None] - days[None, :], 0.0)).mean(axis=1) for days in leads])
        out = np.stack([(days[None, :] > ahead[:, None]).mean(axis=1) for days in leads])
        self._out, self._late, self._early = out, late, early
        self._spill_lead_hours = 24.0 * np.stack(
            [days[_QUANTILES // _SPILL_QUANTILES // 2 :: _QUANTILES // _SPILL_QUANTILES] for days in leads]
        )
        self._hours_ahead_max = self._optimal_hours_ahead()
        ahead_packs = np.arange(1, PACKS_AHEAD)
        high = float(np.quantile(leads[0], INFORMED_QUANTILE) - leads[0].mean())
        self._replenishment_hours = (
            24.0 * (leads[0].mean() * ahead_packs + high * np.sqrt(ahead_packs)) + TICK_HOURS * ahead_packs
        )

    def replenishment_hours(self, rows: Int64, world: ClosedLoopWorld) -> Float64:
        """From a high quantile of the first supplier's lead time."""
        return np.broadcast_to(self._replenishment_hours, (len(rows), PACKS_AHEAD - 1))

    def choose_options(self, rows: Int64, empty: Float64, hour: int, world: ClosedLoopWorld) -> Int64:
        """(rows,) the cheapest option now, or -1 where a later tick is better for some option at today's prices."""
        scenarios = self.scenarios
        out = np.full(len(rows), -1)
        near = empty - hour <= self._hours_ahead_max[rows]
        rows, ahead = rows[near], (empty[near] - hour).astype(np.int64)
        if not rows.size:
            return out
        packs = np.array([option.packs for option in world.options])
        suppliers = [option.supplier for option in world.options]
        place = (
            np.clip(ahead[:, None] - TICK_HOURS * np.arange(TICKS_AHEAD)[None, :], -_HORIZON_H, _HORIZON_H) + _HORIZON_H
        )
        cost = (
            scenarios.stockout_cost[rows, None, None] * self._out[suppliers][:, place].transpose(1, 0, 2)
            + scenarios.stockout_cost_per_day[rows, None, None] * self._late[suppliers][:, place].transpose(1, 0, 2)
            + scenarios.holding_cost_per_day[rows, None, None] * self._early[suppliers][:, place].transpose(1, 0, 2)
        )
        fixed = (
            self.quotes(rows, hour, world)[:, :, 0]
            + ORDER_COST
            + _extra_pack_holding_cost(scenarios, rows, packs, hour)
        )
        ticks = hour + TICK_HOURS * np.arange(TICKS_AHEAD)
        for lead_hours in self._spill_lead_hours.T:
            arrives = np.ceil(ticks[None, :] + lead_hours[suppliers][:, None]).astype(np.int64)
            cost += (
                _spill_cost(scenarios, rows, packs, np.broadcast_to(arrives, (len(rows), *arrives.shape)), world)
                / _SPILL_QUANTILES
            )
        cost = np.where(self.allowed_ahead(rows, hour, world), cost + (fixed / packs)[:, :, None], np.inf)
        out[near] = _best_now(cost)
        return out

    def quotes(self, rows: Int64, hour: int, world: ClosedLoopWorld) -> Float64:
        """(rows, options, 1) today's prices."""
        return world.quotes()[rows][:, :, None]

    def _optimal_hours_ahead(self) -> Float64:
        """(n,) hours before run-out from which an item is considered. Earlier, waiting is better, unless an absence forbids orders."""
        scenarios = self.scenarios
        if scenarios.family.vacations_declared:
            return np.full(len(scenarios), float(_HORIZON_H))
        best = np.zeros(len(scenarios))
        for out, late, early in zip(self._out, self._late, self._early, strict=True):
            cost = (
                scenarios.stockout_cost[:, None] * out
                + scenarios.stockout_cost_per_day[:, None] * late
                + scenarios.holding_cost_per_day[:, None] * early
            )
            best = np.maximum(best, cost.argmin(axis=1) - _HORIZON_H)
        return best + 2.0 * TICK_HOURS

    def _lead_quantiles(self, supplier: int) -> Float64:
        """(_QUANTILES,) of the lead time in days. A lost order counts as the time until it is presumed lost plus a second lead time."""
        draws = self.scenarios.supply_draws
        days = draws.lead_days[:, supplier].ravel()
        fate = draws.fate.ravel()
        after = lost_after_days(self.scenarios.family.supply.suppliers[supplier].stated_lead_days)
        second = np.roll(days, 1)
        days = np.where(fate == OrderFate.LOST, after + second, np.where(fate == OrderFate.FAILS, days + second, days))
        return np.asarray(np.quantile(days, (np.arange(_QUANTILES) + 0.5) / _QUANTILES))


class ClairvoyantPolicy(OraclePolicy):
    """The clairvoyant policy: knows consumption, purchases elsewhere, prices, and the fate of each order before it is placed."""

    def __init__(self, scenarios: ScenarioBatch) -> None:
        super().__init__(scenarios)
        self._external_refill_hours = [np.flatnonzero(row) for row in scenarios.external_refills]
        if not scenarios.family.supply.price_steps_per_year and not scenarios.family.vacations_declared:
            # With constant prices and no absences, ordering earlier than a chain of orders takes gains nothing.
            self._horizon_h = np.minimum(
                24.0 * _CONSECUTIVE_ORDERS * scenarios.supply_draws.lead_days.max(axis=(1, 2)), self._horizon_h
            )

    def replenishment_hours(self, rows: Int64, world: ClosedLoopWorld) -> Float64:
        """The true lead times of the first supplier's next orders."""
        ordinal = (world.orders_placed[rows][:, None] + np.arange(1, PACKS_AHEAD)[None, :]) % ORDERS_MAX
        return np.asarray(
            (24.0 * self.scenarios.supply_draws.lead_days[rows[:, None], 0, ordinal] + TICK_HOURS).cumsum(axis=1)
        )

    def choose_options(self, rows: Int64, empty: Float64, hour: int, world: ClosedLoopWorld) -> Int64:
        """(rows,) the option with the lowest true cost now, or -1. The draws of orders that would be lost are skipped."""
        scenarios, draws = self.scenarios, self.scenarios.supply_draws
        for row in rows:
            while draws.fate[row, world.orders_placed[row] % ORDERS_MAX] != OrderFate.ARRIVES:
                world.orders_placed[row] += 1
        ordinal = world.orders_placed[rows] % ORDERS_MAX
        packs = np.array([option.packs for option in world.options])
        suppliers = [option.supplier for option in world.options]
        lead = draws.lead_days[rows[:, None], np.array(suppliers)[None, :], ordinal[:, None]]
        ticks = hour + TICK_HOURS * np.arange(TICKS_AHEAD)
        arrives = np.maximum(np.ceil(ticks[None, None, :] + 24.0 * lead[:, :, None]), ticks + 1)
        late = np.maximum(arrives - empty[:, None, None], 0.0) / 24.0
        early = np.maximum(empty[:, None, None] - arrives, 0.0) / 24.0
        cost = (
            scenarios.stockout_cost[rows, None, None] * (late > 0.0)
            + scenarios.stockout_cost_per_day[rows, None, None] * late
            + scenarios.holding_cost_per_day[rows, None, None] * early
        )
        cost += _spill_cost(scenarios, rows, packs, arrives.astype(np.int64), world)
        fixed = (
            self.quotes(rows, hour, world)
            + ORDER_COST
            + _extra_pack_holding_cost(scenarios, rows, packs, hour)[:, :, None]
        )
        return _best_now(np.where(self.allowed_ahead(rows, hour, world), cost + fixed / packs[None, :, None], np.inf))

    def quotes(self, rows: Int64, hour: int, world: ClosedLoopWorld) -> Float64:
        """(rows, options, TICKS_AHEAD) the true future prices."""
        scenarios = self.scenarios
        days = np.minimum((hour + TICK_HOURS * np.arange(TICKS_AHEAD)) // 24, scenarios.prices.shape[2] - 1)
        factors = np.array([option.price_share * option.packs for option in world.options])
        suppliers = [option.supplier for option in world.options]
        return np.asarray(
            scenarios.prices[:, suppliers][scenarios.seed_index[rows]][:, :, days] * factors[None, :, None]
        )

    def _empty_hour(self, rows: Int64, hour: int, world: ClosedLoopWorld) -> Float64:
        """(rows,) hour of run-out, with future purchases elsewhere included."""
        scenarios, level = self.scenarios, world.level[rows].copy()
        empty = super()._empty_hour(rows, hour, world)
        for place, row in enumerate(rows):
            bought = self._external_refill_hours[row]
            for moment in bought[bought.searchsorted(hour, side="right") :]:
                if moment > empty[place] or empty[place] - hour > _HORIZON_H:
                    break
                level[place] += scenarios.external_refills[row, moment]
                empty[place] = _last_hour(
                    scenarios.empty_hour(rows[place : place + 1], hour, level[place : place + 1])
                )[0]
        return empty


def _last_hour(empty: Float64) -> Float64:
    """The last hour that begins with stock: a delivery at its beginning is in time. inf where an item is not used up."""
    return np.asarray(np.where(np.isfinite(empty), np.ceil(empty) - 1.0, np.inf))


def _extra_pack_holding_cost(scenarios: ScenarioBatch, rows: Int64, packs: Int64, hour: int) -> Float64:
    """(rows, options) holding cost of the packs beyond the first, each of which waits until those before it are used up."""
    if packs.max() == 1:
        return np.zeros((len(rows), len(packs)))
    days = np.array(
        [scenarios.pack[row] / max(scenarios.hourly_use[row, hour : hour + 1440].mean() * 24.0, 1e-9) for row in rows]
    )
    return np.asarray((scenarios.holding_cost_per_day[rows] * days)[:, None] * (packs * (packs - 1) / 2.0)[None, :])


def _spill_cost(scenarios: ScenarioBatch, rows: Int64, packs: Int64, arrives: Int64, world: ClosedLoopWorld) -> Float64:
    """(rows, options, ticks) cost per pack of what does not fit of packs that arrive at these hours."""
    out = np.zeros(arrives.shape)
    full = np.flatnonzero(
        ~scenarios.stores_spares[rows]
        & (world.level[rows] + packs.max() * scenarios.pack[rows] > scenarios.capacity[rows])
    )
    if full.size:
        row = rows[full][:, None, None]
        used = (
            scenarios.cumulative_use[row, np.minimum(arrives[full], scenarios.hourly_use.shape[1])]
            - scenarios.cumulative_use[row, world.hour]
        )
        left = np.maximum(world.level[row] - used, 0.0)
        lost = np.maximum(left + packs[None, :, None] * scenarios.pack[row] - scenarios.capacity[row], 0.0)
        out[full] = lost / scenarios.pack[row] * world.lowest_pack_price[row] / packs[None, :, None]
    return out


def _best_now(cost: Float64) -> Int64:
    """(rows,) the option with the lowest cost now; -1 where a later tick costs less. cost: (rows, options, ticks)."""
    now = cost[:, :, 0].min(axis=1)
    later = cost[:, :, 1:].min(axis=(1, 2))
    return np.asarray(np.where(np.isfinite(now) & (now <= later), cost[:, :, 0].argmin(axis=1), -1))


def _closed_ticks(scenarios: ScenarioBatch) -> Bools:
    """(n, suppliers, ticks) whether a declared absence forbids an order at the tick."""
    suppliers = scenarios.family.supply.suppliers
    ticks = scenarios.hours // TICK_HOURS
    out = np.zeros((len(scenarios), len(suppliers), ticks), dtype=bool)
    if scenarios.family.vacations_declared:
        for number, supplier in enumerate(suppliers):
            for tick in range(ticks):
                out[:, number, tick] = overlaps_absence(scenarios, tick * TICK_HOURS, supplier.stated_lead_days)
    return out
