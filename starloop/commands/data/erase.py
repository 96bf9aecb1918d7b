"""`starloop erase CUSTOMER`: erases a customer from the data of a stopped service, and lists what remains elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from config.settings import Settings
from operations.privacy.data_locator import CustomerScope, fleet_table_history, locate_customer
from operations.privacy.erasure import erase_files, erase_log
from reactor.store.sql import SqlStore
from runtime.data_dir import LOG_FILE, store_url
from runtime.service_discovery import lock_holder
from star.errors import InputError
from starloop.data_dir_checks import EMBEDDED, require_data_dir
from stream.transports.embedded_log.sqlite_log import SqliteLog


@click.command()
@click.argument("customer")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of the service.  [default: STARLOOP_DATA_DIR]",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(customer: str, data: Path | None, yes: bool, as_json: bool) -> None:
    """Erase the data of a customer permanently.

    Readings, needs, receipts, reactions and settings are erased. This can't be undone.

    Stop the service first (with Kafka: all roles; records in Kafka are only removed by its retention). Remove the customer from the
    fleet file too, or the next start adds them again. `starloop export` saves a copy before.
    """
    settings = Settings.read(data_dir=data)
    folder = settings.data_dir
    require_data_dir(settings)
    if lock_holder(folder) is not None:
        raise InputError(
            f"{folder}: a service is running on it: stop it first, as it would write the erased data again"
        )
    embedded = settings.log == EMBEDDED
    with SqlStore(store_url(settings)) as store:
        scope = _locate(customer, folder, embedded, store)
        if not yes:
            click.confirm(f"Erase {customer} and {len(scope.devices)} devices from {folder} permanently?", abort=True)
        # The log first: metric names in the store identify its readings. The files last: they identify the devices.
        log = erase_log(folder / LOG_FILE, scope, scope.owned_metrics(store.names)) if embedded else {}
        rows = store.erase(scope)
        store.vacuum()
    files = erase_files(folder, scope)
    remains = list(_remains(settings, scope, embedded))
    if as_json:
        fields: dict[str, Any] = {"customer": customer, "devices": sorted(scope.devices), "log": log}
        click.echo(json.dumps({**fields, "store": rows, "files": files, "remains": remains}, ensure_ascii=False))
        return
    click.echo(f"erased {customer} with {len(scope.devices)} devices: {', '.join(sorted(scope.devices))}")
    for where, counts in (("log", log), ("store", rows)):
        changed = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        click.echo(f"  {where}: {changed or 'no data'}")
    click.echo(f"  files: {', '.join(files) or 'no data'}")
    for one in remains:
        click.echo(f"remains: {one}")


def _locate(customer: str, folder: Path, embedded: bool, store: SqlStore) -> CustomerScope:
    if not embedded:
        return locate_customer(customer, fleet_table_history(folder, None, store))
    with SqliteLog(folder / LOG_FILE, read_only=True) as log:
        return locate_customer(customer, fleet_table_history(folder, log, store))


def _remains(settings: Settings, scope: CustomerScope, embedded: bool) -> Iterator[str]:
    yield "the fleet file of the service: remove the customer from it, or the next start adds them again"
    if not embedded:
        prefix = settings.log_prefix
        yield (
            f"Kafka topics {prefix}*: records expire by age ({settings.log_keep_days:g} days for the input); the analysis state in "
            f"{prefix}*-blocks-changelog keeps the rows until it is rebuilt"
        )
    if settings.influx_url is not None:
        yield (
            f"InfluxDB bucket {settings.influx_bucket}: delete by tag, for each device and item "
            f"(influx delete --predicate 'device=\"{min(scope.devices, default='')}\"')"
        )
    yield "backups, exported files, system logs, and messages sent to the customer, suppliers and brokers"
    yield "supplier lead times learned from their deliveries, as anonymous aggregates"
    yield "their users in credentials files, and their open orders: cancel these at the supplier"
