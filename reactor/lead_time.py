"""How long an order takes, as a distribution: what the supplier states, what its deliveries took, and what was lost.

A predictive one: with few deliveries known its tail is that of a Student's t in the logarithm, wider than a log-normal through
the stated quantiles; with many it is the deliveries' own, of whatever shape. An order that fails or is lost takes as long as it
is waited for, and then another order's time. Everything is in days; what is done with it is policy.py's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NORMAL_90 = 1.2815515655446004
"""The standard normal distribution's 90 % quantile."""
LOST_TIMES = 2.0
LOST_DAYS_MORE = 3.0
"""An order is given up as lost after the larger of LOST_TIMES x and LOST_DAYS_MORE days over the 90 % lead time."""
OVERDUE_TIMES = 1.5
OVERDUE_DAYS_MORE = 1.0
"""From the larger of OVERDUE_TIMES x and OVERDUE_DAYS_MORE over it on, it may be given up where another order is wanted."""
PRIOR_WEIGHT = 4.0
"""The middle of the stated lead times counts like so many deliveries."""
PRIOR_FREEDOM = 16.0
"""Their spread counts like so many: how far a supplier's word on it is to be trusted."""
SHAPE_WEIGHT = 10.0
"""The log-normal shape counts like so many deliveries beside those that were seen, each where it was."""
SPREAD_LEAST = 0.05
BINS_PER_E = 10
"""Deliveries are counted by bins of a tenth of the logarithm of their days."""
BIN_RANGE = (-40, 60)
"""From 0.018 days to 400; what lies outside is counted at the end."""
FAULT_WEIGHT = 20.0
FAULT_SHARE = 0.005
"""Before any order was seen, such a share of them is taken to be lost, and as many to fail; it counts like so many orders."""
REPLACED = (0.1, 0.5, 0.9)
REPLACED_WEIGHTS = (0.3, 0.4, 0.3)
"""Quantiles of the lead time that stand for that of a second order, and of a failed one."""

LEFT_LEVELS = (np.arange(12) + 0.5) / 12
"""Levels of what is left to wait for an order that is late."""

# Cells of the probability: fine where a run-out is decided, in the last percents.
_TAIL = (0.92, 0.94, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9965, 0.998, 0.999, 0.9995, 1.0)
_EDGES = np.array([0.0, 0.02, 0.06, *np.arange(0.1, 0.91, 0.05), *_TAIL])
_LEVELS = (_EDGES[1:] + _EDGES[:-1]) / 2.0
_CELLS = _EDGES[1:] - _EDGES[:-1]
_FINE = np.linspace(-7.0, 8.0, 1501)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a supplier's orders. count: deliveries; mean, variance: of the logarithms of their days; bins: deliveries
    by bin of the logarithm; lost, failed: orders."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    bins: tuple[tuple[int, int], ...] = ()
    lost: int = 0
    failed: int = 0


NOTHING_SEEN = Seen()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTime:
    """days, weights: nodes, ascending, that stand for the distribution, orders that fail or are lost included; arrivals: of the
    orders that come, at CELL levels. lost: the share of orders that vanish. outer: the 10 % and 90 % quantiles of what comes."""

    days: tuple[float, ...]
    weights: tuple[float, ...]
    arrivals: tuple[float, ...]
    lost: float
    outer: tuple[float, float]

    def later_than(self, days: float) -> float:
        """The probability that an order that comes takes longer than `days`."""
        return 1.0 - float(np.interp(days, self.arrivals, _LEVELS, left=0.0, right=1.0))

    def quantile(self, level: float) -> float:
        """Within how many days such a share of the orders that come is there."""
        return float(np.interp(level, _LEVELS, self.arrivals))

    def lost_by(self, days: float) -> float:
        """The probability that an order that has not come within `days` never will."""
        left = (1.0 - self.lost) * self.later_than(days)
        return self.lost / max(self.lost + left, 1e-12)

    def left(self, waited_days: float) -> tuple[Floats, Floats]:
        """When an order that has not come for so long will: days from now at LEFT_LEVELS of those that come, and the
        probability that each stands for; what is missing to 1 never comes."""
        late = self.later_than(waited_days)
        days = np.interp(1.0 - late * (1.0 - LEFT_LEVELS), _LEVELS, self.arrivals) - waited_days
        share = (1.0 - self.lost_by(waited_days)) / LEFT_LEVELS.size
        return np.maximum(days, 0.0), np.full(LEFT_LEVELS.size, share)


