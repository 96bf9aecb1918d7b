"""Opening a database: its settings, its state of health, its migrations. Statements that differ by dialect are here alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from star.errors import ConfigError, Problem, StoreDamaged, StoreError

CHECK_BYTES_MAX = 256 * 1024 * 1024
"""A larger file is not read through when it is opened; damage shows when it is met."""
BUSY_MS = 10_000
"""How long a statement waits for another process to let go of the file."""
ROWS_MAX = 1_000
"""Rows in one statement."""


def open_database(url: str) -> Engine:
    """The database, whole and with today's tables. Raises ConfigError, StoreDamaged, StoreError."""
    try:
        address = make_url(url)
        engine = _engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        message = f"is {url!r}: {error}: expected a URL such as sqlite:////data/store.db or postgresql+psycopg://…"
        raise ConfigError([Problem(file="settings", line=None, field="store", message=message)]) from error
    place = address.render_as_string(hide_password=True)
    try:
        if address.get_backend_name() == "sqlite":
            _check_file(engine, address.database)
        _migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        found = _one_line(error.orig)
        if "malformed" in found or "not a database" in found:
            raise StoreDamaged(f"{place}: damaged ({found}): stop the service and restore it from a backup") from error
        raise StoreError(f"{place}: can't be opened: {found}") from error
    except StoreDamaged as error:
        engine.dispose()
        raise StoreDamaged(f"{place}: {error}") from None
    return engine


def upsert(connection: Connection, table: Table, key: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows, or puts them in the place of those with their key."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    if not rows:
        return
    statement = make(table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    statement = statement.on_conflict_do_update(index_elements=list(key), set_=changed)
    for start in range(0, len(rows), ROWS_MAX):
        connection.execute(statement, list(rows[start : start + ROWS_MAX]))


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    in_memory = make_url(url).database in (None, "", ":memory:")
    pool: dict[str, Any] = {"poolclass": StaticPool} if in_memory else {}
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000}, **pool)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    """WAL, so that readers do not wait; a full flush, so that what was committed survives a power cut.

    Transactions begin when we say so: the driver's own habit would leave changes of tables outside them.
    """
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _check_file(engine: Engine, path: str | None) -> None:
    if not path or path == ":memory:" or not Path(path).exists() or Path(path).stat().st_size > CHECK_BYTES_MAX:
        return
    with engine.connect() as connection:
        found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    if found != "ok":
        raise StoreDamaged(f"damaged ({_one_line(found)}): stop the service and restore it from a backup")


def _migrate(engine: Engine) -> None:
    """Brings the tables to today's version, in one transaction. Raises StoreError for a store of a newer one."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        version = MigrationContext.configure(connection).get_current_revision()
        if version == scripts.get_current_head():
            return
        known = {script.revision for script in scripts.walk_revisions()}
        if version is not None and version not in known:
            raise StoreError(
                f"the store has tables of version {version}: expected at most {scripts.get_current_head()}"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _one_line(found: object) -> str:
    return " ".join(str(found).split())
