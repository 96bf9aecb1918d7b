"""One database behind all of the store's calls: its transactions, and the driver's errors as the store's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from reactor.store.database import open_database, snapshot, writing
from reactor.store.problems import problem, shown

Work = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction, or a read, that ends with its block."""


class Database:
    """Connections to one database, shared by threads. Raises StoreError and StoreDamaged, never the driver's errors.

    Each use takes a connection of its own from the pool. One that the server has closed meanwhile is replaced; where there is no
    server the call raises StoreError, and a later call tries again. SQLite has one writer: in a process its writers wait in turn
    here, between processes by the file's lock.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_database(url)
        self._place = shown(self._engine.url)
        self._in_turn: AbstractContextManager[object] = (
            threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()
        )
        self._writer = writing(self._engine)
        self._snapshot = snapshot(self._engine)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A write, whole or not at all; on disk when the block has ended. PostgreSQL: READ COMMITTED."""
        try:
            with self._in_turn, self._writer.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise problem(self._engine.url, error) from error

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Reads; each statement of what is committed when it begins."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise problem(self._engine.url, error) from error

    @contextmanager
    def _reading_at_once(self) -> Iterator[Connection]:
        """Reads; all statements of the same moment (PostgreSQL: REPEATABLE READ; SQLite: a read of its WAL)."""
        try:
            with self._snapshot.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise problem(self._engine.url, error) from error
