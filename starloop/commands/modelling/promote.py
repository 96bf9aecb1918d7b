"""`starloop models promote NAME VERSION`: promotes a challenger, unless it is worse than the champion."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from config.fleet_file import load_catalogue
from config.settings import Settings
from evaluation.backtest.comparison import BacktestPlan, Variant, compare_variants
from evaluation.closed_loop import family_names
from evaluation.model_promotion import (
    REQUIRED_FAMILIES,
    PromotionTrial,
    PromotionVerdict,
    add_backtest,
    evaluate_challenger,
    format_report,
)
from evaluation.worlds.scenarios import ITEMS_PER_SEED
from models.cards import SHIPPED_REGISTRY, Card, read_card
from models.champion import champion_dir, find_version, write_champion
from models.onnx_scorer import load_run_out
from star.errors import ModelError, UsageError
from starloop.commands.modelling.backtest import load_history

CLOSED_LOOP_MODEL = "run-out"
"""The model whose decisions can be simulated in closed loops."""
BACKTEST_DRAWS, ANSWER_HOURS = 3, 12
"""Backtest of the own history: random draws of lead times, and hours until a customer responds."""


@click.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@click.option(
    "--registry",
    type=click.Path(path_type=Path, file_okay=False),
    help="Registry to promote in.  [default: STARLOOP_MODELS_DIR, else the shipped registry]",
)
@click.option("--family", "families", multiple=True, help="Scenario family besides the required ones; repeatable.")
@click.option("--seeds-count", type=click.IntRange(1, 1000), default=1, show_default=True, help="Worlds per family.")
@click.option("--fleet", "fleet_file", type=click.Path(path_type=Path), help="Fleet file of your own history.")
@click.option("--readings", type=click.Path(path_type=Path), help="Readings file of your own history, also .gz.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of a service, instead of --readings.",
)
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Parallel processes.")
@click.option("--quick", is_flag=True, help="Use few items and days, for a trial run; nothing is promoted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    name: str,
    version: int,
    registry: Path | None,
    families: tuple[str, ...],
    seeds_count: int,
    fleet_file: Path | None,
    readings: Path | None,
    data: Path | None,
    processes: int,
    quick: bool,
    as_json: bool,
) -> None:
    """Promote version VERSION of model NAME, unless its decisions or forecasts are worse than those of the champion.

    Both are run in the same simulated scenarios and, with --fleet, in your own history; the table shows each check and its limit.
    A service uses the new champion from its next start. The checks can't be skipped. To return to the shipped model, delete
    NAME/champion.toml.
    """
    if name != CLOSED_LOOP_MODEL:
        raise UsageError(f"{name!r} can't be promoted: expected {CLOSED_LOOP_MODEL}, the only model behind decisions")
    if (fleet_file is None) != (readings is None and data is None) or (readings is not None and data is not None):
        raise UsageError("expected --fleet FILE with one of --readings FILE and --data DIR, or none of them")
    own = registry or Settings.read().models_dir or SHIPPED_REGISTRY
    champion, challenger = champion_dir(name, own), find_version(name, version, own)
    if read_card(champion)["sha256"] == read_card(challenger)["sha256"]:
        raise UsageError(f"{name}@{version} is the champion already")
    load_run_out(challenger)  # reject a model that can't be loaded before minutes of simulation
    trial = PromotionTrial(
        champion=champion,
        challenger=challenger,
        families=tuple(dict.fromkeys((*REQUIRED_FAMILIES, *family_names(families, ())))),
        seeds_count=seeds_count,
        items=4 if quick else ITEMS_PER_SEED,
        days=60 if quick else None,
    )
    backtest = None if fleet_file is None else _backtest_plan(fleet_file, readings, data, trial)
    verdict = evaluate_challenger(trial, processes, _print_progress)
    if backtest is not None:
        verdict = add_backtest(verdict, compare_variants(backtest, processes, _print_progress))
    _print_verdict(verdict, as_json, promoted=verdict.passed and not quick)
    if not verdict.passed:
        failed = "; ".join(check.what for check in verdict.checks if not check.passed)
        raise ModelError(f"{verdict.challenger} is not promoted: worse than {verdict.champion} in: {failed}")
    if not quick:
        path = write_champion(name, own, _champion_card(challenger, verdict))
        _print_progress(f"{path}: {verdict.challenger} is used from the next start of a service")


def _backtest_plan(fleet_file: Path, readings: Path | None, data: Path | None, trial: PromotionTrial) -> BacktestPlan:
    catalogue = load_catalogue(fleet_file)
    lead_times = {name: supplier.lead_time_days for name, supplier in catalogue.suppliers.items()}
    history = load_history(catalogue, readings, data, lead_times)
    models = (("champion", trial.champion), ("challenger", trial.challenger))
    variants = tuple(Variant(name=name, catalogue=catalogue, model=model) for name, model in models)
    return BacktestPlan(
        history=history,
        variants=variants,
        baseline=catalogue,
        lead_times=lead_times,
        draws=BACKTEST_DRAWS,
        answer_hours=ANSWER_HOURS,
    )


def _print_verdict(verdict: PromotionVerdict, as_json: bool, *, promoted: bool) -> None:
    if as_json:
        click.echo(json.dumps({**verdict.fields(), "better": verdict.passed, "promoted": promoted}, ensure_ascii=False))
        return
    for line in format_report(verdict):
        click.echo(line)


def _champion_card(challenger: Path, verdict: PromotionVerdict) -> Card:
    card = read_card(challenger)
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    head = {"name": card["name"], "version": card["version"], "sha256": card["sha256"], "promoted_at": at}
    return {**head, "judged": verdict.fields()}


def _print_progress(line: str) -> None:
    click.echo(line, err=True)
