"""Closed-loop simulation of n items under one policy: consumption, deliveries, readings and costs, hour by hour, vectorised.

A policy receives readings and suppliers' messages, and orders at ticks. An order is delivered by the draws for the item's first
order, its second, and so on. The world keeps the true levels and the totals; stock balances exactly (`imbalance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.worlds.scenarios import ORDER_COST, ScenarioBatch
from evaluation.worlds.sensor_faults import HourlyReadings, SensorFaults, Sensors
from evaluation.worlds.supply_draws import ORDERS_MAX, OrderFate, OrderOption, order_options
from simulators.neighbourhood.response_model import SHIPPED_LEAD_TIME_SHARE

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

TICK_HOURS = 6
"""Interval of decisions: that at which the shipped profiles evaluate a silent device."""
EMPTY_SHARE = 1e-9
"""Share of the capacity below which an item counts as empty: only rounding errors are smaller."""


class OutcomeKind(StrEnum):
    """Kinds of outcomes, by their names in the replay protocol."""

    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFILLED = "refilled"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeNotice:
    """An outcome reported to the policy. order: None for a purchase elsewhere; quantity: as declared, possibly wrong."""

    kind: OutcomeKind
    row: int
    quantity: float
    order: SimulatedOrder | None = None


@dataclass(slots=True, kw_only=True)
class SimulatedOrder:
    """An order placed.

    number: in order of placement; hour: of placement; arrives_hour: of the delivery or failure; ships_hour: from which it can't be
    cancelled; quantity: ordered; delivered_share, declared_quantity_share: of it; declared: whether the delivery is reported; fate;
    ended: whether it is closed; name: the policy's id for it.
    """

    number: int
    row: int
    option: OrderOption
    hour: int
    arrives_hour: int
    ships_hour: int
    quantity: float
    price: float
    delivered_share: float
    declared_quantity_share: float
    declared: bool
    fate: OrderFate
    ended: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order that a policy requests. cancellable_until_hour: before it the order must not ship; name: the policy's id for it."""

    row: int
    option: OrderOption
    cancellable_until_hour: int = 0
    name: str = ""


class OrderingPolicy(Protocol):
    """A policy in a simulated world. Other than an oracle, it may read only `options`, `quotes` and `allowed_options` of the world."""

    def on_readings(self, hour: int, readings: HourlyReadings) -> None:
        """Receives the readings that arrive at the hour."""

    def on_outcome(self, hour: int, notice: OutcomeNotice) -> None:
        """Receives an outcome that is reported at the hour."""

    def decide(self, hour: int, world: ClosedLoopWorld) -> Sequence[OrderRequest]:
        """The orders to place at this tick."""
        ...


@dataclass(slots=True, kw_only=True)
class RunTotals:
    """Totals of a simulation for n items, each (n,).

    pack_days_early: days that packs came before they were needed, summed over packs; premium: money paid above the lowest price of
    the simulation; wasted: money for quantities that did not fit; days: simulated.
    """

    run_outs: Float64
    empty_days: Float64
    pack_days_early: Float64
    packs: Float64
    orders: Float64
    premium: Float64
    wasted: Float64
    cancelled: Float64
    days: int

    def cost(self, scenarios: ScenarioBatch) -> Float64:
        """(n,) total cost of the simulation."""
        return np.asarray(
            scenarios.stockout_cost * self.run_outs
            + scenarios.stockout_cost_per_day * self.empty_days
            + scenarios.holding_cost_per_day * self.pack_days_early
            + ORDER_COST * self.orders
            + self.premium
            + self.wasted
        )


