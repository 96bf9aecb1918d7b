"""Two ways to decide on the same history, told apart in money, run-outs and contacts, with how sure the difference is.

All lives are paid for by the costs of the first fleet file. A difference is of pairs - the same item under the same draw of lead
times - and its interval comes from drawing items and draws again and again: 90 % of such differences lie within.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue, SlotItem
from evaluation.backtest.counterfactual import BacktestTotals, CounterfactualRun, LeadTimes
from evaluation.backtest.history import History
from evaluation.parallel import Progress, map_in_processes
from evaluation.scoring.scores import BOOTSTRAP_RESAMPLES, with_interval
from evaluation.worlds.closed_loop_world import TICK_HOURS
from models.onnx_scorer import load_run_out

Float64 = NDArray[np.float64]

SEED = 4_000
FIGURES = {
    "money": "money, all together",
    "run_out_money": "  run-outs and days empty",
    "holding": "  packs that came too early",
    "orders_money": "  the trouble of orders",
    "price": "  paid too much, and spilled",
    "run_outs": "run-outs",
    "empty_days": "days empty",
    "orders": "orders",
    "contacts": "contacts",
}
"""What is compared: name in JSON, and for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to decide: rules and a model. name: how the report calls it."""

    name: str
    catalogue: Catalogue
    model: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestPlan:
    """What is lived: a history in several ways. truth: whose capacities and costs count; draws: of lead times."""

    history: History
    variants: tuple[Variant, ...]
    baseline: Catalogue
    lead_times: LeadTimes
    draws: int
    answer_hours: int


def compare_variants(plan: BacktestPlan, processes: int, progress: Progress) -> dict[str, Any]:
    """Every way's figures, and the differences of the others from the first, for JSON and the table."""
    cells = [(way, draw) for way in range(len(plan.variants)) for draw in range(plan.draws)]
    found: dict[int, list[Mapping[str, Float64]]] = {}
    for (number, draw), figures in zip(
        cells, map_in_processes(partial(_run_cell, plan), cells, processes), strict=True
    ):
        found.setdefault(number, []).append(figures)
        progress(f"{plan.variants[number].name}, draw {draw + 1} of {plan.draws}: money {figures['money'].sum():.2f}")
    stacked = [{name: np.array([one[name] for one in found[number]]) for name in FIGURES} for number in sorted(found)]
    ways = []
    for way, figures in zip(plan.variants, stacked, strict=True):
        row: dict[str, Any] = {"name": way.name, "model": load_run_out(way.model).name}
        row["figures"] = {name: _rounded(figures[name].sum(axis=1).mean()) for name in FIGURES}
        if way is not plan.variants[0]:
            row["difference"] = {name: _bootstrap_difference(figures[name] - stacked[0][name]) for name in FIGURES}
        ways.append(row)
    return {
        "days": round(plan.history.days, 2),
        "items": [past.item.key for past in plan.history.items],
        "left_out": plan.history.excluded,
        "lines_unread": plan.history.unreadable_lines,
        "draws": plan.draws,
        "lead_times": {name: [_rounded(days) for days in plan.lead_times[name]] for name in sorted(plan.lead_times)},
        "history": {
            past.item.key: {
                "used": _rounded(past.consumption.hourly_use.sum()),
                "refills_seen": past.consumption.refills,
                "empty_hours_seen": past.consumption.empty_hours,
            }
            for past in plan.history.items
        },
        "ways": ways,
        "assumed": list(_assumptions(plan)),
    }


