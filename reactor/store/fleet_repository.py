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
from reactor.store.base import TransactionFactory
from reactor.store.database import ADVISORY_LOCK_NAMESPACE, LOCK_TIMEOUT_MS, AdvisoryLock, insert_if_absent
from reactor.store.error_translation import redacted_url, translate_error
from star.errors import StoreDamaged, StoreError

BASE_VERSION = 0
"""The version of the base."""


class FleetRepository:
    """The versions, in order. Safe for several threads and processes; a change is made under `lock`."""

    def __init__(self, engine: Engine, transaction: TransactionFactory, reading: TransactionFactory) -> None:
        self._engine = engine
        self._transaction = transaction
        self._read = reading
        self._thread_lock = threading.Lock()

    def base(self) -> dict[str, Any] | None:
        """The whole fleet at the beginning; None where none was put yet. Raises StoreDamaged where it can't be read."""
        table = schema.fleet
        with self._read() as connection:
            text = connection.execute(select(table.c.tables).where(table.c.version == BASE_VERSION)).scalar()
        if text is None:
            return None
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise StoreDamaged(
                f"{redacted_url(self._engine.url)}: the base of the fleet can't be read: {error}"
            ) from error
        return found

    def changes(self, after_version: int = BASE_VERSION) -> list[tuple[int, str]]:
        """The changes of later versions, in order: (version, tables as JSON)."""
        table = schema.fleet
        query = select(table.c.version, table.c.tables).where(table.c.version > max(after_version, BASE_VERSION))
        with self._read() as connection:
            return [(version, text) for version, text in connection.execute(query.order_by(table.c.version))]

    def latest_version(self) -> int | None:
        """The newest version; None where there is no base."""
        with self._read() as connection:
            return connection.execute(select(func.max(schema.fleet.c.version))).scalar()

    def insert_base(self, tables: dict[str, Any], at_ms: int) -> bool:
        """Keeps the base; False, and nothing is changed, where there is one."""
        row = {"version": BASE_VERSION, "at_ms": at_ms, "tables": json.dumps(tables, ensure_ascii=False)}
        with self._transaction() as connection:
            return insert_if_absent(connection, schema.fleet, ["version"], row)

    def append_change(self, tables: str, at_ms: int) -> int:
        """Keeps a change as the next version, and gives its number. Under `lock` it is the one after the last that was read.

        Raises StoreError where there is no base, or where somebody without the lock was quicker.
        """
        table = schema.fleet
        with self._transaction() as connection:
            newest = connection.execute(select(func.max(table.c.version))).scalar()
            if newest is None:
                raise StoreError(
                    f"{redacted_url(self._engine.url)}: there is no fleet to change: expected its base first"
                )
            version: int = newest + 1
            connection.execute(insert(table).values(version=version, at_ms=at_ms, tables=tables))
        return version

    @contextmanager
    def lock(self) -> Iterator[None]:
        """In the block, no other process or thread is in this block: who changes the fleet reads, checks and adds here.

        Raises StoreError where another one does not leave it within BUSY_MS. It ends with the process, however that ends. The
        store's other calls, and other processes', go on meanwhile. Not to be entered twice by one thread.
        """
        if not self._thread_lock.acquire(timeout=LOCK_TIMEOUT_MS / 1000):
            raise self._lock_timeout_error("a thread of this process")
        try:
            with self._sqlite_lock() if self._engine.dialect.name == "sqlite" else self._postgres_lock():
                yield
        finally:
            self._thread_lock.release()

    @contextmanager
    def _postgres_lock(self) -> Iterator[None]:
        """An advisory lock of a connection that does nothing else, and is closed rather than lent on with the lock in hand.

        A restart of the server ends it early; then of two who add a change under one number, one is refused.
        """
        try:
            connection = self._engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        except SQLAlchemyError as error:
            raise translate_error(self._engine.url, error) from error
        key = (ADVISORY_LOCK_NAMESPACE, int(AdvisoryLock.FLEET))
        try:
            try:
                connection.execute(select(func.pg_advisory_lock(*key)))
            except SQLAlchemyError as error:
                raise translate_error(
                    self._engine.url, error, "the fleet is being changed by another process"
                ) from error
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):
                    connection.execute(select(func.pg_advisory_unlock(*key)))
        finally:
            connection.invalidate()
            connection.close()

    @contextmanager
    def _sqlite_lock(self) -> Iterator[None]:
        """The write lock of an empty database beside the store's: the store itself goes on meanwhile."""
        path = self._engine.url.database
        if not path or path == ":memory:":
            yield
            return
        with closing(
            sqlite3.connect(f"{path}.fleet-lock", isolation_level=None, timeout=LOCK_TIMEOUT_MS / 1000)
        ) as connection:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise self._lock_timeout_error(str(error)) from error
            yield

    def _lock_timeout_error(self, who: str) -> StoreError:
        return StoreError(
            f"{redacted_url(self._engine.url)}: the fleet is being changed by another ({who})"
            f" for longer than {LOCK_TIMEOUT_MS} ms: try again"
        )
