"""`starloop log export|load`: exports the input log as a readings file for `starloop replay`, and loads such a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from config.settings import Settings
from operations.log_export import export_lines, log_ends
from operations.observability.logging import configure_logging
from reactor.store.sql import SqlStore
from runtime.atomic_file import replace_file
from runtime.clock import WallClock
from runtime.data_dir import LOG_FILE, store_url
from starloop.data_dir_checks import require_data_dir, require_embedded_log
from stream.transports.embedded_log.sqlite_log import SqliteLog


@click.group()
def command() -> None:
    """Export or load the input log."""


@command.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of the service.  [default: STARLOOP_DATA_DIR]",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: standard output]"
)
def export(data: Path | None, out: Path | None) -> None:
    """Export the input log as JSON Lines for `starloop replay`, in order of arrival.

    The service may be running. Replay the file with the fleet.toml of the data directory.
    """
    settings = Settings.read(data_dir=data)
    require_embedded_log(settings, "the embedded log of a data directory")
    require_data_dir(settings)
    count = 0
    with SqliteLog(settings.data_dir / LOG_FILE, read_only=True) as log:
        ends = log_ends(log)
        with SqlStore(store_url(settings)) as store, _open_output(out) as file:
            for line in export_lines(log, store.names, ends):
                file.write(line)
                count += 1
    click.echo(f"{count} lines written", err=True)


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--fleet",
    "fleet_file",
    type=click.Path(path_type=Path),
    help="Fleet file, needed if the log or store has no fleet yet.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of the service.  [default: STARLOOP_DATA_DIR]",
)
def load(file: Path, fleet_file: Path | None, data: Path | None) -> None:
    """Load the lines of FILE (from `log export`) into the log with their arrival times, to migrate a history.

    The target is an embedded log without a running service, or Kafka (STARLOOP_LOG). Lines that can't be decoded go to quarantine.
    Ticks are kept: run the service with STARLOOP_TICKS=log to decide at these ticks only.
    """
    settings = Settings.read(data_dir=data)
    configure_logging(settings.log_level, settings.log_format, role="load")
    count = asyncio.run(load_lines(settings, file, fleet_file))
    click.echo(f"{count} lines loaded", err=True)


async def load_lines(settings: Settings, file: Path, fleet_file: Path | None) -> int:
    """Loads the lines of a file and returns their number. Raises InputError, LogError."""
    from runtime.log_loader import LogLoader
    from starloop.roles.context import open_context

    async with open_context(settings, WallClock(), "load", fleet_file) as context:
        metrics = context.store.names
        loader = LogLoader(context.log, metrics, metrics.all(), context.fleet.current)
        with file.open("rb") as lines:
            for line in lines:
                await loader.ingest(line)
        await loader.flush()
        return loader.count


@contextmanager
def _open_output(out: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears only when it is complete."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with replace_file(out) as file:
        yield file
