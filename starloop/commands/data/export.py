"""`starloop export CUSTOMER`: exports the data of a customer as a zip. The service may be running."""

from __future__ import annotations

import json
from pathlib import Path

import click

from config.settings import Settings
from operations.privacy.data_locator import fleet_table_history, locate_customer
from operations.privacy.export import write_export
from reactor.store.sql import SqlStore
from runtime.clock import WallClock
from runtime.data_dir import LOG_FILE, store_url
from starloop.data_dir_checks import EMBEDDED, require_data_dir
from stream.transports.embedded_log.sqlite_log import SqliteLog


@click.command()
@click.argument("customer")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of the service.  [default: STARLOOP_DATA_DIR]",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Zip file to write.  [default: CUSTOMER.zip]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as one JSON object.")
def command(customer: str, data: Path | None, out: Path | None, as_json: bool) -> None:
    """Export the data of a customer to a zip.

        It has settings, readings, needs, receipts, reactions, outcomes and forecasts. The service may be running. With Kafka,
    records of the log are not included, and the manifest says so.
    """
    settings = Settings.read(data_dir=data)
    folder = settings.data_dir
    require_data_dir(settings)
    path = out or Path(f"{customer.replace('/', '-')}.zip")
    log = SqliteLog(folder / LOG_FILE, read_only=True) if settings.log == EMBEDDED else None
    try:
        with SqlStore(store_url(settings)) as store:
            fleets = fleet_table_history(folder, log, store)
            scope = locate_customer(customer, fleets)
            manifest = write_export(path, scope, fleets, log, store, WallClock().now_ms())
    finally:
        if log is not None:
            log.close()
    if as_json:
        click.echo(json.dumps(manifest, ensure_ascii=False))
        return
    click.echo(f"{path}: data of {customer}, {len(scope.devices)} devices")
    for name, file in manifest["files"].items():
        click.echo(f"  {name:18}{file['rows']:>9}  {file['what']}")
    for missing in manifest["not_here"]:
        click.echo(f"  not included: {missing}")
