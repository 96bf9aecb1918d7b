"""The outbox: a bounded store-and-forward queue on a site's disk, durable when `append` returns.

Blocking; the site's agent calls it from one thread of its own. A full outbox raises, and the agent acknowledges nothing
more until there is room. Payloads that can't be sent on go to the bounded table `refused`, with the reason.
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
"""Most rejected payloads; beyond it the oldest are deleted."""
REJECTED_BYTES_MAX = 64 * 1024
"""Most bytes of a rejected payload; the rest is cut off."""
ROW_OVERHEAD_BYTES = 64
"""About what a row takes on disk besides topic and payload."""

FORMAT = 1
"""Format number of the file."""
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
    """See the module. bytes_max: of all queued messages.

    Raises LogDamaged for a file that can't be read, NewerFormat for one of a newer Starloop.
    """

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
        """Queues the messages, all or none. Raises DiskFull where there is no room for them, LogError for other failures."""
        size = sum(len(one.topic) + len(one.payload) + ROW_OVERHEAD_BYTES for one in messages)
        if self._bytes + size > self._bytes_max:
            raise DiskFull(f"{self._path}: {self._bytes} bytes wait for the uplink: expected at most {self._bytes_max}")
        self._write("INSERT INTO waiting (topic, payload, retain) VALUES (?, ?, ?)", messages)
        self._bytes += size
        self._count += len(messages)

    def read(self, after: int, limit: int) -> list[tuple[int, UplinkMessage]]:
        """(number, message) of at most `limit` queued messages with numbers above `after`, in order."""
        rows = self._db.execute(
            "SELECT number, topic, payload, retain FROM waiting WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [(number, UplinkMessage(topic, payload, bool(retain))) for number, topic, payload, retain in rows]

    def delete(self, numbers: Sequence[int]) -> None:
        """Removes messages that have arrived. After a crash before that they are sent again; the centre drops duplicates."""
        keys = [(number,) for number in numbers]
        sizes = "SELECT LENGTH(topic) + LENGTH(payload) FROM waiting WHERE number = ?"
        found = [self._db.execute(sizes, key).fetchone() for key in keys]
        self._write("DELETE FROM waiting WHERE number = ?", keys)
        self._bytes -= sum(row[0] + ROW_OVERHEAD_BYTES for row in found if row is not None)
        self._count -= sum(row is not None for row in found)

    def reject(self, rows: Sequence[tuple[int, str, bytes, str]]) -> None:
        """Stores payloads that can't be sent on: (arrived_ms, topic, payload, reason)."""
        self._write(
            "INSERT INTO refused (at_ms, topic, payload, reason) VALUES (?, ?, ?, ?)",
            [(at_ms, topic, payload[:REJECTED_BYTES_MAX], reason) for at_ms, topic, payload, reason in rows],
        )
        self._write("DELETE FROM refused WHERE number <= (SELECT MAX(number) FROM refused) - ?", [(REJECTED_MAX,)])

    def rejected(self) -> list[tuple[int, str, bytes, str]]:
        """The rejected payloads, oldest first: (arrived_ms, topic, payload, reason)."""
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