def format_report(report: Mapping[str, Any]) -> Iterator[str]:
    """The table for people."""
    yield f"{len(report['items'])} items, {report['days']:.0f} days, {report['draws']} draws of lead times; sums over all items"
    first, *others = report["ways"]
    yield f"as it is: {first['name']} ({first['model']})"
    for item, why in report["left_out"].items():
        yield f"left out: {item}: {why}"
    for other in others:
        yield ""
        yield f"{other['name']} ({other['model']})"
        yield f"{'':32}{'as it is':>12}{'so':>12}{'difference':>12}   90 % of resamplings"
        for name, shown in FIGURES.items():
            middle, low, high = other["difference"][name]
            yield (
                f"{shown:32}{first['figures'][name]:>12.2f}{other['figures'][name]:>12.2f}{middle:>+12.2f}"
                f"   {low:+.2f} to {high:+.2f}"
            )
    yield ""
    yield "assumed:"
    yield from (f"- {line}" for line in report["assumed"])


def _run_cell(plan: BacktestPlan, cell: tuple[int, int]) -> dict[str, Float64]:
    """The figures of one counterfactual run, each (n,). cell: the numbers of the variant and of the draw of lead times."""
    number, draw = cell
    one = plan.variants[number]
    life = CounterfactualRun(
        history=plan.history,
        catalogue=one.catalogue,
        baseline=plan.baseline,
        scorer=load_run_out(one.model),
        lead_times=plan.lead_times,
        seed=SEED + draw,
        answer_hours=plan.answer_hours,
    )
    return _figures(life.run(), [plan.baseline.slots[past.item.key] for past in plan.history.items], plan.baseline)


def _figures(account: BacktestTotals, items: Sequence[SlotItem], truth: Catalogue) -> dict[str, Float64]:
    def of(name: str) -> Float64:
        return np.array([getattr(item, name) for item in items])

    unit_price = np.array([_unit_price(item, truth) for item in items])
    figures = {
        "run_out_money": of("stockout_cost") * account.run_outs + of("stockout_cost_per_day") * account.empty_days,
        "holding": of("holding_cost_per_day") * account.pack_days_early,
        "orders_money": of("order_cost") * account.orders,
        "price": account.paid - unit_price * account.kept,
        "run_outs": account.run_outs,
        "empty_days": account.empty_days,
        "orders": account.orders,
        "contacts": account.contacts,
    }
    money = figures["run_out_money"] + figures["holding"] + figures["orders_money"] + figures["price"]
    return {"money": money, **figures}


def _unit_price(item: SlotItem, truth: Catalogue) -> float:
    """The lowest price of a unit that the item's suppliers state."""
    prices = []
    for supplier in (truth.suppliers[name] for name in item.suppliers):
        prices.append(supplier.price / item.pack)
        prices.extend(product.price / product.quantity for product in supplier.products)
    return min(prices, default=0.0)


def _bootstrap_difference(pairs: Float64) -> list[float]:
    """[the difference summed over items, 5 %, 95 %] of (draws, n) pairs, mean over draws."""
    rng = np.random.default_rng(77)
    draws, items = pairs.shape
    values = np.empty(BOOTSTRAP_RESAMPLES)
    for number in range(BOOTSTRAP_RESAMPLES):
        some = pairs[rng.integers(0, draws, draws)][:, rng.integers(0, items, items)]
        values[number] = some.sum(axis=1).mean()
    return with_interval(values, float(pairs.sum(axis=1).mean()))


def _assumptions(plan: BacktestPlan) -> Iterator[str]:
    yield "people and devices use what they used then; a gauge errs as it erred then, and tells at the same moments"
    yield (
        "what was truly used is worked out in hindsight from levels and refills; while an item was empty, its mean use is taken, and "
        "of readings closer than an hour one counts"
    )
    yield (
        "suppliers deliver all that is ordered, whole, after lead times drawn from the distributions named "
        f"({', '.join(f'{name} {low:g} to {high:g} days' for name, (low, high) in sorted(plan.lead_times.items()))})"
    )
    yield f"refills of the history are not repeated; whoever is reminded buys a pack, whoever is asked accepts after {plan.answer_hours} h"
    yield f"it is decided every {TICK_HOURS} hours; changes of the fleet within the history are left out"
    yield "money is by the costs of the first fleet file; the price of what is used counts only where it is over the lowest one stated"


def _rounded(value: Any) -> float:
    return round(float(value), 4) + 0.0
