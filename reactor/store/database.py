"""Opening a database: its settings, its state of health, its migrations. Statements that differ by dialect are here alone.

SQLite: WAL, so that readers do not wait; a transaction that writes takes the file's one write lock when it begins, so that what it
reads before it writes still holds then. PostgreSQL: READ COMMITTED; what must not change between a look and a write is taken by
a statement that is both, or stands behind an advisory lock (`only_one`), which ends with the transaction however that ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, insert, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from reactor.store.error_translation import RESTORE, one_line, redact_unparsed, redacted_url, translate_error
from star.errors import ConfigError, Problem, StoreDamaged, StoreError

QUICK_CHECK_BYTES_MAX = 256 * 1024 * 1024
"""A larger file is not read through when it is opened; damage shows when it is met."""
LOCK_TIMEOUT_MS = 10_000
"""How long a statement waits for another process to let go: of SQLite's file, of a row or lock in PostgreSQL."""
MIGRATION_LOCK_TIMEOUT_S = 300
"""How long a start waits for another process that brings the tables up to date."""
CONNECT_TIMEOUT_S = 5
"""How long a connection to PostgreSQL may take."""
TCP_USER_TIMEOUT_MS = 15_000
"""A PostgreSQL that has not even confirmed what it was sent for so long is taken for gone."""
POOL_SIZE, POOL_OVERFLOW_MAX = 8, 8
"""Connections that one process keeps open to PostgreSQL, and how many more it opens for a moment."""
ROWS_MAX = 1_000
"""Rows in one statement."""
COPY_ROWS_MIN = 1_000
"""From so many rows on they go to PostgreSQL as a stream."""
POSTGRES_VERSION_MIN = 14
"""The oldest PostgreSQL that is served; tested on 15."""
WRITE_OPTION = "starloop_writes"
"""The option of a connection whose transaction is going to write."""
ADVISORY_LOCK_NAMESPACE = 0x57A7
"""Starloop's among the advisory locks of a database."""


class AdvisoryLock(IntEnum):
    """What only one process of all may do at a time."""

    MIGRATE = 1
    NAMES = 2
    FLEET = 3


def parse_url(url: str) -> URL:
    """The URL read; psycopg is the driver where none is named. Raises ConfigError."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # The library's words may hold a piece of the password.
        raise _url_error(redact_unparsed(url), "it can't be read") from None
    if address.drivername in ("postgres", "postgresql"):
        address = address.set(drivername="postgresql+psycopg")
    return address


def make_engine(address: URL) -> Engine:
    """Connections to the database, none of which is open yet. Raises ConfigError."""
    try:
        return _sqlite(address) if address.get_backend_name() == "sqlite" else _postgres(address)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise _url_error(redacted_url(address), one_line(error)) from error


def open_database(url: str) -> Engine:
    """The database, whole and with today's tables. Raises ConfigError, StoreDamaged, StoreError."""
    address = parse_url(url)
    engine = make_engine(address)
    try:
        if address.get_backend_name() == "sqlite":
            _check_file(engine, address.database)
        else:
            with engine.connect() as connection:
                check_version(connection.dialect.server_version_info or (), redacted_url(address))
        _migrate(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        raise translate_error(address, error, "can't be opened") from error
    except StoreDamaged as error:
        engine.dispose()
        raise StoreDamaged(f"{redacted_url(address)}: {error}") from None
    except StoreError:
        engine.dispose()
        raise
    return engine


def check_version(version: tuple[int | str, ...], place: str) -> None:
    """Raises StoreError for a PostgreSQL that is too old."""
    if version and int(version[0]) < POSTGRES_VERSION_MIN:
        found = ".".join(str(part) for part in version)
        raise StoreError(
            f"{place}: PostgreSQL {found} is too old: expected {POSTGRES_VERSION_MIN} or newer; upgrade the server"
        )


def write_engine(engine: Engine) -> Engine:
    """The same connections, for transactions that write."""
    return engine.execution_options(**{WRITE_OPTION: True})


def snapshot_engine(engine: Engine) -> Engine:
    """The same connections, for reads of one moment, however many statements they are."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def advisory_lock(connection: Connection, lock: AdvisoryLock) -> None:
    """From here to the end of this transaction, no other process is past this line with the same lock.

    SQLite: a writing transaction is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK_NAMESPACE, int(lock))))


