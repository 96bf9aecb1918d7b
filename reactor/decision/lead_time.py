"""Lead time of an order as a predictive distribution, from what the supplier states and what became of its orders.

With few deliveries its tail is that of a Student's t in the logarithm, wider than a log-normal through the stated quantiles; with
many it is the deliveries' own, of whatever shape. An order that fails or is lost takes as long as it is waited for, and then
another order's lead time. All in days; reorder_policy.py decides on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from star.quantiles import Z_EXACT

Floats = NDArray[np.float64]

Z_90 = Z_EXACT[0.90]
"""The standard normal distribution's 90 % quantile."""
LOST_FACTOR = 2.0
LOST_EXTRA_DAYS = 3.0
"""An order is given up as lost after the larger of LOST_TIMES x and LOST_DAYS_MORE days over the 90 % lead time."""
OVERDUE_FACTOR = 1.5
OVERDUE_EXTRA_DAYS = 1.0
"""From the larger of OVERDUE_TIMES x and OVERDUE_DAYS_MORE over it on, it may be given up where another order is wanted."""
PRIOR_WEIGHT = 4.0
"""The middle of the stated lead times counts like so many deliveries."""
PRIOR_DEGREES_OF_FREEDOM = 16.0
"""Their spread counts like so many: how far a supplier's word on it is to be trusted."""
SHAPE_WEIGHT = 10.0
"""The log-normal shape counts like so many deliveries beside those that were seen, each where it was."""
LOG_STD_MIN = 0.05
BINS_PER_E = 10
"""Deliveries are counted by bins of a tenth of the logarithm of their days."""
BIN_RANGE = (-40, 60)
"""From 0.018 days to 400; what lies outside is counted at the end."""
FAULT_PRIOR_WEIGHT = 20.0
FAULT_PRIOR_RATE = 0.005
"""Before any order was seen, such a share of them is taken to be lost, and as many to fail; it counts like so many orders."""
REPLACEMENT_LEVELS = (0.1, 0.5, 0.9)
REPLACEMENT_WEIGHTS = (0.3, 0.4, 0.3)
"""Quantiles of the lead time that stand for that of a second order, and of a failed one."""

REMAINING_LEVELS = (np.arange(12) + 0.5) / 12
"""Levels of what is left to wait for an order that is late."""

# Cells of the probability: fine where a run-out is decided, in the last percents.
_TAIL = (0.92, 0.94, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9965, 0.998, 0.999, 0.9995, 1.0)
_EDGES = np.array([0.0, 0.02, 0.06, *np.arange(0.1, 0.91, 0.05), *_TAIL])
_LEVELS = (_EDGES[1:] + _EDGES[:-1]) / 2.0
_CELLS = _EDGES[1:] - _EDGES[:-1]
_LOG_GRID = np.linspace(-7.0, 8.0, 1501)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStats:
    """What became of a supplier's orders. count: deliveries; mean, variance: of the logarithms of their days; bins: deliveries
    by bin of the logarithm; lost, failed: orders."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    bins: tuple[tuple[int, int], ...] = ()
    lost: int = 0
    failed: int = 0


NO_DELIVERIES = DeliveryStats()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTime:
    """days, weights: nodes, ascending, that stand for the distribution, orders that fail or are lost included; arrivals: of the
    orders that come, at CELL levels. lost: the share of orders that vanish. outer: the 10 % and 90 % quantiles of what comes."""

    days: tuple[float, ...]
    weights: tuple[float, ...]
    arrivals: tuple[float, ...]
    p_lost: float
    p10_p90: tuple[float, float]

    def p_later_than(self, days: float) -> float:
        """The probability that an order that comes takes longer than `days`."""
        return 1.0 - float(np.interp(days, self.arrivals, _LEVELS, left=0.0, right=1.0))

    def quantile(self, level: float) -> float:
        """Within how many days such a share of the orders that come is there."""
        return float(np.interp(level, _LEVELS, self.arrivals))

    def p_lost_after(self, days: float) -> float:
        """The probability that an order that has not come within `days` never will."""
        left = (1.0 - self.p_lost) * self.p_later_than(days)
        return self.p_lost / max(self.p_lost + left, 1e-12)

    def remaining_wait(self, waited_days: float) -> tuple[Floats, Floats]:
        """When an order that has not come for so long will: days from now at LEFT_LEVELS of those that come, and the
        probability that each stands for; what is missing to 1 never comes."""
        late = self.p_later_than(waited_days)
        days = np.interp(1.0 - late * (1.0 - REMAINING_LEVELS), _LEVELS, self.arrivals) - waited_days
        share = (1.0 - self.p_lost_after(waited_days)) / REMAINING_LEVELS.size
        return np.maximum(days, 0.0), np.full(REMAINING_LEVELS.size, share)


def overdue_after_days(lead_days: tuple[float, float]) -> float:
    """Days from which an order with these 10 % and 90 % lead times is late beyond what they allow."""
    return max(OVERDUE_FACTOR * lead_days[1], lead_days[1] + OVERDUE_EXTRA_DAYS)


def lost_after_days(lead_days: tuple[float, float]) -> float:
    """Days after which an order with these 10 % and 90 % lead times is given up."""
    return max(LOST_FACTOR * lead_days[1], lead_days[1] + LOST_EXTRA_DAYS)


def log_normal_parameters(lead_days: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm, from the 10 % and 90 % quantiles in days."""
    low, high = math.log(lead_days[0]), math.log(max(lead_days))
    return (low + high) / 2.0, (high - low) / (2.0 * Z_90)


