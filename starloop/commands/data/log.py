"""`starloop log export|load`: what came in, as a readings file for `starloop replay`; and such a file into a log."""

from __future__ import annotations

import asyncio
import os
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
from runtime.clock import WallClock
from runtime.data_dir import LOG_FILE, STORE_FILE, store_url
from star.errors import InputError, UsageError
from stream.transports.embedded_log.sqlite_log import SqliteLog

EMBEDDED = "embedded"


@click.group()
def command() -> None:
    """The input log: everything that came in, in order."""


@command.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The service's data directory.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write; standard output if not given."
)
def export(data: Path | None, out: Path | None) -> None:
    """Writes the input log as JSON Lines for `starloop replay`, in order of arrival.

    The service may be running: then it is what came in until now. Replay it with the fleet.toml of the data directory.
    """
    settings = Settings.read(data_dir=data)
    if settings.log != EMBEDDED:
        raise UsageError("on Kafka the log is kept by Kafka: export is of an embedded log")
    folder = settings.data_dir
    has_store = settings.store != "sqlite" or (folder / STORE_FILE).is_file()
    if not (folder / LOG_FILE).is_file() or not has_store:
        raise InputError(
            f"{folder}: no service has run here: expected its data directory, with {LOG_FILE} and {STORE_FILE}"
        )
    count = 0
    with SqliteLog(folder / LOG_FILE, read_only=True) as log:
        ends = log_ends(log)
        with SqlStore(store_url(settings)) as store, _atomic_output(out) as file:
            for line in export_lines(log, store.names, ends):
                file.write(line)
                count += 1
            file.flush()
    click.echo(f"{count} lines written", err=True)


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--fleet",
    "fleet_file",
    type=click.Path(path_type=Path),
    help="The fleet file, where the log or store has none yet.",
)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The data directory. [STARLOOP_DATA_DIR]"
)
def load(file: Path, fleet_file: Path | None, data: Path | None) -> None:
    """Puts the lines of FILE (as of `log export`) into the log, each with its own time of arrival, for a history to move.

    Into an embedded log while no service runs on it, or into Kafka (STARLOOP_LOG). Lines that can't be understood go to
    quarantine. Ticks among the lines are kept: run what follows with STARLOOP_TICKS=log to decide at these and at no others.
    """
    settings = Settings.read(data_dir=data)
    configure_logging(settings.log_level, settings.log_format, role="load")
    count = asyncio.run(load_lines(settings, file, fleet_file))
    click.echo(f"{count} lines loaded", err=True)


async def load_lines(settings: Settings, file: Path, fleet_file: Path | None) -> int:
    """Loads the file's lines; how many. Raises InputError, LogError."""
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
def _atomic_output(out: Path | None) -> Iterator[BinaryIO]:
    """The file, whole or not at all: it takes its name only when everything is written."""
    if out is None:
        yield sys.stdout.buffer
        return
    temporary = out.with_name(out.name + ".part")
    try:
        with temporary.open("wb") as file:
            yield file
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{out}: {error.strerror}: expected a file that can be written") from error
    temporary.replace(out)
