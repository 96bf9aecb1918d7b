"""Export of a customer's data as a zip: settings, input, needs, decisions, reactions with outcomes, forecasts.

Each file is JSON Lines, for people and programs; manifest.json lists the files with row counts, and what is not included.
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
from operations.log_records import read_range
from operations.privacy.data_locator import CustomerScope, Tables, owned_readings
from reactor.store import schema
from reactor.store.metric_registry import SqlMetricRegistry
from reactor.store.sql import SqlStore
from runtime.atomic_file import replace_file
from star.ports import Log
from star.records import Record, decode, encode
from star.sense import Readings
from star.times import utc
from stream.partition.partitioner import decode_quarantined
from stream.topics import FORECASTS, INPUT, QUARANTINE

FORMAT_VERSION = 1
FILE_DESCRIPTIONS = {
    "settings.json": "fleet rows of the customer and their devices, in every stored fleet and fleet change, oldest first",
    "input.jsonl": "all messages and events from or about their devices, as lines of the replay protocol",
    "forecasts.jsonl": "forecasts within their retention of three days",
    "quarantine.jsonl": "payloads of their devices that could not be decoded",
    "needs.jsonl": "needs and their states",
    "decisions.jsonl": "receipts: the decision about each need, and its reasons",
    "reactions.jsonl": "reactions and their outcomes",
    "remembered.jsonl": "state kept between needs: orders, pending prompts, contacts, timers",
}
NOT_INCLUDED = (
    "derived data: the analysis state, which is computed from the readings",
    "copies in other systems: InfluxDB, sent messages, backups",
)


def write_export(
    path: Path, scope: CustomerScope, fleets: Iterable[Tables], log: Log | None, store: SqlStore, at_ms: int
) -> Tables:
    """Writes the zip atomically and returns the manifest. log: None if the log is in Kafka. Raises InputError."""
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
    counts: dict[str, int] = {}
    with replace_file(path) as archive, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        settings = [rows for rows in map(scope.own_rows, fleets) if any(rows.values())]
        zipped.writestr("settings.json", json.dumps(settings, ensure_ascii=False, indent=1))
        for name, rows in parts.items():
            counts[name] = 0
            with zipped.open(name, "w", force_zip64=True) as file:
                for row in rows():
                    file.write(row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() + b"\n")
                    counts[name] += 1
        manifest = {
            "format": FORMAT_VERSION,
            "customer": scope.customer,
            "devices": sorted(scope.devices),
            "written_at": utc(at_ms).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "files": {name: {"what": FILE_DESCRIPTIONS[name], "rows": count} for name, count in counts.items()}
            | {"settings.json": {"what": FILE_DESCRIPTIONS["settings.json"], "rows": len(settings)}},
            "not_here": [*NOT_INCLUDED, *(() if log is not None else ("the log, which is in Kafka",))],
        }
        zipped.writestr("manifest.json", json.dumps(manifest, ensure_ascii=False, indent=1))
    return manifest


class _CustomerLog:
    """View of the log with only the customer's input records, at their offsets. Implements star.ports.Log, read-only."""

    def __init__(self, log: Log, names: SqlMetricRegistry, scope: CustomerScope) -> None:
        self._log = log
        self._scope = scope
        self._metrics = scope.owned_metrics(names)
        self.ends = {INPUT: log.end(INPUT), QUARANTINE: 0}

    def append(self, topic: str, values: Any) -> int:
        """Not supported."""
        raise AssertionError(f"{topic} is read-only")

    def end(self, topic: str) -> int:
        """See star.ports.Log."""
        return self._log.end(topic)

    def read(self, topic: str, start: int, limit: int) -> list[tuple[int, bytes]]:
        """The next of the customer's records, which may be at a later offset."""
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
            owned = owned_readings(record, self._metrics)
            return record.select(owned) if owned.any() else None
        return record if self._scope.owns_record(record) else None


def _input(log: Log, names: SqlMetricRegistry, scope: CustomerScope) -> Iterator[bytes]:
    own = _CustomerLog(log, names, scope)
    yield from export_lines(own, names, own.ends)


def _forecasts(log: Log, scope: CustomerScope) -> Iterator[Any]:
    for _, wire in read_range(log, FORECASTS, 0, log.end(FORECASTS)):
        yield from (asdict(one) for one in unpack_forecasts(wire) if scope.owns_name(one.item))


def _quarantined(log: Log, scope: CustomerScope) -> Iterator[Any]:
    for _, wire in read_range(log, QUARANTINE, 0, log.end(QUARANTINE)):
        if scope.owns_name(decode_quarantined(wire).topic):
            yield json.loads(wire)


def _table_bodies(store: SqlStore, table: Any, order: Any, scope: CustomerScope) -> Iterator[Any]:
    """Bodies of the customer's rows of a table; reactions with their outcomes, memory with its kind."""
    for row in store.rows(select(table).order_by(order)):
        if not scope.mentions(body := json.loads(row.body)):
            continue
        if table is schema.reactions and row.result is not None:
            body |= {"result": row.result, "result_ms": row.result_ms, "timing": row.timing}
        if table is schema.memory:
            body = {"kind": row.kind, **body}
        yield body
