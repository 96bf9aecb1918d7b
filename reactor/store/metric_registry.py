"""The metric registry in the store: a number never changes its name. Implements star.ports.MetricRegistry."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from sqlalchemy import Connection, select

from reactor.store import schema
from reactor.store.base import TransactionFactory
from reactor.store.database import AdvisoryLock, advisory_lock, insert_many


class SqlMetricRegistry:
    """Names and numbers, cached in memory; a new name is committed before its number is returned. Safe for threads and processes.

    Numbers are dense, in the order of addition by any process: one process adds at a time (advisory lock, or SQLite's write
    lock) and first reads what others have added. As each number is committed after all smaller ones, `refresh` reads only
    beyond the last known one.
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
        """The number of `name`; a new name gets the next one, durably."""
        number = self._numbers.get(name)
        return self.add((name,))[0] if number is None else number

    def add(self, names: Iterable[str]) -> list[int]:
        """The numbers of `names`; new names get theirs in one transaction, in this order."""
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
        """Reads names that other processes have added, and returns them in the order of their numbers."""
        with self._add_lock, self._read() as connection:
            return self._read_new(connection)

    def name(self, number: int) -> str:
        """The name of a number. Raises KeyError for one not assigned, or assigned by others since the last `refresh`."""
        if not 0 <= number < len(self._names):
            raise KeyError(number)
        return self._names[number]

    def all(self) -> tuple[str, ...]:
        """All names, in the order of their numbers."""
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
