"""`starloop backtest`: replays a history with other rules or models, and compares costs, run-outs and contacts."""

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
from runtime.data_dir import LOG_FILE, store_url
from star.errors import InputError, UsageError
from star.react import ReactionType
from starloop.commands.data.replay import open_lines
from starloop.data_dir_checks import require_data_dir, require_embedded_log
from stream.transports.embedded_log.sqlite_log import SqliteLog

MODEL = "run-out"
REACTIONS_MAX = 100_000
"""Latest reactions of the store that lead times are learned from."""

LeadTimes = dict[str, tuple[float, float]]


@click.command()
@click.option("--fleet", "fleet_file", required=True, type=click.Path(path_type=Path), help="Current fleet file.")
@click.option("--readings", type=click.Path(path_type=Path), help="Readings file, also .gz.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of a service, instead of --readings.",
)
@click.option(
    "--with", "others", multiple=True, type=click.Path(path_type=Path), help="Fleet file to compare; repeatable."
)
@click.option("--model", "models", multiple=True, help="Model NAME@VERSION to compare; repeatable.")
@click.option(
    "--profiles", multiple=True, type=click.Path(path_type=Path), help="Folder with additional profiles; repeatable."
)
@click.option("--draws", type=click.IntRange(1, 100), default=3, show_default=True, help="Random draws of lead times.")
@click.option(
    "--answer-hours",
    type=click.IntRange(0, 1000),
    default=12,
    show_default=True,
    help="Hours until a customer responds.",
)
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Parallel processes.")
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
    """Compare rules and models on your own history.

        The history is simulated with the current fleet file and with variants, and the differences are reported. Variants are
    other fleet files (experience, budget, suppliers, costs), other models, and their combinations. Consumption is
        estimated from the readings; the report states the assumed behaviour of suppliers and customers.
    """
    if (readings is None) == (data is None):
        raise UsageError("expected one of --readings FILE and --data DIR")
    if not others and not models:
        raise UsageError("no variant to compare: expected --with FILE or --model NAME@VERSION")
    baseline = load_catalogue(fleet_file, *profiles)
    fleets = {fleet_file: baseline} | {path: load_catalogue(path, *profiles) for path in others}
    for path, catalogue in fleets.items():
        _check_same_items(path, catalogue, baseline)
    own = Settings.read().models_dir
    variants = tuple(
        Variant(
            name=str(path) if model is None else f"{path} with {model}",
            catalogue=catalogue,
            model=resolve_model(model, MODEL, own),
        )
        for model in (None, *models)
        for path, catalogue in fleets.items()
    )
    lead_times = {name: supplier.lead_time_days for one in fleets.values() for name, supplier in one.suppliers.items()}
    lead_times |= {name: supplier.lead_time_days for name, supplier in baseline.suppliers.items()}
    history = load_history(baseline, readings, data, lead_times)
    plan = BacktestPlan(
        history=history,
        variants=variants,
        baseline=baseline,
        lead_times=lead_times,
        draws=draws,
        answer_hours=answer_hours,
    )
    report = compare_variants(plan, processes, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    for line in format_report(report):
        click.echo(line)


def load_history(catalogue: Catalogue, readings: Path | None, data: Path | None, lead_times: LeadTimes) -> History:
    """History from a readings file, or from a data directory, whose lead times are learned too. Raises InputError."""
    if data is not None:
        with _data_dir_lines(data, lead_times) as lines:
            return read_history(lines, catalogue)
    with open_lines(str(readings)) as lines:
        return read_history(lines, catalogue)


def _check_same_items(path: Path, catalogue: Catalogue, baseline: Catalogue) -> None:
    """Raises InputError unless both fleets have the same items with the same signals, as consumption must be comparable."""
    for key in baseline.slots:
        if key not in catalogue.slots:
            raise InputError(f"{path}: has no item {key}: expected every item of the first fleet file")
        if catalogue.slots[key].signal is not baseline.slots[key].signal:
            raise InputError(f"{path}: {key} has another signal: expected the profile of the first fleet file")


@contextmanager
def _data_dir_lines(folder: Path, lead_times: LeadTimes) -> Iterator[Iterator[bytes]]:
    """Lines of the log of a data directory; updates lead times from the deliveries in its store."""
    settings = Settings.read(data_dir=folder)
    require_embedded_log(settings, "--readings, or the data directory of an embedded log")
    require_data_dir(settings)
    with SqliteLog(folder / LOG_FILE, read_only=True) as log:
        ends = log_ends(log)
        with SqlStore(store_url(settings)) as store:
            _learn_lead_times(store, lead_times)
            yield export_lines(log, store.names, ends)


def _learn_lead_times(store: SqlStore, lead_times: LeadTimes) -> None:
    samples: dict[str, LeadTimeSample] = {}
    for row in store.reactions(limit=REACTIONS_MAX):
        order = row.reaction
        if order.type is not ReactionType.ORDER_REQUESTED or order.supplier is None or row.result != "delivered":
            continue
        sample = samples.setdefault(order.supplier, LeadTimeSample(supplier=order.supplier, day=0))
        samples[order.supplier] = add_delivery(sample, order.at_ms, row.result_ms or order.at_ms)
    for name, sample in samples.items():
        if name in lead_times:
            lead_times[name] = learned_lead_time(lead_times[name], sample).p10_p90
