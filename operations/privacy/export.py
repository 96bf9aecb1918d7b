"""A customer's data as a zip: settings, what came in, needs, receipts, reactions with what came of them, forecasts.

Each file is JSON Lines that people and programs can read; manifest.json says what is in it, how much, and what is not.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import select

from console.read_model import unpack_forecasts
from operations.log_export import export_lines
from operations.privacy.data_locator import READ_BATCH_RECORDS, CustomerScope, Tables, owned_readings
from reactor.store import schema
from reactor.store.metric_registry import SqlMetricRegistry
from reactor.store.sql import SqlStore
from star.errors import InputError
from star.ports import Log
from star.records import Record, decode, encode
from star.sense import Readings
from star.times import utc
from stream.partition.partitioner import decode_quarantined
from stream.topics import FORECASTS, INPUT, QUARANTINE

FORMAT_VERSION = 1
FILE_DESCRIPTIONS = {
    "settings.json": "the customer's and their devices' rows, in each fleet and change that is kept, oldest first",
    "input.jsonl": "everything that came in from and about their devices, as lines of the replay protocol",
    "forecasts.jsonl": "forecasts that are still kept (three days)",
    "quarantine.jsonl": "payloads of their devices that could not be read",
    "needs.jsonl": "needs, with their states",
    "decisions.jsonl": "receipts: why each was acted on or not",
    "reactions.jsonl": "what was done, and what came of it",
    "remembered.jsonl": "what is remembered between needs: orders, questions, contacts, timers",
}
NOT_INCLUDED = (
    "what is worked out of the readings and can be worked out again: the state of the analysis",
    "copies elsewhere: InfluxDB, messages that were sent, backups",
)


def write_export(
    path: Path, scope: CustomerScope, fleets: Iterable[Tables], log: Log | None, store: SqlStore, at_ms: int
) -> Tables:
    """Writes the zip, whole or not at all; gives the manifest. log: None where it is Kafka's. Raises InputError."""
    parts: dict[str, Callable[[], Iterator[Any]]] = {
        "needs.jsonl": lambda: _table_bodies(store, schema.needs, schema.needs.c.opened_ms, scope),
        "decisions.jsonl": lambda: _table_bodies(store, schema.decisions, schema.decisions.c.at_ms, scope),
        "reactions.jsonl": lambda: _table_bodies(store, schema.reactions, schema.reactions.c.place, scope),
        "remembered.jsonl": lambda: _table_bodies(store, schema.memory, schema.memory.c.key, scope),
    }
    if log is not None:
        parts |= {
            "input.jsonl": lambda: _input(log, store.names, scope),
            "forecasts.jsonl": lambda: _forecasts(log, scope),
            "quarantine.jsonl": lambda: _quarantined(log, scope),
        }
    temporary = path.with_name(path.name + ".part")
    counts: dict[str, int] = {}
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as zipped:
            settings = [rows for rows in map(scope.own_rows, fleets) if any(rows.values())]
            zipped.writestr("settings.json", json.dumps(settings, ensure_ascii=False, indent=1))
            for name, rows in parts.items():
                counts[name] = 0
                with zipped.open(name, "w", force_zip64=True) as file:
                    for row in rows():
                        file.write(
                            row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() + b"\n"
                        )
                        counts[name] += 1
            manifest = {
                "format": FORMAT_VERSION,
                "customer": scope.customer,
                "devices": sorted(scope.devices),
                "written_at": utc(at_ms).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "files": {name: {"what": FILE_DESCRIPTIONS[name], "rows": count} for name, count in counts.items()}
                | {"settings.json": {"what": FILE_DESCRIPTIONS["settings.json"], "rows": len(settings)}},
                "not_here": [*NOT_INCLUDED, *(() if log is not None else ("the log, which Kafka keeps",))],
            }
            zipped.writestr("manifest.json", json.dumps(manifest, ensure_ascii=False, indent=1))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: {error.strerror}: expected a file that can be written") from error
    return manifest


class _CustomerLog:
    """The log with only their records of the input, at their offsets; implements what export_lines asks of star.ports.Log."""

    def __init__(self, log: Log, names: SqlMetricRegistry, scope: CustomerScope) -> None:
        self._log = log
        self._scope = scope
        self._metrics = scope.owned_metrics(names)
        self.ends = {INPUT: log.end(INPUT), QUARANTINE: 0}

    def append(self, topic: str, values: Any) -> int:
        """Nothing is ever appended here."""
        raise AssertionError(f"{topic} is read only")

    def end(self, topic: str) -> int:
        """See star.ports.Log."""
        return self._log.end(topic)

    def read(self, topic: str, start: int, limit: int) -> list[tuple[int, bytes]]:
        """The next of their records, which may be some way on."""
        end = self.ends[topic]
        while start < end:
            rows = self._log.read(topic, start, limit)
            kept = [(offset, encode(record)) for offset, wire in rows if (record := self._owned_part(wire)) is not None]
            if kept or not rows:
                return kept
            start = rows[-1][0] + 1
        return []

    def _owned_part(self, wire: bytes) -> Record | None:
        if wire[:1] not in (b"R", b"O", b"Q"):
            return None
        record = decode(wire)
        if isinstance(record, Readings):
            which = owned_readings(record, self._metrics)
            return record.select(which) if which.any() else None
        return record if self._scope.owns_record(record) else None


def _input(log: Log, names: SqlMetricRegistry, scope: CustomerScope) -> Iterator[bytes]:
    own = _CustomerLog(log, names, scope)
    yield from export_lines(own, names, own.ends)


def _forecasts(log: Log, scope: CustomerScope) -> Iterator[Any]:
    for wire in _values(log, FORECASTS):
        yield from (asdict(one) for one in unpack_forecasts(wire) if scope.owns_name(one.item))


def _quarantined(log: Log, scope: CustomerScope) -> Iterator[Any]:
    for wire in _values(log, QUARANTINE):
        if scope.owns_name(decode_quarantined(wire).topic):
            yield json.loads(wire)


def _values(log: Log, topic: str) -> Iterator[bytes]:
    start, end = 0, log.end(topic)
    while start < end:
        rows = log.read(topic, start, READ_BATCH_RECORDS)
        if not rows:
            return
        yield from (wire for _, wire in rows)
        start = rows[-1][0] + 1


def _table_bodies(store: SqlStore, table: Any, order: Any, scope: CustomerScope) -> Iterator[Any]:
    """Bodies of a table's rows that are theirs, with what came of them where the table knows it."""
    for row in store.rows(select(table).order_by(order)):
        if not scope.mentions(body := json.loads(row.body)):
            continue
        if table is schema.reactions and row.result is not None:
            body |= {"result": row.result, "result_ms": row.result_ms, "timing": row.timing}
        if table is schema.memory:
            body = {"kind": row.kind, **body}
        yield body
