"""`starloop models shadow MODEL`: scores challengers and the champion on the log of a service, without effect on it."""

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
from star.errors import InputError
from starloop.data_dir_checks import require_data_dir, require_embedded_log
from stream.topics import INPUT
from stream.transports.embedded_log.sqlite_log import SqliteLog

MODEL = "run-out"


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="NAME@VERSION...")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of the service.  [default: STARLOOP_DATA_DIR]",
)
@click.option("--follow", is_flag=True, help="Follow new records and report repeatedly, until stopped.")
@click.option(
    "--every",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds between reports with --follow.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list per report.")
def command(models: tuple[str, ...], data: Path | None, follow: bool, every: float, as_json: bool) -> None:
    """Score other models besides the promoted one on the log of a service, without effect on it.

    Reports the coverage of the 5-95 % and 25-75 % intervals, the drift from calibrated forecasts (PSI; above 0.2 is large), and the
    pinball loss relative to the actual time to empty (lower is better). The service may be running; its log is only read.
    """
    settings = Settings.read(data_dir=data)
    folder = settings.data_dir
    require_embedded_log(settings, "the embedded log of a data directory")
    require_data_dir(settings)
    if not (folder / FLEET_FILE).is_file():
        raise InputError(f"{folder / FLEET_FILE}: is missing: expected the fleet file saved by the first start")
    folders = [
        champion_dir(MODEL, settings.models_dir),
        *(resolve_model(one, MODEL, settings.models_dir) for one in models),
    ]
    catalogue = load_catalogue(folder / FLEET_FILE, *settings.profile_dirs)
    pause = threading.Event()
    with SqliteLog(folder / LOG_FILE, read_only=True) as log, SqlStore(store_url(settings)) as store:
        shadow = ShadowScorer(catalogue, store.names, [load_run_out(one) for one in folders])
        while True:
            end = log.end(INPUT)
            store.names.refresh()  # after the end offset is read, so that every metric before it has a name
            shadow.consume(log, end)
            for line in [json.dumps(shadow.figures())] if as_json else format_report(shadow.figures()):
                click.echo(line)
            if not follow:
                return
            pause.wait(every)
