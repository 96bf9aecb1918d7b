"""The evaluation's figures as text: a table for the terminal, a page for docs/explanation/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starloop.evaluate.score import FILTERED, INFORMED, SERVICE

Scores = Mapping[str, Any]

PLAIN = ("newsvendor", "threshold", "order-up-to", "moving-average")
FIGURES = ("evaluation-cost.svg", "evaluation-coverage.svg")
_RULES = (
    ("threshold", "orders when the level is under a fifth of the capacity"),
    ("moving average", "orders when the level lasts a mean lead time at the mean rate of 28 days"),
    ("order-up-to", "(s,S) on 28 days with a normal safety stock of 98 %, up to the capacity"),
    (
        "newsvendor",
        "orders at the level of least expected cost: a smoothed rate (size and probability apart where use is intermittent), "
        "gamma demand over learned lead times",
    ),
    ("newsvendor, filtered", "the same behind a median of three readings, a test of plausibility and one for sticking"),
    ("informed", "knows the true level and all future use; lead times only as a distribution"),
    ("clairvoyant", "knows everything, so that it pays for its orders and little else"),
)


def span(values: Sequence[float], digits: int = 2) -> str:
    """A figure with its interval."""
    return f"{values[0]:.{digits}f} ({values[1]:.{digits}f} to {values[2]:.{digits}f})"


def text(scores: Scores) -> Iterator[str]:
    """Lines for the terminal."""
    yield f"{'cost over the clairvoyant':17}{'service':>22}{'informed':>10}{'filtered':>10}{'service/informed':>22}" + (
        f"{'service/filtered':>22}{'run-outs':>9}{'early':>7}{'orders':>7}{'5-95':>6}{'25-75':>6}{'near':>6}{'pin':>6}{'bad':>4}"
    )
    for name, family in scores["families"].items():
        policies, own = family["policies"], family["service"]
        shown = [policies[policy]["over_clairvoyant"] for policy in (SERVICE, INFORMED, FILTERED)]
        figures, forecasts = policies[SERVICE], own["forecasts"]
        near = forecasts["near_end"]
        yield (
            f"{name:25}{span(shown[0]):>22}{shown[1][0]:>10.2f}{shown[2][0]:>10.2f}{span(own['over_informed']):>22}"
            f"{span(own['over_newsvendor_filtered']):>22}{figures['run_outs']:>9.2f}{figures['days_early']:>7.1f}"
            f"{figures['orders']:>7.1f}{_share(forecasts['all'], 'covered_5_95'):>6}"
            f"{_share(forecasts['all'], 'covered_25_75'):>6}{_share(near, 'covered_5_95'):>6}"
            f"{_share(near, 'pinball_of_28_day_mean'):>6}{own['duplicates'] + own['forbidden']:>4}"
        )
    overall = scores["overall"]
    for policy, figures in overall["policies"].items():
        yield f"{policy:25}{span(figures['over_clairvoyant']):>22}  run-outs {figures['run_outs']:.3f} an item-year"
    yield f"service over informed {span(overall['over_informed'], 3)}"
    yield f"service over the filtered newsvendor {span(overall['over_newsvendor_filtered'], 3)}"
    for name, row in overall["forecasts"].items():
        yield f"forecasts, {name}: " + ", ".join(
            f"{key} {span(value, 3) if isinstance(value, list) else value}" for key, value in row.items()
        )


def page(scores: Scores) -> str:
    """The Markdown page."""
    return "\n".join(_page(scores)) + "\n"


def _page(scores: Scores) -> Iterator[str]:
    overall, count = scores["overall"], len(scores["families"])
    yield "# The evaluation: what the decisions are worth"
    yield ""
    yield "Written by `starloop models evaluate run-out --write-docs docs`; made again by the same command, as every draw has its"
    yield f"seed. Model `{scores['model']}`, {_seeds(scores)}, {scores['items_per_seed']} items a seed and family, {count} families."
    yield ""
    yield "Seeded worlds send readings to the service through the [replay protocol](../reference/replay.md), carry its orders out and"
    yield "tell it of deliveries, a tick every six hours. Other policies live in the same worlds: same use, same faults, and the same"
    yield "lead time for an item's first order, its second, and so on. What each has cost is told as a multiple of the clairvoyant's"
    yield "cost: run-outs, days empty, packs that came earlier than needed, orders (0.25 each), prices over the lowest one seen, and"
    yield "what did not fit. In brackets: 90 % of resamplings of the items lie within."
    yield ""
    yield "| policy | cost over the clairvoyant's, geometric mean | run-outs an item-year | days early | orders an item-year |"
    yield "| --- | --- | --- | --- | --- |"
    for policy, row in overall["policies"].items():
        yield (
            f"| {policy} | {span(row['over_clairvoyant'])} | {row['run_outs']:.2f} | {row['days_early']:.1f} | {row['orders']:.1f} |"
        )
    yield ""
    yield f"The service costs {span(overall['over_informed'])} times what the informed policy costs, and"
    yield f"{span(overall['over_newsvendor_filtered'])} times the filtered newsvendor's cost. Duplicate orders, and orders against"
    yield f"price, budget, consent or absence: {overall['broken']}."
    yield ""
    yield f"![Cost over the clairvoyant's by family]({FIGURES[0]})"
    yield ""
    yield from _families(scores)
    yield from _forecasts(scores)
    yield "## The policies"
    for name, rule in _RULES:
        yield f"- *{name}*: {rule}."
    yield ""
    yield "All but the last two believe readings and what suppliers say, as the service does; all keep the customer's mandate."


def _families(scores: Scores) -> Iterator[str]:
    yield "## By kind of trouble"
    yield (
        "| family | service | informed | newsvendor, filtered | "
        + " | ".join(PLAIN)
        + " | run-outs | days early | orders |"
    )
    yield "| --- |" + " --- |" * (6 + len(PLAIN))
    for name, family in scores["families"].items():
        policies = family["policies"]
        others = " | ".join(f"{policies[policy]['over_clairvoyant'][0]:.2f}" for policy in (INFORMED, FILTERED, *PLAIN))
        own = policies[SERVICE]
        yield (
            f"| {name}: {family['what']} | {span(own['over_clairvoyant'])} | {others} | {own['run_outs']:.2f} | "
            f"{own['days_early']:.1f} | {own['orders']:.1f} |"
        )
    yield ""
    yield "Run-outs, days early (of a pack) and orders are the service's, an item-year."
    yield ""


def _forecasts(scores: Scores) -> Iterator[str]:
    yield "## Is it right as often as it says?"
    yield "Each day at noon the forecast of the time to empty is kept and compared with what the item truly used. Near the end: its"
    yield "median is within 14 days. The pinball loss is a share of that of a 28-day mean with normal error."
    yield ""
    yield f"![Coverage by family]({FIGURES[1]})"
    yield ""
    yield "| | 5 to 95 % | 25 to 75 % | near the end: 5 to 95 % | 25 to 75 % | pinball of the 28-day mean's |"
    yield "| --- | --- | --- | --- | --- | --- |"
    rows = {"all": scores["overall"]["forecasts"]}
    rows |= {name: family["service"]["forecasts"] for name, family in scores["families"].items()}
    for name, row in rows.items():
        every, near = row["all"], row["near_end"]
        cells = [_share(every, "covered_5_95", True), _share(every, "covered_25_75", True)]
        cells += [_share(near, "covered_5_95", True), _share(near, "covered_25_75", True)]
        yield f"| {name} | " + " | ".join([*cells, _share(near, "pinball_of_28_day_mean", True)]) + " |"
    cold = scores["overall"]["forecasts"]["cold_start"]
    yield ""
    yield f"In an item's first 14 days 5 to 95 % covers {_share(cold, 'covered_5_95', True)}."
    yield ""


def _seeds(scores: Scores) -> str:
    kind = {"dev": "seeds for building", "test": "held-out seeds"}[scores["seeds"]]
    numbers = scores["seed_numbers"]
    return f"{kind} {numbers[0]} to {numbers[-1]}"


def _share(row: Scores, key: str, whole: bool = False) -> str:
    if key not in row:
        return "-"
    return span(row[key]) if whole else f"{row[key][0]:.2f}"
