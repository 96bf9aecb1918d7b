"""The first guess of the time to empty, by arithmetic alone, and how what the network says moves it.

The use of t days is taken for a gamma distribution: the item's own mean, its own lumps, and what is unsure of its rate. So a
level lasts a median time, with a 1 and a 95 % quantile. Elementwise, so that a row's guess depends on that row only.
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
"""Of the guess, in the logarithm of days."""
DEVIATES_MAX = 8.0
"""No quantile is further from the guess's centre than so many of its spreads."""
EARLIEST_LOG_GAP, EARLIEST_GAP_SPREADS = 2.4, 2.5
"""Nor is the first one earlier than the middle one, in the logarithm of days, by more than the larger of this and so many early
spreads: a guess that is wide already says by itself what may happen."""
MEDIAN_DAYS_MIN = 0.02
SILENT_DAYS_KEPT = 0.1
"""Of the days of a silence: what is left by the rate is taken to last so long at least, as it is not known to be empty."""

_DEVIATE_99, _DEVIATE_95 = Z_EXACT[0.99], Z_EXACT[0.95]
"""Deviates of the 1 % and the 95 % quantile of the time to empty."""
_ITERATIONS = 8  # towards those quantiles, halving the distance in logarithms


@dataclass(frozen=True, slots=True)
class BaselineForecast:
    """The first guess of n items. centre: (n,) median days; early, late: (n,) standard deviation of their logarithm to each side."""

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
    """When `scale` days' use at the mean rate is used up, a silence of `silent_days` before now counted as uncertain too.

    The use of t days has the mean t and the variance variation t + of_rate t² + of_level (in mean days' use).
    """
    total_days = supply_days + silent_days
    quantile_days = []
    # The rate is a median, as likely too low as too high: what is unsure of it does not move the middle.
    for deviate, relative_variance in ((0.0, 0.0), (_DEVIATE_99, rate_variance), (-_DEVIATE_95, rate_variance)):
        days = total_days.copy()
        for _ in range(_ITERATIONS):
            shape = days * days / (variation * days + relative_variance * days * days + level_variance)
            np.maximum(shape, 1e-3, out=shape)
            # The quantile of a gamma distribution of mean 1 (Wilson and Hilferty, 1931).
            root = np.maximum(1.0 - 1.0 / (9.0 * shape) + deviate / (3.0 * np.sqrt(shape)), 0.05)
            days = np.sqrt(days * total_days / (root * root * root))
        quantile_days.append(days)
    left = SILENT_DAYS_KEPT * silent_days
    centre = np.maximum((quantile_days[0] - silent_days), left) * weekday_factor
    early = np.maximum((quantile_days[1] - silent_days), 0.1 * left) * weekday_factor
    late = np.maximum((quantile_days[2] - silent_days), left) * weekday_factor
    centre = np.maximum(centre, MEDIAN_DAYS_MIN)
    spread_early = np.log(centre / np.maximum(early, 0.1 * MEDIAN_DAYS_MIN)) / _DEVIATE_99
    spread_late = np.log(np.maximum(late, MEDIAN_DAYS_MIN) / centre) / _DEVIATE_95
    return BaselineForecast(
        centre, np.clip(spread_early, SPREAD_MIN, SPREAD_MAX), np.clip(spread_late, SPREAD_MIN, SPREAD_MAX)
    )


def days_to_empty(out: Float32, baseline: BaselineForecast) -> Float64:
    """(n, 9) days to empty at star.analyse.QUANTILES, 0 to DAYS_MAX, from the model's (n, 9) output."""
    model_deviates = np.clip(out.astype(np.float64), -DEVIATES_MAX, DEVIATES_MAX)
    logs = model_deviates * np.where(
        model_deviates < 0.0, baseline.early_spread[:, None], baseline.late_spread[:, None]
    )
    middle = logs[:, logs.shape[1] // 2, None]
    under = logs - middle
    # All early quantiles are drawn in together, so that they stay apart.
    beyond = under[:, :1] / -np.maximum(EARLIEST_LOG_GAP, EARLIEST_GAP_SPREADS * baseline.early_spread)[:, None]
    under = np.where(under < 0.0, under / np.maximum(beyond, 1.0), under)
    days: Float64 = baseline.median_days[:, None] * np.exp(middle + under)
    return np.minimum(days, DAYS_MAX)


def target_deviates(days: Float64, baseline: BaselineForecast) -> Float64:
    """(n,) what the model would have to say for `days`: the target that it is trained on."""
    logs = np.log(np.maximum(days, MEDIAN_DAYS_MIN) / baseline.median_days)
    return np.clip(
        logs / np.where(logs < 0.0, baseline.early_spread, baseline.late_spread), -DEVIATES_MAX, DEVIATES_MAX
    )
