"""The SQLite file of the embedded log: its format, its tables, how it is opened, and its errors in an operator's words.

Each topic is a table, so that appends go to the right-hand end of one B-tree. In a compacted topic a key is unique: a record
replaces the earlier one of its key at once, so that recovery reads each key once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from star.errors import DiskFull, LogDamaged, LogError, check_format

FORMAT = 1
"""Number of the file's format, in SQLite's user_version. To be raised with every change that an older build would misread."""
APPLICATION_ID = 0x53544C50
"""SQLite's application_id of a log: "STLP" in ASCII."""
PAGE_BYTES = 8192
"""SQLite's page size: larger than its default (4 KiB), which suits large records and costs small transactions more."""
WAL_PAGES_MAX = 2048
"""Pages in the write-ahead log (16 MiB) before SQLite checkpoints them into the main file."""
WAL_BYTES_KEPT = 64 << 20
"""The write-ahead log's file is truncated to this after a long-running reader made it grow."""
BUSY_TIMEOUT_MS = 10_000
"""How long a connection waits for a lock of another one: a checkpoint, or a command that reads beside the service."""

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
    """A topic's row. compacted: only the latest record of a key is kept. retain_ms, retain_bytes: None keeps all."""

    number: int
    name: str
    compacted: bool
    retain_ms: int | None
    retain_bytes: int | None

    @property
    def table(self) -> str:
        return f"records_{self.number}"


def log_error(path: Path, error: sqlite3.Error) -> LogError:
    """An error of SQLite as one line that names the file and what to do."""
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
    """Raises SQLite's errors as those of star.errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise log_error(path, error) from error


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection without implicit transactions, usable from any thread, one at a time."""
    mode = "ro" if read_only else "rwc"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    conn = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000)
    if read_only:
        conn.execute("PRAGMA query_only = 1")
    return conn


def open_writer(path: Path, *, size_max_bytes: int | None) -> sqlite3.Connection:
    """The one writing connection; creates a missing file. Raises LogError, or NewerFormat with the file unchanged."""
    with translate_errors(path):
        if path.exists():
            # Checked by a read-only connection: a writing one changes the file as it opens and closes it.
            with closing(connect(path, read_only=True)) as reader:
                if not _is_new(reader):
                    check_identity(reader, path)
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
    if _is_new(conn):
        _create(conn, path)


def check_identity(conn: sqlite3.Connection, path: Path) -> None:
    """Raises LogDamaged where the file is another program's, NewerFormat where a newer Starloop wrote it."""
    if conn.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LogDamaged(f"{path}: a SQLite file of another program: expected a log of starloop")
    check_format(f"the log {path}", _format(conn), FORMAT)


def _format(conn: sqlite3.Connection) -> int:
    return int(conn.execute("PRAGMA user_version").fetchone()[0])


def _is_new(conn: sqlite3.Connection) -> bool:
    """Whether the file has no format yet: it is empty, or another program's."""
    return _format(conn) == 0


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
    conn.execute(f"PRAGMA user_version = {FORMAT}")
    conn.execute("COMMIT")


def read_topics(conn: sqlite3.Connection) -> dict[str, Topic]:
    """Every topic by name."""
    rows = conn.execute("SELECT number, name, compacted, retain_ms, retain_bytes FROM topics").fetchall()
    return {
        name: Topic(number=number, name=name, compacted=bool(compacted), retain_ms=retain_ms, retain_bytes=retain_bytes)
        for number, name, compacted, retain_ms, retain_bytes in rows
    }


def read_end(conn: sqlite3.Connection, topic: Topic) -> int:
    """The offset of the topic's next record: the last record is never deleted, so this is always known."""
    last = conn.execute(f"SELECT max(place) FROM {topic.table}").fetchone()[0]
    return 0 if last is None else int(last) + 1


def create_topic(conn: sqlite3.Connection, topic: Topic) -> None:
    """Creates the topic's row and table."""
    conn.execute(
        "INSERT INTO topics (number, name, compacted, retain_ms, retain_bytes) VALUES (?, ?, ?, ?, ?)",
        (topic.number, topic.name, int(topic.compacted), topic.retain_ms, topic.retain_bytes),
    )
    unique = " UNIQUE" if topic.compacted else ""
    conn.execute(
        f"CREATE TABLE {topic.table} (place INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, key BLOB{unique}, value BLOB)"
    )
