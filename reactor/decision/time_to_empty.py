"""Time to empty of a forecast: its distribution function, the integral of it, and its mean.

In days from the moment of the decision, as arithmetic on small arrays; reorder_policy.py decides on it. Between its quantiles a
forecast is interpolated as a normal distribution, and beyond the outermost ones extrapolated as a log-normal one: decisions rest on
risks of less than one in a hundred.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reactor.decision.lead_time import LeadTime
from star.analyse import DAYS_MAX, QUANTILES, Forecast
from star.quantiles import Z_ROUNDED
from star.times import DAY_MS

Floats = NDArray[np.float64]

TRUST_FULL = 0.3
"""Below this trust the early tail of a forecast counts for less: distrust never fires an order."""
TRUST_MIN = 0.1
LATEST_DAYS = 10.0 * DAYS_MAX
"""No forecast says more, however long its late tail."""
USAGE_LEARNED_DAYS = 14.0
"""How long it takes to learn how an item is used. Until then a part of what is uncertain is what waiting will tell."""
SILENCE_TOLERATED_DAYS = 1.5
"""An item that has been silent for longer is not waited for: it may say nothing until it is empty."""
CADENCE_READINGS_MIN, CADENCE_SILENT_DAYS = 3, 7.0
"""Of an item with fewer readings it is not known yet how often it speaks, until it has been silent for so long."""
USAGE_LEARNED_FACTOR = 1.0
"""So many times the median time to empty, where that is longer: what lasts for months is learned more slowly."""

_QUANTILE_Z = np.array(list(Z_ROUNDED.values()))
"""The standard normal distribution at QUANTILES."""
_UPPER_Z = np.array(
    [0.0, 0.2, 0.45, Z_ROUNDED[0.75], 0.9, 1.1, Z_ROUNDED[0.90], 1.5, Z_ROUNDED[0.95], 1.85, 2.1, Z_ROUNDED[0.99]]
)
_UPPER_LEVELS = np.array(
    [0.5, 0.5792597, 0.6736448, 0.75, 0.8159399, 0.8643339, 0.9, 0.9331928, 0.95, 0.9678432, 0.9821356, 0.99]
)
"""Knots of the standard normal distribution function from the median on; before it they are the same, mirrored."""
_INNER_Z = np.concatenate([-_UPPER_Z[:0:-1], _UPPER_Z])
_INNER_LEVELS = np.concatenate([1.0 - _UPPER_LEVELS[:0:-1], _UPPER_LEVELS])
_OUTER_Z = np.array([3.7190165, 3.2905267, 3.0902323, 2.8781617, 2.6520698, 2.4572634])
_OUTER_LEVELS = np.array([0.0, 0.0005, 0.001, 0.002, 0.004, 0.007])
"""Beyond the outermost quantiles, on either side; the level 0 is reached at the last of these."""
_LEVELS = np.concatenate([_OUTER_LEVELS, _INNER_LEVELS, 1.0 - _OUTER_LEVELS[::-1]])
_TAIL_EXPONENTS = (_OUTER_Z + _QUANTILE_Z[0]) / (_QUANTILE_Z[1] - _QUANTILE_Z[0])
_MEAN_LEVELS = (_LEVELS[1:] + _LEVELS[:-1]) / 2.0
_MEDIAN = QUANTILES.index(0.5)
_KNOT_SPACING = np.arange(_LEVELS.size) * 1e-5


def earliest_days(forecast: Forecast) -> float:
    """The lower end of the time to empty."""
    first, second = forecast.days[0], forecast.days[1]
    return float(first * (first / second) ** _TAIL_EXPONENTS[0]) if second > 0.0 else 0.0


class TimeToEmpty:
    """The time to empty of a forecast, in days from at_ms: a distribution function in straight pieces, and its integral."""

    def __init__(self, forecast: Forecast, at_ms: int, *, trust_adjusted: bool = True, packs_left: float = 1.0) -> None:
        """judged: with little trust the early tail is drawn in towards the median, and with a level of
        several packs too: the times that each of them lasts add up, so that their sum is surer than one of them."""
        days = list(forecast.days)
        keep = _early_tail_weight(forecast) if trust_adjusted else 1.0
        if keep < 1.0:
            middle = days[_MEDIAN]
            days[:_MEDIAN] = [middle - (middle - value) * keep for value in days[:_MEDIAN]]
        if trust_adjusted and packs_left > 1.0 and days[_MEDIAN] > 0.0:
            middle, power = days[_MEDIAN], packs_left**-0.5
            days[:_MEDIAN] = [middle * (value / middle) ** power for value in days[:_MEDIAN]]
        self.elapsed_days = (at_ms - forecast.at_ms) / DAY_MS
        low = (days[0] / days[1]) ** _TAIL_EXPONENTS if days[1] > 0.0 else np.zeros(_TAIL_EXPONENTS.size)
        high = (days[-1] / days[-2]) ** _TAIL_EXPONENTS[::-1] if days[-2] > 0.0 else np.ones(_TAIL_EXPONENTS.size)
        inner = np.interp(_INNER_Z, _QUANTILE_Z, days)
        # Knots must rise for the pieces to have a slope: equal quantiles are set apart by a second or so.
        self.knots: Floats = (
            np.concatenate([days[0] * low, inner, np.minimum(days[-1] * high, LATEST_DAYS)]) + _KNOT_SPACING
        )
        self._area = np.zeros(self.knots.size)
        (_MEAN_LEVELS * (self.knots[1:] - self.knots[:-1])).cumsum(out=self._area[1:])
        self.mean_days = float(self.knots[-1] - self._area[-1])

    def p_empty_by(self, days: Floats) -> Floats:
        """The probability of being empty within `days`, any shape."""
        levels: Floats = np.interp(days + self.elapsed_days, self.knots, _LEVELS)
        return levels

    def expected_empty_days(self, days: Floats) -> Floats:
        """E[(days - T)+]: the expected time empty within `days`."""
        return self.risks(days)[1]

    def risks(self, days: Floats) -> tuple[Floats, Floats]:
        """`empty_by` and `empty_days` of the same days, in one go."""
        moment = days + self.elapsed_days
        reached: Floats = np.interp(moment, self.knots, _LEVELS)
        piece = np.maximum(self.knots.searchsorted(moment, side="right") - 1, 0)
        over = np.maximum(moment - self.knots[piece], 0.0)
        area: Floats = self._area[piece] + (_LEVELS[piece] + reached) / 2.0 * over
        return reached, area


def usage_knowledge(forecast: Forecast, *, counted: bool = False) -> float:
    """How much of what an item's readings can tell of its use is known, 0 to 1. A silent gauge tells nothing by being waited for.

    counted: its use is counted, so that silence tells that it is not used.
    """
    silent_days = max((forecast.at_ms - forecast.reading_ms) / DAY_MS, 0.0)
    known_days = forecast.history_days
    if counted:
        known_days += silent_days
    elif silent_days > SILENCE_TOLERATED_DAYS:
        return 1.0 if forecast.readings >= CADENCE_READINGS_MIN or silent_days > CADENCE_SILENT_DAYS else 0.5
    return min(known_days / max(USAGE_LEARNED_DAYS, USAGE_LEARNED_FACTOR * forecast.days[_MEDIAN]), 1.0)


def _early_tail_weight(forecast: Forecast) -> float:
    """How much of the early tail counts, 0 to 1."""
    return min(max(forecast.trust, TRUST_MIN) / TRUST_FULL, 1.0)


def p_empty_before(forecast: Forecast, lead: LeadTime) -> float:
    """P(T < L): a run-out before an order placed at the forecast's moment would arrive."""
    curve = TimeToEmpty(forecast, forecast.at_ms, trust_adjusted=False)
    return float(np.clip(curve.p_empty_by(np.array(lead.days)) @ np.array(lead.weights), 0.0, 1.0))
