"""The closed-loop evaluation: each scenario family simulated under the service and under the reference policies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evaluation.parallel import Progress, map_in_processes
from evaluation.policies.oracle_policy import ClairvoyantPolicy, InformedPolicy
from evaluation.policies.reference_policies import (
    FilteredNewsvendorPolicy,
    MovingAveragePolicy,
    NewsvendorPolicy,
    OrderUpToPolicy,
    ThresholdPolicy,
)
from evaluation.policies.service_policy import ServicePolicy
from evaluation.scoring.scores import (
    CLAIRVOYANT,
    FILTERED,
    INFORMED,
    SERVICE,
    FamilyResult,
    family_scores,
    item_year_figures,
    overall_scores,
)
from evaluation.worlds.closed_loop_world import ClosedLoopWorld, OrderingPolicy
from evaluation.worlds.consumption_traces import real_families, trace_pool
from evaluation.worlds.scenario_families import FAMILIES, ScenarioFamily, family_named
from evaluation.worlds.scenarios import FIRST_SEEDS, ITEMS_PER_SEED, ScenarioBatch, draw_scenarios
from evaluation.worlds.sensor_faults import draw_sensor_faults
from models.cards import SHIPPED_REGISTRY
from models.onnx_scorer import load_scorer
from star.errors import UsageError

REFERENCE_POLICIES: dict[str, Callable[[ScenarioBatch], OrderingPolicy]] = {
    CLAIRVOYANT: ClairvoyantPolicy,
    INFORMED: InformedPolicy,
    FILTERED: FilteredNewsvendorPolicy,
    "newsvendor": NewsvendorPolicy,
    "threshold": ThresholdPolicy,
    "order-up-to": OrderUpToPolicy,
    "moving-average": MovingAveragePolicy,
}
"""The policies that the service is compared with, by name."""
VIOLATIONS_SHOWN_MAX = 5
"""Violations of a family that the results list in full; the counts cover all."""
_DUPLICATE_ORDER_MARK = "outstanding"  # word of evaluation.invariants for an order while another one is open


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """What is evaluated.

    trace_families: families whose demand is real traces, which are read from data_dir. seed_set: "dev", or "test" for held-out
    seeds; seeds_count: simulations of each family; items: of each seed; days: a shorter simulation for a quick look, None: the
    family's own. model, version, registry: the model under test, version None: the champion.
    """

    families: tuple[ScenarioFamily, ...]
    trace_families: tuple[ScenarioFamily, ...] = ()
    data_dir: Path | None = None
    seed_set: str = "dev"
    seeds_count: int = 2
    items: int = ITEMS_PER_SEED
    days: int | None = None
    model: str = "run-out"
    version: int | None = None
    registry: Path = SHIPPED_REGISTRY

    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds of every family."""
        return tuple(FIRST_SEEDS[self.seed_set] + number for number in range(self.seeds_count))


def run_evaluation(plan: EvaluationPlan, processes: int, progress: Progress) -> dict[str, Any]:
    """The scores of each family and overall, as JSON fields; those of real traces separately, under "real"."""
    results: list[FamilyResult] = []
    started_s = time.monotonic()
    families = plan.families + plan.trace_families
    for result in map_in_processes(partial(simulate_family, plan), families, processes):
        results.append(result)
        best_cost = result.figures[CLAIRVOYANT]["cost"]
        ratios = {name: figures["cost"] / best_cost for name, figures in result.figures.items()}
        progress(
            f"{len(results)} of {len(families)} after {time.monotonic() - started_s:.0f} s, {result.name}: "
            f"service {ratios[SERVICE]:.2f}, informed {ratios[INFORMED]:.2f}, newsvendor {ratios[FILTERED]:.2f}"
        )
    scores: dict[str, Any] = {
        "seeds": plan.seed_set,
        "seed_numbers": list(plan.seed_numbers()),
        "items_per_seed": plan.items,
        "model": load_scorer(plan.model, plan.registry, plan.version).name,
    }
    simulated = results[: len(plan.families)]
    scores |= _score_families(simulated) if simulated else {}
    return scores | ({"real": _score_families(results[len(simulated) :])} if plan.trace_families else {})


def _score_families(results: Sequence[FamilyResult]) -> dict[str, Any]:
    return {
        "families": {result.name: family_scores(result, stream) for stream, result in enumerate(results)},
        "overall": overall_scores(results),
    }


def simulate_family(plan: EvaluationPlan, family: ScenarioFamily) -> FamilyResult:
    """One family under every policy. Raises ModelError where the model can't be run."""
    traces = trace_pool(plan.data_dir, family.trace_group) if plan.data_dir is not None and family.trace_group else None
    scenarios = draw_scenarios(family, plan.seed_numbers(), plan.items, plan.days, traces)
    faults = draw_sensor_faults(scenarios)
    service = ServicePolicy(scenarios, load_scorer(plan.model, plan.registry, plan.version))
    policies: dict[str, OrderingPolicy] = {SERVICE: service}
    policies |= {name: make(scenarios) for name, make in REFERENCE_POLICIES.items()}
    costs, figures = {}, {}
    for name, policy in policies.items():
        totals = ClosedLoopWorld(scenarios, policy, faults).run()
        costs[name] = totals.cost(scenarios)
        figures[name] = item_year_figures(scenarios, totals)
    return FamilyResult(
        name=family.name,
        description=family.description,
        days=scenarios.family.days,
        costs=costs,
        figures=figures,
        service=_service_summary(service),
        samples=service.samples(),
    )


def _service_summary(service: ServicePolicy) -> dict[str, Any]:
    """Violations of the invariants, contacts, and hours until the first forecasts."""
    violations = service.invariants.violations
    duplicates = [violation for violation in violations if _DUPLICATE_ORDER_MARK in violation]
    first = list(service.first_forecast.values())
    return {
        "duplicates": len(duplicates),
        "forbidden": len(violations) - len(duplicates),
        "broken": violations[:VIOLATIONS_SHOWN_MAX],
        "contacts": service.contacts,
        "without_forecast": len(service.scenarios) - len(first),
        "first_forecast_hours_max": max(first, default=None),
    }


def family_names(names: Sequence[str], every: Sequence[str]) -> tuple[str, ...]:
    """The names, each of a known family; `every` where there are none. Raises UsageError for an unknown one."""
    return tuple(family_named(name).name for name in names) or tuple(every)


def select_families(
    names: Sequence[str], data_dir: Path | None, *, traces: bool
) -> tuple[tuple[ScenarioFamily, ...], tuple[ScenarioFamily, ...]]:
    """(families, families of real traces) with these names, or all of them where no name is given.

    traces: includes real traces, which needs `data_dir`. Raises UsageError for an unknown family, or without `data_dir`.
    """
    if traces and data_dir is None:
        raise UsageError("real traces are read from a folder of data sets: give it with --data or STARLOOP_DATA")
    real = real_families(data_dir) if traces and data_dir is not None else ()
    if not names:
        return FAMILIES, real
    chosen = tuple(family for family in real if family.name in names)
    known = {family.name for family in chosen}
    return tuple(family_named(name) for name in names if name not in known), chosen
