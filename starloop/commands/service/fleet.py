"""`starloop fleet apply FILE`: the fleet of a cluster, from a fleet file into the store and the log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from config.fleet_file import load_catalogue
from config.settings import Settings
from operations.observability.logging import configure_logging
from star.errors import UsageError


@click.group()
def command() -> None:
    """The fleet of a service that runs on Kafka."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def apply(file: Path) -> None:
    """Brings FILE into force: all of it the first time, then the rows that were added or edited.

    Rows that are no longer in the file stay in force. Needs STARLOOP_LOG and STARLOOP_STORE; may be run again.
    """
    settings = Settings.read()
    configure_logging(settings.log_level, settings.log_format, role="fleet")
    if settings.log == "embedded":
        raise UsageError("on the embedded log edit the fleet file and start `starloop up` again, or use the HTTP API")
    click.echo(asyncio.run(_apply(settings, file)))


async def _apply(settings: Settings, file: Path) -> str:
    from runtime.clock import WallClock
    from runtime.fleet_files import changed_rows
    from starloop.roles.context import open_context
    from starloop.roles.single_role import run_ingest

    now = load_catalogue(file, *settings.profile_dirs)
    async with open_context(settings, WallClock(), "fleet", file) as context:
        tables = changed_rows(context.fleet.current, now)
        if tables:
            async with run_ingest(context) as gateway:
                await gateway.change_fleet(tables)
        rows = sum(len(rows) for rows in tables.values())
        total = sum(len(table) for table in (now.customers, now.devices, now.suppliers))
        return f"{file}: {rows} rows changed, {total} in the file"
