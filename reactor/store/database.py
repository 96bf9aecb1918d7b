"""Opening the store's database: connection settings, integrity check, migrations. All SQL that differs by dialect is here.

SQLite runs in WAL mode, so that readers do not wait; a write transaction takes the file's write lock when it begins, so that
what it reads before it writes can't change meanwhile. PostgreSQL runs at READ COMMITTED; a read and a write that must not be
separated are one statement, or stand behind an advisory lock (`advisory_lock`), which ends with its transaction.
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
from star.errors import ConfigError, NewerFormat, Problem, StoreDamaged, StoreError

QUICK_CHECK_BYTES_MAX = 256 * 1024 * 1024
"""Largest SQLite file that is checked in full when it is opened, in bytes; the check reads all of it before the start."""
LOCK_TIMEOUT_MS = 10_000
"""How long a statement waits for a lock of another process, in milliseconds: SQLite's file, a row or lock in PostgreSQL."""
MIGRATION_LOCK_TIMEOUT_S = 300
"""How long a start waits for another process that migrates the tables, in seconds."""
CONNECT_TIMEOUT_S = 5
"""Time limit of connecting to PostgreSQL, in seconds."""
TCP_USER_TIMEOUT_MS = 15_000
"""Time without an acknowledgement of sent data after which a connection to PostgreSQL is closed, in milliseconds."""
POOL_SIZE, POOL_OVERFLOW_MAX = 8, 8
"""Connections to PostgreSQL that a process keeps open, and how many more it may open under load."""
ROWS_MAX = 1_000
"""Most rows in one statement."""
BOUND_VALUES_MAX = 500
"""Most values of an IN clause. SQLite allowed 999 parameters in a statement before 3.32."""
COPY_ROWS_MIN = 1_000
"""Number of rows from which COPY is used on PostgreSQL instead of INSERT."""
POSTGRES_VERSION_MIN = 14
"""Oldest major version of PostgreSQL that is accepted; tested on 15."""
WRITE_OPTION = "starloop_writes"
"""Execution option of connections whose transaction writes."""
ADVISORY_LOCK_NAMESPACE = 0x57A7
"""First key of Starloop's advisory locks; the second is an AdvisoryLock."""


class AdvisoryLock(IntEnum):
    """Actions that one process at a time may do."""

    MIGRATE = 1
    NAMES = 2
    FLEET = 3


def parse_url(url: str) -> URL:
    """The parsed URL, with psycopg as PostgreSQL's default driver. Raises ConfigError."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # The library's message may contain a piece of the password.
        raise _url_error(redact_unparsed(url), "it can't be read") from None
    if address.drivername in ("postgres", "postgresql"):
        address = address.set(drivername="postgresql+psycopg")
    return address


def make_engine(address: URL) -> Engine:
    """An engine for the database; nothing is connected yet. Raises ConfigError."""
    try:
        return _sqlite(address) if address.get_backend_name() == "sqlite" else _postgres(address)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise _url_error(redacted_url(address), one_line(error)) from error


def open_database(url: str) -> Engine:
    """The database, checked and migrated. Raises ConfigError, NewerFormat, StoreDamaged, StoreError."""
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
    except (NewerFormat, StoreError):
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
    """The same connections, for write transactions."""
    return engine.execution_options(**{WRITE_OPTION: True})


def snapshot_engine(engine: Engine) -> Engine:
    """The same connections, for reads of one snapshot across statements."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def advisory_lock(connection: Connection, lock: AdvisoryLock) -> None:
    """Takes a lock that other processes wait for until this transaction ends. SQLite: its write lock does the same already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK_NAMESPACE, int(lock))))


def upsert(connection: Connection, table: Table, key: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows, or replaces those with their keys."""
    if not rows:
        return
    statement = _insert(connection, table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    statement = statement.on_conflict_do_update(index_elements=list(key), set_=changed)
    for start in range(0, len(rows), ROWS_MAX):
        connection.execute(statement, list(rows[start : start + ROWS_MAX]))


def insert_if_absent(connection: Connection, table: Table, key: Sequence[str], row: dict[str, Any]) -> bool:
    """Inserts the row; returns False and changes nothing where its key exists."""
    statement = _insert(connection, table).values(**row).on_conflict_do_nothing(index_elements=list(key))
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount > 0


def insert_many(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows of the same columns; by COPY on PostgreSQL where there are many."""
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
    """A pool that tests a connection before it hands it out, so that a restart of the server costs no failed call.

    Locks of a process that vanished are released within a minute, by the server's tcp_keepalives.
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
    """WAL mode, so that readers do not wait; full synchronous flushes, so that commits survive a power cut.

    Transactions are begun explicitly, as the driver would leave changes of tables outside them.
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
    """Migrates the tables to the newest revision, in one transaction. Raises NewerFormat for a revision unknown to this build.

    Of processes that start together the first migrates, and the others wait for it.
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
            raise NewerFormat(
                f"{redacted_url(engine.url)}: its tables are of revision {version}, written by a newer Starloop: this one knows"
                f" revisions up to {head}. Run that version or a later one, or restore a backup made before it was used"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
