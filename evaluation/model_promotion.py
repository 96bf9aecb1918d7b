"""Model promotion: whether a challenger may replace the champion, by the cost of the decisions made with each.

Both run in the same simulations: the same consumption, sensor faults and lead times (of an item's first order, its second, and so
on), so only the model differs. Besides cost, the calibration of the forecasts is compared: coverage and pinball loss. The verdict
is a table of criteria, each with both figures and what was expected; one failed criterion rejects the challenger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.parallel import Progress, map_in_processes
from evaluation.policies.service_policy import ServicePolicy
from evaluation.scoring.scores import (
    SERVICE,
    FamilyResult,
    cost_ratio,
    forecast_scores,
    geometric_mean,
    item_year_figures,
    resample_rows,
    with_interval,
)
from evaluation.worlds.closed_loop_world import ClosedLoopWorld
from evaluation.worlds.scenario_families import family_named
from evaluation.worlds.scenarios import FIRST_SEEDS, ITEMS_PER_SEED, draw_scenarios
from evaluation.worlds.sensor_faults import draw_sensor_faults
from models.cards import Card
from models.onnx_scorer import load_run_out

Float64 = NDArray[np.float64]

REQUIRED_FAMILIES = (
    "steady",
    "coarse-steps",
    "increments",
    "sparse",
    "offline",
    "weather",
    "shifting",
    "away-undeclared",
    "intermittent",
    "lumpy",
    "cold-start",
    "late",
)
"""Scenario families of every promotion: each kind of sensor and each kind of demand at least once."""
COST_RATIO_MAX = 1.0
"""Highest cost over the champion's, geometric mean over families: a challenger must not cost more on average."""
FAMILY_RATIO_MAX = 1.10
"""Highest cost over the champion's in a single family; exceeded only where the whole 90 % interval lies above it."""
RUN_OUTS_INCREASE_MAX = 0.05
"""Additional run-outs per item-year over the champion's: half a run-out in ten years, within the noise of a trial."""
COVERAGE_90_RANGE, COVERAGE_50_RANGE = (0.87, 0.93), (0.45, 0.55)
"""Accepted coverage of the 90 % and the 50 % interval: the nominal value, give or take what families differ by."""
PINBALL_RATIO_MAX = 1.02
"""Highest pinball loss over the champion's: 2 % lies within the noise of a trial."""
COST_OFFSET = 1e-6
"""Money added to each cost, so that the ratio of two costs of zero is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionTrial:
    """The simulations of a comparison.

    champion, challenger: folders of the models; seeds_count: simulations of each family; items: of each seed; days: a shorter
    simulation for a quick look, None: the family's own.
    """

    champion: Path
    challenger: Path
    families: tuple[str, ...] = REQUIRED_FAMILIES
    seeds_count: int = 1
    items: int = ITEMS_PER_SEED
    days: int | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Development seeds; the held-out ones are left to the evaluation."""
        return tuple(FIRST_SEEDS["dev"] + number for number in range(self.seeds_count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One criterion: what is compared, both figures, what was expected of the challenger's, and whether it holds."""

    what: str
    champion: float
    challenger: float
    expected: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionVerdict:
    """The result of a comparison.

    champion, challenger: model names as receipts show them; cost_ratio: [challenger over champion, 5 %, 95 %], the geometric mean
    over families; by_family: the same of each family.
    """

    champion: str
    challenger: str
    cost_ratio: list[float]
    by_family: Mapping[str, list[float]]
    checks: tuple[Criterion, ...]
    seeds: tuple[int, ...]
    items_per_seed: int

    @property
    def passed(self) -> bool:
        """Whether every criterion holds."""
        return all(check.passed for check in self.checks)

    def fields(self) -> Card:
        """The verdict as JSON fields, as champion.toml keeps it too."""
        return {
            "champion": self.champion,
            "challenger": self.challenger,
            "seeds": list(self.seeds),
            "items_per_seed": self.items_per_seed,
            "cost_ratio": [float(value) for value in self.cost_ratio],
            "by_family": {name: [float(value) for value in row] for name, row in self.by_family.items()},
            "checks": [
                {
                    "what": check.what,
                    "champion": float(check.champion),
                    "challenger": float(check.challenger),
                    "expected": check.expected,
                    "holds": bool(check.passed),
                }
                for check in self.checks
            ],
        }


def evaluate_challenger(trial: PromotionTrial, processes: int, progress: Progress) -> PromotionVerdict:
    """Simulates every family with both models. Raises ModelError where one can't be run, UsageError for an unknown family."""
    pairs: list[tuple[FamilyResult, FamilyResult]] = []
    for champion, challenger in map_in_processes(partial(simulate_both, trial), trial.families, processes):
        ratio = challenger.costs[SERVICE].sum() / champion.costs[SERVICE].sum()
        progress(f"{champion.name}: challenger {ratio:.2f} of the champion's cost")
        pairs.append((champion, challenger))
    by_family, cost_ratio = _cost_ratios(pairs)
    return PromotionVerdict(
        champion=load_run_out(trial.champion).name,
        challenger=load_run_out(trial.challenger).name,
        cost_ratio=cost_ratio,
        by_family=by_family,
        checks=tuple(_criteria(pairs, by_family, cost_ratio)),
        seeds=trial.seeds,
        items_per_seed=trial.items,
    )


def add_backtest(verdict: PromotionVerdict, report: Mapping[str, Any]) -> PromotionVerdict:
    """The verdict with one more criterion, from a backtest of champion and challenger: the challenger must not cost significantly more.

    report: of evaluation.backtest.comparison, the champion's variant first.
    """
    first, other = (variant["figures"] for variant in report["ways"])
    _, low, high = report["ways"][1]["difference"]["money"]
    check = Criterion(
        what=f"money on your own {report['days']:.0f} days",
        champion=first["money"],
        challenger=other["money"],
        expected=f"not significantly more ({low:+.2f} to {high:+.2f})",
        passed=low <= 0.0,
    )
    return replace(verdict, checks=(*verdict.checks, check))


def simulate_both(trial: PromotionTrial, name: str) -> tuple[FamilyResult, FamilyResult]:
    """One family simulated with the champion and with the challenger."""
    return _simulate(trial, name, trial.champion), _simulate(trial, name, trial.challenger)


def format_report(verdict: PromotionVerdict) -> Iterator[str]:
    """The lines of the table for people."""
    yield f"champion {verdict.champion}, challenger {verdict.challenger}, {len(verdict.by_family)} kinds of trouble"
    yield f"{'':52}{'champion':>10}{'challenger':>12}  expected"
    for check in verdict.checks:
        result = "holds" if check.passed else "FAILS"
        yield f"{check.what:52}{check.champion:>10.3f}{check.challenger:>12.3f}  {check.expected:42}{result}"
    for name, (middle, low, high) in verdict.by_family.items():
        yield f"  cost in {name:42}{1.0:>10.3f}{middle:>12.3f}  90 % of resamplings: {low:.3f} to {high:.3f}"


def _simulate(trial: PromotionTrial, name: str, folder: Path) -> FamilyResult:
    family = family_named(name)
    scenarios = draw_scenarios(family, trial.seeds, trial.items, trial.days)
    service = ServicePolicy(scenarios, load_run_out(folder))
    totals = ClosedLoopWorld(scenarios, service, draw_sensor_faults(scenarios)).run()
    return FamilyResult(
        name=name,
        description=family.description,
        days=scenarios.family.days,
        costs={SERVICE: totals.cost(scenarios)},
        figures={SERVICE: item_year_figures(scenarios, totals)},
        service={"broken": len(service.invariants.violations)},
        samples=service.samples(),
    )


def _cost_ratios(pairs: Sequence[tuple[FamilyResult, FamilyResult]]) -> tuple[dict[str, list[float]], list[float]]:
    """The challenger's cost over the champion's by family, items resampled in pairs, and the geometric mean over families."""
    ratios: list[tuple[float, Float64]] = []
    by_family: dict[str, list[float]] = {}
    for stream, (champion, challenger) in enumerate(pairs):
        costs, baseline = challenger.costs[SERVICE] + COST_OFFSET, champion.costs[SERVICE] + COST_OFFSET
        ratio, resamples = cost_ratio(costs, baseline, resample_rows(len(baseline), stream))
        by_family[champion.name] = with_interval(resamples, ratio)
        ratios.append((ratio, resamples))
    return by_family, geometric_mean(ratios)


def _criteria(
    pairs: Sequence[tuple[FamilyResult, FamilyResult]], by_family: Mapping[str, list[float]], cost_ratio: list[float]
) -> Iterator[Criterion]:
    yield Criterion(
        what="cost of the decisions, champion = 1",
        champion=1.0,
        challenger=cost_ratio[0],
        expected=f"at most {COST_RATIO_MAX:g}",
        passed=cost_ratio[0] <= COST_RATIO_MAX,
    )
    worse = [name for name, (_, low, _) in by_family.items() if low > FAMILY_RATIO_MAX]
    yield Criterion(
        what=f"families significantly over {FAMILY_RATIO_MAX:g} times the cost",
        champion=0.0,
        challenger=float(len(worse)),
        expected="none",
        passed=not worse,
    )
    champions, challengers = [champion for champion, _ in pairs], [challenger for _, challenger in pairs]
    before, after = _mean(champions, "run_outs"), _mean(challengers, "run_outs")
    yield Criterion(
        what="run-outs per item-year",
        champion=before,
        challenger=after,
        expected=f"at most {before + RUN_OUTS_INCREASE_MAX:.3f}",
        passed=after <= before + RUN_OUTS_INCREASE_MAX,
    )
    before, after = (float(sum(one.service["broken"] for one in results)) for results in (champions, challengers))
    yield Criterion(what="invariants violated", champion=before, challenger=after, expected="0", passed=after == 0.0)
    yield from _calibration_criteria(forecast_scores(champions, 999), forecast_scores(challengers, 999))


def _calibration_criteria(champion: Mapping[str, Any], challenger: Mapping[str, Any]) -> Iterator[Criterion]:
    """Coverage within its range, or no farther from the nominal value than the champion's; pinball loss no worse."""
    bounds = (("covered_5_95", "5 to 95 %", COVERAGE_90_RANGE), ("covered_25_75", "25 to 75 %", COVERAGE_50_RANGE))
    for part, label in (("all", "of all forecasts"), ("near_end", "near the end")):
        if "covered_5_95" not in champion[part] or "covered_5_95" not in challenger[part]:
            continue
        for key, shown, (low, high) in bounds:
            before, after, middle = champion[part][key][0], challenger[part][key][0], (low + high) / 2
            yield Criterion(
                what=f"coverage of {shown}, {label}",
                champion=before,
                challenger=after,
                expected=f"{low:.2f} to {high:.2f}, or as the champion",
                passed=low <= after <= high or abs(after - middle) <= abs(before - middle),
            )
        before, after = (side[part]["pinball_of_28_day_mean"][0] for side in (champion, challenger))
        yield Criterion(
            what=f"pinball loss over the 28-day mean's, {label}",
            champion=before,
            challenger=after,
            expected=f"at most {PINBALL_RATIO_MAX * before:.3f}",
            passed=after <= PINBALL_RATIO_MAX * before,
        )


def _mean(results: Sequence[FamilyResult], figure: str) -> float:
    return float(np.mean([result.figures[SERVICE][figure] for result in results]))
