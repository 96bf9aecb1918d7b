"""The fleet of a cluster in the store: a base and the changes since, numbered in one sequence.

A service in one process keeps its fleet in the data directory; processes of a cluster share no directory. Version 0 is the
base, each later version a change, both as JSON tables {"customers": […], "devices": […], "suppliers": […]}. Their content is
not interpreted here.

The lock on SQLite is a second database file, opened with sqlite3 rather than the engine: a lock on the store's own file would
keep the store from being written meanwhile.
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
"""Version of the base."""


class FleetRepository:
    """The fleet's versions. Safe for several threads and processes; changes are made under `lock`."""

    def __init__(self, engine: Engine, transaction: TransactionFactory, reading: TransactionFactory) -> None:
        self._engine = engine
        self._transaction = transaction
        self._read = reading
        self._thread_lock = threading.Lock()

    def base(self) -> dict[str, Any] | None:
        """The base; None where there is none yet. Raises StoreDamaged where it is not JSON."""
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
        """Changes after a version, in order: (version, tables as JSON)."""
        table = schema.fleet
        query = select(table.c.version, table.c.tables).where(table.c.version > max(after_version, BASE_VERSION))
        with self._read() as connection:
            return [(version, text) for version, text in connection.execute(query.order_by(table.c.version))]

    def latest_version(self) -> int | None:
        """Number of the newest version; None where there is no base."""
        with self._read() as connection:
            return connection.execute(select(func.max(schema.fleet.c.version))).scalar()

    def insert_base(self, tables: dict[str, Any], at_ms: int) -> bool:
        """Stores the base; returns False and changes nothing where there is one."""
        row = {"version": BASE_VERSION, "at_ms": at_ms, "tables": json.dumps(tables, ensure_ascii=False)}
        with self._transaction() as connection:
            return insert_if_absent(connection, schema.fleet, ["version"], row)

    def append_change(self, tables: str, at_ms: int) -> int:
        """Stores a change as the next version and returns its number.

        Raises StoreError where there is no base, or where a writer without the lock stored that version first.
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
        """Excludes other processes and threads from changing the fleet: read, check and append inside the block.

        Raises StoreError where it is not free within LOCK_TIMEOUT_MS. It is released when the process ends, however that
        happens. The store's other calls are not affected. Not reentrant.
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
        """An advisory lock on a connection of its own, which is closed afterwards instead of returned to the pool.

        A restart of the server releases it early; then, of two changes under one number, the second is refused.
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
        """The write lock of an empty database beside the store's, so that the store can be written meanwhile."""
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

    def _lock_timeout_error(self, holder: str) -> StoreError:
        return StoreError(
            f"{redacted_url(self._engine.url)}: the fleet is being changed by another ({holder})"
            f" for longer than {LOCK_TIMEOUT_MS} ms: try again"
        )
