"""Scores of simulated runs: cost over the clairvoyant's, run-outs, coverage and pinball loss, with bootstrap intervals.

Figures are computed by item first. Resampling the items of all seeds then gives intervals: 90 % of the resampled figures lie
within.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.policies.service_policy import QUANTILE_LEVELS, ForecastSamples
from evaluation.worlds.closed_loop_world import RunTotals
from evaluation.worlds.scenarios import ScenarioBatch
from models.pinball import pinball_loss

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

BOOTSTRAP_RESAMPLES = 500
"""Bootstrap resamples behind an interval: more steady its ends, fewer save time."""
NEAR_END_DAYS = 14.0
"""Forecasts near the end are those whose median is at most this."""
COLD_START_DAYS = 14
"""Length of the cold start: the first days of an item."""
SERVICE, CLAIRVOYANT, INFORMED, FILTERED = "service", "clairvoyant", "informed", "newsvendor-filtered"
"""Names of the policies that the scores compare; others appear under their own names only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyResult:
    """The outcome of one family.

    days: simulated. costs: policy -> (n,) money by item; figures: policy -> figure -> mean per item-year; service: counts that
    only the service has, such as invariant violations; samples: the service's forecasts.
    """

    name: str
    description: str
    days: int
    costs: Mapping[str, Float64]
    figures: Mapping[str, Mapping[str, float]]
    service: Mapping[str, Any]
    samples: ForecastSamples


def item_year_figures(scenarios: ScenarioBatch, totals: RunTotals) -> dict[str, float]:
    """Means per item-year of costs and counts, and the mean days that a pack came early."""
    years = totals.days / 365.0
    means = {
        "cost": totals.cost(scenarios),
        "run_outs": totals.run_outs,
        "empty_days": totals.empty_days,
        "orders": totals.orders,
        "holding": scenarios.holding_cost_per_day * totals.pack_days_early,
        "stock_outs": scenarios.stockout_cost * totals.run_outs + scenarios.stockout_cost_per_day * totals.empty_days,
        "premium": totals.premium,
        "wasted": totals.wasted,
    }
    out = {name: round(float(values.mean()) / years, 4) for name, values in means.items()}
    out["days_early"] = round(float(totals.pack_days_early.sum() / max(totals.packs.sum(), 1e-9)), 3)
    return out


def resample_rows(items: int, stream: int) -> Int64:
    """(BOOTSTRAP_RESAMPLES, items) rows drawn with replacement. stream: of the random numbers, one for each figure."""
    return np.random.default_rng([77, stream]).integers(0, items, (BOOTSTRAP_RESAMPLES, items))


def with_interval(values: Float64, middle: float) -> list[float]:
    """[figure, 5 % and 95 % quantile of its resampled values]; NaN resamples are left out."""
    low, high = np.nanquantile(values, (0.05, 0.95))
    return [round(float(value), 4) + 0.0 for value in (middle, low, high)]  # + 0.0: no negative zero


def cost_ratio(over: Float64, under: Float64, draws: Int64) -> tuple[float, Float64]:
    """(ratio of two sums over items, (resamples,) the same ratio of resampled items; NaN where the denominator is zero)."""
    below = under[draws].sum(axis=1)
    return float(over.sum() / under.sum()), over[draws].sum(axis=1) / np.where(below > 0.0, below, np.nan)


def geometric_mean(ratios: Sequence[tuple[float, Float64]]) -> list[float]:
    """The geometric mean of ratios over families, with its interval. ratios: of each family, the ratio and its resamples."""
    resamples = np.exp(np.mean([np.log(values) for _, values in ratios], axis=0))
    return with_interval(resamples, float(np.exp(np.mean([np.log(ratio) for ratio, _ in ratios]))))


def family_scores(result: FamilyResult, stream: int) -> dict[str, Any]:
    """All figures of one family, as JSON fields. stream: of the random numbers for resampling."""
    draws = resample_rows(len(result.costs[CLAIRVOYANT]), stream)
    policies: dict[str, Any] = {}
    for policy, cost in result.costs.items():
        ratio, resamples = cost_ratio(cost, result.costs[CLAIRVOYANT], draws)
        policies[policy] = {**result.figures[policy], "over_clairvoyant": with_interval(resamples, ratio)}
    out: dict[str, Any] = {"what": result.description, "days": result.days, "policies": policies}
    if SERVICE in result.costs:
        out["service"] = dict(result.service)
        for other, key in ((INFORMED, "over_informed"), (FILTERED, "over_newsvendor_filtered")):
            ratio, resamples = cost_ratio(result.costs[SERVICE], result.costs[other], draws)
            out["service"][key] = with_interval(resamples, ratio)
        out["service"]["forecasts"] = forecast_scores([result], stream)
    return out


