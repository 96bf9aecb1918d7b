"""Checks of the store: reachable, intact, current schema, not ahead of the log; waiting and abandoned deliveries.

Plain queries are used, because opening the store as the service does would migrate it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, func, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok, warn
from reactor.delivery.routes import customer_of_target, supplier_of_target
from reactor.store.schema import consumed, outbox
from runtime.data_dir import LOG_FILE, STORE_FILE
from star.errors import LogError, NewerFormat, StoreError
from stream.topics import INPUT
from stream.transports.embedded_log.sqlite_log import SqliteLog

MIGRATIONS = Path(__file__).parents[2] / "reactor" / "store" / "migrations"
CONNECT_S = 5
"""Connection timeout of a database server, in seconds."""
ERROR_CHARACTERS_MAX = 400
"""Characters shown of a database error message."""
GIVEN_UP_SHOWN_MAX = 3
"""Abandoned deliveries that are listed with their reasons; the console lists all."""
_RESTORE = "stop the service, then restore store.db from a backup, together with the log.db of the same backup"


def store_findings(settings: Settings) -> Iterator[Finding]:
    """All findings of the store."""
    path = settings.data_dir / STORE_FILE
    embedded = settings.store == "sqlite"
    if embedded and not path.exists():
        yield ok("store", f"{path.name} does not exist yet")
        return
    log = settings.data_dir / LOG_FILE if settings.log == "embedded" else None
    try:
        with _read_only_connection(settings) as conn:
            yield from _connection_findings(conn, log, embedded)
    except (ArgumentError, ModuleNotFoundError) as error:
        said = f"STARLOOP_STORE is not a usable database URL: {error}"
        yield fail("store", said, "use postgresql+psycopg://user@host/database, or install the driver that it names")
    except DBAPIError as error:
        remedy = _RESTORE if embedded else "start the database, or correct STARLOOP_STORE"
        yield fail("store", f"not readable: {_one_line(error)}", remedy)


@contextmanager
def _read_only_connection(settings: Settings) -> Iterator[Connection]:
    """A read-only connection. Raises what the driver raises."""
    embedded = settings.store == "sqlite"
    path = settings.data_dir / STORE_FILE
    url = make_url(f"sqlite:///file:{path.absolute()}?mode=ro&uri=true" if embedded else settings.store)
    timeout = {"connect_timeout": CONNECT_S} if url.get_backend_name() == "postgresql" else {}
    engine = create_engine(url, connect_args=timeout)
    try:
        with engine.connect() as conn:
            yield conn
    finally:
        engine.dispose()


def consumed_offsets(settings: Settings) -> dict[int, int]:
    """Last input offset consumed by the store, by partition; empty if there is no store yet. Raises StoreError."""
    if settings.store == "sqlite" and not (settings.data_dir / STORE_FILE).exists():
        return {}
    try:
        with _read_only_connection(settings) as conn:
            if not inspect(conn).has_table(consumed.name):
                return {}
            rows = conn.execute(select(consumed.c.partition, consumed.c.input_offset))
            return {row.partition: row.input_offset for row in rows}
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise StoreError(f"the store is not readable: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    found = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(found).split())[:ERROR_CHARACTERS_MAX]


def _connection_findings(conn: Connection, log: Path | None, embedded: bool) -> Iterator[Finding]:
    """Findings of an open store. log: path of the embedded log; for Kafka, kafka.py makes the comparison."""
    if embedded:
        found = conn.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if found != "ok":
            yield fail("store", f"damaged: {found}", _RESTORE)
            return
    have, want = schema_version(conn), ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if have != want:
        remedy = "start the service once, which migrates the store; if it refuses, the store is from a newer version"
        yield warn("store", f"schema {have or 'none'}, this version expects {want}", remedy)
        return
    yield ok("store", f"intact, schema {have}" if embedded else f"{_server(conn)} responds, schema {have}")
    if log is not None:
        yield store_and_log_finding(conn, log)
    yield from delivery_findings(conn)


def _server(conn: Connection) -> str:
    numbers = conn.dialect.server_version_info or ()
    return f"{conn.dialect.name} {'.'.join(map(str, numbers))}".strip()


def schema_version(conn: Connection) -> str | None:
    """Schema version of the store, or None if it has none."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    found: str | None = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def store_and_log_finding(conn: Connection, path: Path) -> Finding:
    """Whether the store is not ahead of the embedded log."""
    offset = conn.execute(select(func.max(consumed.c.input_offset))).scalar()
    if offset is None or not path.exists():
        return ok("store and log", "nothing consumed yet")
    try:
        with SqliteLog(path, read_only=True) as log:
            end = log.end(INPUT)
    except (LogError, NewerFormat) as error:
        return warn("store and log", f"not comparable: {error}", "repair the log first")
    if offset >= end:
        said = f"the store has consumed record {offset}, the log ends at {end}"
        return fail("store and log", said, "restore both from the same backup")
    return ok("store and log", f"{end - 1 - offset} records behind")


def delivery_findings(conn: Connection) -> Iterator[Finding]:
    """Deliveries to suppliers and customers that wait, and abandoned ones, latest first."""
    by_state = conn.execute(select(outbox.c.state, func.count().label("rows")).group_by(outbox.c.state))
    counts: dict[str, int] = {row.state: row.rows for row in by_state}
    retried = conn.execute(select(func.count()).where(outbox.c.state == "waiting", outbox.c.tries > 0)).scalar_one()
    said = f"{counts.get('waiting', 0)} waiting, {counts.get('sent', 0)} sent"
    if retried:
        yield warn("deliveries", f"{said}; {retried} failed at least once", "the console shows the reasons")
    else:
        yield ok("deliveries", said)
    columns = (outbox.c.reaction, outbox.c.target, outbox.c.error)
    rows = conn.execute(
        select(*columns).where(outbox.c.state == "given-up").order_by(outbox.c.id.desc()).limit(GIVEN_UP_SHOWN_MAX)
    )
    for reaction, target, error in rows:
        yield warn("given up", f"{reaction} to {target} ({counts['given-up']} in all): {error}", _remedy(target))


def _remedy(target: str) -> str:
    if supplier_of_target(target) is not None:
        return "correct the supplier's endpoint or secret in the fleet file; a failed order was decided again"
    if customer_of_target(target) is not None:
        return "ask the customer to correct their contact channels"
    return "check that the MQTT endpoint runs"
