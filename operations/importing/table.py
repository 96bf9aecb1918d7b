"""Parser of delimited text tables: delimiter detection, header, rows with line numbers, numbers and times.

It is independent of devices and readings. An unreadable cell raises BadCell, and the caller decides about the row.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from config.suggestions import did_you_mean
from star.errors import BadPayload, InputError
from star.times import parse_time_ms

DELIMITERS = (",", ";", "\t", "|", " ")
"""Candidate delimiters, in order: the first that gives every sample row as many columns as the header is used."""
SAMPLE_LINES = 50
"""Lines sampled to detect the delimiter."""
CELL_CHARACTERS_MAX = 131_072
"""Cell length limit in characters: a longer cell is an unclosed quote. 128 Ki, the default of the csv module."""

_EPOCH = re.compile(r"[+-]?\d+(?:\.\d+)?")
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+")
_EPOCH_MS_FROM = 100_000_000_000  # as seconds this is the year 5138, as milliseconds 1973


class BadCell(InputError):
    """An unreadable cell: `column`, `value` (truncated), and what was expected."""

    def __init__(self, column: str, value: str, expected: str) -> None:
        self.column, self.value, self.expected = column, value[:120], expected
        super().__init__(f"{column} is {self.value!r}: expected {expected}")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: line number of its end, and its cells in header order."""

    line: int
    cells: Sequence[str]


class Table:
    """A table file that is read once. Raises InputError if it is not a table."""

    def __init__(self, path: Path, *, delimiter: str | None = None, encoding: str = "utf-8-sig") -> None:
        self.path = path
        self._text = self._read(path, encoding)
        sample = "\n".join(self._text.getvalue().split("\n", SAMPLE_LINES)[:SAMPLE_LINES])
        self.delimiter = delimiter or find_delimiter(sample)
        csv.field_size_limit(CELL_CHARACTERS_MAX)
        self._reader = csv.reader(self._text, delimiter=self.delimiter, skipinitialspace=self.delimiter != "\t")
        self.header: list[str] = [name.strip() for name in next(self._reader, [])]
        if not any(self.header):
            raise InputError(f"{path}: is empty: expected a header line with column names")

    @staticmethod
    def _read(path: Path, encoding: str) -> io.StringIO:
        try:
            raw = path.read_bytes()
            return io.StringIO((gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode(encoding))
        except FileNotFoundError:
            raise InputError(f"{path}: not found: expected a table") from None
        except UnicodeDecodeError as error:
            message = (
                f"is not {error.encoding} (byte {error.start}): pass its encoding with --encoding, such as latin-1"
            )
            raise InputError(f"{path}: {message}") from None
        except (OSError, EOFError) as error:
            raise InputError(f"{path}: can't be read ({error}): expected a table, plain or gzipped") from None
        except LookupError:
            raise InputError(
                f"--encoding is {encoding!r}: expected an encoding known to Python, such as latin-1"
            ) from None

    def column(self, name: str) -> int:
        """Index of a column. Raises InputError, naming the file and its columns."""
        if name in self.header:
            return self.header.index(name)
        hint = did_you_mean(name, self.header)
        columns = ", ".join(repr(column) for column in self.header)
        raise InputError(f"{self.path}: has no column {name!r}{hint}: its columns are {columns}")

    def rows(self) -> Iterator[Row | BadCell]:
        """Rows that are not blank; a malformed row as the BadCell that describes it."""
        while True:
            try:
                cells = next(self._reader, None)
            except csv.Error as error:
                yield BadCell("row", f"line {self._reader.line_num}", f"a row of a table ({error})")
                continue
            if cells is None:
                return
            if len(cells) == len(self.header):
                yield Row(self._reader.line_num, cells)
            elif any(cell.strip() for cell in cells):
                yield BadCell("row", self.delimiter.join(cells), f"{len(self.header)} cells, not {len(cells)}")

    @property
    def line(self) -> int:
        """Number of the line read last."""
        return self._reader.line_num


def find_delimiter(sample: str) -> str:
    """The delimiter that splits every row into as many columns as the header, at least two; otherwise a comma."""
    for delimiter in DELIMITERS:
        widths = {
            len(row) for row in csv.reader(io.StringIO(sample), delimiter=delimiter, skipinitialspace=True) if any(row)
        }
        if len(widths) == 1 and widths != {1}:
            return delimiter
    header = sample.split("\n", 1)[0]
    return max(DELIMITERS[:4], key=header.count) if any(one in header for one in DELIMITERS[:4]) else ","


def parse_number(cell: str, column: str, *, comma: bool) -> float | None:
    """The number in a cell; None if blank. comma: decimal comma, so "5,3" is 5.3. Raises BadCell."""
    text = cell.strip()
    if not text:
        return None
    if comma and _COMMA_NUMBER.fullmatch(text):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise BadCell(column, cell, "a finite number")
    return value


class TimeReader:
    """Parser of times. form: `auto` (epoch seconds or milliseconds, or ISO 8601), `epoch`, `iso`, or a strptime format.

    Times without an offset are in `zone`. An hour repeated at the end of daylight saving time is taken as the first one.
    """

    def __init__(self, form: str = "auto", zone: str = "UTC") -> None:
        self._form = form
        self._zone: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)

    def parse_ms(self, cell: str, column: str) -> int:
        """Milliseconds since the epoch. Raises BadCell."""
        text = cell.strip()
        try:
            if self._form in ("auto", "epoch") and _EPOCH.fullmatch(text):
                seconds = float(text)
                return parse_time_ms(seconds / 1000 if abs(seconds) >= _EPOCH_MS_FROM else seconds)
            if self._form == "epoch":
                raise BadCell(column, cell, "epoch seconds or milliseconds")
            aware = self._with_zone(text)
            return round(aware.timestamp() * 1000)
        except (ValueError, OverflowError, BadPayload) as error:
            if isinstance(error, BadCell):
                raise
            expected = "epoch seconds or a time such as 2026-03-01 08:00:00"
            raise BadCell(
                column, cell, expected if self._form in ("auto", "iso") else f"a time of the form {self._form}"
            ) from None

    def _with_zone(self, text: str) -> datetime:
        if self._form in ("auto", "iso"):
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, self._form)  # noqa: DTZ007 - the next line gives it a zone
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=self._zone)
