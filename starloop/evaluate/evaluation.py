"""The evaluation as a whole: every family lived by the service and by the references, in processes side by side."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.cards import REGISTRY
from models.runtime import load_scorer
from star.errors import UsageError
from starloop.evaluate.families import FAMILIES, Family, family
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
from starloop.evaluate.traces import pool, real_families
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
    """What is evaluated. seeds_of: "dev" or "test"; seeds: how many; days: fewer than the families', for a quick look;
    real: families of real traces, which are in data_dir."""

    families: tuple[Family, ...]
    real: tuple[Family, ...] = ()
    data_dir: Path | None = None
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
    """Every family's scores and the overall ones, for JSON and tables; those of real traces apart, under "real"."""
    found: list[Lived] = []
    begun_s = time.monotonic()
    families = plan.families + plan.real
    for lived in _all(plan, families, processes):
        found.append(lived)
        of = {name: figures["cost"] / lived.figures[CLAIRVOYANT]["cost"] for name, figures in lived.figures.items()}
        say(
            f"{len(found)} of {len(families)} after {time.monotonic() - begun_s:.0f} s, {lived.name}: "
            f"service {of[SERVICE]:.2f}, informed {of[INFORMED]:.2f}, newsvendor {of[FILTERED]:.2f}"
        )
    scores: dict[str, Any] = {
        "seeds": plan.seeds_of,
        "seed_numbers": list(plan.numbers()),
        "items_per_seed": plan.items,
        "model": load_scorer(plan.model, plan.registry, plan.version).name,
    }
    made = found[: len(plan.families)]
    scores |= _scored(made) if made else {}
    return scores | ({"real": _scored(found[len(made) :])} if plan.real else {})


def _scored(found: Sequence[Lived]) -> dict[str, Any]:
    return {
        "families": {lived.name: family_scores(lived, stream) for stream, lived in enumerate(found)},
        "overall": overall_scores(found),
    }


def live(plan: Plan, of: Family) -> Lived:
    """One family, lived by every policy."""
    real = pool(plan.data_dir, of.traces) if plan.data_dir is not None and of.traces else None
    drawn = lives(of, plan.numbers(), plan.items, plan.days, real)
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
        name=of.name,
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


def _all(plan: Plan, families: Sequence[Family], processes: int) -> Iterator[Lived]:
    """Families in their order; a process each where there are several."""
    if processes <= 1 or len(families) == 1:
        for one in families:
            yield live(plan, one)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as workers:
        yield from workers.map(live, [plan] * len(families), families)


def families_of(names: Sequence[str], every: Sequence[str]) -> tuple[str, ...]:
    """The families named, or all. Raises UsageError for one that there is not."""
    return tuple(family(name).name for name in names) or tuple(every)


def chosen(
    names: Sequence[str], data_dir: Path | None, *, traces: bool
) -> tuple[tuple[Family, ...], tuple[Family, ...]]:
    """The families named, or all, and those of real traces; these only with `traces`, which needs `data_dir`, or by name.

    Raises UsageError for a family that there is not.
    """
    if traces and data_dir is None:
        raise UsageError("real traces are read from a folder of data sets: name it with --data or STARLOOP_DATA")
    real = real_families(data_dir) if traces and data_dir is not None else ()
    if not names:
        return FAMILIES, real
    named = [one for one in real if one.name in names]
    return tuple(family(name) for name in names if name not in [one.name for one in named]), tuple(named)
