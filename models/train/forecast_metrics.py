"""Metrics of forecasts of the time to empty: coverage and pinball loss, by kind of demand and near the end.

The reference forecast is a 28-day mean with normal errors of the demand until run-out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.gamma_baseline import days_to_empty
from models.pinball import pinball_loss
from models.train.run_out_examples import Examples
from star.analyse import DAYS_MAX, QUANTILES
from star.quantiles import Z

Float64 = NDArray[np.float64]

NEAR_END_DAYS = 14.0
"""Forecasts near the end are those whose median is at most this."""


def compute_metrics(examples: Examples, out: NDArray[np.float32]) -> dict[str, Any]:
    """Metrics overall, near the end, on cold starts (under a week of known days), and by kind of demand.

    out: (n, 9) the network's output, in baseline spreads.
    """
    days = days_to_empty(out, examples.baseline)
    middle = QUANTILES.index(0.50)
    near = days[:, middle] <= NEAR_END_DAYS
    cold = examples.x[:, 1] < 6.5 / 56.0
    metrics: dict[str, Any] = {"all": _metric_row(examples, days, np.ones(len(examples), dtype=bool))}
    metrics["near_end"] = _metric_row(examples, days, near)
    metrics["cold_start"] = _metric_row(examples, days, cold)
    metrics["by_kind"] = {
        str(kind): _metric_row(examples, days, examples.kind == kind) for kind in np.unique(examples.kind)
    }
    metrics["near_end_by_kind"] = {
        str(kind): _metric_row(examples, days, near & (examples.kind == kind)) for kind in np.unique(examples.kind)
    }
    return metrics


def _metric_row(examples: Examples, days: Float64, rows: NDArray[np.bool_]) -> dict[str, float]:
    """Metrics of the examples at `rows`. Coverage takes a censored truth as infinite; the pinball loss leaves it out."""
    selected, forecast = examples.select(rows), days[rows]
    level = {q: forecast[:, QUANTILES.index(q)] for q in (0.05, 0.25, 0.75, 0.95)}
    truth = np.where(selected.censored, np.inf, selected.time_days)
    known = ~selected.censored
    loss = pinball_loss(forecast[known], selected.time_days[known], QUANTILES)
    reference_loss = pinball_loss(reference_days(selected)[known], selected.time_days[known], QUANTILES)
    return {
        "examples": len(selected),
        "covered_5_95": round(float(((truth >= level[0.05]) & (truth <= level[0.95])).mean()), 4),
        "covered_25_75": round(float(((truth >= level[0.25]) & (truth <= level[0.75])).mean()), 4),
        "below_5": round(float((truth < level[0.05]).mean()), 4),
        "pinball_days": round(float(loss.mean()), 4),
        "of_reference": round(float(loss.mean() / reference_loss.mean()), 4),
    }


def reference_days(examples: Examples) -> Float64:
    """(n, 9) days to empty by a 28-day mean with normal errors."""
    mean = np.maximum(examples.level, 0.0) / examples.mean_28
    error = examples.deviation_28 / examples.mean_28 * np.sqrt(np.maximum(mean, 0.5))
    normal = np.array(list(Z.values()))
    return np.asarray(np.clip(mean[:, None] + error[:, None] * normal, 0.0, DAYS_MAX))
