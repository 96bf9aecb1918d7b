"""`starloop replay`: runs recorded readings, or lines on standard input in lockstep, through the code of the service."""

from __future__ import annotations

import gc
import gzip
import itertools
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from config.fleet_file import load_catalogue
from config.settings import Settings
from models.champion import resolve_model
from models.onnx_scorer import load_run_out
from runtime.durations import Duration
from runtime.replay import AssumedDeliveries, Replay, insert_ticks
from runtime.replay_protocol import is_tick, line_time_ms
from star.errors import InputError, UsageError

EMIT_KINDS = ("reactions", "forecasts", "scores")
TICK_EVERY_DEFAULT_MS = 3_600_000
"""Tick interval for files without ticks, in milliseconds: detail of decisions against run time."""


@click.command()
@click.option("--fleet", "fleet_file", required=True, type=click.Path(path_type=Path), help="Fleet file.")
@click.option("--readings", default="-", help="Readings file, also .gz; - for standard input in lockstep.")
@click.option(
    "--emit", default="reactions", show_default=True, help=f"Output, comma-separated: {','.join(EMIT_KINDS)}."
)
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: standard output]")
@click.option(
    "--profiles", multiple=True, type=click.Path(path_type=Path), help="Folder with additional profiles; repeatable."
)
@click.option("--tick-every", type=Duration(), help="Add ticks to input without ticks.  [default for files: 1h]")
@click.option(
    "--deliver", is_flag=True, help="Simulate deliveries after the lead time, for a history without deliveries."
)
@click.option("--model", help="Model NAME@VERSION to use instead of the promoted one.")
def command(
    fleet_file: Path,
    readings: str,
    emit: str,
    out: Path | None,
    profiles: tuple[Path, ...],
    tick_every: int | None,
    deliver: bool,
    model: str | None,
) -> None:
    """Replay readings, and print the decisions.

    The analysis and decisions of the service run in event time, at full speed and deterministically.

    Input lines, ordered by "at" (docs/reference/replay.md): {"at": T, "topic": …, "payload": …}, {"at": T, "outcome": …},
    {"at": T, "request": …}, {"at": T, "supplier": …} and {"at": T, "tick": true}. Decisions are made and printed at ticks.
    """
    catalogue = load_catalogue(fleet_file, *profiles)
    replay = Replay(
        catalogue, load_run_out(resolve_model(model, "run-out", Settings.read().models_dir)), _parse_emit(emit)
    )
    gc.freeze()  # the loaded fleet and model live until the end: exclude them from garbage collection
    deliveries = AssumedDeliveries(catalogue) if deliver else None
    with open_lines(readings) as lines, _open_output(out) as target:
        for line in _lines_with_ticks(lines, readings, tick_every):
            for assumed in deliveries.due(line_time_ms(line) or 0) if deliveries is not None else ():
                replay.feed(assumed)
            printed = replay.feed(line)
            if printed:
                target.writelines(printed)
                target.flush()
                if deliveries is not None:
                    deliveries.observe(printed)
        target.writelines(replay.finish())
        target.flush()


def _parse_emit(text: str) -> frozenset[str]:
    named = frozenset(part.strip() for part in text.split(",") if part.strip())
    unknown = named - set(EMIT_KINDS)
    if unknown:
        raise UsageError(f"--emit is {text!r}: expected any of {','.join(EMIT_KINDS)}")
    return named


def _lines_with_ticks(lines: Iterable[bytes], name: str, every_ms: int | None) -> Iterable[bytes]:
    """Adds ticks if requested, or if a file has none: without ticks no decision is made."""
    if every_ms is None and name != "-" and not _file_has_tick(name):
        click.echo(
            "starloop: the readings have no tick lines: deciding every hour (change it with --tick-every)", err=True
        )
        every_ms = TICK_EVERY_DEFAULT_MS
    return lines if every_ms is None else insert_ticks(lines, every_ms)


def _file_has_tick(name: str) -> bool:
    with open_lines(name) as lines:
        return any(is_tick(line) for line in lines)


@contextmanager
def open_lines(name: str) -> Iterator[Iterable[bytes]]:
    """Lines of a readings file (also .gz), or of standard input (-). Raises InputError."""
    if name == "-":
        # readline instead of iteration, which reads ahead: in lockstep the next line is sent after our output.
        yield iter(sys.stdin.buffer.readline, b"")
        return
    try:
        with gzip.open(name, "rb") if name.endswith(".gz") else Path(name).open("rb") as file:
            first = file.readline()
            yield itertools.chain((first,), file)
    except (OSError, EOFError) as error:
        raise InputError(
            f"{name}: {error.strerror or error if isinstance(error, OSError) else error}: expected a readings file"
        ) from error


@contextmanager
def _open_output(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        return
    try:
        with out.open("wb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}: expected a writable file") from error
