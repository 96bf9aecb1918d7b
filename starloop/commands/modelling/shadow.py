"""`starloop models shadow MODEL`: a challenger beside the champion on the log of a service, running or stopped, without any effect."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import click

from config.fleet_file import load_catalogue
from config.settings import Settings
from evaluation.shadow_scoring import ShadowScorer, format_report
from models.champion import champion_dir, resolve_model
from models.onnx_scorer import load_run_out
from reactor.store.sql import SqlStore
from runtime.data_dir import FLEET_FILE, LOG_FILE, store_url
from star.errors import InputError, UsageError
from starloop.commands.data.export import EMBEDDED, require_data_dir
from stream.topics import INPUT
from stream.transports.embedded_log.sqlite_log import SqliteLog

MODEL = "run-out"


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="NAME@VERSION...")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The service's data directory.")
@click.option("--follow", is_flag=True, help="Go on with what comes in, and tell again and again, until stopped.")
@click.option("--every", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds between, with it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one list of models a time.")
def command(models: tuple[str, ...], data: Path | None, follow: bool, every: float, as_json: bool) -> None:
    """Lets other models forecast beside the one in force, on the log of a service, without any effect on it.

    Tells how often each was right (5 to 95 %, 25 to 75 %), how far that is from honest (PSI; over 0.2 is much), and its pinball
    loss as a share of the time that things lasted: lower is better. The service may be running; its log is only read.
    """
    settings = Settings.read(data_dir=data)
    folder = settings.data_dir
    if settings.log != EMBEDDED:
        raise UsageError("on Kafka the log is kept by Kafka: a shadow reads an embedded log")
    require_data_dir(settings)
    if not (folder / FLEET_FILE).is_file():
        raise InputError(f"{folder / FLEET_FILE}: is missing: expected the fleet file that the first start kept")
    folders = [
        champion_dir(MODEL, settings.models_dir),
        *(resolve_model(one, MODEL, settings.models_dir) for one in models),
    ]
    catalogue = load_catalogue(folder / FLEET_FILE, *settings.profile_dirs)
    waiting = threading.Event()
    with SqliteLog(folder / LOG_FILE, read_only=True) as log, SqlStore(store_url(settings)) as store:
        shadow = ShadowScorer(catalogue, store.names, [load_run_out(one) for one in folders])
        while True:
            end = log.end(INPUT)
            store.names.refresh()  # after the end was seen: every metric up to there has its name
            shadow.consume(log, end)
            for line in [json.dumps(shadow.figures())] if as_json else format_report(shadow.figures()):
                click.echo(line)
            if not follow:
                return
            waiting.wait(every)
