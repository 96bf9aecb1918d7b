"""The first guess of the time to empty, by arithmetic alone, and how what the network says moves it.

The use of t days is taken for a gamma distribution: the item's own mean, its own lumps, and what is unsure of its rate. So a
level lasts a median time, with a 1 and a 95 % quantile. Elementwise, so that a row's guess depends on that row only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from star.analyse import DAYS_MAX

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SPREAD_MIN, SPREAD_MAX = 0.03, 2.0
"""Of the guess, in the logarithm of days."""
DEVIATES_MAX = 8.0
"""No quantile is further from the guess's centre than so many of its spreads."""
EARLIEST, EARLIEST_SPREADS = 2.4, 2.5
"""Nor is the first one earlier than the middle one, in the logarithm of days, by more than the larger of this and so many early
spreads: a guess that is wide already says by itself what may happen."""
CENTRE_MIN_DAYS = 0.02
SILENT_LEFT = 0.1
"""Of the days of a silence: what is left by the rate is taken to last so long at least, as it is not known to be empty."""

_EARLY, _LATE = 2.3263478740408408, 1.6448536269514722  # deviates of the 1 and the 95 % quantile of the time to empty
_STEPS = 8  # towards those quantiles, halving the distance in logarithms


@dataclass(frozen=True, slots=True)
class Guess:
    """The first guess of n items. centre: (n,) median days; early, late: (n,) standard deviation of their logarithm to each side."""

    centre: Float64
    early: Float64
    late: Float64


def first_guess(
    scale: Float64, silent_days: Float64, variation: Float64, of_rate: Float64, of_level: Float64, of_week: Float64
) -> Guess:
    """When `scale` days' use at the mean rate is used up, a silence of `silent_days` before now counted as uncertain too.

    The use of t days has the mean t and the variance variation t + of_rate t² + of_level (in mean days' use).
    """
    whole = scale + silent_days
    found = []
    # The rate is a median, as likely too low as too high: what is unsure of it does not move the middle.
    for deviate, unsure in ((0.0, 0.0), (_EARLY, of_rate), (-_LATE, of_rate)):
        days = whole.copy()
        for _ in range(_STEPS):
            shape = days * days / (variation * days + unsure * days * days + of_level)
            np.maximum(shape, 1e-3, out=shape)
            # The quantile of a gamma distribution of mean 1 (Wilson and Hilferty, 1931).
            root = np.maximum(1.0 - 1.0 / (9.0 * shape) + deviate / (3.0 * np.sqrt(shape)), 0.05)
            days = np.sqrt(days * whole / (root * root * root))
        found.append(days)
    left = SILENT_LEFT * silent_days
    centre = np.maximum((found[0] - silent_days), left) * of_week
    early = np.maximum((found[1] - silent_days), 0.1 * left) * of_week
    late = np.maximum((found[2] - silent_days), left) * of_week
    centre = np.maximum(centre, CENTRE_MIN_DAYS)
    spread_early = np.log(centre / np.maximum(early, 0.1 * CENTRE_MIN_DAYS)) / _EARLY
    spread_late = np.log(np.maximum(late, CENTRE_MIN_DAYS) / centre) / _LATE
    return Guess(centre, np.clip(spread_early, SPREAD_MIN, SPREAD_MAX), np.clip(spread_late, SPREAD_MIN, SPREAD_MAX))


def days_to_empty(out: Float32, guess: Guess) -> Float64:
    """(n, 9) days to empty at star.analyse.QUANTILES, 0 to DAYS_MAX, from the model's (n, 9) output."""
    said = np.clip(out.astype(np.float64), -DEVIATES_MAX, DEVIATES_MAX)
    logs = said * np.where(said < 0.0, guess.early[:, None], guess.late[:, None])
    middle = logs[:, logs.shape[1] // 2, None]
    under = logs - middle
    # All early quantiles are drawn in together, so that they stay apart.
    beyond = under[:, :1] / -np.maximum(EARLIEST, EARLIEST_SPREADS * guess.early)[:, None]
    under = np.where(under < 0.0, under / np.maximum(beyond, 1.0), under)
    days: Float64 = guess.centre[:, None] * np.exp(middle + under)
    return np.minimum(days, DAYS_MAX)


def deviates(days: Float64, guess: Guess) -> Float64:
    """(n,) what the model would have to say for `days`: the target that it is trained on."""
    logs = np.log(np.maximum(days, CENTRE_MIN_DAYS) / guess.centre)
    return np.clip(logs / np.where(logs < 0.0, guess.early, guess.late), -DEVIATES_MAX, DEVIATES_MAX)
