"""The evaluation as a whole: every family lived by the service and by the references, in processes side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.cards import REGISTRY
from models.runtime import load_scorer
from starloop.evaluate.families import family
from starloop.evaluate.foresight import Clairvoyant, Informed
from starloop.evaluate.gauges import draw_faults
from starloop.evaluate.lives import ITEMS, SEEDS, Lives, lives
from starloop.evaluate.references import FilteredNewsvendor, MovingAverage, Newsvendor, OrderUpTo, Threshold
from starloop.evaluate.score import (
    CLAIRVOYANT,
    FILTERED,
    INFORMED,
    SERVICE,
    Lived,
    family_scores,
    figures_of,
    overall_scores,
)
from starloop.evaluate.service import Service
from starloop.evaluate.world import Policy, World

REFERENCES: dict[str, Callable[[Lives], Policy]] = {
    CLAIRVOYANT: Clairvoyant,
    INFORMED: Informed,
    FILTERED: FilteredNewsvendor,
    "newsvendor": Newsvendor,
    "threshold": Threshold,
    "order-up-to": OrderUpTo,
    "moving-average": MovingAverage,
}
"""What the service is compared with."""
BROKEN_SHOWN = 5
_DUPLICATE = "outstanding"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is evaluated. seeds_of: "dev" or "test"; seeds: how many; days: fewer than the families', for a quick look."""

    families: tuple[str, ...]
    seeds_of: str = "dev"
    seeds: int = 2
    items: int = ITEMS
    days: int | None = None
    model: str = "run-out"
    version: int | None = None
    registry: Path = REGISTRY

    def numbers(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(SEEDS[self.seeds_of] + number for number in range(self.seeds))


def evaluate(plan: Plan, processes: int, say: Say) -> dict[str, Any]:
    """Every family's scores and the overall ones, for JSON and tables."""
    found: list[Lived] = []
    for lived in _all(plan, processes):
        found.append(lived)
        of = {name: figures["cost"] / lived.figures[CLAIRVOYANT]["cost"] for name, figures in lived.figures.items()}
        say(f"{lived.name}: service {of[SERVICE]:.2f}, informed {of[INFORMED]:.2f}, newsvendor {of[FILTERED]:.2f}")
    return {
        "seeds": plan.seeds_of,
        "seed_numbers": list(plan.numbers()),
        "items_per_seed": plan.items,
        "model": load_scorer(plan.model, plan.registry, plan.version).name,
        "families": {lived.name: family_scores(lived, stream) for stream, lived in enumerate(found)},
        "overall": overall_scores(found),
    }


def live(plan: Plan, name: str) -> Lived:
    """One family, lived by every policy."""
    of = family(name)
    drawn = lives(of, plan.numbers(), plan.items, plan.days)
    faults = draw_faults(drawn)
    service = Service(drawn, load_scorer(plan.model, plan.registry, plan.version))
    policies: dict[str, Policy] = {SERVICE: service}
    policies |= {policy: make(drawn) for policy, make in REFERENCES.items()}
    costs, figures = {}, {}
    for policy, one in policies.items():
        account = World(drawn, one, faults).run()
        costs[policy] = account.cost(drawn)
        figures[policy] = figures_of(drawn, account)
    return Lived(
        name=name,
        what=of.what,
        days=drawn.family.days,
        costs=costs,
        figures=figures,
        service=_of_service(service),
        samples=service.samples(),
    )


def _of_service(service: Service) -> dict[str, Any]:
    """Promises kept, and how soon the first forecasts came. A service that breaks none has zeros."""
    broken = service.judge.broken
    duplicates = [one for one in broken if _DUPLICATE in one]
    first = list(service.first_forecast.values())
    return {
        "duplicates": len(duplicates),
        "forbidden": len(broken) - len(duplicates),
        "broken": broken[:BROKEN_SHOWN],
        "contacts": service.contacts,
        "without_forecast": len(service.lives) - len(first),
        "first_forecast_hours_max": max(first, default=None),
    }


def _all(plan: Plan, processes: int) -> Iterator[Lived]:
    """Families in their order; a process each where there are several."""
    if processes <= 1 or len(plan.families) == 1:
        for name in plan.families:
            yield live(plan, name)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(live, [plan] * len(plan.families), plan.families)


def families_of(names: Sequence[str], every: Sequence[str]) -> tuple[str, ...]:
    """The families named, or all. Raises UsageError for one that there is not."""
    return tuple(family(name).name for name in names) or tuple(every)