def bin_of(log_days: float) -> int:
    """The bin in which a delivery is counted."""
    return min(max(math.floor(log_days * BINS_PER_E), BIN_RANGE[0]), BIN_RANGE[1])


def sorted_bins(bins: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """As they are kept: by bin, without empty ones."""
    return tuple((place, count) for place, count in sorted(bins.items()) if count)


@lru_cache(maxsize=4096)
def lead_time_distribution(stated: tuple[float, float], stats: DeliveryStats = NO_DELIVERIES) -> LeadTime:
    """The predictive distribution of the next order's lead time, from the stated 10 % and 90 % quantiles and what was seen."""
    arrivals = _arrivals(stated, stats)
    outer = (float(np.interp(0.1, _LEVELS, arrivals)), float(np.interp(0.9, _LEVELS, arrivals)))
    if not stats.count:
        outer = (stated[0], max(stated))
    orders = stats.count + stats.lost + stats.failed + FAULT_PRIOR_WEIGHT
    lost, failed = (
        (FAULT_PRIOR_RATE * FAULT_PRIOR_WEIGHT + max(one, 0)) / orders for one in (stats.lost, stats.failed)
    )
    again = np.interp(REPLACEMENT_LEVELS, _LEVELS, arrivals)
    # A supplier says that it fails when the order should have come; one that says nothing is given up.
    late = overdue_after_days((outer[0], max(outer[1], *stated))) + again
    twice = (again[:, None] + again[None, :]).ravel()
    once, pairs = np.array(REPLACEMENT_WEIGHTS), np.outer(REPLACEMENT_WEIGHTS, REPLACEMENT_WEIGHTS).ravel()
    days = np.concatenate([arrivals, twice, late])
    weights = np.concatenate([(1.0 - lost - failed) * _CELLS, failed * pairs, lost * once])
    order = np.argsort(days, kind="stable")
    return LeadTime(
        days=tuple(days[order].tolist()),
        weights=tuple(weights[order].tolist()),
        arrivals=tuple(arrivals.tolist()),
        p_lost=lost,
        p10_p90=outer,
    )


def _arrivals(stated: tuple[float, float], stats: DeliveryStats) -> Floats:
    """(cells,) the days of orders that come, at the middle of each cell."""
    middle, spread = log_normal_parameters(stated)
    spread = max(spread, LOG_STD_MIN)
    weight, freedom = PRIOR_WEIGHT + stats.count, PRIOR_DEGREES_OF_FREEDOM + stats.count
    mean = (PRIOR_WEIGHT * middle + stats.count * stats.mean) / weight
    squares = PRIOR_DEGREES_OF_FREEDOM * spread**2 + stats.count * stats.variance
    squares += PRIOR_WEIGHT * stats.count / weight * (stats.mean - middle) ** 2
    scale = max(math.sqrt(squares / freedom), LOG_STD_MIN)
    off = (_LOG_GRID - mean) / scale
    density = (1.0 + off**2 / freedom) ** (-(freedom + 1.0) / 2.0)
    shape = density.cumsum() / density.sum()
    if stats.bins:
        shape = (SHAPE_WEIGHT * shape + _empirical_counts(stats)) / (SHAPE_WEIGHT + stats.count)
    days: Floats = np.exp(np.interp(_LEVELS, shape, _LOG_GRID))
    return days


def _empirical_counts(stats: DeliveryStats) -> Floats:
    """The number of deliveries up to each fine logarithm, each spread over its bin and half of its neighbours."""
    total = np.zeros(_LOG_GRID.size)
    for place, count in stats.bins:
        edge = (np.array([place - 0.5, place + 0.5, place + 1.5])) / BINS_PER_E
        total += count * np.interp(_LOG_GRID, edge, (0.0, 0.5, 1.0))
    return total
