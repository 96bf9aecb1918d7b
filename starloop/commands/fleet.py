"""`starloop fleet apply FILE`: the fleet of a cluster, from a fleet file into the store and the log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from config.fleet_file import load_catalogue
from config.settings import Settings
from star.errors import UsageError
from starloop.logging import configure


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
    configure(settings.log_level, settings.log_format, role="fleet")
    if settings.log == "embedded":
        raise UsageError("on the embedded log edit the fleet file and start `starloop up` again, or use the HTTP API")
    click.echo(asyncio.run(_apply(settings, file)))


async def _apply(settings: Settings, file: Path) -> str:
    from starloop.clock import WallClock
    from starloop.fleet_in_force import changed_rows
    from starloop.roles.alone import taking_in
    from starloop.roles.base import opened

    now = load_catalogue(file, *settings.profile_dirs)
    async with opened(settings, WallClock(), "fleet", file) as base:
        tables = changed_rows(base.fleet.current, now)
        if tables:
            async with taking_in(base) as door:
                await door.change_fleet(tables)
        rows = sum(len(rows) for rows in tables.values())
        total = sum(len(table) for table in (now.customers, now.devices, now.suppliers))
        return f"{file}: {rows} rows changed, {total} in the file"