def overall_scores(families: Sequence[FamilyResult]) -> dict[str, Any]:
    """The geometric mean over families of cost over the clairvoyant's, and the scores of all forecasts together."""
    out: dict[str, Any] = {"policies": {}}
    draws = [resample_rows(len(one.costs[CLAIRVOYANT]), stream) for stream, one in enumerate(families)]
    for policy in families[0].costs:
        figures = [family.figures[policy] for family in families]
        out["policies"][policy] = {
            "over_clairvoyant": _geometric_mean_ratio(families, draws, policy, CLAIRVOYANT),
            "run_outs": round(float(np.mean([one["run_outs"] for one in figures])), 4),
            "days_early": round(float(np.mean([one["days_early"] for one in figures])), 3),
            "orders": round(float(np.mean([one["orders"] for one in figures])), 3),
        }
    if SERVICE in families[0].costs:
        out["over_informed"] = _geometric_mean_ratio(families, draws, SERVICE, INFORMED)
        out["over_newsvendor_filtered"] = _geometric_mean_ratio(families, draws, SERVICE, FILTERED)
        out["broken"] = sum(int(one.service["duplicates"]) + int(one.service["forbidden"]) for one in families)
        out["forecasts"] = forecast_scores(families, 999)
    return out


def _geometric_mean_ratio(
    families: Sequence[FamilyResult], draws: Sequence[Int64], over: str, under: str
) -> list[float]:
    return geometric_mean(
        [cost_ratio(one.costs[over], one.costs[under], rows) for one, rows in zip(families, draws, strict=True)]
    )


def forecast_scores(families: Sequence[FamilyResult], stream: int) -> dict[str, Any]:
    """Coverage and pinball loss of the daily forecasts of the time to empty: all, near the end, and during the cold start."""
    samples = [family.samples for family in families]
    days = np.concatenate([one.days for one in samples])
    truth = np.concatenate([one.truth for one in samples])
    reference = np.concatenate([one.reference for one in samples])
    hour = np.concatenate([one.hour for one in samples])
    # Items are numbered apart by family, as the same row of two families is two items.
    item = np.concatenate([one.row + number * 100_000 for number, one in enumerate(samples)])
    masks = {
        "all": np.ones(len(truth), dtype=bool),
        "near_end": days[:, QUANTILE_LEVELS.index(0.5)] <= NEAR_END_DAYS,
        "cold_start": hour < COLD_START_DAYS * 24,
    }
    return {
        name: _coverage(days[mask], reference[mask], truth[mask], item[mask], stream) for name, mask in masks.items()
    }


def _coverage(days: Float64, reference: Float64, truth: Float64, item: Int64, stream: int) -> dict[str, Any]:
    """Figures of m forecasts. A truth beyond the simulated time counts as above every quantile; the loss leaves it out."""
    if not len(truth):
        return {"forecasts": 0}
    wide = (truth >= days[:, 0]) & (truth <= days[:, 4])
    narrow = (truth >= days[:, 1]) & (truth <= days[:, 3])
    known = np.isfinite(truth)
    mean = _item_resampled_ratio(item, stream)
    loss = np.where(known, pinball_loss(days, np.where(known, truth, 0.0), QUANTILE_LEVELS), 0.0)
    other = np.where(known, pinball_loss(reference, np.where(known, truth, 0.0), QUANTILE_LEVELS), 0.0)
    return {
        "forecasts": len(truth),
        "covered_5_95": mean(wide.astype(np.float64), np.ones(len(truth))),
        "covered_25_75": mean(narrow.astype(np.float64), np.ones(len(truth))),
        "below_5": round(float((truth < days[:, 0]).mean()), 4),
        "pinball_days": mean(loss, known.astype(np.float64)),
        "pinball_of_28_day_mean": mean(loss, other),
    }


def _item_resampled_ratio(item: Int64, stream: int) -> Callable[[Float64, Float64], list[float]]:
    """A function that computes the ratio of two sums with its interval, items resampled. item: (m,) of each forecast."""
    _, index = np.unique(item, return_inverse=True)
    count = int(index.max()) + 1
    draws = resample_rows(count, stream)

    def mean(over: Float64, under: Float64) -> list[float]:
        numerators = np.bincount(index, over, count)
        denominators = np.bincount(index, under, count)
        return with_interval(
            numerators[draws].sum(axis=1) / np.maximum(denominators[draws].sum(axis=1), 1e-12),
            numerators.sum() / max(denominators.sum(), 1e-12),
        )

    return mean