def overdue_after_days(lead_days: tuple[float, float]) -> float:
    """Days from which an order with these 10 % and 90 % lead times is late beyond what they allow."""
    return max(OVERDUE_TIMES * lead_days[1], lead_days[1] + OVERDUE_DAYS_MORE)


def lost_after_days(lead_days: tuple[float, float]) -> float:
    """Days after which an order with these 10 % and 90 % lead times is given up."""
    return max(LOST_TIMES * lead_days[1], lead_days[1] + LOST_DAYS_MORE)


def log_normal(lead_days: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm, from the 10 % and 90 % quantiles in days."""
    low, high = math.log(lead_days[0]), math.log(max(lead_days))
    return (low + high) / 2.0, (high - low) / (2.0 * NORMAL_90)


def bin_of(log_days: float) -> int:
    """The bin in which a delivery is counted."""
    return min(max(math.floor(log_days * BINS_PER_E), BIN_RANGE[0]), BIN_RANGE[1])


def bins_together(bins: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """As they are kept: by bin, without empty ones."""
    return tuple((place, count) for place, count in sorted(bins.items()) if count)


@lru_cache(maxsize=4096)
def lead_time(stated: tuple[float, float], seen: Seen = NOTHING_SEEN) -> LeadTime:
    """The predictive distribution of the next order's lead time, from the stated 10 % and 90 % quantiles and what was seen."""
    arrivals = _arrivals(stated, seen)
    outer = (float(np.interp(0.1, _LEVELS, arrivals)), float(np.interp(0.9, _LEVELS, arrivals)))
    if not seen.count:
        outer = (stated[0], max(stated))
    orders = seen.count + seen.lost + seen.failed + FAULT_WEIGHT
    lost, failed = ((FAULT_SHARE * FAULT_WEIGHT + max(one, 0)) / orders for one in (seen.lost, seen.failed))
    again = np.interp(REPLACED, _LEVELS, arrivals)
    # A supplier says that it fails when the order should have come; one that says nothing is given up.
    late = overdue_after_days((outer[0], max(outer[1], *stated))) + again
    twice = (again[:, None] + again[None, :]).ravel()
    once, pairs = np.array(REPLACED_WEIGHTS), np.outer(REPLACED_WEIGHTS, REPLACED_WEIGHTS).ravel()
    days = np.concatenate([arrivals, twice, late])
    weights = np.concatenate([(1.0 - lost - failed) * _CELLS, failed * pairs, lost * once])
    order = np.argsort(days, kind="stable")
    return LeadTime(
        days=tuple(days[order].tolist()),
        weights=tuple(weights[order].tolist()),
        arrivals=tuple(arrivals.tolist()),
        lost=lost,
        outer=outer,
    )


def _arrivals(stated: tuple[float, float], seen: Seen) -> Floats:
    """(cells,) the days of orders that come, at the middle of each cell."""
    middle, spread = log_normal(stated)
    spread = max(spread, SPREAD_LEAST)
    weight, freedom = PRIOR_WEIGHT + seen.count, PRIOR_FREEDOM + seen.count
    mean = (PRIOR_WEIGHT * middle + seen.count * seen.mean) / weight
    squares = PRIOR_FREEDOM * spread**2 + seen.count * seen.variance
    squares += PRIOR_WEIGHT * seen.count / weight * (seen.mean - middle) ** 2
    scale = max(math.sqrt(squares / freedom), SPREAD_LEAST)
    off = (_FINE - mean) / scale
    density = (1.0 + off**2 / freedom) ** (-(freedom + 1.0) / 2.0)
    shape = density.cumsum() / density.sum()
    if seen.bins:
        shape = (SHAPE_WEIGHT * shape + _counted(seen)) / (SHAPE_WEIGHT + seen.count)
    days: Floats = np.exp(np.interp(_LEVELS, shape, _FINE))
    return days


def _counted(seen: Seen) -> Floats:
    """The number of deliveries up to each fine logarithm, each spread over its bin and half of its neighbours."""
    total = np.zeros(_FINE.size)
    for place, count in seen.bins:
        edge = (np.array([place - 0.5, place + 0.5, place + 1.5])) / BINS_PER_E
        total += count * np.interp(_FINE, edge, (0.0, 0.5, 1.0))
    return total
