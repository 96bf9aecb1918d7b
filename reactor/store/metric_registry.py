"""The registry of metrics in the store: a name's number, once given, never changes meaning. See star.ports.Names."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from sqlalchemy import Connection, select

from reactor.store import schema
from reactor.store.base import TransactionFactory
from reactor.store.database import AdvisoryLock, advisory_lock, insert_many


class SqlMetricRegistry:
    """Names and numbers, all in memory; a new one is on disk before its number is given. Safe for several threads and processes.

    Numbers are dense and in the order of adding, whoever adds: one process adds at a time (an advisory lock, SQLite's write lock),
    and it first reads what others have added since. Each number is committed after all smaller ones, so `refresh` has only to
    look beyond the last one known.
    """

    def __init__(self, transaction: TransactionFactory, reading: TransactionFactory) -> None:
        self._transaction = transaction
        self._read = reading
        self._add_lock = threading.Lock()
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self.refresh()

    def __len__(self) -> int:
        return len(self._names)

    def number(self, name: str) -> int:
        """The number of `name`; a new name is given one, durably."""
        number = self._numbers.get(name)
        return self.add((name,))[0] if number is None else number

    def add(self, names: Iterable[str]) -> list[int]:
        """The numbers of `names`; the new ones among them are given theirs in one transaction, in this order."""
        names = tuple(names)
        if any(name not in self._numbers for name in names):
            with self._add_lock:
                with self._transaction() as connection:
                    advisory_lock(connection, AdvisoryLock.NAMES)
                    self._read_new(connection)
                    new = [name for name in dict.fromkeys(names) if name not in self._numbers]
                    first = len(self._names)
                    rows = [{"number": first + place, "name": name} for place, name in enumerate(new)]
                    insert_many(connection, schema.names, rows)
                self._append(new)
        return [self._numbers[name] for name in names]

    def refresh(self) -> list[str]:
        """Reads the names that other processes have added since, and gives them, in order of their numbers."""
        with self._add_lock, self._read() as connection:
            return self._read_new(connection)

    def name(self, number: int) -> str:
        """The name behind a number. Raises KeyError for one that was never given, or by others since the last `refresh`."""
        if not 0 <= number < len(self._names):
            raise KeyError(number)
        return self._names[number]

    def all(self) -> tuple[str, ...]:
        """Every name, in order of its number."""
        return tuple(self._names)

    def _read_new(self, connection: Connection) -> list[str]:
        table = schema.names
        query = select(table.c.name).where(table.c.number >= len(self._names)).order_by(table.c.number)
        new = list(connection.execute(query).scalars())
        self._append(new)
        return new

    def _append(self, new: list[str]) -> None:
        first = len(self._names)
        self._names += new
        self._numbers.update((name, first + place) for place, name in enumerate(new))
