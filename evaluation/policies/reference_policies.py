"""Reference policies on what a service can observe: a fixed threshold, a moving average, (s, S), and the newsvendor.

Each orders when its rule says so and the item has no open order, respects the customer's limits, and presumes an order lost as late
as the service does. docs/explanation/evaluation.md describes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evaluation.policies.stock_tracker import StockTracker
from evaluation.worlds.closed_loop_world import TICK_HOURS, ClosedLoopWorld, OrderRequest, OutcomeKind, OutcomeNotice
from evaluation.worlds.scenarios import ORDER_COST, ScenarioBatch
from evaluation.worlds.sensor_faults import HourlyReadings
from evaluation.worlds.supply_draws import OrderOption
from reactor.decision.lead_time import Z_90, log_normal_parameters, lost_after_days

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

PRIOR_DELIVERIES = 4.0
"""Weight of the stated lead time against observed deliveries, in deliveries."""
THRESHOLD_SHARE = 0.2
"""Reorder point of the threshold policy, as a share of the capacity."""
SAFETY_FACTOR = 2.0537
"""Standard deviations of demand in the (s, S) policy's safety stock: the 98 % quantile of the normal distribution."""
SMOOTHING = 0.1
"""Weight of the latest day in the newsvendor's exponentially smoothed rate: a memory of about ten days."""
DAILY_VARIATION_MIN = 0.2
"""Lowest standard deviation of a day's demand, as a share of the rate."""
INTERMITTENT_SHARE = 0.3
"""Share of days without demand above which size and probability are smoothed separately (Teunter, Syntetos, Babai, 2011)."""


class LeadTimeEstimator:
    """Log-normal lead times of each seed's suppliers, from the stated lead time (weight PRIOR_DELIVERIES) and observed deliveries."""

    def __init__(self, scenarios: ScenarioBatch) -> None:
        suppliers = scenarios.family.supply.suppliers
        shape = (len(scenarios.seeds), len(suppliers))
        stated = [log_normal_parameters(supplier.stated_lead_days) for supplier in suppliers]
        mean = np.broadcast_to([row[0] for row in stated], shape)
        deviation = np.broadcast_to([row[1] for row in stated], shape)
        self._count = np.full(shape, PRIOR_DELIVERIES)
        self._sum = PRIOR_DELIVERIES * mean
        self._squares = PRIOR_DELIVERIES * (mean**2 + deviation**2)

    def learn(self, seed: int, supplier: int, days: float) -> None:
        """Adds an observed delivery."""
        log = float(np.log(max(days, 0.02)))
        self._count[seed, supplier] += 1.0
        self._sum[seed, supplier] += log
        self._squares[seed, supplier] += log * log

    def log_moments(self) -> tuple[Float64, Float64]:
        """(seeds, suppliers) mean and standard deviation of the logarithm of the lead time in days."""
        mean = self._sum / self._count
        return mean, np.sqrt(np.maximum(self._squares / self._count - mean**2, 0.01))

    def moments(self) -> tuple[Float64, Float64]:
        """(seeds, suppliers) mean and variance of the lead time in days."""
        mean, spread = self.log_moments()
        days = np.exp(mean + spread**2 / 2.0)
        return days, days**2 * np.expm1(spread**2)

    def lost_after_hours(self) -> Float64:
        """(seeds, suppliers) hours after which an order is presumed lost."""
        mean, spread = self.log_moments()
        high = np.exp(mean + Z_90 * spread)
        days = [[lost_after_days((lead, lead)) for lead in row] for row in high.tolist()]
        return 24.0 * np.array(days)


