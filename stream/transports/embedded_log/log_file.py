"""The SQLite file behind the embedded log: its tables, how it is opened, and what its errors mean.

A table a topic, so that every append goes to the right-hand end of one B-tree. In a compacted topic a key is unique: a
record replaces the earlier one of its key at once, so that recovery reads each key one time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from star.errors import DiskFull, LogDamaged, LogError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x53544C50  # "STLP"
PAGE_BYTES = 8192
WAL_PAGES_MAX = 2048
"""Pages in the write-ahead log (16 MiB) before SQLite moves them into the main file."""
WAL_BYTES_KEPT = 64 << 20
"""The write-ahead log is cut back to this after a reader held it open for long."""
BUSY_TIMEOUT_MS = 10_000
"""How long a connection waits for another's lock: checkpoints and a command reading beside the service."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DISK_FULL = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as the file knows it. compacted: only the latest record of a key is kept. None: kept for ever."""

    number: int
    name: str
    compacted: bool
    retain_ms: int | None
    retain_bytes: int | None

    @property
    def table(self) -> str:
        return f"records_{self.number}"


def log_error(path: Path, error: sqlite3.Error) -> LogError:
    """The error that a SQLite error means, in one line that names the file and what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or code in _DISK_FULL:
        return DiskFull(f"{path}: no room to write ({error}): free some disk space; nothing is acknowledged until then")
    if code is not None and code & 0xFF in _DAMAGED:
        return LogDamaged(
            f"{path}: not readable ({error}): stop the service and restore this file from a backup, "
            f"or move it away with its -wal file to start an empty log"
        )
    return LogError(f"{path}: {error} ({getattr(error, 'sqlite_errorname', 'sqlite error')})")


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into the tree of star.errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise log_error(path, error) from error


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection without implicit transactions, usable from any thread (one at a time)."""
    mode = "ro" if read_only else "rwc"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    conn = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000)
    if read_only:
        conn.execute("PRAGMA query_only = 1")
    return conn


def open_writer(path: Path, *, size_max_bytes: int | None) -> sqlite3.Connection:
    """The one writing connection; makes the file where there is none. Raises LogError."""
    with translate_errors(path):
        conn = connect(path, read_only=False)
        try:
            _prepare(conn, path, size_max_bytes)
        except BaseException:
            conn.close()
            raise
    return conn


def _prepare(conn: sqlite3.Connection, path: Path, size_max_bytes: int | None) -> None:
    conn.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
    conn.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    if size_max_bytes is not None:
        conn.execute(f"PRAGMA max_page_count = {max(size_max_bytes // PAGE_BYTES, 1)}")
    version = conn.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        _create(conn, path)
    else:
        check_identity(conn, path)


def check_identity(conn: sqlite3.Connection, path: Path) -> None:
    """Raises LogDamaged where the file is another program's, LogError where it is of another version."""
    if conn.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LogDamaged(f"{path}: a SQLite file of another program: expected a log of starloop")
    version = conn.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise LogError(f"{path}: a log of format {version}: expected format {SCHEMA_VERSION}")


def _create(conn: sqlite3.Connection, path: Path) -> None:
    if conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise LogDamaged(f"{path}: a SQLite file of another program: expected a log of starloop")
    conn.execute("BEGIN IMMEDIATE")
    conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    conn.execute(
        "CREATE TABLE topics (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
        " compacted INTEGER NOT NULL, retain_ms INTEGER, retain_bytes INTEGER)"
    )
    conn.execute(
        "CREATE TABLE committed (consumer TEXT NOT NULL, topic TEXT NOT NULL, next INTEGER NOT NULL,"
        " PRIMARY KEY (consumer, topic)) WITHOUT ROWID"
    )
    conn.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    conn.execute("COMMIT")


def read_topics(conn: sqlite3.Connection) -> dict[str, Topic]:
    """Every topic by name."""
    rows = conn.execute("SELECT number, name, compacted, retain_ms, retain_bytes FROM topics").fetchall()
    return {
        name: Topic(number=number, name=name, compacted=bool(compacted), retain_ms=retain_ms, retain_bytes=retain_bytes)
        for number, name, compacted, retain_ms, retain_bytes in rows
    }


def read_end(conn: sqlite3.Connection, topic: Topic) -> int:
    """The offset that the topic's next record gets: its last record is never deleted, so it is always known."""
    last = conn.execute(f"SELECT max(place) FROM {topic.table}").fetchone()[0]
    return 0 if last is None else int(last) + 1


def create_topic(conn: sqlite3.Connection, topic: Topic) -> None:
    """Makes the topic's row and table."""
    conn.execute(
        "INSERT INTO topics (number, name, compacted, retain_ms, retain_bytes) VALUES (?, ?, ?, ?, ?)",
        (topic.number, topic.name, int(topic.compacted), topic.retain_ms, topic.retain_bytes),
    )
    unique = " UNIQUE" if topic.compacted else ""
    conn.execute(
        f"CREATE TABLE {topic.table} (place INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, key BLOB{unique}, value BLOB)"
    )
