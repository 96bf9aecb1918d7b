"""Reorder policy: the newsvendor's comparison of acting now with every wait.

C(d) = stock-out cost x P(T < L + d) + cost of each day empty x E[(L + d - T)+] + holding cost x packs x E[(T - L - d)+]
     + the expected loss of what does not fit,
for an order placed after d days; T is the time to empty, L the lead time (with the response time, where the customer is prompted).
Act now when C(0) costs no more than C(d) for every d; a tie without any risk waits. Figures go into the receipt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from reactor.decision.lead_time import LeadTime
from reactor.decision.price_model import PriceRisk
from reactor.decision.time_to_empty import Floats, TimeToEmpty, earliest_days, p_empty_before, usage_knowledge
from star.analyse import Forecast

CANDIDATE_WAITS_DAYS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
"""Waits that acting now is compared with, beside the time to the next look; shorter ones than that do not exist."""
NEXT_LEAD_LEVELS = np.array([0.5, 0.9, 0.98])
NEXT_LEAD_WEIGHTS = np.array([0.7, 0.25, 0.05])
"""What stands for the lead time of the order after this one, where an order lasts hardly longer than the next takes."""
TIMING_SHIFT_MAX = 3.0
"""The customer's "late" and "early" move the cost of running out by at most so many doublings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Money: of one run-out, of each day empty, of holding the order's packs a day, and of a unit that does not fit.

    room: what fits beside the present level in the slot's unit, or None where all fits; quantity: of the order; lasts_days: how
    long that quantity will last; level: at present; packs_left: the same in packs; counted: use is counted, not a level measured.
    """

    stockout_cost: float
    stockout_cost_per_day: float
    holding_cost_per_day: float
    headroom: float | None = None
    quantity: float = 0.0
    unit_price: float = 0.0
    lasts_days: float = math.inf
    packs_left: float = 1.0
    counted: bool = False
    level: float = 0.0

    def with_timing_shift(self, shift: float) -> Costs:
        """With running out made dearer (shift > 0) or holding made dearer (shift < 0) by 2^|shift|."""
        by = 2.0 ** min(max(shift, -TIMING_SHIFT_MAX), TIMING_SHIFT_MAX)
        return replace(
            self,
            stockout_cost=self.stockout_cost * max(by, 1.0),
            stockout_cost_per_day=self.stockout_cost_per_day * max(by, 1.0),
            holding_cost_per_day=self.holding_cost_per_day * max(1.0 / by, 1.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Whether to act now. Costs in money; wait_days: the best wait otherwise; p_out: P(empty before the delivery)."""

    act: bool
    cost_now: float
    cost_wait: float
    wait_days: float
    p_stockout: float

    def figures(self) -> dict[str, float]:
        """For the receipt."""
        return {
            "cost_now": round(self.cost_now, 4),
            "cost_of_waiting": round(self.cost_wait, 4),
            "best_wait_days": round(self.wait_days, 4),
            "p_out_before_delivery": round(self.p_stockout, 6),
        }


LEARNING_WAIT_DAYS = 1.0
"""A day of readings tells fast use from slow."""
LEARNED_LEAD_FACTOR = 2.0
"""Once its use is known, an order comes about so many mean lead times before it is needed."""
NOTHING_DUE = Timing(act=False, cost_now=0.0, cost_wait=0.0, wait_days=0.0, p_stockout=0.0)
"""Nothing can run out before an order of the next look would arrive: no arithmetic is needed."""


