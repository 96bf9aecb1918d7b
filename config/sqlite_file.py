"""SQLite files with a format number (`PRAGMA user_version`): opened for reading and writing, refused where they are newer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from star.errors import check_format

BUSY_TIMEOUT_MS = 5_000
"""How long a statement waits for another process's lock, such as that of an operator's sqlite3 shell."""


def open_sqlite(path: Path, *, schema: str, format_number: int, synchronous: str = "FULL") -> sqlite3.Connection:
    """A connection in autocommit mode, for any thread, to the file `path`, which is created where it is missing.

    schema: statements that create what is not there yet, and bring a file of a lower format number up to `format_number`.
    A file without a number (0) was written before there were any, or is new. synchronous: SQLite's setting of the same
    name; with FULL a commit is on disk when it returns.

    Raises NewerFormat for a file of a higher format number, which is left as it is, and sqlite3.DatabaseError for one that
    can't be read.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        found = db.execute("PRAGMA user_version").fetchone()[0]
        check_format(str(path), found, format_number)
        db.executescript(
            f"PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA busy_timeout={BUSY_TIMEOUT_MS};{schema}"
        )
        if found != format_number:
            db.execute(f"PRAGMA user_version={format_number}")
    except BaseException:
        db.close()
        raise
    return db
