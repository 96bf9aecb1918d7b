"""The evaluation's page, docs/explanation/evaluation.md, and its figures, written from the scores."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation.scoring.charts import cost_chart, coverage_chart
from evaluation.scoring.scores import FILTERED, INFORMED, SERVICE
from evaluation.scoring.text_tables import format_interval, format_share
from star.errors import UsageError

Scores = Mapping[str, Any]

PLAIN = ("newsvendor", "threshold", "order-up-to", "moving-average")
COST, COVERAGE, REAL_COST = "evaluation-cost.svg", "evaluation-coverage.svg", "evaluation-real.svg"
_NAMES = {FILTERED: "newsvendor, filtered"}
_POLICY_DESCRIPTIONS = (
    (
        "informed",
        "knows the true level and all future use; lead times and losses only as a distribution, prices as today's",
    ),
    (
        "newsvendor, filtered",
        "orders at the level of least expected cost: smoothed rate (size and probability apart where use is intermittent), gamma "
        "demand over the learned time from the first order to the delivery; behind a median of three readings, a test of "
        "plausibility and one for sticking",
    ),
    ("newsvendor", "the same, believing every reading"),
    ("threshold", "orders when the level is under a fifth of the capacity"),
    ("order-up-to", "(s,S) on 28 days with a normal safety stock of 98 %, up to the capacity"),
    ("moving-average", "orders when the level lasts a mean lead time at the mean rate of 28 days"),
    ("clairvoyant", "knows everything, also what becomes of each order: it pays for its orders and little else"),
)


def write_docs(scores: Scores, docs: Path) -> None:
    """docs/explanation/evaluation.md and its figures. Raises UsageError where no family by kind of trouble was lived."""
    if "families" not in scores:
        raise UsageError("the page needs families by kind of trouble, not real traces alone")
    folder = docs / "explanation"
    folder.mkdir(exist_ok=True)
    (folder / "evaluation.md").write_text("\n".join(_page(scores)) + "\n")
    (folder / COST).write_text(cost_chart(scores, "Cost over the clairvoyant's, by kind of trouble"))
    (folder / COVERAGE).write_text(coverage_chart(scores))
    if "real" in scores:
        (folder / REAL_COST).write_text(cost_chart(scores["real"], "Cost over the clairvoyant's, real consumption"))


def _page(scores: Scores) -> Iterator[str]:
    yield "# The evaluation: what the decisions are worth"
    yield ""
    yield from _wrapped(
        f"Written by `starloop models evaluate run-out --write-docs docs`, which makes every figure again, as every draw has its "
        f"seed. Model `{scores['model']}`, {_seeds(scores)}, {scores['items_per_seed']} items a seed and family, "
        f"{len(scores['families'])} families of simulated trouble."
    )
    yield ""
    yield from _wrapped(
        "Worlds send readings to the service through the [replay protocol](../reference/replay.md), carry its orders out and tell "
        "it of deliveries, with a tick every six hours. Other policies live in the same worlds: same use, same faults of the "
        "sensors, and the same lead time for an item's first order, its second, and so on. What a life costs is told as a "
        "multiple of what it cost the clairvoyant: run-outs (10 to 60 each) and days empty (a tenth of that each), packs that "
        "came before they were needed (a five-hundredth a pack and day), orders (0.25 each), prices over the lowest one of the life, and "
        "what did not fit. In brackets: 90 % of resamplings of the items lie within."
    )
    yield ""
    yield from _overall(scores)
    yield f"![Cost over the clairvoyant's by family]({COST})"
    yield ""
    yield "## By kind of trouble"
    yield from _family_list(scores)
    yield ""
    yield from _cost_table(scores)
    yield ""
    yield from _wrapped("What the costs are made of. Each cell: the service / informed / the filtered newsvendor.")
    yield ""
    yield from _figure_table(scores)
    yield ""
    yield "## Is it right as often as it says?"
    yield from _wrapped(
        "Each day at noon the forecast of the time to empty is kept and compared with what the item truly used. Near the end: its "
        "median is within 14 days. Cold start: the first 14 days of an item. The pinball loss is a share of that of a 28-day "
        "mean with normal error, near the end."
    )
    yield ""
    yield f"![Coverage by family]({COVERAGE})"
    yield ""
    yield from _forecast_table(scores)
    yield ""
    yield from _invariants_section(scores)
    if "real" in scores:
        yield from _trace_section(scores["real"])
    yield "## The policies"
    for name, rule in _POLICY_DESCRIPTIONS:
        yield from _wrapped(f"- *{name}*: {rule}.", "  ")
    yield ""
    yield from _wrapped(
        "All keep the customer's mandate, have at most one order of an item under way, and give it up as late as the service does. "
        "All but the informed and the clairvoyant believe readings and what suppliers say, as the service does; where a flow meter "
        "is beside the level, they hear the level."
    )
    yield ""
    yield "## What it does not show"
    yield from _wrapped(
        "Worlds that were drawn by the same hands that built the service: other gauges, suppliers and households will differ. "
        "Customers always answer nothing: offers and reminders find nobody. Items are slots; the care of parts is judged elsewhere. "
        "Twenty items a family are few where a run-out costs as much as a hundred orders: read the intervals."
    )


def _overall(scores: Scores) -> Iterator[str]:
    overall = scores["overall"]
    yield "| policy | cost over the clairvoyant's, geometric mean | run-outs an item-year | days early of a pack | orders an item-year |"
    yield "| --- | --- | --- | --- | --- |"
    for policy, row in overall["policies"].items():
        yield (
            f"| {_NAMES.get(policy, policy)} | {format_interval(row['over_clairvoyant'])} | {row['run_outs']:.2f} | "
            f"{row['days_early']:.1f} | {row['orders']:.1f} |"
        )
    yield ""
    rows = [family["service"]["over_newsvendor_filtered"] for family in scores["families"].values()]
    yield from _wrapped(
        f"The service costs {format_interval(overall['over_informed'])} times what the informed policy costs, and "
        f"{format_interval(overall['over_newsvendor_filtered'])} times what the filtered newsvendor costs: less than it in "
        f"{sum(row[0] < 1.0 for row in rows)} of {len(rows)} families, in {sum(row[2] < 1.0 for row in rows)} beyond the "
        f"interval, and more beyond the interval in {sum(row[1] > 1.0 for row in rows)}."
    )
    yield ""


def _family_list(scores: Scores) -> Iterator[str]:
    for name, family in scores["families"].items():
        yield from _wrapped(f"- *{name}*: {family['what']}, {family['days']} days.", "  ")


def _cost_table(scores: Scores) -> Iterator[str]:
    others = (INFORMED, FILTERED, *PLAIN)
    heads = [_NAMES.get(policy, policy) for policy in (SERVICE, *others)]
    yield "| family | " + " | ".join(heads) + " | service over informed | service over filtered |"
    yield "| --- |" + " --- |" * (len(heads) + 2)
    for name, family in scores["families"].items():
        cells = [format_interval(family["policies"][policy]["over_clairvoyant"]) for policy in (SERVICE, *others)]
        cells += [format_interval(family["service"][key]) for key in ("over_informed", "over_newsvendor_filtered")]
        yield f"| {name} | " + " | ".join(cells) + " |"


def _figure_table(scores: Scores) -> Iterator[str]:
    shown = (("run_outs", 2), ("empty_days", 2), ("days_early", 1), ("orders", 1), ("holding", 1), ("wasted", 1))
    yield "| family | run-outs an item-year | days empty | days early of a pack | orders | money for being early | for what did not fit |"
    yield "| --- |" + " --- |" * len(shown)
    for name, family in scores["families"].items():
        of = [family["policies"][policy] for policy in (SERVICE, INFORMED, FILTERED)]
        cells = [" / ".join(f"{row[key]:.{digits}f}" for row in of) for key, digits in shown]
        yield f"| {name} | " + " | ".join(cells) + " |"


def _forecast_table(scores: Scores) -> Iterator[str]:
    yield "| | 5 to 95 % | 25 to 75 % | near the end: 5 to 95 % | 25 to 75 % | cold start: 5 to 95 % | pinball of the 28-day mean's |"
    yield "| --- |" + " --- |" * 6
    rows = {"all": scores["overall"]["forecasts"]}
    rows |= {name: family["service"]["forecasts"] for name, family in scores["families"].items()}
    for name, row in rows.items():
        every, near, cold = row["all"], row["near_end"], row["cold_start"]
        cells = [format_share(every, "covered_5_95", whole=True), format_share(every, "covered_25_75", whole=True)]
        cells += [format_share(near, "covered_5_95", whole=True), format_share(near, "covered_25_75", whole=True)]
        cells += [
            format_share(cold, "covered_5_95", whole=True),
            format_share(near, "pinball_of_28_day_mean", whole=True),
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def _invariants_section(scores: Scores) -> Iterator[str]:
    """What a judge beside the service found, and how soon it forecast."""
    own = {name: family["service"] for name, family in scores["families"].items()}
    yield "## Promises"
    yield from _wrapped(
        "A judge that shares no code with the service sees everything that goes out: whether two orders of one need were "
        "outstanding, whether an order was against price, budget, consent, absence or the customer's choice of suppliers."
    )
    yield ""
    yield f"- Orders doubled: {sum(row['duplicates'] for row in own.values())}."
    yield f"- Orders and contacts against what the customer allows: {sum(row['forbidden'] for row in own.values())}."
    for name, row in own.items():
        yield from (f"  - {name}: {sentence}" for sentence in row["broken"])
    hours = [row["first_forecast_hours_max"] for row in own.values() if row["first_forecast_hours_max"] is not None]
    never = sum(row["without_forecast"] for row in own.values())
    yield from _wrapped(
        f"- The first forecast of an item came at most {max(hours, default=0)} hours after its life began; items that never had "
        f"one: {never}.",
        "  ",
    )
    yield ""


def _trace_section(scores: Scores) -> Iterator[str]:
    yield "## Real consumption"
    yield from _wrapped(
        "The same worlds with the daily use of real homes, shops and machines as the demand, each at three scales with three kinds "
        "of gauges (`--traces --data DIR`; the data are not part of the repository, and some may not be). Water and electricity "
        "(CC BY 4.0) are in part what the model was trained on; the others it never saw. Forecasts that reach beyond the end of a "
        "trace are left out."
    )
    yield ""
    yield from _overall(scores)
    yield f"![Cost over the clairvoyant's, real consumption]({REAL_COST})"
    yield ""
    yield from _family_list(scores)
    yield ""
    yield from _cost_table(scores)
    yield ""
    yield from _figure_table(scores)
    yield ""
    yield from _forecast_table(scores)
    yield ""
    own = [family["service"] for family in scores["families"].values()]
    yield f"Orders doubled or forbidden: {sum(row['duplicates'] + row['forbidden'] for row in own)}."
    yield ""


def _seeds(scores: Scores) -> str:
    kind = {"dev": "seeds for building", "test": "held-out seeds"}[scores["seeds"]]
    numbers = scores["seed_numbers"]
    return f"{kind} {numbers[0]} to {numbers[-1]}"


def _wrapped(words: str, later: str = "") -> Iterator[str]:
    """Lines of at most 120 characters."""
    yield from textwrap.wrap(words, 120, subsequent_indent=later, break_long_words=False, break_on_hyphens=False)