def evaluate_timing(
    forecast: Forecast,
    at_ms: int,
    lead: LeadTime,
    costs: Costs,
    *,
    evaluation_days: float,
    answer_days: float = 0.0,
    blocked_days: tuple[tuple[float, float], ...] = (),
    prices: PriceRisk | None = None,
    exact: bool = False,
) -> Timing:
    """Compares acting at at_ms with waiting.

    look_days: until the next look. answer_days: added to the lead time. closed_days: spans (from, to) in days from at_ms in
    which nothing may be ordered; a wait that ends in one goes on to its end. prices: what they will be, where they move. exact:
    the costs are wanted also where there is surely nothing to do.
    """
    # Spans move with the moment, so a grid with any is used once and not kept.
    make = _decision_grid.__wrapped__ if blocked_days else _decision_grid
    grid: _DecisionGrid = make(lead, evaluation_days, answer_days, blocked_days)
    shift_days = (at_ms - forecast.at_ms) / 86_400_000
    sure = earliest_days(forecast) - shift_days > grid.latest_days + max(grid.latest_days - costs.lasts_days, 0.0)
    if sure and costs.holding_cost_per_day >= 0.0 and prices is None and not exact:
        return NOTHING_DUE
    curve = _time_to_empty(forecast, at_ms, costs)
    cost, empty = _expected_costs(forecast, curve, grid, costs, prices)
    best = int(cost[1:].argmin()) + 1
    now, later, risk = float(cost[0]), float(cost[best]), float(empty[0])
    unknown = 1.0 - usage_knowledge(forecast, counted=costs.counted)
    if unknown > 0.0:
        later += unknown * min(_cost_of_learning(curve, grid, costs) - later, 0.0)
    act = now < later or (now == later and risk > 0.0)
    return Timing(act=act, cost_now=now, cost_wait=later, wait_days=float(grid.waits[best]), p_stockout=risk)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueOrder:
    """An order that has not come for waited_days. lead: of its supplier; twice_cost: money, of having another one as well."""

    lead_time: LeadTime
    waited_days: float
    duplicate_cost: float


def should_replace_now(
    forecast: Forecast, at_ms: int, lead: LeadTime, costs: Costs, overdue: OverdueOrder, *, evaluation_days: float
) -> bool:
    """Whether an order that is late is best given up now for another one with this lead time, rather than after any wait.

    It may come all the same, before the other one or after. Waiting spares the other one if it comes meanwhile.
    """
    grid, curve = _decision_grid(lead, evaluation_days, 0.0, ()), _time_to_empty(forecast, at_ms, costs)
    comes, weights = overdue.lead_time.remaining_wait(overdue.waited_days)
    never = 1.0 - float(weights.sum())
    # (n, of the first one, of the other one): whichever is there first.
    first = np.minimum(comes[None, :, None], grid.moments[:, None, :])
    reached, overdue_days = curve.risks(np.concatenate([first, grid.moments[:, None, :]], axis=1))
    share = np.append(weights, never)
    cost = ((costs.stockout_cost * reached + costs.stockout_cost_per_day * overdue_days) @ grid.weights) @ share
    early = (curve.mean_days - curve.elapsed_days) - grid.mean_moments + overdue_days[:, -1] @ grid.weights
    both = (comes[None, :] > grid.waits[:, None]) @ weights
    cost = cost + costs.holding_cost_per_day * early * never + overdue.duplicate_cost * both
    return bool(cost[0] < cost[1:].min())


def _cost_of_learning(curve: TimeToEmpty, grid: _DecisionGrid, costs: Costs) -> float:
    """The cost of waiting LEARNING_DAYS for what the item's readings will tell, and then to order at the right moment."""
    reached, overdue = curve.risks(LEARNING_WAIT_DAYS + grid.moments[0])
    empty, days_empty = float(reached @ grid.weights), float(overdue @ grid.weights)
    arrives = float(grid.mean_moments[0])
    days_early = min(curve.mean_days - curve.elapsed_days - arrives, LEARNED_LEAD_FACTOR * arrives)
    return (
        costs.stockout_cost * empty
        + costs.stockout_cost_per_day * days_empty
        + costs.holding_cost_per_day * max(days_early, 0.0)
    )


def _time_to_empty(forecast: Forecast, at_ms: int, costs: Costs) -> TimeToEmpty:
    return TimeToEmpty(forecast, at_ms, packs_left=costs.packs_left)


