"""The store: reachable, whole, of this version, in step with the log; and deliveries that wait, or that a person must see.

It is read with plain queries, since opening it as the service does would migrate it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, func, inspect, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from config.settings import Settings
from reactor.routes import customer_of, supplier_of
from reactor.store.schema import consumed, outbox
from star.errors import LogError
from starloop.checkup.finding import Finding, fail, ok, warn
from starloop.data_dir import LOG, STORE
from stream.topics import INPUT
from stream.transports.log import SqliteLog

MIGRATIONS = Path(__file__).parents[2] / "reactor" / "store" / "migrations"
SHOWN_MAX = 3
"""Deliveries given up that are shown with their reasons."""
_RESTORE = "stop the service, then restore store.db from a backup, together with the log.db of the same backup"


def store_findings(settings: Settings) -> Iterator[Finding]:
    """All of them."""
    path = settings.data_dir / STORE
    embedded = settings.store == "sqlite"
    if embedded and not path.exists():
        yield ok("store", f"{path.name} is not there yet")
        return
    url = f"sqlite:///file:{path.absolute()}?mode=ro&uri=true" if embedded else settings.store
    try:
        engine = create_engine(url)
        with engine.connect() as conn:
            yield from _of_connection(conn, settings.data_dir / LOG, embedded)
        engine.dispose()
    except (ArgumentError, ModuleNotFoundError) as error:
        yield fail("store", f"STARLOOP_STORE names a database that can't be spoken to: {error}", "install its driver")
    except DBAPIError as error:
        said = str(error.orig).splitlines()[0]
        yield fail(
            "store", f"can't be read: {said}", _RESTORE if embedded else "start the database, or set STARLOOP_STORE"
        )


def _of_connection(conn: Connection, log: Path, embedded: bool) -> Iterator[Finding]:
    if embedded:
        found = conn.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if found != "ok":
            yield fail("store", f"damaged: {found}", _RESTORE)
            return
    have, want = version_of(conn), ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if have != want:
        remedy = (
            "start the service once: it brings the store up to date; if it refuses, the store is of a newer version"
        )
        yield warn("store", f"is of schema {have or 'none'}, this version writes {want}", remedy)
        return
    yield ok("store", f"whole, schema {have}")
    yield in_step_finding(conn, log)
    yield from delivery_findings(conn)


def version_of(conn: Connection) -> str | None:
    """The schema's version in the store, None where it has none."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    found: str | None = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def in_step_finding(conn: Connection, path: Path) -> Finding:
    """Whether the store has consumed no more than the log holds."""
    offset = conn.execute(select(func.max(consumed.c.input_offset))).scalar()
    if offset is None or not path.exists():
        return ok("store and log", "nothing consumed yet")
    try:
        with SqliteLog(path, read_only=True) as log:
            end = log.end(INPUT)
    except LogError as error:
        return warn("store and log", f"can't be compared: {error}", "mend the log first")
    if offset >= end:
        said = f"the store has consumed record {offset}, the log holds {end}"
        return fail("store and log", said, "restore both from the same backup")
    return ok("store and log", f"{end - 1 - offset} records behind")


def delivery_findings(conn: Connection) -> Iterator[Finding]:
    """What waits to be brought to suppliers and people, and what was given up, the latest first."""
    by_state = conn.execute(select(outbox.c.state, func.count().label("rows")).group_by(outbox.c.state))
    counts: dict[str, int] = {row.state: row.rows for row in by_state}
    retried = conn.execute(select(func.count()).where(outbox.c.state == "waiting", outbox.c.tries > 0)).scalar_one()
    said = f"{counts.get('waiting', 0)} waiting, {counts.get('sent', 0)} sent"
    if retried:
        yield warn("deliveries", f"{said}; {retried} failed at least once", "see their reasons on the console")
    else:
        yield ok("deliveries", said)
    columns = (outbox.c.reaction, outbox.c.target, outbox.c.error)
    rows = conn.execute(
        select(*columns).where(outbox.c.state == "given-up").order_by(outbox.c.id.desc()).limit(SHOWN_MAX)
    )
    for reaction, target, error in rows:
        yield warn("given up", f"{reaction} to {target} ({counts['given-up']} in all): {error}", _remedy(target))


def _remedy(target: str) -> str:
    if supplier_of(target) is not None:
        return (
            "mend the supplier's endpoint or secret in the fleet file; an order was taken for failed and decided anew"
        )
    if customer_of(target) is not None:
        return "ask the customer to correct their channels"
    return "see that the MQTT endpoint runs"
