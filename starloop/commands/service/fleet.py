"""`starloop fleet apply FILE`: applies a fleet file to a service on Kafka, through its store and log."""

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
    """Manage the fleet of a service on Kafka."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def apply(file: Path) -> None:
    """Apply the fleet file FILE: all rows the first time, then added and changed rows.

    Rows removed from the file stay in the fleet. It needs STARLOOP_LOG and STARLOOP_STORE, and can be repeated safely.
    """
    settings = Settings.read()
    configure_logging(settings.log_level, settings.log_format, role="fleet")
    if settings.log == "embedded":
        raise UsageError("STARLOOP_LOG is embedded: edit the fleet file and restart `starloop up`, or use the HTTP API")
    click.echo(asyncio.run(_apply(settings, file)))


async def _apply(settings: Settings, file: Path) -> str:
    from runtime.clock import WallClock
    from runtime.fleet_files import changed_rows
    from starloop.roles.context import open_context
    from starloop.roles.single_role import run_ingest

    wanted = load_catalogue(file, *settings.profile_dirs)
    async with open_context(settings, WallClock(), "fleet", file) as context:
        tables = changed_rows(context.fleet.current, wanted)
        if tables:
            async with run_ingest(context) as gateway:
                await gateway.change_fleet(tables)
        rows = sum(len(rows) for rows in tables.values())
        total = sum(len(table) for table in (wanted.customers, wanted.devices, wanted.suppliers))
        return f"{file}: {rows} rows changed, {total} in the file"
