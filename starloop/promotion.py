"""Whether a challenger may become the champion: both live in the same worlds, and what their decisions cost decides.

Same use, same faults, same lead times for an item's first order, its second, and so on: what differs is the model. Beside money it
must not be less honest: coverage and pinball loss of the forecasts are compared too. What is decided is a table of checks, each
with both figures and what was expected; one that fails refuses the challenger.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cards import Card
from models.runtime import load_run_out
from starloop.evaluate.families import family
from starloop.evaluate.gauges import draw_faults
from starloop.evaluate.lives import ITEMS, SEEDS, lives
from starloop.evaluate.score import SERVICE, Lived, figures_of, forecast_scores, interval, ratio, resampled
from starloop.evaluate.service import Service
from starloop.evaluate.world import World

Float64 = NDArray[np.float64]
Say = Callable[[str], None]

FAMILIES = (
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
RUN_OUTS_MORE_MAX = 0.05
"""An item-year more than the champion's."""
COVERED_WIDE, COVERED_NARROW = (0.87, 0.93), (0.45, 0.55)
PINBALL_RATIO_MAX = 1.02
PENNY = 1e-6
"""Added to costs, so that two lives that cost nothing are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What is lived. champion, challenger: folders of the models; seeds_count: worlds of a family; days: fewer, to try it out."""

    champion: Path
    challenger: Path
    families: tuple[str, ...] = FAMILIES
    seeds_count: int = 1
    items: int = ITEMS
    days: int | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds for building; held-out ones stay held out."""
        return tuple(SEEDS["dev"] + number for number in range(self.seeds_count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison: both figures, what the challenger's was expected to be, and whether it is."""

    what: str
    champion: float
    challenger: float
    expected: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """champion, challenger: names as receipts have them; cost_ratio: [challenger over champion, 5 %, 95 %], geometric mean over
    families; by_family: the same of each."""

    champion: str
    challenger: str
    cost_ratio: list[float]
    by_family: Mapping[str, list[float]]
    checks: tuple[Check, ...]
    seeds: tuple[int, ...]
    items_per_seed: int

    @property
    def better(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

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
                    "holds": bool(check.holds),
                }
                for check in self.checks
            ],
        }


def judge(contest: Contest, processes: int, say: Say) -> Verdict:
    """Lives every family with both models. Raises ModelError where one can't be run, UsageError for an unknown family."""
    pairs: list[tuple[Lived, Lived]] = []
    for one, other in _all(contest, processes):
        say(
            f"{one.name}: challenger {other.costs[SERVICE].sum() / one.costs[SERVICE].sum():.2f} of the champion's cost"
        )
        pairs.append((one, other))
    by_family, cost_ratio = _ratios(pairs)
    return Verdict(
        champion=load_run_out(contest.champion).name,
        challenger=load_run_out(contest.challenger).name,
        cost_ratio=cost_ratio,
        by_family=by_family,
        checks=tuple(_checks(pairs, by_family, cost_ratio)),
        seeds=contest.seeds,
        items_per_seed=contest.items,
    )


def with_history(verdict: Verdict, report: Mapping[str, Any]) -> Verdict:
    """The verdict with what a backtest of two ways, champion and challenger, says: the challenger may not surely cost more."""
    first, other = (way["figures"] for way in report["ways"])
    _, low, high = report["ways"][1]["difference"]["money"]
    check = Check(
        what=f"money on your own {report['days']:.0f} days",
        champion=first["money"],
        challenger=other["money"],
        expected=f"not surely more ({low:+.2f} to {high:+.2f})",
        holds=low <= 0.0,
    )
    return replace(verdict, checks=(*verdict.checks, check))


def lived_by(contest: Contest, name: str) -> tuple[Lived, Lived]:
    """One family, lived by champion and challenger."""
    return _life(contest, name, contest.champion), _life(contest, name, contest.challenger)


def in_words(verdict: Verdict) -> Iterator[str]:
    """The table for people."""
    yield f"champion {verdict.champion}, challenger {verdict.challenger}, {len(verdict.by_family)} kinds of trouble"
    yield f"{'':46}{'champion':>10}{'challenger':>12}  expected"
    for check in verdict.checks:
        said = "holds" if check.holds else "FAILS"
        yield f"{check.what:46}{check.champion:>10.3f}{check.challenger:>12.3f}  {check.expected:34}{said}"
    for name, (middle, low, high) in verdict.by_family.items():
        yield f"  cost in {name:36}{1.0:>10.3f}{middle:>12.3f}  90 % of resamplings: {low:.3f} to {high:.3f}"


