"""The pinball (quantile) loss, by which training, evaluation and shadow scoring measure quantile forecasts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def pinball_loss(forecast: NDArray[np.floating], truth: Float64, levels: Sequence[float]) -> Float64:
    """(n,) losses, the mean over `levels`, in the unit of `truth`.

    forecast: (n, m) quantiles; truth: (n,); levels: the m probabilities of the quantiles, 0 to 1. Koenker and Bassett, 1978.
    """
    error = truth[:, None] - forecast
    probabilities = np.asarray(levels)
    return np.asarray(np.maximum(probabilities * error, (probabilities - 1.0) * error).mean(axis=1), dtype=np.float64)
