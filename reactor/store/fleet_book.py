"""The fleet that several processes share: a base and the changes since, in one order, in the store.

Who runs alone keeps this in its data folder; processes of a cluster have no folder in common. Version 0 is the whole base, every
later version a change, as JSON tables {"customers": […], "devices": […], "suppliers": […]}. What they mean is not known here.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from reactor.store import schema
from reactor.store.base import Work
from reactor.store.database import BUSY_MS, LOCK_SPACE, Lock, insert_new
from reactor.store.problems import problem, shown
from star.errors import StoreDamaged, StoreError

BASE = 0
"""The version of the base."""


class FleetBook:
    """The versions, in order. Safe for several threads and processes; a change is made under `lock`."""

    def __init__(self, engine: Engine, transaction: Work, reading: Work) -> None:
        self._engine = engine
        self._transaction = transaction
        self._reading = reading
        self._alone = threading.Lock()

    def base(self) -> dict[str, Any] | None:
        """The whole fleet at the beginning; None where none was put yet. Raises StoreDamaged where it can't be read."""
        table = schema.fleet
        with self._reading() as connection:
            text = connection.execute(select(table.c.tables).where(table.c.version == BASE)).scalar()
        if text is None:
            return None
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise StoreDamaged(f"{shown(self._engine.url)}: the base of the fleet can't be read: {error}") from error
        return found

    def changes(self, after_version: int = BASE) -> list[tuple[int, str]]:
        """The changes of later versions, in order: (version, tables as JSON)."""
        table = schema.fleet
        query = select(table.c.version, table.c.tables).where(table.c.version > max(after_version, BASE))
        with self._reading() as connection:
            return [(version, text) for version, text in connection.execute(query.order_by(table.c.version))]

    def version(self) -> int | None:
        """The newest version; None where there is no base."""
        with self._reading() as connection:
            return connection.execute(select(func.max(schema.fleet.c.version))).scalar()

    def put_base(self, tables: dict[str, Any], at_ms: int) -> bool:
        """Keeps the base; False, and nothing is changed, where there is one."""
        row = {"version": BASE, "at_ms": at_ms, "tables": json.dumps(tables, ensure_ascii=False)}
        with self._transaction() as connection:
            return insert_new(connection, schema.fleet, ["version"], row)

    def add_change(self, tables: str, at_ms: int) -> int:
        """Keeps a change as the next version, and gives its number. Under `lock` it is the one after the last that was read.

        Raises StoreError where there is no base, or where somebody without the lock was quicker.
        """
        table = schema.fleet
        with self._transaction() as connection:
            newest = connection.execute(select(func.max(table.c.version))).scalar()
            if newest is None:
                raise StoreError(f"{shown(self._engine.url)}: there is no fleet to change: expected its base first")
            version: int = newest + 1
            connection.execute(insert(table).values(version=version, at_ms=at_ms, tables=tables))
        return version

    @contextmanager
    def lock(self) -> Iterator[None]:
        """In the block, no other process or thread is in this block: who changes the fleet reads, checks and adds here.

        Raises StoreError where another one does not leave it within BUSY_MS. It ends with the process, however that ends. The
        store's other calls, and other processes', go on meanwhile. Not to be entered twice by one thread.
        """
        if not self._alone.acquire(timeout=BUSY_MS / 1000):
            raise self._held_by_another("a thread of this process")
        try:
            with self._of_sqlite() if self._engine.dialect.name == "sqlite" else self._of_postgres():
                yield
        finally:
            self._alone.release()

    @contextmanager
    def _of_postgres(self) -> Iterator[None]:
        """An advisory lock of a connection that does nothing else, and is closed rather than lent on with the lock in hand.

        A restart of the server ends it early; then of two who add a change under one number, one is refused.
        """
        try:
            connection = self._engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        except SQLAlchemyError as error:
            raise problem(self._engine.url, error) from error
        key = (LOCK_SPACE, int(Lock.FLEET))
        try:
            try:
                connection.execute(select(func.pg_advisory_lock(*key)))
            except SQLAlchemyError as error:
                raise problem(self._engine.url, error, "the fleet is being changed by another process") from error
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):
                    connection.execute(select(func.pg_advisory_unlock(*key)))
        finally:
            connection.invalidate()
            connection.close()

    @contextmanager
    def _of_sqlite(self) -> Iterator[None]:
        """The write lock of an empty database beside the store's: the store itself goes on meanwhile."""
        path = self._engine.url.database
        if not path or path == ":memory:":
            yield
            return
        with closing(sqlite3.connect(f"{path}.fleet-lock", isolation_level=None, timeout=BUSY_MS / 1000)) as connection:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise self._held_by_another(str(error)) from error
            yield

    def _held_by_another(self, who: str) -> StoreError:
        return StoreError(
            f"{shown(self._engine.url)}: the fleet is being changed by another ({who}) for longer than {BUSY_MS} ms: try again"
        )