class ReferencePolicy(ABC):
    """A policy on estimated stock. Subclasses decide when to order (`should_order`).

    It learns two times: from an order to its delivery, to presume late orders lost, and from the first order to the delivery, lost
    orders in between included, which is the time that stock has to last.
    """

    filtered = False

    def __init__(self, scenarios: ScenarioBatch) -> None:
        self.scenarios = scenarios
        self.tracker = StockTracker(scenarios, filtered=self.filtered)
        self.lead_times = LeadTimeEstimator(scenarios)
        self.replenishment_times = LeadTimeEstimator(scenarios)
        self._ordered_hour = np.full(len(scenarios), -1)
        self._first_ordered_hour = np.full(len(scenarios), -1)
        self._ordered_supplier = np.zeros(len(scenarios), dtype=np.int64)

    def on_readings(self, hour: int, readings: HourlyReadings) -> None:
        """Updates the stock estimates."""
        self.tracker.ingest(hour, readings)

    def on_outcome(self, hour: int, notice: OutcomeNotice) -> None:
        """Learns lead times from deliveries, and closes orders."""
        if notice.kind in (OutcomeKind.DELIVERED, OutcomeKind.REFILLED):
            self.tracker.add_delivery(hour, notice.row, notice.quantity)
        if notice.order is not None and self._ordered_hour[notice.row] == notice.order.hour:
            if notice.kind is OutcomeKind.DELIVERED:
                self._learn_delivery(notice.row, hour)
            self._ordered_hour[notice.row] = -1

    def decide(self, hour: int, world: ClosedLoopWorld) -> Sequence[OrderRequest]:
        """An order for each known item without an open one for which `should_order` holds."""
        if hour % 24 == 0:
            self.tracker.close_day(hour)
            self.on_day(hour)
        risen = self.tracker.undeclared_rise & (self._ordered_hour >= 0)
        for row in np.flatnonzero(risen):
            self._learn_delivery(int(row), hour)
        self._ordered_hour[risen] = -1
        self.tracker.undeclared_rise[:] = False
        seeds = self.scenarios.seed_index
        late = (self._ordered_hour >= 0) & (
            hour - self._ordered_hour > self.lead_times.lost_after_hours()[seeds, self._ordered_supplier]
        )
        self._ordered_hour[late] = -1
        free = (self._ordered_hour < 0) & self.tracker.known
        if not free.any():
            return ()
        allowed = world.allowed_options()
        chosen = self.choose_options(world, allowed)
        level = self.tracker.level_at(hour)
        wanted = free & allowed[np.arange(len(level)), chosen] & self.should_order(level, chosen, world)
        order_requests = [
            OrderRequest(int(row), self.order_quantity(int(row), world.options[chosen[row]], level))
            for row in np.flatnonzero(wanted)
        ]
        for order_request in order_requests:
            self._ordered_hour[order_request.row], self._ordered_supplier[order_request.row] = (
                hour,
                order_request.option.supplier,
            )
            self._first_ordered_hour[order_request.row] = (
                hour if self._first_ordered_hour[order_request.row] < 0 else self._first_ordered_hour[order_request.row]
            )
        return order_requests

    def on_day(self, hour: int) -> None:
        """Hook called at midnight."""
        return

    def choose_options(self, world: ClosedLoopWorld, allowed: Bools) -> Int64:
        """(n,) the option that would be ordered: the first that is permitted."""
        return np.asarray(allowed.argmax(axis=1))

    @abstractmethod
    def should_order(self, level: Float64, chosen: Int64, world: ClosedLoopWorld) -> Bools:
        """(n,) whether to order at these levels. chosen: (n,) the option that would be ordered."""

    def order_quantity(self, row: int, option: OrderOption, level: Float64) -> OrderOption:
        """The option as ordered; subclasses may change its number of packs."""
        return option

    def _learn_delivery(self, row: int, hour: int) -> None:
        seed, supplier = int(self.scenarios.seed_index[row]), int(self._ordered_supplier[row])
        self.lead_times.learn(seed, supplier, (hour - self._ordered_hour[row]) / 24.0)
        self.replenishment_times.learn(seed, supplier, (hour - self._first_ordered_hour[row]) / 24.0)
        self._first_ordered_hour[row] = -1

    def _lead(self, chosen: Int64, world: ClosedLoopWorld) -> tuple[Float64, Float64]:
        """(n,) mean and variance of the replenishment time from the chosen supplier, in days."""
        supplier = np.array([option.supplier for option in world.options])[chosen]
        mean, variance = self.replenishment_times.moments()
        return mean[self.scenarios.seed_index, supplier], variance[self.scenarios.seed_index, supplier]


class ThresholdPolicy(ReferencePolicy):
    """Fixed reorder point: orders below a fifth of the capacity."""

    def should_order(self, level: Float64, chosen: Int64, world: ClosedLoopWorld) -> Bools:
        """(n,) at or below the threshold."""
        return np.asarray(level <= THRESHOLD_SHARE * self.scenarios.capacity)


class MovingAveragePolicy(ReferencePolicy):
    """Orders when the level lasts no longer than a mean lead time at the mean rate of 28 days."""

    def should_order(self, level: Float64, chosen: Int64, world: ClosedLoopWorld) -> Bools:
        """(n,) at or below the mean demand of a mean lead time."""
        return np.asarray(level <= self.tracker.rate() * self._lead(chosen, world)[0])


class OrderUpToPolicy(ReferencePolicy):
    """(s, S): s is the lead time demand plus a normal safety stock, both from 28 days; S is the capacity, in whole packs."""

    def should_order(self, level: Float64, chosen: Int64, world: ClosedLoopWorld) -> Bools:
        """(n,) at or below s."""
        days, variance = self._lead(chosen, world)
        rate = self.tracker.rate()
        spread = np.sqrt(days * self.tracker.deviation() ** 2 + rate**2 * variance)
        return np.asarray(level <= rate * days + SAFETY_FACTOR * spread)

    def order_quantity(self, row: int, option: OrderOption, level: Float64) -> OrderOption:
        """As many packs as fit, at least one; a single pack where the customer has a budget."""
        if option.packs > 1 or self.scenarios.family.limits.budget is not None:
            return option
        room = self.scenarios.capacity[row] - level[row]
        return OrderOption(option.supplier, max(int(room / self.scenarios.pack[row]), 1), 1.0)