def upsert(connection: Connection, table: Table, key: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows, or puts them in the place of those with their key."""
    if not rows:
        return
    statement = _insert(connection, table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    statement = statement.on_conflict_do_update(index_elements=list(key), set_=changed)
    for start in range(0, len(rows), ROWS_MAX):
        connection.execute(statement, list(rows[start : start + ROWS_MAX]))


def insert_if_absent(connection: Connection, table: Table, key: Sequence[str], row: dict[str, Any]) -> bool:
    """Inserts the row; False, and nothing is changed, where there is one with its key."""
    statement = _insert(connection, table).values(**row).on_conflict_do_nothing(index_elements=list(key))
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount > 0


def insert_many(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows of the same columns; a million of them within seconds."""
    if connection.dialect.name != "postgresql" or len(rows) < COPY_ROWS_MIN:
        if rows:
            connection.execute(insert(table), list(rows))
        return
    names = list(rows[0])
    preparer = connection.dialect.identifier_preparer
    columns = ", ".join(preparer.quote(name) for name in names)
    copy = f"COPY {preparer.format_table(table)} ({columns}) FROM STDIN"
    driver: Any = connection.connection
    try:
        with driver.cursor() as cursor, cursor.copy(copy) as stream:
            for row in rows:
                stream.write_row([row[name] for name in names])
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError(copy, None, error) from error


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _url_error(place: str, why: str) -> ConfigError:
    expected = "expected a URL such as sqlite:////data/store.db or postgresql+psycopg://user@host:5432/database"
    return ConfigError([Problem(file="settings", line=None, field="store", message=f"is {place!r}: {why}: {expected}")])


def _postgres(address: URL) -> Engine:
    """A pool that tries a connection before it lends it, so that a server's restart costs nothing but the outage.

    A process that has vanished with a lock in its hand is noticed by the server within a minute (the tcp_keepalives).
    """
    if address.get_backend_name() != "postgresql":
        raise ArgumentError(f"{address.get_backend_name()} is not a kind of store")
    options = {
        "lock_timeout": f"{LOCK_TIMEOUT_MS}ms",
        "idle_in_transaction_session_timeout": "60s",
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }
    theirs = address.query.get("options", "")
    arguments: dict[str, object] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "starloop",
        "keepalives_idle": TCP_USER_TIMEOUT_MS // 1000,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
    }
    chosen = {name: value for name, value in arguments.items() if name not in address.query}
    chosen["options"] = " ".join([*(f"-c {name}={value}" for name, value in options.items()), str(theirs)]).strip()
    return create_engine(
        address,
        connect_args=chosen,
        pool_pre_ping=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW_MAX,
        pool_timeout=CONNECT_TIMEOUT_S,
        hide_parameters=True,
    )


def _sqlite(address: URL) -> Engine:
    in_memory = address.database in (None, "", ":memory:")
    pool: dict[str, Any] = {"poolclass": StaticPool} if in_memory else {}
    engine = create_engine(
        address, connect_args={"check_same_thread": False, "timeout": LOCK_TIMEOUT_MS / 1000}, **pool
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
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


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITE_OPTION) else "BEGIN")


def _check_file(engine: Engine, path: str | None) -> None:
    if not path or path == ":memory:" or not Path(path).exists() or Path(path).stat().st_size > QUICK_CHECK_BYTES_MAX:
        return
    with engine.connect() as connection:
        found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    if found != "ok":
        raise StoreDamaged(f"damaged ({one_line(found)}): {RESTORE}")


def _migrate(engine: Engine) -> None:
    """Brings the tables to today's version, in one transaction, one process at a time. Raises StoreError for a newer one.

    Processes that start at once wait for the first of them and find its work done.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
    with write_engine(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_TIMEOUT_S}s'"))
        advisory_lock(connection, AdvisoryLock.MIGRATE)
        version = MigrationContext.configure(connection).get_current_revision()
        if version == head:
            return
        known = {script.revision for script in scripts.walk_revisions()}
        if version is not None and version not in known:
            raise StoreError(
                f"{redacted_url(engine.url)}: has tables of version {version}: expected at most {head}: it was used by a newer"
                " Starloop; install that one, or restore the backup made before it"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
