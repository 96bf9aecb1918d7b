"""From lives to figures: cost over the clairvoyant's, run-outs, coverage and pinball loss, with intervals from resampling items.

Everything is by item first, so that resampling items (of all seeds) gives intervals: 90 % of the resampled figures lie within.
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
NEAR_END_DAYS = 14.0
"""Near the end: the median says at most this."""
COLD_START_DAYS = 14
"""A cold start: the first days of an item."""
SERVICE, CLAIRVOYANT, INFORMED, FILTERED = "service", "clairvoyant", "informed", "newsvendor-filtered"


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyResult:
    """What came of one family. costs: policy -> (n,) money; figures: policy -> name -> mean of an item-year;
    service: what is known of the service alone; samples: its forecasts; days: lived."""

    name: str
    description: str
    days: int
    costs: Mapping[str, Float64]
    figures: Mapping[str, Mapping[str, float]]
    service: Mapping[str, Any]
    samples: ForecastSamples


def item_year_figures(scenarios: ScenarioBatch, account: RunTotals) -> dict[str, float]:
    """Means of an item-year, and days early of a pack."""
    years = account.days / 365.0
    means = {
        "cost": account.cost(scenarios),
        "run_outs": account.run_outs,
        "empty_days": account.empty_days,
        "orders": account.orders,
        "holding": scenarios.holding_cost_per_day * account.pack_days_early,
        "stock_outs": scenarios.stockout_cost * account.run_outs + scenarios.stockout_cost_per_day * account.empty_days,
        "premium": account.premium,
        "wasted": account.wasted,
    }
    out = {name: round(float(values.mean()) / years, 4) for name, values in means.items()}
    out["days_early"] = round(float(account.pack_days_early.sum() / max(account.packs.sum(), 1e-9)), 3)
    return out


def resample_rows(items: int, stream: int) -> Int64:
    """(RESAMPLES, items) rows drawn again and again."""
    return np.random.default_rng([77, stream]).integers(0, items, (BOOTSTRAP_RESAMPLES, items))


def with_interval(values: Float64, middle: float) -> list[float]:
    """[the figure, 5 %, 95 % of its resampled values]."""
    low, high = np.nanquantile(values, (0.05, 0.95))
    return [round(float(value), 4) + 0.0 for value in (middle, low, high)]  # + 0.0: no negative zero


def cost_ratio(over: Float64, under: Float64, draws: Int64) -> tuple[float, Float64]:
    """The ratio of two sums over items, and of the same with items resampled; NaN where those cost nothing at all."""
    below = under[draws].sum(axis=1)
    return float(over.sum() / under.sum()), over[draws].sum(axis=1) / np.where(below > 0.0, below, np.nan)


def geometric_mean(ratios: Sequence[tuple[float, Float64]]) -> list[float]:
    """The geometric mean of ratios over families, with its interval. ratios: of each family, the ratio and its resamples."""
    resamples = np.exp(np.mean([np.log(values) for _, values in ratios], axis=0))
    return with_interval(resamples, float(np.exp(np.mean([np.log(ratio) for ratio, _ in ratios]))))


def family_scores(lived: FamilyResult, stream: int) -> dict[str, Any]:
    """All figures of one family, for JSON."""
    draws = resample_rows(len(lived.costs[CLAIRVOYANT]), stream)
    policies: dict[str, Any] = {}
    for policy, cost in lived.costs.items():
        middle, values = cost_ratio(cost, lived.costs[CLAIRVOYANT], draws)
        policies[policy] = {**lived.figures[policy], "over_clairvoyant": with_interval(values, middle)}
    out: dict[str, Any] = {"what": lived.description, "days": lived.days, "policies": policies}
    if SERVICE in lived.costs:
        out["service"] = dict(lived.service)
        for other, key in ((INFORMED, "over_informed"), (FILTERED, "over_newsvendor_filtered")):
            middle, values = cost_ratio(lived.costs[SERVICE], lived.costs[other], draws)
            out["service"][key] = with_interval(values, middle)
        out["service"]["forecasts"] = forecast_scores([lived], stream)
    return out


def overall_scores(families: Sequence[FamilyResult]) -> dict[str, Any]:
    """The geometric mean over families of cost over the clairvoyant's, and the forecasts of all together."""
    out: dict[str, Any] = {"policies": {}}
    draws = [resample_rows(len(lived.costs[CLAIRVOYANT]), stream) for stream, lived in enumerate(families)]
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
        out["broken"] = sum(int(lived.service["duplicates"]) + int(lived.service["forbidden"]) for lived in families)
        out["forecasts"] = forecast_scores(families, 999)
    return out


def _geometric_mean_ratio(
    families: Sequence[FamilyResult], draws: Sequence[Int64], over: str, under: str
) -> list[float]:
    return geometric_mean(
        [cost_ratio(one.costs[over], one.costs[under], rows) for one, rows in zip(families, draws, strict=True)]
    )


def forecast_scores(families: Sequence[FamilyResult], stream: int) -> dict[str, Any]:
    """Coverage and pinball loss of daily forecasts of the time to empty: all, near the end, of the first days."""
    samples = [lived.samples for lived in families]
    days = np.concatenate([one.days for one in samples])
    truth = np.concatenate([one.truth for one in samples])
    reference = np.concatenate([one.reference for one in samples])
    hour = np.concatenate([one.hour for one in samples])
    # An item of one family is another one than the item of the same row in another family.
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
    """A truth beyond what is known counts as beyond each quantile; the loss leaves it out."""
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
    """A function that gives the ratio of two sums with its interval, items resampled."""
    _, place = np.unique(item, return_inverse=True)
    count = int(place.max()) + 1
    draws = resample_rows(count, stream)

    def mean(over: Float64, under: Float64) -> list[float]:
        tops = np.bincount(place, over, count)
        bottoms = np.bincount(place, under, count)
        return with_interval(
            tops[draws].sum(axis=1) / np.maximum(bottoms[draws].sum(axis=1), 1e-12),
            tops.sum() / max(bottoms.sum(), 1e-12),
        )

    return mean
