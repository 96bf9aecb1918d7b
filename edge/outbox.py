"""The outbox: store-and-forward on a site's disk, bounded. What is appended is on disk on return, and stays until it is dropped.

Blocking; a site's agent calls it from one thread of its own. When it is full `append` raises, and the agent acknowledges
nothing more until there is room. What can't be read goes to a bounded table `refused`, with the reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from config.sqlite_file import open_sqlite
from star.errors import DiskFull, LogDamaged, LogError

BYTES_MAX_DEFAULT = 1024 * 1024 * 1024
REJECTED_MAX = 10_000
"""Payloads kept that could not be read; the oldest go first."""
REJECTED_BYTES_MAX = 64 * 1024
"""Of one such payload."""
ROW_OVERHEAD_BYTES = 64
"""What a row takes besides topic and payload, about."""

FORMAT = 1
"""Of the file."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
  number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, payload BLOB, retain INTEGER);
CREATE TABLE IF NOT EXISTS refused (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER, topic TEXT, payload BLOB, reason TEXT);
"""


class UplinkMessage(NamedTuple):
    """A message for the uplink."""

    topic: str
    payload: bytes
    retain: bool = False


class Outbox:
    """See the module. bytes_max: of all that waits. Raises LogDamaged where the file is not readable."""

    def __init__(self, path: Path, bytes_max: int = BYTES_MAX_DEFAULT) -> None:
        self._path = path
        self._bytes_max = bytes_max
        try:
            self._db = open_sqlite(path, schema=_SCHEMA, format_number=FORMAT)
            held = self._db.execute(
                "SELECT COALESCE(SUM(LENGTH(topic) + LENGTH(payload)), 0) + COUNT(*) * ?, COUNT(*) FROM waiting",
                (ROW_OVERHEAD_BYTES,),
            )
            self._bytes, self._count = held.fetchone()
        except sqlite3.DatabaseError as error:
            raise LogDamaged(f"{path}: {error}: expected an outbox") from error

    def __len__(self) -> int:
        return int(self._count)

    def append(self, messages: Sequence[UplinkMessage]) -> None:
        """Keeps the parcels, all or none. Raises DiskFull where there is no room for them, LogError for what else fails."""
        size = sum(len(one.topic) + len(one.payload) + ROW_OVERHEAD_BYTES for one in messages)
        if self._bytes + size > self._bytes_max:
            raise DiskFull(f"{self._path}: {self._bytes} bytes wait for the uplink: expected at most {self._bytes_max}")
        self._write("INSERT INTO waiting (topic, payload, retain) VALUES (?, ?, ?)", messages)
        self._bytes += size
        self._count += len(messages)

    def read(self, after: int, limit: int) -> list[tuple[int, UplinkMessage]]:
        """(number, parcel) of at most `limit` that wait with numbers above `after`, in order."""
        rows = self._db.execute(
            "SELECT number, topic, payload, retain FROM waiting WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [(number, UplinkMessage(topic, payload, bool(retain))) for number, topic, payload, retain in rows]

    def delete(self, numbers: Sequence[int]) -> None:
        """Forgets parcels that have arrived. A crash before that sends them again, which the centre knows and drops."""
        marks = [(number,) for number in numbers]
        sizes = "SELECT LENGTH(topic) + LENGTH(payload) FROM waiting WHERE number = ?"
        found = [self._db.execute(sizes, mark).fetchone() for mark in marks]
        self._write("DELETE FROM waiting WHERE number = ?", marks)
        self._bytes -= sum(row[0] + ROW_OVERHEAD_BYTES for row in found if row is not None)
        self._count -= sum(row is not None for row in found)

    def reject(self, rows: Sequence[tuple[int, str, bytes, str]]) -> None:
        """Keeps payloads that can't be sent on: (arrived_ms, topic, payload, reason)."""
        self._write(
            "INSERT INTO refused (at_ms, topic, payload, reason) VALUES (?, ?, ?, ?)",
            [(at_ms, topic, payload[:REJECTED_BYTES_MAX], reason) for at_ms, topic, payload, reason in rows],
        )
        self._write("DELETE FROM refused WHERE number <= (SELECT MAX(number) FROM refused) - ?", [(REJECTED_MAX,)])

    def rejected(self) -> list[tuple[int, str, bytes, str]]:
        """What could not be sent on, oldest first: (arrived_ms, topic, payload, reason)."""
        return self._db.execute("SELECT at_ms, topic, payload, reason FROM refused ORDER BY number").fetchall()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def _write(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            self._db.execute("BEGIN")
            self._db.executemany(sql, rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            full = "full" in str(error)
            raise (DiskFull if full else LogError)(f"{self._path}: {error}: expected room on the disk") from error
