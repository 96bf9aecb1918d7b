"""Conversion of table rows to readings in time order, and to replay input lines with ticks.

A row that can't be read is counted and passed to `reject`, never dropped silently.
"""

from __future__ import annotations

import json
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from operations.importing.table import BadCell, Row, Table, TimeReader, parse_number
from star.errors import InputError
from star.times import epoch_seconds

READINGS_MAX = 20_000_000
"""Limit of readings sorted in memory: some hundred bytes each. Above it, import fewer files at a time."""

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"(.+?)\s*(>=|<=|!=|=|>|<)\s*(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedValue:
    """A value to import from `column`; None counts rows, of which rows closer than gap_ms count once."""

    device: str
    name: str
    column: str | None
    scale: float = 1.0
    gap_ms: int = 0

    @property
    def is_increment(self) -> bool:
        """Whether values are increments, which are summed. Of levels and counters the last value is kept."""
        return self.column is None or self.name.endswith("_used")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Row filter: comparison of `column` with `limit`."""

    column: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parses a condition such as `Flow>0`. Raises InputError."""
        found = _CONDITION.fullmatch(text.strip())
        if found is None:
            raise InputError(
                f"the condition is {text!r}: expected COLUMN, one of > >= < <= = !=, and a number, such as Flow>0"
            )
        return cls(column=found[1], sign=found[2], limit=float(found[3]))


@dataclass(frozen=True, slots=True, order=True)
class ImportedReading:
    """Values of one device at one time. `order`: (file, row), which sorts readings of the same time."""

    at_ms: int
    order: tuple[int, int]
    device: str = field(compare=False)
    values: Mapping[str, float] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A row that could not be read, with the reason."""

    file: str
    line: int
    column: str
    value: str
    reason: str


@dataclass(kw_only=True)
class Source:
    """A table, and the values to import from it."""

    table: Table
    time: str
    times: TimeReader
    values: list[ImportedValue]
    conditions: list[Condition] = field(default_factory=list)
    comma: bool = False
    rows: int = 0
    skipped: int = 0
    """Rows excluded by a condition, or with empty cells."""

    def readings(self, order: int, reject: Callable[[Reject], None]) -> Iterator[ImportedReading]:
        """The rows as readings, in file order."""
        time_column = self.table.column(self.time)
        for column in [value.column for value in self.values] + [one.column for one in self.conditions]:
            if column is not None:
                self.table.column(column)
        for row in self.table.rows():
            self.rows += 1
            try:
                if isinstance(row, BadCell):
                    raise row
                yield from self._row(row, time_column, order)
            except BadCell as bad:
                line = row.line if isinstance(row, Row) else self.table.line
                reason = f"expected {bad.expected}"
                reject(Reject(file=str(self.table.path), line=line, column=bad.column, value=bad.value, reason=reason))

    def _row(self, row: Row, time_column: int, order: int) -> Iterator[ImportedReading]:
        at_ms = self.times.parse_ms(row.cells[time_column], self.time)
        if not all(self._holds(row, condition) for condition in self.conditions):
            self.skipped += 1
            return
        taken: dict[str, dict[str, float]] = defaultdict(dict)
        for value in self.values:
            amount = 1.0 if value.column is None else self._number(row, value.column)
            if amount is not None:
                taken[value.device][value.name] = amount * value.scale
        if not taken:
            self.skipped += 1
        for device, values in taken.items():
            yield ImportedReading(at_ms, (order, self.rows), device, values)

    def _number(self, row: Row, column: str) -> float | None:
        return parse_number(row.cells[self.table.column(column)], column, comma=self.comma)

    def _holds(self, row: Row, condition: Condition) -> bool:
        value = self._number(row, condition.column)
        return value is not None and _COMPARE[condition.sign](value, condition.limit)


def sorted_readings(sources: list[Source], reject: Callable[[Reject], None]) -> list[ImportedReading]:
    """All readings in time order; files may be in any order. Counted rows closer than their gap count once."""
    readings: list[ImportedReading] = []
    for order, source in enumerate(sources):
        for reading in source.readings(order, reject):
            readings.append(reading)
            if len(readings) > READINGS_MAX:
                raise InputError(f"more than {READINGS_MAX} readings: import fewer files at a time")
    readings.sort()
    gaps = {(one.device, one.name): one.gap_ms for source in sources for one in source.values if one.gap_ms}
    return list(_merge_close_counts(readings, gaps)) if gaps else readings


def _merge_close_counts(
    readings: Iterable[ImportedReading], gaps: Mapping[tuple[str, str], int]
) -> Iterator[ImportedReading]:
    last_ms: dict[tuple[str, str], int] = {}
    for reading in readings:
        values = dict(reading.values)
        for name in reading.values:
            gap_ms = gaps.get((reading.device, name))
            if gap_ms is None:
                continue
            before_ms = last_ms.get((reading.device, name))
            last_ms[reading.device, name] = reading.at_ms
            if before_ms is not None and reading.at_ms - before_ms < gap_ms:
                del values[name]
        if values:
            yield ImportedReading(reading.at_ms, reading.order, reading.device, values)


def aggregate(
    readings: Iterable[ImportedReading], every_ms: int, is_increment: Callable[[str, str], bool]
) -> Iterator[ImportedReading]:
    """One reading per device and interval, at its end: sums of increments, last values of everything else."""
    end_ms: int | None = None
    held: dict[str, dict[str, float]] = {}
    for reading in readings:
        reading_end_ms = (reading.at_ms // every_ms + 1) * every_ms
        if end_ms is not None and reading_end_ms != end_ms:
            yield from (ImportedReading(end_ms, (0, n), *pair) for n, pair in enumerate(sorted(held.items())))
            held = {}
        end_ms = reading_end_ms
        values = held.setdefault(reading.device, {})
        for name, value in reading.values.items():
            values[name] = values.get(name, 0.0) + value if is_increment(reading.device, name) else value
    if end_ms is not None:
        yield from (ImportedReading(end_ms, (0, n), *pair) for n, pair in enumerate(sorted(held.items())))


def replay_lines(readings: Iterable[ImportedReading], tick_every_ms: int | None) -> Iterator[str]:
    """Replay input lines with ticks. Messages are numbered per device, so that equal times are not duplicates."""
    numbers: dict[str, int] = defaultdict(int)
    tick_ms: int | None = None
    for reading in readings:
        if tick_every_ms is not None:
            while tick_ms is not None and tick_ms < reading.at_ms:
                yield _line({"at": epoch_seconds(tick_ms), "tick": True})
                tick_ms += tick_every_ms
            if tick_ms is None:
                tick_ms = -(-reading.at_ms // tick_every_ms) * tick_every_ms
        numbers[reading.device] += 1
        values = {name: round(value, 9) for name, value in reading.values.items()}
        payload = {"boot": 1, "seq": numbers[reading.device], "values": values}
        topic = f"starloop/v1/{reading.device}/telemetry"
        yield _line({"at": epoch_seconds(reading.at_ms), "topic": topic, "payload": payload})
    if tick_ms is not None:
        yield _line({"at": epoch_seconds(tick_ms), "tick": True})


def _line(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
