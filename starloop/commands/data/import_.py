"""`starloop import csv FILE …`: converts tables of history to a readings file for `starloop replay`.

Several files can provide different columns of one device; their rows are merged in time order. Columns are not guessed but named on
the command line, and unreadable rows are reported.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from config.catalogue import Catalogue
from config.fleet_file import load_catalogue
from config.suggestions import did_you_mean
from operations.importing.readings import (
    Condition,
    ImportedValue,
    Reject,
    Source,
    aggregate,
    replay_lines,
    sorted_readings,
)
from operations.importing.table import Table, TimeReader
from runtime.durations import Duration
from star.errors import InputError, UsageError

REJECTS_SHOWN_MAX = 20
"""Unreadable rows that are shown; further ones are only counted. --rejects FILE lists all."""

_DELIMITERS = {"auto": None, "comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}


@click.group()
def command() -> None:
    """Import tables of history for `starloop replay`."""


@command.command("csv")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--device", required=True, help="Device of the values (a value can name another one: DEVICE/NAME).")
@click.option("--time", "times", multiple=True, required=True, metavar="[FILE:]COLUMN", help="Column with the time.")
@click.option("--value", "values", multiple=True, metavar="NAME=[FILE:]COLUMN", help="Value, and its column.")
@click.option("--count", "counts", multiple=True, metavar="NAME[=FILE]", help="Value that counts 1 per row.")
@click.option(
    "--count-gap", "gaps", multiple=True, metavar="NAME=GAP", help="Count rows closer than GAP once (e.g. 2h)."
)
@click.option("--where", "wheres", multiple=True, metavar="[FILE:]COLUMN>NUMBER", help="Import only these rows.")
@click.option(
    "--scale", "scales", multiple=True, metavar="NAME=FACTOR", help="Multiply a value, e.g. to convert units."
)
@click.option("--time-format", default="auto", show_default=True, help="auto, epoch, iso, or a strptime format.")
@click.option("--timezone", default="UTC", show_default=True, help="Time zone of times without an offset.")
@click.option("--delimiter", type=click.Choice(list(_DELIMITERS)), default="auto", show_default=True)
@click.option("--decimal", type=click.Choice(["auto", "point", "comma"]), default="auto", show_default=True)
@click.option("--encoding", default="utf-8-sig", help="Encoding of the files.  [default: UTF-8]")
@click.option("--every", type=Duration(), help="One reading per interval: sum of increments, last level.")
@click.option("--tick-every", type=Duration(), default="1h", show_default=True, help="Event time between ticks.")
@click.option("--no-ticks", is_flag=True, help="Write no ticks; `replay` then adds its own.")
@click.option("--fleet", type=click.Path(path_type=Path), help="Fleet file to check devices and values against.")
@click.option(
    "--rejects", type=click.Path(path_type=Path, dir_okay=False), help="File for unreadable rows, as JSON Lines."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: standard output]"
)
def csv_command(files: tuple[Path, ...], **options: Any) -> None:
    """Convert delimited text files, plain or gzipped, to a readings file.

    \b
    starloop import csv Toilet.csv Shower.csv.gz --device bathroom --time Time \\
        --value toilet_used=Toilet.csv:Flow --value shower_used=Shower.csv.gz:Flow \\
        --scale shower_used=0.001 --every 15m --out bathroom.jsonl
    """
    sources = _sources(files, options)
    with _open_rejects(options["rejects"]) as (reject, rejected):
        readings: Iterable[Any] = sorted_readings(sources, reject)
    values = {(one.device, one.name): one for source in sources for one in source.values}
    if options["fleet"] is not None:
        _compare_with_fleet(load_catalogue(options["fleet"]), values)
    if options["every"] is not None:
        readings = aggregate(readings, options["every"], lambda device, name: values[device, name].is_increment)
    written = _write(replay_lines(readings, None if options["no_ticks"] else options["tick_every"]), options["out"])
    _report(sources, len(rejected), written)
    if not written:
        raise InputError("no row could be converted to a reading: expected at least one")


def _sources(files: tuple[Path, ...], options: dict[str, Any]) -> list[Source]:
    try:
        ZoneInfo(options["timezone"])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"--timezone is {options['timezone']!r}: expected an IANA time zone") from None
    scales = {
        name: _parse_factor(name, text) for name, text in (_parse_pair(one, "--scale") for one in options["scales"])
    }
    gaps = {
        name: Duration().convert(text, None, None)
        for name, text in (_parse_pair(g, "--count-gap") for g in options["gaps"])
    }
    times = TimeReader(options["time_format"], options["timezone"])
    sources: list[Source] = []
    for file in files:
        table = Table(file, delimiter=_DELIMITERS[options["delimiter"]], encoding=options["encoding"])
        values = [*_column_values(file, files, options, scales), *_count_values(file, files, options, gaps)]
        if not values:
            raise UsageError(
                f"no value is imported from {file}: expected --value NAME={file.name}:COLUMN, or --count NAME"
            )
        named = [
            column for column in (_text_for_file(one, file, files) for one in options["times"]) if column is not None
        ]
        if not named:
            raise UsageError(f"no time column for {file}: expected --time {file.name}:COLUMN")
        conditions = [
            one for one in (_text_for_file(text, file, files) for text in options["wheres"]) if one is not None
        ]
        comma = options["decimal"] == "comma" or (options["decimal"] == "auto" and table.delimiter != ",")
        source = Source(table=table, time=named[-1], times=times, values=values, comma=comma)
        source.conditions = [Condition.parse(one) for one in conditions]
        sources.append(source)
    named_values = {one.name for source in sources for one in source.values}
    for option, given in (("--scale", scales.keys()), ("--count-gap", gaps.keys())):
        for name in sorted(given - named_values):
            hint = did_you_mean(name, named_values)
            raise UsageError(f"{option} names {name!r}{hint}: expected the name of a --value or --count")
    return sources


def _column_values(
    file: Path, files: tuple[Path, ...], options: dict[str, Any], scales: dict[str, float]
) -> list[ImportedValue]:
    found: list[ImportedValue] = []
    for name, place in (_parse_pair(one, "--value") for one in options["values"]):
        column = _text_for_file(place, file, files)
        if column is not None:
            device, name = _device_and_name(name, options["device"])
            found.append(ImportedValue(device=device, name=name, column=column, scale=scales.get(name, 1.0)))
    return found


def _count_values(
    file: Path, files: tuple[Path, ...], options: dict[str, Any], gaps: dict[str, int]
) -> list[ImportedValue]:
    found: list[ImportedValue] = []
    for text in options["counts"]:
        name, _, of_file = text.partition("=")
        if not of_file or _is_file(of_file, file, files):
            device, name = _device_and_name(name, options["device"])
            found.append(ImportedValue(device=device, name=name, column=None, gap_ms=gaps.get(name, 0)))
    return found


def _text_for_file(text: str, file: Path, files: tuple[Path, ...]) -> str | None:
    """REST of `[FILE:]REST`, or None if FILE is another file."""
    name, colon, rest = text.partition(":")
    if not colon or name not in {known for one in files for known in (one.name, str(one))}:
        return text
    return rest if _is_file(name, file, files) else None


def _is_file(name: str, file: Path, files: tuple[Path, ...]) -> bool:
    if name not in {known for one in files for known in (one.name, str(one))}:
        raise UsageError(f"{name!r} is not one of the files: expected one of {', '.join(one.name for one in files)}")
    return name in (file.name, str(file))


def _parse_pair(text: str, option: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise UsageError(f"{option} is {text!r}: expected NAME=…")
    return name, rest


def _parse_factor(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--scale {name} is {text!r}: expected a number") from None


def _device_and_name(name: str, device: str) -> tuple[str, str]:
    own, slash, rest = name.partition("/")
    return (own, rest) if slash else (device, name)


def _compare_with_fleet(catalogue: Catalogue, values: dict[tuple[str, str], ImportedValue]) -> None:
    for device, name in values:
        if device not in catalogue.devices:
            raise InputError(f"the fleet has no device {device!r}{did_you_mean(device, list(catalogue.devices))}")
        slots = [item.name for item in catalogue.slots.values() if item.device == device]
        known = [*slots, *(f"{slot}{ending}" for slot in slots for ending in ("_used", "_total"))]
        if slots and name not in known:
            click.echo(f"{device}/{name} does not belong to a slot of the fleet{did_you_mean(name, known)}", err=True)


@contextlib.contextmanager
def _open_rejects(path: Path | None) -> Any:
    """Yields (reject, lines): a function for rejected rows, which writes to the file or the first to standard error."""
    rejected: list[int] = []
    with contextlib.ExitStack() as stack:
        out: IO[str] | None = stack.enter_context(path.open("w", encoding="utf-8")) if path is not None else None

        def reject(row: Reject) -> None:
            rejected.append(row.line)
            if out is not None:
                out.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
            elif len(rejected) <= REJECTS_SHOWN_MAX:
                click.echo(f"{row.file}:{row.line}: {row.column} is {row.value!r}: {row.reason}", err=True)

        yield reject, rejected


def _write(texts: Iterable[str], out: Path | None) -> int:
    written = 0
    with contextlib.ExitStack() as stack:
        file = sys.stdout if out is None else stack.enter_context(out.open("w", encoding="utf-8"))
        for text in texts:
            file.write(text + "\n")
            written += 1
    return written


def _report(sources: list[Source], rejected: int, written: int) -> None:
    rows = sum(source.rows for source in sources)
    skipped = sum(source.skipped for source in sources)
    click.echo(f"{rows} rows read, {skipped} skipped, {rejected} unreadable, {written} lines written", err=True)