def _expected_costs(
    forecast: Forecast, curve: TimeToEmpty, grid: _DecisionGrid, costs: Costs, prices: PriceRisk | None
) -> tuple[Floats, Floats]:
    """(n,) the cost of ordering after each wait, and (n,) the probability of running out before the delivery."""
    reached, overdue = curve.risks(grid.moments)
    empty, days_empty = reached @ grid.weights, overdue @ grid.weights
    days_early = (curve.mean_days - curve.elapsed_days) - grid.mean_moments + days_empty
    cost = (
        costs.stockout_cost * empty + costs.stockout_cost_per_day * days_empty + costs.holding_cost_per_day * days_early
    )
    if costs.headroom is not None and costs.headroom < costs.quantity:
        cost = (
            cost
            + costs.unit_price * _expected_overflow(forecast, curve.elapsed_days, grid.moments, costs) @ grid.weights
        )
    if costs.lasts_days < grid.latest_days:
        cost = cost + _next_order_cost(curve, grid, costs)
    if prices is not None:
        cost = cost + prices.cost(grid.waits)
    return cost, empty


@dataclass(frozen=True, slots=True, kw_only=True)
class _DecisionGrid:
    """What does not depend on the forecast. waits: (n,) days, 0 first; moments: (n, nodes) days until the delivery, with their
    weights (nodes,) and means (n,); next_days: the lead time of the order after at NEXT_LEVELS; latest_days: by when an order
    of the next look has surely come."""

    waits: Floats
    moments: Floats
    weights: Floats
    mean_moments: Floats
    next_days: Floats
    latest_days: float


@lru_cache(maxsize=4096)
def _decision_grid(
    lead: LeadTime,
    evaluation_days: float,
    answer_days: float,
    blocked_days: tuple[tuple[float, float], ...],
) -> _DecisionGrid:
    arrivals, weights = np.array(lead.days) + answer_days, np.array(lead.weights)
    waits = _candidate_waits(evaluation_days, blocked_days)
    moments = waits[:, None] + arrivals[None, :]
    return _DecisionGrid(
        waits=waits,
        moments=moments,
        weights=weights,
        mean_moments=moments @ weights,
        next_days=np.interp(NEXT_LEAD_LEVELS, np.cumsum(weights), arrivals),
        latest_days=float(arrivals[-1] + waits[1]),
    )


def _candidate_waits(evaluation_days: float, blocked_days: tuple[tuple[float, float], ...]) -> Floats:
    waits = [0.0, evaluation_days, *(days for days in CANDIDATE_WAITS_DAYS if days > evaluation_days)]
    for start, end in blocked_days:
        # The look at the last open moment may come a little late: one look's time before it counts as closed.
        waits = [end if days > 0.0 and start - evaluation_days <= days < end else days for days in waits]
    return np.array(waits)


def _next_order_cost(curve: TimeToEmpty, grid: _DecisionGrid, costs: Costs) -> Floats:
    """(n,) what it costs that the order after this one goes out only when this one has come, and may then come too late."""
    moments = grid.moments[:, :, None] + grid.next_days - costs.lasts_days
    reached, overdue = curve.risks(moments)
    if costs.headroom is not None:
        # What does not fit lasts for nothing: no order lasts longer than all that fits.
        full_days = costs.lasts_days * (costs.headroom + costs.level) / costs.quantity
        reached = np.where(grid.next_days > full_days, 1.0, reached)
        overdue = np.maximum(overdue, grid.next_days - full_days)
    cost: Floats = (
        (costs.stockout_cost * reached + costs.stockout_cost_per_day * overdue) @ NEXT_LEAD_WEIGHTS @ grid.weights
    )
    return cost


def _expected_overflow(forecast: Forecast, shift_days: float, moments: Floats, costs: Costs) -> Floats:
    """The expected quantity that does not fit at each of `moments`: the level falls evenly until each possible T."""
    assert costs.headroom is not None
    empty_at = np.maximum(np.array(forecast.days) - shift_days, 1e-6)
    level = max(forecast.level, 0.0)
    left = level * np.maximum(1.0 - moments[..., None] / empty_at, 0.0)
    lost: Floats = np.maximum(costs.quantity - costs.headroom - level + left, 0.0) @ _KNOT_WEIGHTS
    return lost


_KNOT_WEIGHTS = np.array([0.03, 0.045, 0.10, 0.20, 0.25, 0.20, 0.10, 0.045, 0.03])
"""What each quantile of a forecast stands for."""


def p_stockout_before_delivery(forecast: Forecast, lead: LeadTime) -> float:
    """The probability of a run-out before an order placed now would arrive."""
    return round(p_empty_before(forecast, lead), 6)
