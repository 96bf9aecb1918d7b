"""Distributions of the decision: the time to empty from a forecast's quantiles, the lead time as a log-normal.

Everything is in days from the moment of deciding. Pure arithmetic on small arrays; what to do with it is policy.py's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from star.analyse import QUANTILES, Forecast
from star.times import DAY_MS

Floats = NDArray[np.float64]

NORMAL_90 = 1.2815515655446004
"""The standard normal distribution's 90 % quantile."""
TRUST_FULL = 0.5
"""Below this trust the early tail of a forecast counts for less: distrust never fires an order."""
TRUST_LEAST = 0.1
LEARNED_DAYS = 14.0
"""How long it takes to learn how an item is used. Until then the early tail stands for what waiting will tell: a fast use
shows itself in days and moves the whole forecast, so it is no reason to act before."""
LEARNED_SHARE = 0.25
"""Of the median time to empty: what lasts for months is learned more slowly than what lasts for days."""

_LEVELS = np.array([0.0, *QUANTILES, 1.0])
_HALF_STEPS = (_LEVELS[1:] + _LEVELS[:-1]) / 2.0
_MEDIAN = QUANTILES.index(0.5)
_APART = np.arange(_LEVELS.size) * 1e-5
# Gauss-Hermite nodes of the standard normal distribution: with seven an expectation is exact for polynomials up to x^13.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_FINE_NODES, _FINE_WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
_FINE_WEIGHTS = _FINE_WEIGHTS / _FINE_WEIGHTS.sum()


def earliest_days(forecast: Forecast) -> float:
    """The lower end of the time to empty: the early tail goes on below its 1 % quantile as it went from 5 % to 1 %."""
    first, second = forecast.days[0], forecast.days[1]
    return first * first / second if second > 0.0 else 0.0


def lead_nodes(lead_days: tuple[float, float]) -> Floats:
    """(7,) lead times in days that with WEIGHTS stand for a log-normal through the 10 % and 90 % quantiles."""
    middle, spread = log_normal(lead_days)
    return np.exp(middle + spread * _NODES)


def lead_weights() -> Floats:
    """(7,) the nodes' weights, which add up to 1."""
    return _WEIGHTS


def log_normal(lead_days: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm, from the 10 % and 90 % quantiles in days."""
    low, high = math.log(lead_days[0]), math.log(max(lead_days))
    return (low + high) / 2.0, (high - low) / (2.0 * NORMAL_90)


class TimeToEmpty:
    """The time to empty of a forecast, in days from at_ms: a distribution function in straight pieces, and its integral."""

    def __init__(self, forecast: Forecast, at_ms: int, *, judged: bool = True) -> None:
        """judged: with little trust, or little history, the early tail is drawn in towards the median."""
        days = list(forecast.days)
        keep = _early_tail(forecast) if judged else 1.0
        if keep < 1.0:
            middle = days[_MEDIAN]
            days[:_MEDIAN] = [middle - (middle - value) * keep for value in days[:_MEDIAN]]
        first = days[0] * days[0] / days[1] if days[1] > 0.0 else 0.0
        last = days[-1] * days[-1] / days[-2] if days[-2] > 0.0 else 0.0
        knots = np.array((first, *days, last))
        self.shift = (at_ms - forecast.at_ms) / DAY_MS
        # Knots must rise for the pieces to have a slope: equal quantiles are set apart by a second or so.
        self.knots: Floats = knots + _APART
        self._area = np.zeros(knots.size)
        (_HALF_STEPS * (self.knots[1:] - self.knots[:-1])).cumsum(out=self._area[1:])
        self.mean = float(self.knots[-1] - self._area[-1])

    def empty_by(self, days: Floats) -> Floats:
        """The probability of being empty within `days`, any shape."""
        levels: Floats = np.interp(days + self.shift, self.knots, _LEVELS)
        return levels

    def empty_days(self, days: Floats) -> Floats:
        """E[(days - T)+]: the expected time empty within `days`."""
        return self.risks(days)[1]

    def risks(self, days: Floats) -> tuple[Floats, Floats]:
        """`empty_by` and `empty_days` of the same days, in one go."""
        moment = days + self.shift
        reached: Floats = np.interp(moment, self.knots, _LEVELS)
        piece = np.maximum(self.knots.searchsorted(moment, side="right") - 1, 0)
        over = np.maximum(moment - self.knots[piece], 0.0)
        area: Floats = self._area[piece] + (_LEVELS[piece] + reached) / 2.0 * over
        return reached, area


def _early_tail(forecast: Forecast) -> float:
    """How much of the early tail counts, 0 to 1."""
    trusted = min(forecast.trust / TRUST_FULL, 1.0)
    needed_days = max(LEARNED_DAYS, LEARNED_SHARE * forecast.days[_MEDIAN])
    learned = min(forecast.history_days / needed_days, 1.0)
    return max(min(trusted, learned), TRUST_LEAST / TRUST_FULL)


def p_empty_before(forecast: Forecast, lead_days: tuple[float, float]) -> float:
    """P(T < L), with the lead time L as a log-normal through lead_days."""
    middle, spread = log_normal(lead_days)
    arrivals = np.exp(middle + spread * _FINE_NODES)
    curve = TimeToEmpty(forecast, forecast.at_ms, judged=False)
    return float(np.clip(curve.empty_by(arrivals) @ _FINE_WEIGHTS, 0.0, 1.0))
