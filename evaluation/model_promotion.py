"""Whether a challenger may become the champion: both live in the same worlds, and what their decisions cost decides.

Same use, same faults, same lead times for an item's first order, its second, and so on: what differs is the model. Beside money it
must not be less honest: coverage and pinball loss of the forecasts are compared too. What is decided is a table of checks, each
with both figures and what was expected; one that fails refuses the challenger.
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
"""Lived for every promotion: each way of sensing and of using, at least once."""
COST_RATIO_MAX = 1.0
"""A challenger that does not save anything changes nothing for the better."""
FAMILY_RATIO_MAX = 1.10
"""No kind of trouble may cost surely more than so many times the champion's: the whole interval above it."""
RUN_OUTS_INCREASE_MAX = 0.05
"""An item-year more than the champion's."""
COVERAGE_90_RANGE, COVERAGE_50_RANGE = (0.87, 0.93), (0.45, 0.55)
PINBALL_RATIO_MAX = 1.02
COST_OFFSET = 1e-6
"""Added to costs, so that two lives that cost nothing are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionTrial:
    """What is lived. champion, challenger: folders of the models; seeds_count: worlds of a family; days: fewer, to try it out."""

    champion: Path
    challenger: Path
    families: tuple[str, ...] = REQUIRED_FAMILIES
    seeds_count: int = 1
    items: int = ITEMS_PER_SEED
    days: int | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds for building; held-out ones stay held out."""
        return tuple(FIRST_SEEDS["dev"] + number for number in range(self.seeds_count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One comparison: both figures, what the challenger's was expected to be, and whether it is."""

    what: str
    champion: float
    challenger: float
    expected: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionVerdict:
    """champion, challenger: names as receipts have them; cost_ratio: [challenger over champion, 5 %, 95 %], geometric mean over
    families; by_family: the same of each."""

    champion: str
    challenger: str
    cost_ratio: list[float]
    by_family: Mapping[str, list[float]]
    checks: tuple[Criterion, ...]
    seeds: tuple[int, ...]
    items_per_seed: int

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    def fields(self) -> Card:
        """For JSON, and for champion.toml."""
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
    """Lives every family with both models. Raises ModelError where one can't be run, UsageError for an unknown family."""
    pairs: list[tuple[FamilyResult, FamilyResult]] = []
    for one, other in map_in_processes(partial(simulate_both, trial), trial.families, processes):
        progress(
            f"{one.name}: challenger {other.costs[SERVICE].sum() / one.costs[SERVICE].sum():.2f} of the champion's cost"
        )
        pairs.append((one, other))
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
    """The verdict with what a backtest of two ways, champion and challenger, says: the challenger may not surely cost more."""
    first, other = (way["figures"] for way in report["ways"])
    _, low, high = report["ways"][1]["difference"]["money"]
    check = Criterion(
        what=f"money on your own {report['days']:.0f} days",
        champion=first["money"],
        challenger=other["money"],
        expected=f"not surely more ({low:+.2f} to {high:+.2f})",
        passed=low <= 0.0,
    )
    return replace(verdict, checks=(*verdict.checks, check))


def simulate_both(trial: PromotionTrial, name: str) -> tuple[FamilyResult, FamilyResult]:
    """One family, lived by champion and challenger."""
    return _simulate(trial, name, trial.champion), _simulate(trial, name, trial.challenger)


def format_report(verdict: PromotionVerdict) -> Iterator[str]:
    """The table for people."""
    yield f"champion {verdict.champion}, challenger {verdict.challenger}, {len(verdict.by_family)} kinds of trouble"
    yield f"{'':46}{'champion':>10}{'challenger':>12}  expected"
    for check in verdict.checks:
        said = "holds" if check.passed else "FAILS"
        yield f"{check.what:46}{check.champion:>10.3f}{check.challenger:>12.3f}  {check.expected:34}{said}"
    for name, (middle, low, high) in verdict.by_family.items():
        yield f"  cost in {name:36}{1.0:>10.3f}{middle:>12.3f}  90 % of resamplings: {low:.3f} to {high:.3f}"


def _simulate(trial: PromotionTrial, name: str, folder: Path) -> FamilyResult:
    of = family_named(name)
    drawn = draw_scenarios(of, trial.seeds, trial.items, trial.days)
    service = ServicePolicy(drawn, load_run_out(folder))
    account = ClosedLoopWorld(drawn, service, draw_sensor_faults(drawn)).run()
    return FamilyResult(
        name=name,
        description=of.description,
        days=drawn.family.days,
        costs={SERVICE: account.cost(drawn)},
        figures={SERVICE: item_year_figures(drawn, account)},
        service={"broken": len(service.invariants.violations)},
        samples=service.samples(),
    )


def _cost_ratios(pairs: Sequence[tuple[FamilyResult, FamilyResult]]) -> tuple[dict[str, list[float]], list[float]]:
    """The challenger's cost over the champion's by family, items resampled in pairs, and their geometric mean."""
    ratios: list[tuple[float, Float64]] = []
    by_family: dict[str, list[float]] = {}
    for stream, (one, other) in enumerate(pairs):
        draws = resample_rows(len(one.costs[SERVICE]), stream)
        ratio, resamples = cost_ratio(other.costs[SERVICE] + COST_OFFSET, one.costs[SERVICE] + COST_OFFSET, draws)
        by_family[one.name] = with_interval(resamples, ratio)
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
        what=f"families surely over {FAMILY_RATIO_MAX:g} times the cost",
        champion=0.0,
        challenger=float(len(worse)),
        expected="none",
        passed=not worse,
    )
    champions, challengers = [one for one, _ in pairs], [other for _, other in pairs]
    before, after = _mean(champions, "run_outs"), _mean(challengers, "run_outs")
    yield Criterion(
        what="run-outs an item-year",
        champion=before,
        challenger=after,
        expected=f"at most {before + RUN_OUTS_INCREASE_MAX:.3f}",
        passed=after <= before + RUN_OUTS_INCREASE_MAX,
    )
    broken = [float(sum(lived.service["broken"] for lived in of)) for of in (champions, challengers)]
    yield Criterion(
        what="promises broken", champion=broken[0], challenger=broken[1], expected="0", passed=broken[1] == 0.0
    )
    yield from _calibration_criteria(forecast_scores(champions, 999), forecast_scores(challengers, 999))


def _calibration_criteria(champion: Mapping[str, Any], challenger: Mapping[str, Any]) -> Iterator[Criterion]:
    """Coverage within its bounds, or no farther from what it should be than the champion's; pinball loss no worse."""
    bounds = (("covered_5_95", "5 to 95 %", COVERAGE_90_RANGE), ("covered_25_75", "25 to 75 %", COVERAGE_50_RANGE))
    for part, of in (("all", "of all forecasts"), ("near_end", "near the end")):
        if "covered_5_95" not in champion[part] or "covered_5_95" not in challenger[part]:
            continue
        for key, shown, (low, high) in bounds:
            before, after, middle = champion[part][key][0], challenger[part][key][0], (low + high) / 2
            yield Criterion(
                what=f"{shown} covers, {of}",
                champion=before,
                challenger=after,
                expected=f"{low:.2f} to {high:.2f}, or as the champion",
                passed=low <= after <= high or abs(after - middle) <= abs(before - middle),
            )
        before, after = (side[part]["pinball_of_28_day_mean"][0] for side in (champion, challenger))
        yield Criterion(
            what=f"pinball of the 28-day mean's, {of}",
            champion=before,
            challenger=after,
            expected=f"at most {PINBALL_RATIO_MAX * before:.3f}",
            passed=after <= PINBALL_RATIO_MAX * before,
        )


def _mean(lived: Sequence[FamilyResult], figure: str) -> float:
    return float(np.mean([one.figures[SERVICE][figure] for one in lived]))
