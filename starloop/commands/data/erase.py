"""`starloop erase CUSTOMER`: takes a customer out of a stopped service's data, for good, and says what remains elsewhere."""

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
from starloop.commands.data.export import EMBEDDED, require_data_dir
from stream.transports.embedded_log.sqlite_log import SqliteLog


@click.command()
@click.argument("customer")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The service's data directory.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was erased as one JSON object.")
def command(customer: str, data: Path | None, yes: bool, as_json: bool) -> None:
    """Erases all that is kept of CUSTOMER: readings, needs, receipts, reactions, settings. It can't be taken back.

    The service must be stopped; on Kafka all its roles, and of the log only Kafka's retention makes it forget. Take them out of
    the fleet file too, or the next start adds them again. `starloop export` writes what there is before.
    """
    settings = Settings.read(data_dir=data)
    folder = settings.data_dir
    require_data_dir(settings)
    if lock_holder(folder) is not None:
        raise InputError(f"{folder}: a service runs on it: stop it first, as it would write again what it remembers")
    embedded = settings.log == EMBEDDED
    with SqlStore(store_url(settings)) as store:
        scope = _locate(customer, folder, embedded, store)
        if not yes:
            click.confirm(f"erase {customer} and {len(scope.devices)} devices from {folder}, for good?", abort=True)
        # The log first, as names in the store say which readings are theirs; the files last, as they say which devices are.
        log = erase_log(folder / LOG_FILE, scope, scope.owned_metrics(store.names)) if embedded else {}
        rows = store.erase(scope)
        store.vacuum()
    files = erase_files(folder, scope)
    remains = list(_remains(settings, scope, embedded))
    if as_json:
        fields: dict[str, Any] = {"customer": customer, "devices": sorted(scope.devices), "log": log}
        click.echo(json.dumps({**fields, "store": rows, "files": files, "remains": remains}, ensure_ascii=False))
        return
    click.echo(f"{customer} is erased, with {len(scope.devices)} devices: {', '.join(sorted(scope.devices))}")
    for where, counts in (("log", log), ("store", rows)):
        said = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        click.echo(f"  {where}: {said or 'nothing of theirs'}")
    click.echo(f"  files: {', '.join(files) or 'nothing of theirs'}")
    for one in remains:
        click.echo(f"remains: {one}")


def _locate(customer: str, folder: Path, embedded: bool, store: SqlStore) -> CustomerScope:
    if not embedded:
        return locate_customer(customer, fleet_table_history(folder, None, store))
    with SqliteLog(folder / LOG_FILE, read_only=True) as log:
        return locate_customer(customer, fleet_table_history(folder, log, store))


def _remains(settings: Settings, scope: CustomerScope, embedded: bool) -> Iterator[str]:
    yield "the fleet file that the service is started with: take them out of it, or the next start adds them again"
    if not embedded:
        prefix = settings.log_prefix
        yield (
            f"Kafka's topics {prefix}*: records go by their age ({settings.log_keep_days:g} days of the input); the state of the "
            f"analysis in {prefix}*-blocks-changelog keeps their rows until it is made anew"
        )
    if settings.influx_url is not None:
        yield (
            f"InfluxDB, bucket {settings.influx_bucket}: delete there by tag, for each device and item "
            f"(influx delete --predicate 'device=\"{min(scope.devices, default='')}\"')"
        )
    yield "backups, exported files, the journal, and what was sent to them, to suppliers and to brokers"
    yield "what deliveries to them taught about suppliers' lead times, in sums that name nobody"
    yield "users of theirs in the files of credentials, and orders of theirs that are under way: cancel them at the supplier"
