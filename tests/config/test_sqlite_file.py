"""Files of SQLite: a newer build's are refused in words, older ones are read on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from config.sqlite_file import open_sqlite
from console.access.accounts import Users
from console.access.sessions import Sessions
from console.read_model import ReadModel
from edge.mqtt_broker.session_store import SqliteSessionStore
from edge.outbox import Outbox
from star.errors import NewerFormat

SCHEMA = "create table if not exists reading (value real);"
FILES: dict[str, Callable[[Path], object]] = {
    "outbox.db": lambda folder: Outbox(folder / "outbox.db"),
    "gate.db": lambda folder: SqliteSessionStore(folder / "gate.db", print),
    "sessions.db": lambda folder: Sessions(folder, Users(folder / "users.toml")),
    "console.db": lambda folder: ReadModel(folder / "console.db"),
}
"""Every file that edge and console write, with what opens it in a folder."""


def format_of(path: Path, new: int | None = None) -> int:
    """The format number of a file, set to `new` before where that is given."""
    with closing(sqlite3.connect(path)) as db:
        if new is not None:
            db.execute(f"PRAGMA user_version={new}")
        return int(db.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("name", FILES)
def test_an_older_build_refuses_the_file_of_a_newer_one(tmp_path: Path, name: str) -> None:
    """With the file's name and both format numbers; the file stays as it is."""
    FILES[name](tmp_path)
    own = format_of(tmp_path / name)
    assert own >= 1
    format_of(tmp_path / name, new=own + 1)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(NewerFormat, match=rf"{name} is of format {own + 1}, .* reads formats up to {own}"):
        FILES[name](tmp_path)
    assert (tmp_path / name).read_bytes() == before


def test_a_file_without_a_number_is_taken_over_with_its_rows(tmp_path: Path) -> None:
    """As builds wrote it before there were numbers."""
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"{SCHEMA} insert into reading values (1.5);")
    with closing(open_sqlite(path, schema=SCHEMA, format_number=3)) as db:
        assert db.execute("select value from reading").fetchall() == [(1.5,)]
    assert format_of(path) == 3


def test_a_file_that_is_no_database_is_an_error_of_sqlite(tmp_path: Path) -> None:
    """Which the caller names in its own words."""
    (tmp_path / "some.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(sqlite3.DatabaseError):
        open_sqlite(tmp_path / "some.db", schema=SCHEMA, format_number=1)
