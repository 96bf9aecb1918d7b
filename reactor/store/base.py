"""One database behind all of the store's calls: its transactions, and the driver's errors as the store's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from reactor.store.database import open_database, snapshot_engine, write_engine
from reactor.store.error_translation import redacted_url, translate_error

TransactionFactory = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction, or a read, that ends with its block."""


class Database:
    """Connections to one database, shared by threads. Raises StoreError and StoreDamaged, never the driver's errors.

    Each use takes a connection of its own from the pool. One that the server has closed meanwhile is replaced; where there is no
    server the call raises StoreError, and a later call tries again. SQLite has one writer: in a process its writers wait in turn
    here, between processes by the file's lock.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_database(url)
        self._shown_url = redacted_url(self._engine.url)
        self._write_lock: AbstractContextManager[object] = (
            threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()
        )
        self._write_engine = write_engine(self._engine)
        self._snapshot_engine = snapshot_engine(self._engine)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A write, whole or not at all; on disk when the block has ended. PostgreSQL: READ COMMITTED."""
        try:
            with self._write_lock, self._write_engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate_error(self._engine.url, error) from error

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Reads; each statement of what is committed when it begins."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate_error(self._engine.url, error) from error

    @contextmanager
    def _snapshot_read(self) -> Iterator[Connection]:
        """Reads; all statements of the same moment (PostgreSQL: REPEATABLE READ; SQLite: a read of its WAL)."""
        try:
            with self._snapshot_engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate_error(self._engine.url, error) from error
