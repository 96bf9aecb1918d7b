"""A customer taken out of a stopped service's data directory: log, state, store, and the files beside them.

Records of the log keep their offsets, as everything that follows it counts by them: readings of others in a record stay, a record
that was all theirs says nothing any more. It is safe to stop half-way and to do it again. Files are written anew at the end, so that
what was deleted is in none of their unused pages.
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

from config.toml_text import to_toml
from star.errors import InputError
from star.records import EVENT_LETTERS, FleetChange, decode, encode
from star.sense import Readings
from starloop.customer.theirs import IN_FORCE, SEEN, Theirs, readings_of
from starloop.data_dir import CONSOLE, FLEET
from stream.blocks import META
from stream.fleet_part import FLEET as FLEET_BLOCK
from stream.inlet import decode_quarantined
from stream.state import unpack_block, without_devices
from stream.topics import BLOCKS, FACTS, INPUT, QUARANTINE
from stream.transports.lock import DirectoryLock
from stream.transports.log_file import connect, read_topics, translated

Rewrite = Callable[[bytes], bytes | None]
"""A record's bytes without them; None where it is all theirs."""

GATE = "gate.db"
_STAMP_BYTES = 8
_ROWS = 500


def erase_log(path: Path, theirs: Theirs, metrics: NDArray[np.bool_]) -> dict[str, int]:
    """Rewrites the log, holding its lock; how many records of each topic changed. metrics: by number, which are theirs.

    Raises LogError where a service runs on it.
    """
    lock = DirectoryLock(path.parent)
    try:
        with translated(path), closing(connect(path, read_only=False)) as conn:
            conn.execute("PRAGMA secure_delete = ON")
            counts: dict[str, int] = {}
            conn.execute("BEGIN IMMEDIATE")
            for name, topic in read_topics(conn).items():
                if topic.compacted:
                    counts[name] = _blocks(conn, topic.table, theirs) if BLOCKS in name else 0
                else:
                    counts[name] = _records(conn, topic.table, _rewrite_of(name, theirs, metrics))
            conn.execute("COMMIT")
            conn.execute("VACUUM")
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        lock.release()
    return {name: count for name, count in counts.items() if count}


def erase_files(folder: Path, theirs: Theirs) -> list[str]:
    """Takes them out of the copies of the fleet file, the console's read model and the kept MQTT messages; which files changed."""
    changed = []
    for name in (FLEET, SEEN):
        path = folder / name
        if path.is_file():
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
            changed += _written(path, theirs.tables(tables), tables, to_toml)
    path = folder / IN_FORCE
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        left = {**kept, "tables": theirs.tables(kept["tables"])}
        changed += _written(path, left, kept, lambda body: json.dumps(body, ensure_ascii=False))
    if (folder / CONSOLE).is_file():
        changed += [CONSOLE] if _shown(folder / CONSOLE, theirs) else []
    if (folder / GATE).is_file():
        changed += [GATE] if _messages(folder / GATE, theirs) else []
    return changed


def _rewrite_of(topic: str, theirs: Theirs, metrics: NDArray[np.bool_]) -> Rewrite:
    if topic == INPUT:
        return lambda wire: _input(wire, theirs, metrics)
    if topic == QUARANTINE:
        return lambda wire: None if theirs.item(decode_quarantined(wire).topic) else wire
    if topic == FACTS:
        return lambda wire: _facts(wire, theirs)
    return lambda wire: _json(wire, theirs)


def _input(wire: bytes, theirs: Theirs, metrics: NDArray[np.bool_]) -> bytes:
    """Every offset of the input keeps a record: one that was all theirs holds no reading."""
    if wire[:1] not in (b"R", b"O", b"Q", b"F"):
        return wire
    record = decode(wire)
    if isinstance(record, Readings):
        which = readings_of(record, metrics)
        return encode(record.take(~which)) if which.any() else wire
    if isinstance(record, FleetChange):
        tables = json.loads(record.tables)
        left = theirs.tables(tables)
        same = left == tables
        text = record.tables if same else json.dumps(left, ensure_ascii=False)
        return wire if same else encode(FleetChange(at_ms=record.at_ms, tables=text))
    return encode(Readings.of_rows(())) if theirs.said(record) else wire


def _facts(wire: bytes, theirs: Theirs) -> bytes:
    body = json.loads(wire)
    left = {**{name: theirs.without(one) for name, one in body.items()}, "events": _events(body["events"], theirs)}
    return wire if left == body else json.dumps(left, ensure_ascii=False).encode()


