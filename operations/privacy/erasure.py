"""Erasure of a customer's data from the data directory of a stopped service: log, state and the files beside them.

Log records keep their offsets, which checkpoints refer to: readings of other customers in a record stay, and a record with only
erased data becomes empty. The erasure is idempotent, so it can be repeated after an interruption. Database files are rewritten at
the end (VACUUM), so that no deleted data is left in unused pages.
"""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.toml.writer import to_toml
from operations.privacy.data_locator import LAST_SEEN_FILE, SNAPSHOT_FILE, CustomerScope, owned_readings
from runtime.atomic_file import replace_file
from runtime.data_dir import CONSOLE_FILE, FLEET_FILE
from star.records import EVENT_CODES, FleetChange, decode, encode
from star.sense import Readings
from stream.partition.fleet_shard import FLEET_SHARD_KEY
from stream.partition.partitioner import decode_quarantined
from stream.state.shard_file import drop_devices, unpack_shard
from stream.state.state_shards import META_SHARD
from stream.topics import FACTS, INPUT, QUARANTINE, STATE_SHARDS
from stream.transports.embedded_log.directory_lock import DirectoryLock
from stream.transports.embedded_log.log_file import connect, read_topics, translate_errors

Rewrite = Callable[[bytes], bytes | None]
"""Returns a record without the customer's data; None if nothing is left."""

GATE_FILE = "gate.db"
_STAMP_BYTES = 8
_BATCH_ROWS = 500


def erase_log(path: Path, scope: CustomerScope, metrics: NDArray[np.bool_]) -> dict[str, int]:
    """Rewrites the log while holding its lock; returns the number of changed records by topic. metrics: mask by metric number.

    Raises LogError if a service runs on the log.
    """
    lock = DirectoryLock(path.parent)
    try:
        with translate_errors(path), closing(connect(path, read_only=False)) as conn:
            conn.execute("PRAGMA secure_delete = ON")
            counts: dict[str, int] = {}
            conn.execute("BEGIN IMMEDIATE")
            for name, topic in read_topics(conn).items():
                if topic.compacted:
                    counts[name] = _rewrite_shards(conn, topic.table, scope) if STATE_SHARDS in name else 0
                else:
                    counts[name] = _rewrite_records(conn, topic.table, _rewrite_of(name, scope, metrics))
            conn.execute("COMMIT")
            conn.execute("VACUUM")
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        lock.release()
    return {name: count for name, count in counts.items() if count}


def erase_files(folder: Path, scope: CustomerScope) -> list[str]:
    """Erases the customer from copies of the fleet file, console.db and gate.db; returns the changed files."""
    changed = []
    for name in (FLEET_FILE, LAST_SEEN_FILE):
        path = folder / name
        if path.is_file():
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
            changed += _write_if_changed(path, scope.redact_tables(tables), tables, to_toml)
    path = folder / SNAPSHOT_FILE
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        left = {**kept, "tables": scope.redact_tables(kept["tables"])}
        changed += _write_if_changed(path, left, kept, lambda body: json.dumps(body, ensure_ascii=False))
    if (folder / CONSOLE_FILE).is_file():
        changed += [CONSOLE_FILE] if _erase_console_rows(folder / CONSOLE_FILE, scope) else []
    if (folder / GATE_FILE).is_file():
        changed += [GATE_FILE] if _erase_mqtt_messages(folder / GATE_FILE, scope) else []
    return changed


def _rewrite_of(topic: str, scope: CustomerScope, metrics: NDArray[np.bool_]) -> Rewrite:
    if topic == INPUT:
        return lambda wire: _redact_input(wire, scope, metrics)
    if topic == QUARANTINE:
        return lambda wire: None if scope.owns_name(decode_quarantined(wire).topic) else wire
    if topic == FACTS:
        return lambda wire: _redact_facts(wire, scope)
    return lambda wire: _redact_json(wire, scope)


def _redact_input(wire: bytes, scope: CustomerScope, metrics: NDArray[np.bool_]) -> bytes:
    """Every input offset keeps a record: one with only erased data becomes an empty record of readings."""
    if wire[:1] not in (b"R", b"O", b"Q", b"F"):
        return wire
    record = decode(wire)
    if isinstance(record, Readings):
        owned = owned_readings(record, metrics)
        return encode(record.select(~owned)) if owned.any() else wire
    if isinstance(record, FleetChange):
        tables = json.loads(record.tables)
        left = scope.redact_tables(tables)
        same = left == tables
        text = record.tables if same else json.dumps(left, ensure_ascii=False)
        return wire if same else encode(FleetChange(at_ms=record.at_ms, tables=text))
    return encode(Readings.from_rows(())) if scope.owns_record(record) else wire


def _redact_facts(wire: bytes, scope: CustomerScope) -> bytes:
    body = json.loads(wire)
    left = {**{name: scope.redact(one) for name, one in body.items()}, "events": _redact_events(body["events"], scope)}
    return wire if left == body else json.dumps(left, ensure_ascii=False).encode()


