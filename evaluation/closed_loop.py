"""The evaluation as a whole: every family lived by the service and by the references, in processes side by side."""

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
"""What the service is compared with."""
VIOLATIONS_SHOWN_MAX = 5
_DUPLICATE_ORDER_MARK = "outstanding"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """What is evaluated. seeds_of: "dev" or "test"; seeds: how many; days: fewer than the families', for a quick look;
    real: families of real traces, which are in data_dir."""

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
        """The seeds."""
        return tuple(FIRST_SEEDS[self.seed_set] + number for number in range(self.seeds_count))


def run_evaluation(plan: EvaluationPlan, processes: int, progress: Progress) -> dict[str, Any]:
    """Every family's scores and the overall ones, for JSON and tables; those of real traces apart, under "real"."""
    found: list[FamilyResult] = []
    begun_s = time.monotonic()
    families = plan.families + plan.trace_families
    for lived in map_in_processes(partial(simulate_family, plan), families, processes):
        found.append(lived)
        of = {name: figures["cost"] / lived.figures[CLAIRVOYANT]["cost"] for name, figures in lived.figures.items()}
        progress(
            f"{len(found)} of {len(families)} after {time.monotonic() - begun_s:.0f} s, {lived.name}: "
            f"service {of[SERVICE]:.2f}, informed {of[INFORMED]:.2f}, newsvendor {of[FILTERED]:.2f}"
        )
    scores: dict[str, Any] = {
        "seeds": plan.seed_set,
        "seed_numbers": list(plan.seed_numbers()),
        "items_per_seed": plan.items,
        "model": load_scorer(plan.model, plan.registry, plan.version).name,
    }
    made = found[: len(plan.families)]
    scores |= _score_families(made) if made else {}
    return scores | ({"real": _score_families(found[len(made) :])} if plan.trace_families else {})


def _score_families(found: Sequence[FamilyResult]) -> dict[str, Any]:
    return {
        "families": {lived.name: family_scores(lived, stream) for stream, lived in enumerate(found)},
        "overall": overall_scores(found),
    }


def simulate_family(plan: EvaluationPlan, family: ScenarioFamily) -> FamilyResult:
    """One family, lived by every policy."""
    real = trace_pool(plan.data_dir, family.trace_group) if plan.data_dir is not None and family.trace_group else None
    drawn = draw_scenarios(family, plan.seed_numbers(), plan.items, plan.days, real)
    faults = draw_sensor_faults(drawn)
    service = ServicePolicy(drawn, load_scorer(plan.model, plan.registry, plan.version))
    policies: dict[str, OrderingPolicy] = {SERVICE: service}
    policies |= {policy: make(drawn) for policy, make in REFERENCE_POLICIES.items()}
    costs, figures = {}, {}
    for policy, one in policies.items():
        account = ClosedLoopWorld(drawn, one, faults).run()
        costs[policy] = account.cost(drawn)
        figures[policy] = item_year_figures(drawn, account)
    return FamilyResult(
        name=family.name,
        description=family.description,
        days=drawn.family.days,
        costs=costs,
        figures=figures,
        service=_service_summary(service),
        samples=service.samples(),
    )


def _service_summary(service: ServicePolicy) -> dict[str, Any]:
    """Promises kept, and how soon the first forecasts came. A service that breaks none has zeros."""
    broken = service.invariants.violations
    duplicates = [one for one in broken if _DUPLICATE_ORDER_MARK in one]
    first = list(service.first_forecast.values())
    return {
        "duplicates": len(duplicates),
        "forbidden": len(broken) - len(duplicates),
        "broken": broken[:VIOLATIONS_SHOWN_MAX],
        "contacts": service.contacts,
        "without_forecast": len(service.scenarios) - len(first),
        "first_forecast_hours_max": max(first, default=None),
    }


def family_names(names: Sequence[str], every: Sequence[str]) -> tuple[str, ...]:
    """The families named, or all. Raises UsageError for one that there is not."""
    return tuple(family_named(name).name for name in names) or tuple(every)


def select_families(
    names: Sequence[str], data_dir: Path | None, *, traces: bool
) -> tuple[tuple[ScenarioFamily, ...], tuple[ScenarioFamily, ...]]:
    """The families named, or all, and those of real traces; these only with `traces`, which needs `data_dir`, or by name.

    Raises UsageError for a family that there is not.
    """
    if traces and data_dir is None:
        raise UsageError("real traces are read from a folder of data sets: name it with --data or STARLOOP_DATA")
    real = real_families(data_dir) if traces and data_dir is not None else ()
    if not names:
        return FAMILIES, real
    named = [one for one in real if one.name in names]
    return tuple(family_named(name) for name in names if name not in [one.name for one in named]), tuple(named)