def _events(events: list[Any], theirs: Theirs) -> list[Any]:
    """Events as facts carry them, `[letter, fields]`: theirs are left out, of changes of the fleet their rows."""
    left = []
    for letter, fields in theirs.without(events):
        if letter == EVENT_LETTERS[FleetChange]:
            tables = json.loads(fields["tables"])
            if theirs.tables(tables) != tables:
                fields = {**fields, "tables": json.dumps(theirs.tables(tables), ensure_ascii=False)}
        left.append([letter, fields])
    return left


def _json(wire: bytes, theirs: Theirs) -> bytes | None:
    try:
        body = json.loads(wire)
    except ValueError:
        return wire
    if not theirs.speaks(body):
        return wire
    left = theirs.without(body)
    return None if left is None else json.dumps(left, ensure_ascii=False).encode()


def _records(conn: sqlite3.Connection, table: str, rewrite: Rewrite) -> int:
    """Changes what must change. A record that is all theirs keeps its place without key and value: readers pass it over."""
    count = 0
    for place, wire in _all(conn, table):
        left = rewrite(wire)
        if left is None:
            conn.execute(f"UPDATE {table} SET key = NULL, value = NULL WHERE place = ?", (place,))
        elif left != wire:
            conn.execute(f"UPDATE {table} SET value = ? WHERE place = ?", (left, place))
        count += left is None or left != wire
    return count


def _all(conn: sqlite3.Connection, table: str) -> Iterator[tuple[int, bytes]]:
    start = -1
    while True:
        rows = conn.execute(
            f"SELECT place, value FROM {table} WHERE place > ? ORDER BY place LIMIT ?", (start, _ROWS)
        ).fetchall()
        if not rows:
            return
        yield from ((place, wire) for place, wire in rows if wire is not None)
        start = rows[-1][0]


def _blocks(conn: sqlite3.Connection, table: str, theirs: Theirs) -> int:
    """The state of the analysis, block by block."""
    count = 0
    for place, key, value in conn.execute(f"SELECT place, key, value FROM {table}").fetchall():
        if value is None:
            continue
        left = _block(bytes(key).decode().partition("/")[2], value, theirs)
        if left != value:
            conn.execute(f"UPDATE {table} SET value = ? WHERE place = ?", (left, place))
            count += 1
    return count


def _block(name: str, value: bytes, theirs: Theirs) -> bytes:
    stamp, body = value[:_STAMP_BYTES], value[_STAMP_BYTES:]
    if name == FLEET_BLOCK:
        changes = [[offset, theirs.tables(json.loads(tables))] for offset, tables in json.loads(body)]
        return stamp + json.dumps([[offset, json.dumps(one)] for offset, one in changes], ensure_ascii=False).encode()
    if name == META:
        meta = json.loads(body)
        left = {**meta, "events": _events(meta["events"], theirs)}
        return stamp + json.dumps(left, ensure_ascii=False, sort_keys=True).encode()
    if not theirs.devices.intersection(unpack_block(body).devices):
        return value
    return stamp + without_devices(body, theirs.devices)


def _written(path: Path, left: Any, before: Any, text: Callable[[Any], str]) -> list[str]:
    if left == before:
        return []
    part = path.with_name(path.name + ".new")
    try:
        part.write_text(text(left), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: expected a file that can be written") from error
    return [path.name]


def _messages(path: Path, theirs: Theirs) -> int:
    """Retained messages and those that wait for sessions, of their topics; sessions of their devices' own."""
    with translated(path), closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA secure_delete = ON")
        before = conn.total_changes
        for device in sorted(theirs.devices):
            topic = f"starloop/v1/{device}/"
            conn.execute("DELETE FROM retained WHERE substr(topic, 1, ?) = ?", (len(topic), topic))
            conn.execute("DELETE FROM waiting WHERE instr(wire, ?)", (topic.encode(),))
            for table in ("waiting", "subscriptions", "sessions"):
                own = "SELECT client_id FROM sessions WHERE owner = ? OR client_id = ?"
                conn.execute(f"DELETE FROM {table} WHERE client_id IN ({own})", (device, device))
        count = conn.total_changes - before
        conn.execute("VACUUM")
    return count


def _shown(path: Path, theirs: Theirs) -> int:
    """What the console shows: the latest forecasts, points of charts, payloads that could not be read."""
    with translated(path), closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA secure_delete = ON")
        before = conn.total_changes
        for device in sorted(theirs.devices):
            for table in ("latest", "point"):
                conn.execute(f"DELETE FROM {table} WHERE substr(item, 1, ?) = ?", (len(device) + 1, f"{device}/"))
        for place, body in conn.execute("SELECT place, body FROM quarantined").fetchall():
            if theirs.item(decode_quarantined(body).topic):
                conn.execute("DELETE FROM quarantined WHERE place = ?", (place,))
        count = conn.total_changes - before
        conn.execute("VACUUM")
    return count