def _redact_events(events: list[Any], scope: CustomerScope) -> list[Any]:
    """Removes the customer's events (`[code, fields]` as in facts), and their rows of fleet changes."""
    left = []
    for code, fields in scope.redact(events):
        if code == EVENT_CODES[FleetChange]:
            tables = json.loads(fields["tables"])
            if scope.redact_tables(tables) != tables:
                fields = {**fields, "tables": json.dumps(scope.redact_tables(tables), ensure_ascii=False)}
        left.append([code, fields])
    return left


def _redact_json(wire: bytes, scope: CustomerScope) -> bytes | None:
    try:
        body = json.loads(wire)
    except ValueError:
        return wire
    if not scope.mentions(body):
        return wire
    left = scope.redact(body)
    return None if left is None else json.dumps(left, ensure_ascii=False).encode()


def _rewrite_records(conn: sqlite3.Connection, table: str, rewrite: Rewrite) -> int:
    """Rewrites changed records. A record with nothing left keeps its offset without key and value, and readers skip it."""
    count = 0
    for place, wire in _iterate_rows(conn, table):
        left = rewrite(wire)
        if left is None:
            conn.execute(f"UPDATE {table} SET key = NULL, value = NULL WHERE place = ?", (place,))
        elif left != wire:
            conn.execute(f"UPDATE {table} SET value = ? WHERE place = ?", (left, place))
        count += left is None or left != wire
    return count


def _iterate_rows(conn: sqlite3.Connection, table: str) -> Iterator[tuple[int, bytes]]:
    start = -1
    while True:
        rows = conn.execute(
            f"SELECT place, value FROM {table} WHERE place > ? ORDER BY place LIMIT ?", (start, _BATCH_ROWS)
        ).fetchall()
        if not rows:
            return
        yield from ((place, wire) for place, wire in rows if wire is not None)
        start = rows[-1][0]


def _rewrite_shards(conn: sqlite3.Connection, table: str, scope: CustomerScope) -> int:
    """Rewrites the analysis state, shard by shard."""
    count = 0
    for place, key, value in conn.execute(f"SELECT place, key, value FROM {table}").fetchall():
        if value is None:
            continue
        left = _redact_shard(bytes(key).decode().partition("/")[2], value, scope)
        if left != value:
            conn.execute(f"UPDATE {table} SET value = ? WHERE place = ?", (left, place))
            count += 1
    return count


def _redact_shard(name: str, value: bytes, scope: CustomerScope) -> bytes:
    stamp, body = value[:_STAMP_BYTES], value[_STAMP_BYTES:]
    if name == FLEET_SHARD_KEY:
        changes = [[offset, scope.redact_tables(json.loads(tables))] for offset, tables in json.loads(body)]
        return stamp + json.dumps([[offset, json.dumps(one)] for offset, one in changes], ensure_ascii=False).encode()
    if name == META_SHARD:
        meta = json.loads(body)
        left = {**meta, "events": _redact_events(meta["events"], scope)}
        return stamp + json.dumps(left, ensure_ascii=False, sort_keys=True).encode()
    if not scope.devices.intersection(unpack_shard(body).devices):
        return value
    return stamp + drop_devices(body, scope.devices)


def _write_if_changed(path: Path, left: Any, before: Any, text: Callable[[Any], str]) -> list[str]:
    if left == before:
        return []
    with replace_file(path) as file:
        file.write(text(left).encode())
    return [path.name]


def _erase_mqtt_messages(path: Path, scope: CustomerScope) -> int:
    """Deletes retained and queued messages on the topics of the devices, and the sessions of the devices."""
    with translate_errors(path), closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA secure_delete = ON")
        before = conn.total_changes
        for device in sorted(scope.devices):
            topic = f"starloop/v1/{device}/"
            conn.execute("DELETE FROM retained WHERE substr(topic, 1, ?) = ?", (len(topic), topic))
            conn.execute("DELETE FROM waiting WHERE instr(wire, ?)", (topic.encode(),))
            for table in ("waiting", "subscriptions", "sessions"):
                own = "SELECT client_id FROM sessions WHERE owner = ? OR client_id = ?"
                conn.execute(f"DELETE FROM {table} WHERE client_id IN ({own})", (device, device))
        count = conn.total_changes - before
        conn.execute("VACUUM")
    return count


def _erase_console_rows(path: Path, scope: CustomerScope) -> int:
    """Deletes latest forecasts, chart points and quarantined payloads from the console's read model."""
    with translate_errors(path), closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA secure_delete = ON")
        before = conn.total_changes
        for device in sorted(scope.devices):
            for table in ("latest", "point"):
                conn.execute(f"DELETE FROM {table} WHERE substr(item, 1, ?) = ?", (len(device) + 1, f"{device}/"))
        for place, body in conn.execute("SELECT place, body FROM quarantined").fetchall():
            if scope.owns_name(decode_quarantined(body).topic):
                conn.execute("DELETE FROM quarantined WHERE place = ?", (place,))
        count = conn.total_changes - before
        conn.execute("VACUUM")
    return count
