"""Transactions on the store's database, with the driver's errors translated to the store's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from reactor.store.database import open_database, snapshot_engine, write_engine
from reactor.store.error_translation import redacted_url, translate_error

TransactionFactory = Callable[[], AbstractContextManager[Connection]]
"""A context manager for one transaction, or one read."""


class Database:
    """Connections to one database, shared by threads. Raises StoreError and StoreDamaged, never the driver's errors.

    Each use takes a connection from the pool. One that the server has closed is replaced; while there is no server, calls raise
    StoreError and later ones try again. SQLite has one writer: those of a process queue at a lock here, those of several
    processes at the file's.
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
        """A write transaction, durable when the block has ended. PostgreSQL: READ COMMITTED."""
        try:
            with self._write_lock, self._write_engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate_error(self._engine.url, error) from error

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """A read; each statement sees what is committed when it begins."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate_error(self._engine.url, error) from error

    @contextmanager
    def _snapshot_read(self) -> Iterator[Connection]:
        """A read whose statements all see one snapshot. PostgreSQL: REPEATABLE READ; SQLite: a transaction on its WAL."""
        try:
            with self._snapshot_engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate_error(self._engine.url, error) from error
