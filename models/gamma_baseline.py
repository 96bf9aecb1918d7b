"""The gamma baseline: a closed-form forecast of the time to empty, and its correction by the network's output.

Demand over t days is modelled as a gamma distribution with the item's mean, its variation between days, and the uncertainty of its
rate. This gives a median time to empty and its 1 % and 95 % quantiles. Elementwise, so a row's forecast depends on that row only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from star.analyse import DAYS_MAX
from star.quantiles import Z_EXACT

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SPREAD_MIN, SPREAD_MAX = 0.03, 2.0
"""Range of the baseline's spreads, in the logarithm of days."""
DEVIATES_MAX = 8.0
"""Largest distance of a quantile from the baseline median, in spreads: bounds the network's output."""
EARLIEST_LOG_GAP, EARLIEST_GAP_SPREADS = 2.4, 2.5
"""Largest distance of the earliest quantile before the median, in the logarithm of days: the larger of the first constant and the
second times the early spread. A wide baseline expresses its uncertainty without the network."""
MEDIAN_DAYS_MIN = 0.02
"""Shortest median, half an hour: keeps logarithms finite."""
SILENT_DAYS_KEPT = 0.1
"""Least time to empty after a silence, as a share of its days, as the item is not known to be empty."""

_DEVIATE_99, _DEVIATE_95 = Z_EXACT[0.99], Z_EXACT[0.95]  # standard normal quantiles of the two spreads
_ITERATIONS = 8  # of the fixed point for each quantile, each of which halves the distance in logarithms


@dataclass(frozen=True, slots=True)
class BaselineForecast:
    """Baseline forecasts of n items. median_days: (n,); early_spread, late_spread: (n,) of the logarithm of days, before and after."""

    median_days: Float64
    early_spread: Float64
    late_spread: Float64


def baseline_forecast(
    supply_days: Float64,
    silent_days: Float64,
    variation: Float64,
    rate_variance: Float64,
    level_variance: Float64,
    weekday_factor: Float64,
) -> BaselineForecast:
    """The time until `supply_days` days' demand at the mean rate is used up; the demand during `silent_days` is uncertain too.

    All arguments are (n,). The demand of t days, in units of a mean day's demand, has mean t and variance
    variation t + rate_variance t² + level_variance. weekday_factor: days by weekday pattern over days at the mean rate.
    """
    total_days = supply_days + silent_days
    quantile_days = []
    # The rate is a median estimate, as likely too low as too high: its uncertainty does not move the median.
    for deviate, relative_variance in ((0.0, 0.0), (_DEVIATE_99, rate_variance), (-_DEVIATE_95, rate_variance)):
        days = total_days.copy()
        for _ in range(_ITERATIONS):
            shape = days * days / (variation * days + relative_variance * days * days + level_variance)
            np.maximum(shape, 1e-3, out=shape)
            # Quantile of a gamma distribution of mean 1 (approximation of Wilson and Hilferty, 1931).
            root = np.maximum(1.0 - 1.0 / (9.0 * shape) + deviate / (3.0 * np.sqrt(shape)), 0.05)
            days = np.sqrt(days * total_days / (root * root * root))
        quantile_days.append(days)
    least = SILENT_DAYS_KEPT * silent_days
    median = np.maximum((quantile_days[0] - silent_days), least) * weekday_factor
    early = np.maximum((quantile_days[1] - silent_days), 0.1 * least) * weekday_factor
    late = np.maximum((quantile_days[2] - silent_days), least) * weekday_factor
    median = np.maximum(median, MEDIAN_DAYS_MIN)
    spread_early = np.log(median / np.maximum(early, 0.1 * MEDIAN_DAYS_MIN)) / _DEVIATE_99
    spread_late = np.log(np.maximum(late, MEDIAN_DAYS_MIN) / median) / _DEVIATE_95
    return BaselineForecast(
        median, np.clip(spread_early, SPREAD_MIN, SPREAD_MAX), np.clip(spread_late, SPREAD_MIN, SPREAD_MAX)
    )


def days_to_empty(out: Float32, baseline: BaselineForecast) -> Float64:
    """(n, 9) days to empty at star.analyse.QUANTILES, 0 to DAYS_MAX. out: (n, 9) the network's output, in baseline spreads."""
    model_deviates = np.clip(out.astype(np.float64), -DEVIATES_MAX, DEVIATES_MAX)
    logs = model_deviates * np.where(
        model_deviates < 0.0, baseline.early_spread[:, None], baseline.late_spread[:, None]
    )
    median = logs[:, logs.shape[1] // 2, None]
    offset = logs - median
    # All early quantiles are scaled by the same factor, which keeps them distinct.
    excess = offset[:, :1] / -np.maximum(EARLIEST_LOG_GAP, EARLIEST_GAP_SPREADS * baseline.early_spread)[:, None]
    offset = np.where(offset < 0.0, offset / np.maximum(excess, 1.0), offset)
    days: Float64 = baseline.median_days[:, None] * np.exp(median + offset)
    return np.minimum(days, DAYS_MAX)


def target_deviates(days: Float64, baseline: BaselineForecast) -> Float64:
    """(n,) training targets: the output for which `days_to_empty` returns `days`, within DEVIATES_MAX."""
    logs = np.log(np.maximum(days, MEDIAN_DAYS_MIN) / baseline.median_days)
    return np.clip(
        logs / np.where(logs < 0.0, baseline.early_spread, baseline.late_spread), -DEVIATES_MAX, DEVIATES_MAX
    )
