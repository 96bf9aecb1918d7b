"""`starloop backtest`: one's own history under other rules or with another model, as a difference in money, run-outs, contacts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from config.catalogue import Catalogue
from config.fleet_file import load_catalogue
from config.settings import Settings
from evaluation.backtest.comparison import BacktestPlan, Variant, compare_variants, format_report
from evaluation.backtest.history import History, read_history
from models.champion import resolve_model
from operations.log_export import export_lines, log_ends
from reactor.decision.lead_time_stats import add_delivery, learned_lead_time
from reactor.state import LeadTimeSample
from reactor.store.sql import SqlStore
from runtime.data_dir import LOG_FILE, STORE_FILE, store_url
from star.errors import InputError, UsageError
from star.react import ReactionType
from starloop.commands.data.replay import open_lines
from stream.transports.embedded_log.sqlite_log import SqliteLog

MODEL = "run-out"
REACTIONS_MAX = 100_000
"""Orders of the store that lead times are learned from, the latest."""

LeadTimes = dict[str, tuple[float, float]]


@click.command()
@click.option("--fleet", "fleet_file", required=True, type=click.Path(path_type=Path), help="The fleet file, as it is.")
@click.option("--readings", type=click.Path(path_type=Path), help="A readings file (may be .gz).")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Or a service's data directory.")
@click.option(
    "--with", "others", multiple=True, type=click.Path(path_type=Path), help="Another fleet file; any number."
)
@click.option("--model", "models", multiple=True, help="Another model, NAME@VERSION; any number.")
@click.option("--profiles", multiple=True, type=click.Path(path_type=Path), help="A folder with profiles of your own.")
@click.option("--draws", type=click.IntRange(1, 100), default=3, show_default=True, help="Of lead times.")
@click.option(
    "--answer-hours", type=click.IntRange(0, 1000), default=12, show_default=True, help="Until people answer."
)
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    fleet_file: Path,
    readings: Path | None,
    data: Path | None,
    others: tuple[Path, ...],
    models: tuple[str, ...],
    profiles: tuple[Path, ...],
    draws: int,
    answer_hours: int,
    processes: int,
    as_json: bool,
) -> None:
    """Lives your own history again, as the fleet file says and in other ways, and tells the difference.

    Other ways: other fleet files (experience, budget, suppliers, costs), other models, and each with each. What was used is
    worked out from the readings; suppliers and people are assumed to act as the report says.
    """
    if (readings is None) == (data is None):
        raise UsageError("expected one of --readings FILE and --data DIR")
    if not others and not models:
        raise UsageError("nothing to compare with: expected --with FILE or --model NAME@VERSION")
    truth = load_catalogue(fleet_file, *profiles)
    fleets = {fleet_file: truth} | {path: load_catalogue(path, *profiles) for path in others}
    for path, catalogue in fleets.items():
        _check_same_items(path, catalogue, truth)
    own = Settings.read().models_dir
    ways = tuple(
        Variant(
            name=str(path) if model is None else f"{path} with {model}",
            catalogue=catalogue,
            model=resolve_model(model, MODEL, own),
        )
        for model in (None, *models)
        for path, catalogue in fleets.items()
    )
    lead_times = {name: supplier.lead_time_days for one in fleets.values() for name, supplier in one.suppliers.items()}
    lead_times |= {name: supplier.lead_time_days for name, supplier in truth.suppliers.items()}
    history = load_history(truth, readings, data, lead_times)
    plan = BacktestPlan(
        history=history, variants=ways, baseline=truth, lead_times=lead_times, draws=draws, answer_hours=answer_hours
    )
    report = compare_variants(plan, processes, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    for line in format_report(report):
        click.echo(line)


def load_history(truth: Catalogue, readings: Path | None, data: Path | None, lead_times: LeadTimes) -> History:
    """The history in a readings file, or in a data directory, from which lead times are learned too. Raises InputError."""
    if data is not None:
        with _data_dir_lines(data, lead_times) as lines:
            return read_history(lines, truth)
    with open_lines(str(readings)) as lines:
        return read_history(lines, truth)


def _check_same_items(path: Path, catalogue: Catalogue, truth: Catalogue) -> None:
    """The same items, and no other unit of them: what is used is the same."""
    for key in truth.slots:
        if key not in catalogue.slots:
            raise InputError(f"{path}: has no item {key}: expected every item of the first fleet file")
        if catalogue.slots[key].signal is not truth.slots[key].signal:
            raise InputError(f"{path}: {key} is reported otherwise: expected the profile of the first fleet file")


@contextmanager
def _data_dir_lines(folder: Path, lead_times: LeadTimes) -> Iterator[Iterator[bytes]]:
    """The lines of a data directory's log; lead times move towards those that its store saw."""
    settings = Settings.read(data_dir=folder)
    if settings.log != "embedded":
        raise UsageError("on Kafka the log is kept by Kafka: expected --readings, or the data of an embedded log")
    has_store = settings.store != "sqlite" or (folder / STORE_FILE).is_file()
    if not (folder / LOG_FILE).is_file() or not has_store:
        raise InputError(
            f"{folder}: no service has run here: expected its data directory, with {LOG_FILE} and {STORE_FILE}"
        )
    with SqliteLog(folder / LOG_FILE, read_only=True) as log:
        ends = log_ends(log)
        with SqlStore(store_url(settings)) as store:
            _learn_lead_times(store, lead_times)
            yield export_lines(log, store.names, ends)


def _learn_lead_times(store: SqlStore, lead_times: LeadTimes) -> None:
    lessons: dict[str, LeadTimeSample] = {}
    for row in store.reactions(limit=REACTIONS_MAX):
        order = row.reaction
        if order.type is not ReactionType.ORDER_REQUESTED or order.supplier is None or row.result != "delivered":
            continue
        lesson = lessons.setdefault(order.supplier, LeadTimeSample(supplier=order.supplier, day=0))
        lessons[order.supplier] = add_delivery(lesson, order.at_ms, row.result_ms or order.at_ms)
    for name, lesson in lessons.items():
        if name in lead_times:
            lead_times[name] = learned_lead_time(lead_times[name], lesson).p10_p90
