"""Comparison of decision variants on one history: differences in money, run-outs and contacts, with bootstrap intervals.

All variants are valued at the costs of the first fleet file. Differences are paired, by item and draw of lead times. Their
intervals come from resampling items and draws: 90 % of the resampled differences lie within.
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
"""Seed of the first draw of lead times; each further draw adds one."""
FIGURES = {
    "money": "total cost",
    "run_out_money": "  run-outs and days empty",
    "holding": "  packs that came too early",
    "orders_money": "  order handling",
    "price": "  overpaid and spilled",
    "run_outs": "run-outs",
    "empty_days": "days empty",
    "orders": "orders",
    "contacts": "contacts",
}
"""The figures compared: name in JSON -> label for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One variant of deciding: rules and a model. name: its label in the report; model: the folder of the model."""

    name: str
    catalogue: Catalogue
    model: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestPlan:
    """The runs to compare.

    variants: the first is the reference. baseline: the fleet whose capacities and costs count; lead_times: by supplier, 10 % and
    90 % quantile in days; draws: of lead times, each a run of every variant; answer_hours: until people respond.
    """

    history: History
    variants: tuple[Variant, ...]
    baseline: Catalogue
    lead_times: LeadTimes
    draws: int
    answer_hours: int


def compare_variants(plan: BacktestPlan, processes: int, progress: Progress) -> dict[str, Any]:
    """The figures of every variant, and the differences of the others from the first, as JSON fields."""
    cells = [(number, draw) for number in range(len(plan.variants)) for draw in range(plan.draws)]
    runs: dict[int, list[Mapping[str, Float64]]] = {}
    for (number, draw), figures in zip(
        cells, map_in_processes(partial(_run_cell, plan), cells, processes), strict=True
    ):
        runs.setdefault(number, []).append(figures)
        progress(f"{plan.variants[number].name}, draw {draw + 1} of {plan.draws}: money {figures['money'].sum():.2f}")
    stacked = [{name: np.array([run[name] for run in runs[number]]) for name in FIGURES} for number in sorted(runs)]
    rows = []
    for variant, figures in zip(plan.variants, stacked, strict=True):
        row: dict[str, Any] = {"name": variant.name, "model": load_run_out(variant.model).name}
        row["figures"] = {name: _rounded(figures[name].sum(axis=1).mean()) for name in FIGURES}
        if variant is not plan.variants[0]:
            row["difference"] = {name: _bootstrap_difference(figures[name] - stacked[0][name]) for name in FIGURES}
        rows.append(row)
    return {
        "days": round(plan.history.days, 2),
        "items": [history.item.key for history in plan.history.items],
        "left_out": plan.history.excluded,
        "lines_unread": plan.history.unreadable_lines,
        "draws": plan.draws,
        "lead_times": {name: [_rounded(days) for days in plan.lead_times[name]] for name in sorted(plan.lead_times)},
        "history": {
            history.item.key: {
                "used": _rounded(history.consumption.hourly_use.sum()),
                "refills_seen": history.consumption.refills,
                "empty_hours_seen": history.consumption.empty_hours,
            }
            for history in plan.history.items
        },
        "ways": rows,
        "assumed": list(_assumptions(plan)),
    }


def format_report(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the table for people."""
    yield f"{len(report['items'])} items, {report['days']:.0f} days, {report['draws']} draws of lead times; sums over all items"
    first, *others = report["ways"]
    yield f"current: {first['name']} ({first['model']})"
    for item, why in report["left_out"].items():
        yield f"left out: {item}: {why}"
    for other in others:
        yield ""
        yield f"{other['name']} ({other['model']})"
        yield f"{'':32}{'current':>12}{'variant':>12}{'difference':>12}   90 % of resamples"
        for name, shown in FIGURES.items():
            middle, low, high = other["difference"][name]
            yield (
                f"{shown:32}{first['figures'][name]:>12.2f}{other['figures'][name]:>12.2f}{middle:>+12.2f}"
                f"   {low:+.2f} to {high:+.2f}"
            )
    yield ""
    yield "assumptions:"
    yield from (f"- {line}" for line in report["assumed"])


def _run_cell(plan: BacktestPlan, cell: tuple[int, int]) -> dict[str, Float64]:
    """The figures of one counterfactual run, each (n,). cell: the numbers of the variant and of the draw of lead times."""
    number, draw = cell
    variant = plan.variants[number]
    run = CounterfactualRun(
        history=plan.history,
        catalogue=variant.catalogue,
        baseline=plan.baseline,
        scorer=load_run_out(variant.model),
        lead_times=plan.lead_times,
        seed=SEED + draw,
        answer_hours=plan.answer_hours,
    )
    slots = [plan.baseline.slots[history.item.key] for history in plan.history.items]
    return _figures(run.run(), slots, plan.baseline)


def _figures(totals: BacktestTotals, items: Sequence[SlotItem], baseline: Catalogue) -> dict[str, Float64]:
    def column(name: str) -> Float64:
        return np.array([getattr(item, name) for item in items])

    unit_price = np.array([_unit_price(item, baseline) for item in items])
    figures = {
        "run_out_money": column("stockout_cost") * totals.run_outs
        + column("stockout_cost_per_day") * totals.empty_days,
        "holding": column("holding_cost_per_day") * totals.pack_days_early,
        "orders_money": column("order_cost") * totals.orders,
        "price": totals.paid - unit_price * totals.kept,
        "run_outs": totals.run_outs,
        "empty_days": totals.empty_days,
        "orders": totals.orders,
        "contacts": totals.contacts,
    }
    money = figures["run_out_money"] + figures["holding"] + figures["orders_money"] + figures["price"]
    return {"money": money, **figures}


def _unit_price(item: SlotItem, baseline: Catalogue) -> float:
    """The lowest price per unit that the item's suppliers state; 0 where it has none."""
    prices = []
    for supplier in (baseline.suppliers[name] for name in item.suppliers):
        prices.append(supplier.price / item.pack)
        prices.extend(product.price / product.quantity for product in supplier.products)
    return min(prices, default=0.0)


def _bootstrap_difference(pairs: Float64) -> list[float]:
    """[difference, 5 %, 95 %] of (draws, n) paired differences: the sum over items, averaged over draws."""
    rng = np.random.default_rng(77)
    draws, items = pairs.shape
    values = np.empty(BOOTSTRAP_RESAMPLES)
    for number in range(BOOTSTRAP_RESAMPLES):
        resample = pairs[rng.integers(0, draws, draws)][:, rng.integers(0, items, items)]
        values[number] = resample.sum(axis=1).mean()
    return with_interval(values, float(pairs.sum(axis=1).mean()))


def _assumptions(plan: BacktestPlan) -> Iterator[str]:
    yield "consumption is as it was; each sensor has the errors that it had, and reports at the same times"
    yield (
        "the true consumption is estimated in hindsight from levels and refills; while an item was empty its mean consumption is "
        "assumed, and of several readings within an hour one is used"
    )
    yield (
        "suppliers deliver every order in full, after lead times drawn from log-normal distributions "
        f"({', '.join(f'{name} {low:g} to {high:g} days' for name, (low, high) in sorted(plan.lead_times.items()))})"
    )
    yield (
        f"refills of the history are not repeated; every reminder leads to the purchase of a pack, and every offer is accepted after "
        f"{plan.answer_hours} h"
    )
    yield f"decisions are made every {TICK_HOURS} hours; changes of the fleet within the history are ignored"
    yield "costs are those of the first fleet file; of the price paid only the part above the lowest stated price counts"


def _rounded(value: Any) -> float:
    return round(float(value), 4) + 0.0
