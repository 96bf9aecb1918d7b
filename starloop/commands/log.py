"""`starloop log export`: what came in live, as a readings file for `starloop replay`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from config.settings import Settings
from reactor.store.sql import SqlStore
from star.errors import InputError
from starloop.data_dir import LOG, STORE, store_url
from starloop.export import ends_of, export_lines
from stream.transports.log import SqliteLog


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
    folder = settings.data_dir
    has_store = settings.store != "sqlite" or (folder / STORE).is_file()
    if not (folder / LOG).is_file() or not has_store:
        raise InputError(f"{folder}: no service has run here: expected its data directory, with {LOG} and {STORE}")
    count = 0
    with SqliteLog(folder / LOG, read_only=True) as log:
        ends = ends_of(log)
        with SqlStore(store_url(settings)) as store, _opened(out) as file:
            for line in export_lines(log, store.names, ends):
                file.write(line)
                count += 1
            file.flush()
    click.echo(f"{count} lines written", err=True)


@contextmanager
def _opened(out: Path | None) -> Iterator[BinaryIO]:
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