class NewsvendorPolicy(ReferencePolicy):
    """Orders at the reorder point of least expected cost: gamma demand over the replenishment time and until the next tick."""

    def __init__(self, scenarios: ScenarioBatch) -> None:
        super().__init__(scenarios)
        self._rate = scenarios.capacity / 30.0
        self._variance = self._rate**2
        self._size = self._rate.copy()
        self._share = np.ones(len(scenarios))
        self._zeros = np.zeros(len(scenarios))
        self._days = np.zeros(len(scenarios))

    def on_day(self, hour: int) -> None:
        """Exponential smoothing of rate and variance with the day's consumption, faster while few days are known."""
        gap = self.tracker.days_closed
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
        """(n,) consumption per day: smoothed, or size times probability for intermittent demand."""
        rate = np.where(self._zeros > INTERMITTENT_SHARE, self._size * self._share, self._rate)
        return np.asarray(np.maximum(rate, 1e-3 * self.scenarios.capacity / 30.0))

    def choose_options(self, world: ClosedLoopWorld, allowed: Bools) -> Int64:
        """(n,) the option with the lowest cost per pack, holding cost of the packs that wait included."""
        packs = np.array([option.packs for option in world.options])
        waits = (self.scenarios.pack / self.rates())[:, None] * (packs - 1.0) / 2.0
        cost = (world.quotes() + ORDER_COST) / packs + self.scenarios.holding_cost_per_day[:, None] * waits
        first = np.where(packs > 1, 0.0, -0.05 * cost[:, :1])  # the first option unless another is at least 5 % cheaper
        first[:, 1:] = 0.0
        return np.asarray(np.where(allowed, cost + first, np.inf).argmin(axis=1))

    def should_order(self, level: Float64, chosen: Int64, world: ClosedLoopWorld) -> Bools:
        """(n,) at or below the reorder point of least expected cost."""
        days, variance = self._lead(chosen, world)
        days = days + TICK_HOURS / 24.0
        rate = self.rates()
        mean = rate * days
        daily = np.maximum(self._variance, (DAILY_VARIATION_MIN * rate) ** 2)
        unseen = np.maximum(world.hour - self.tracker.measured_hour, 0.0) / 24.0
        spread = (days + unseen) * daily + rate**2 * variance
        demand = mean[:, None] * gamma_quantiles(mean**2 / np.maximum(spread, 1e-12))
        # Quantiles ascend, so expected excess and shortage at each of them are cumulative sums.
        below = np.cumsum(demand, axis=1)
        many = np.arange(1, demand.shape[1] + 1)
        over = (many * demand - below) / many[-1]
        short = (below[:, -1:] - below - (many[-1] - many) * demand) / many[-1]
        out = 1.0 - many / many[-1]
        scenarios = self.scenarios
        cost = (
            scenarios.stockout_cost[:, None] * out[None, :]
            + scenarios.stockout_cost_per_day[:, None] * short / rate[:, None]
            + scenarios.holding_cost_per_day[:, None] * over / rate[:, None]
        )
        packs = np.array([option.packs for option in world.options])[chosen]
        room = np.where(scenarios.stores_spares, np.inf, scenarios.capacity - packs * scenarios.pack + mean)
        price = (world.quotes()[np.arange(len(level)), chosen] / (packs * scenarios.pack))[:, None]
        cost += price * np.maximum(demand - room[:, None], 0.0)  # overflow at delivery
        point = demand[np.arange(len(level)), cost.argmin(axis=1)]
        return np.asarray(level <= point)


class FilteredNewsvendorPolicy(NewsvendorPolicy):
    """The newsvendor policy on filtered readings."""

    filtered = True


_SHAPES = np.geomspace(0.05, 400.0, 64)
_LEVELS_COUNT = 96


@lru_cache(maxsize=1)
def _gamma_table() -> Float64:
    """(shapes, levels) quantiles of gamma distributions of mean 1, from sorted draws with a fixed seed."""
    rng = np.random.default_rng(7)
    places = ((np.arange(_LEVELS_COUNT) + 0.5) / _LEVELS_COUNT * 20_000).astype(np.int64)
    rows = [np.sort(rng.gamma(shape, 1.0 / shape, 20_000)) for shape in _SHAPES]
    # The last level is far in the tail, so that a reorder point may lie there.
    return np.stack([np.append(row[places[:-1]], row[-40]) for row in rows])


def gamma_quantiles(shape: Float64) -> Float64:
    """(n, levels) quantiles of gamma distributions of mean 1 with these shapes."""
    place = np.abs(np.log(np.maximum(shape, 1e-6))[:, None] - np.log(_SHAPES)).argmin(axis=1)
    return np.asarray(_gamma_table()[place])