@dataclass(slots=True)
class ClosedLoopWorld:
    """The simulation of one policy. `run()` simulates it to its end.

    level: (n,) true; consumed, delivered, spilled: (n,) since the start; options: what can be ordered; orders_placed: (n,) counts;
    lowest_pack_price: (n,) of the simulation; months: of each day, numbered consecutively.
    """

    scenarios: ScenarioBatch
    policy: OrderingPolicy
    faults: SensorFaults
    hour: int = 0
    orders: list[SimulatedOrder] = field(default_factory=list)
    level: Float64 = field(init=False)
    consumed: Float64 = field(init=False)
    delivered: Float64 = field(init=False)
    spilled: Float64 = field(init=False)
    totals: RunTotals = field(init=False)
    options: tuple[OrderOption, ...] = field(init=False)
    orders_placed: Int64 = field(init=False)
    _sensors: Sensors = field(init=False)
    _arrivals_due: dict[int, list[SimulatedOrder]] = field(default_factory=dict)
    _empty: Bools = field(init=False)
    lowest_pack_price: Float64 = field(init=False)
    months: Int64 = field(init=False)
    _spent: dict[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scenarios, count = self.scenarios, len(self.scenarios)
        self.level = scenarios.initial_level.copy()
        self.consumed, self.delivered, self.spilled = np.zeros(count), np.zeros(count), np.zeros(count)
        self.totals = RunTotals(**{name: np.zeros(count) for name in _TOTAL_FIELDS}, days=scenarios.family.days)
        self.options = order_options(scenarios.family.supply)
        self.orders_placed = np.zeros(count, dtype=np.int64)
        self._sensors = Sensors(scenarios, self.faults)
        self._empty = np.zeros(count, dtype=bool)
        factors = np.array([[option.price_share] for option in self.options])
        suppliers = [option.supplier for option in self.options]
        pack_prices = scenarios.prices[:, suppliers, : scenarios.family.days] * factors
        self.lowest_pack_price = pack_prices.min(axis=(1, 2))[scenarios.seed_index]
        self.months = np.array(
            [_month_of(scenarios.first_day + day) for day in range(scenarios.hourly_use.shape[1] // 24)]
        )

    def run(self) -> RunTotals:
        """Simulates every hour."""
        while self.hour < self.scenarios.hours:
            self._run_hour()
            self.hour += 1
        return self.totals

    def imbalance(self) -> float:
        """The largest error of an item's stock balance, as a share of its capacity."""
        left = self.scenarios.initial_level + self.delivered - self.spilled - self.consumed
        return float((np.abs(left - self.level) / self.scenarios.capacity).max())

    def quotes(self) -> Float64:
        """(n, options) price of each whole order today."""
        day = self.hour // 24
        suppliers = [option.supplier for option in self.options]
        factors = np.array([option.price_share * option.packs for option in self.options])
        return np.asarray(self.scenarios.prices[:, suppliers, day][self.scenarios.seed_index] * factors)

    def within_price_limit(self, quotes: Float64) -> Bools:
        """(n, options) whether orders at these prices respect the customer's highest price per pack."""
        limit = self.scenarios.family.limits.price_max
        if limit is None:
            return np.ones(quotes.shape, dtype=bool)
        packs = np.array([option.packs for option in self.options])
        return np.asarray(quotes / packs <= limit * self.scenarios.family.supply.suppliers[0].price + 1e-9)

    def within_budget(self, quotes: Float64) -> Bools:
        """(n, options) whether the rest of this month's budget covers orders at these prices."""
        scenarios, month = self.scenarios, int(self.months[self.hour // 24])
        if scenarios.family.limits.budget is None:
            return np.ones(quotes.shape, dtype=bool)
        spent = np.array([self._spent.get((int(customer), month), 0.0) for customer in scenarios.customer])
        return np.asarray(spent[:, None] + quotes <= scenarios.budget[:, None] + 1e-9)

    def allowed_options(self) -> Bools:
        """(n, options) whether price limit, budget and declared absences permit an order now."""
        scenarios, quotes = self.scenarios, self.quotes()
        allowed = self.within_price_limit(quotes) & self.within_budget(quotes)
        if scenarios.family.vacations_declared:
            for number, option in enumerate(self.options):
                allowed[:, number] &= ~overlaps_absence(
                    scenarios, self.hour, scenarios.family.supply.suppliers[option.supplier].stated_lead_days
                )
        return allowed

    def cancel(self, order: SimulatedOrder) -> bool:
        """Cancels an order; whether that was still possible."""
        if order.ended or self.hour >= order.ships_hour:
            return False
        order.ended = True
        self.totals.cancelled[order.row] += 1.0
        self._refund(order)
        return True

    def _run_hour(self) -> None:
        hour, scenarios = self.hour, self.scenarios
        refilled = self._arrivals()
        readings = self._sensors.read(hour, self.level, self.consumed, refilled)
        if readings.rows.size or readings.late:
            self.policy.on_readings(hour, readings)
        if hour % TICK_HOURS == 0:
            for order_request in self.policy.decide(hour, self):
                self._place_order(order_request)
        wanted = scenarios.hourly_use[:, hour]
        taken = np.minimum(self.level, wanted)
        self.level -= taken
        self.consumed += taken
        empty = self.level <= EMPTY_SHARE * scenarios.capacity
        self.totals.run_outs += empty & ~self._empty
        self.totals.empty_days += empty / 24.0
        self._empty = empty

    def _arrivals(self) -> Bools:
        """Processes the deliveries and external purchases of this hour; (n,) whether an item was refilled."""
        hour, scenarios = self.hour, self.scenarios
        refilled = np.zeros(len(scenarios), dtype=bool)
        for order in self._arrivals_due.pop(hour, ()):
            if order.ended:
                continue
            order.ended = True
            if order.fate is OrderFate.ARRIVES:
                refilled[order.row] = True
                self._deliver(order)
                if order.declared:
                    self.policy.on_outcome(
                        hour,
                        OutcomeNotice(
                            kind=OutcomeKind.DELIVERED,
                            row=order.row,
                            quantity=order.declared_quantity_share * order.quantity,
                            order=order,
                        ),
                    )
            else:
                self._refund(order)
                if order.fate is OrderFate.FAILS:
                    self.policy.on_outcome(
                        hour, OutcomeNotice(kind=OutcomeKind.FAILED, row=order.row, quantity=0.0, order=order)
                    )
        for row in np.flatnonzero(scenarios.external_refills[:, hour]):
            quantity = float(scenarios.external_refills[row, hour])
            self._add_stock(int(row), quantity)
            refilled[row] = True
            if scenarios.external_refill_declared[row, hour]:
                self.policy.on_outcome(hour, OutcomeNotice(kind=OutcomeKind.REFILLED, row=int(row), quantity=quantity))
        return refilled

    def _deliver(self, order: SimulatedOrder) -> None:
        """Adds the order's packs to the stock and to the totals."""
        scenarios, row = self.scenarios, order.row
        quantity, before = order.delivered_share * order.quantity, float(self.level[row])
        packs = quantity / scenarios.pack[row]
        lost = self._add_stock(row, quantity) / scenarios.pack[row]
        steps = np.arange(0.0, packs - lost - 1e-9)
        needed = scenarios.empty_hour(np.full(len(steps), row), self.hour, before + steps * scenarios.pack[row])
        needed = np.minimum(needed, scenarios.hourly_use.shape[1])
        self.totals.pack_days_early[row] += pack_days_early(needed, packs - lost, self.hour)
        self.totals.packs[row] += packs
        self.totals.premium[row] += order.price * order.delivered_share - packs * self.lowest_pack_price[row]
        self.totals.wasted[row] += lost * self.lowest_pack_price[row]

    def _add_stock(self, row: int, quantity: float) -> float:
        """Adds a quantity to the level; the part that did not fit."""
        scenarios = self.scenarios
        room = np.inf if scenarios.stores_spares[row] else max(scenarios.capacity[row] - self.level[row], 0.0)
        lost = max(quantity - room, 0.0)
        self.level[row] += quantity - lost
        self.delivered[row] += quantity
        self.spilled[row] += lost
        self._empty[row] = self.level[row] <= EMPTY_SHARE * scenarios.capacity[row]
        return float(lost)

    def _place_order(self, order_request: OrderRequest) -> None:
        scenarios, row, option = self.scenarios, order_request.row, order_request.option
        ordinal = int(self.orders_placed[row]) % ORDERS_MAX
        self.orders_placed[row] += 1
        draws = scenarios.supply_draws
        lead = 24.0 * float(draws.lead_days[row, option.supplier, ordinal])
        arrives = max(int(np.ceil(self.hour + lead)), self.hour + 1, order_request.cancellable_until_hour + 1)
        price = float(
            scenarios.prices[scenarios.seed_index[row], option.supplier, self.hour // 24]
            * option.packs
            * option.price_share
        )
        order = SimulatedOrder(
            number=len(self.orders),
            row=row,
            option=option,
            hour=self.hour,
            arrives_hour=arrives,
            ships_hour=max(int(self.hour + SHIPPED_LEAD_TIME_SHARE * lead), order_request.cancellable_until_hour),
            quantity=float(scenarios.pack[row]) * option.packs,
            price=price,
            delivered_share=float(draws.delivered_share[row, ordinal]),
            declared_quantity_share=float(draws.declared_quantity_share[row, ordinal]),
            declared=bool(draws.declared[row, ordinal]),
            fate=OrderFate(int(draws.fate[row, ordinal])),
            name=order_request.name,
        )
        self.orders.append(order)
        self._arrivals_due.setdefault(arrives, []).append(order)
        self.totals.orders[row] += 1.0
        month = (int(scenarios.customer[row]), int(self.months[self.hour // 24]))
        self._spent[month] = self._spent.get(month, 0.0) + price

    def _refund(self, order: SimulatedOrder) -> None:
        month = (int(self.scenarios.customer[order.row]), int(self.months[order.hour // 24]))
        self._spent[month] -= order.price


_TOTAL_FIELDS = ("run_outs", "empty_days", "pack_days_early", "packs", "orders", "premium", "wasted", "cancelled")


def pack_days_early(needed_hour: Float64, packs: float, hour: int) -> float:
    """Days that the packs of a delivery at `hour` wait before each is needed, summed over packs.

    needed_hour: (k,) the hour at which each is needed, the last one possibly a fraction of a pack, so k is `packs` rounded up.
    """
    early_days = np.maximum(needed_hour - hour, 0.0) / 24.0
    return float(early_days @ np.minimum(packs - np.arange(len(needed_hour)), 1.0))


def overlaps_absence(scenarios: ScenarioBatch, hour: int, stated: tuple[float, float]) -> Bools:
    """(n,) whether an order placed at `hour` could arrive during a declared absence. stated: 10 % and 90 % lead time in days."""
    first, last = int((hour + 24.0 * stated[0]) // 24), int((hour + 24.0 * stated[1]) // 24)
    hits = [any(first <= end and start <= last for start, end in spans) for spans in scenarios.vacations]
    return np.array(hits, dtype=bool)


def _month_of(day: int) -> int:
    moment = datetime.fromtimestamp(day * 86_400, UTC)
    return moment.year * 12 + moment.month