def _life(contest: Contest, name: str, folder: Path) -> Lived:
    of = family(name)
    drawn = lives(of, contest.seeds, contest.items, contest.days)
    service = Service(drawn, load_run_out(folder))
    account = World(drawn, service, draw_faults(drawn)).run()
    return Lived(
        name=name,
        what=of.what,
        days=drawn.family.days,
        costs={SERVICE: account.cost(drawn)},
        figures={SERVICE: figures_of(drawn, account)},
        service={"broken": len(service.judge.broken)},
        samples=service.samples(),
    )


def _all(contest: Contest, processes: int) -> Iterator[tuple[Lived, Lived]]:
    if processes <= 1:
        for name in contest.families:
            yield lived_by(contest, name)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(lived_by, [contest] * len(contest.families), contest.families)


def _ratios(pairs: Sequence[tuple[Lived, Lived]]) -> tuple[dict[str, list[float]], list[float]]:
    """The challenger's cost over the champion's by family, items resampled in pairs, and their geometric mean."""
    middles: list[float] = []
    resamples: list[Float64] = []
    by_family: dict[str, list[float]] = {}
    for stream, (one, other) in enumerate(pairs):
        draws = resampled(len(one.costs[SERVICE]), stream)
        middle, values = ratio(other.costs[SERVICE] + PENNY, one.costs[SERVICE] + PENNY, draws)
        by_family[one.name] = interval(values, middle)
        middles.append(np.log(middle))
        resamples.append(np.log(values))
    return by_family, interval(np.exp(np.mean(resamples, axis=0)), float(np.exp(np.mean(middles))))


def _checks(
    pairs: Sequence[tuple[Lived, Lived]], by_family: Mapping[str, list[float]], cost_ratio: list[float]
) -> Iterator[Check]:
    yield Check(
        what="cost of the decisions, champion = 1",
        champion=1.0,
        challenger=cost_ratio[0],
        expected=f"at most {COST_RATIO_MAX:g}",
        holds=cost_ratio[0] <= COST_RATIO_MAX,
    )
    worse = [name for name, (_, low, _) in by_family.items() if low > FAMILY_RATIO_MAX]
    yield Check(
        what=f"families surely over {FAMILY_RATIO_MAX:g} times the cost",
        champion=0.0,
        challenger=float(len(worse)),
        expected="none",
        holds=not worse,
    )
    champions, challengers = [one for one, _ in pairs], [other for _, other in pairs]
    before, after = _mean(champions, "run_outs"), _mean(challengers, "run_outs")
    yield Check(
        what="run-outs an item-year",
        champion=before,
        challenger=after,
        expected=f"at most {before + RUN_OUTS_MORE_MAX:.3f}",
        holds=after <= before + RUN_OUTS_MORE_MAX,
    )
    broken = [float(sum(lived.service["broken"] for lived in of)) for of in (champions, challengers)]
    yield Check(what="promises broken", champion=broken[0], challenger=broken[1], expected="0", holds=broken[1] == 0.0)
    yield from _honesty(forecast_scores(champions, 999), forecast_scores(challengers, 999))


def _honesty(champion: Mapping[str, Any], challenger: Mapping[str, Any]) -> Iterator[Check]:
    """Coverage within its bounds, or no farther from what it should be than the champion's; pinball loss no worse."""
    bounds = (("covered_5_95", "5 to 95 %", COVERED_WIDE), ("covered_25_75", "25 to 75 %", COVERED_NARROW))
    for part, of in (("all", "of all forecasts"), ("near_end", "near the end")):
        if "covered_5_95" not in champion[part] or "covered_5_95" not in challenger[part]:
            continue
        for key, shown, (low, high) in bounds:
            before, after, middle = champion[part][key][0], challenger[part][key][0], (low + high) / 2
            yield Check(
                what=f"{shown} covers, {of}",
                champion=before,
                challenger=after,
                expected=f"{low:.2f} to {high:.2f}, or as the champion",
                holds=low <= after <= high or abs(after - middle) <= abs(before - middle),
            )
        before, after = (side[part]["pinball_of_28_day_mean"][0] for side in (champion, challenger))
        yield Check(
            what=f"pinball of the 28-day mean's, {of}",
            champion=before,
            challenger=after,
            expected=f"at most {PINBALL_RATIO_MAX * before:.3f}",
            holds=after <= PINBALL_RATIO_MAX * before,
        )


def _mean(lived: Sequence[Lived], figure: str) -> float:
    return float(np.mean([one.figures[SERVICE][figure] for one in lived]))
