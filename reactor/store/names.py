"""The registry of metrics in the store: a name's number, once given, never changes meaning. See star.ports.Names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from sqlalchemy import Connection, insert, select

from reactor.store import schema

Work = Callable[[], AbstractContextManager[Connection]]


class SqlNames:
    """Names and numbers, all in memory; a new one is on disk before its number is given. Safe for several threads."""

    def __init__(self, transaction: Work, reading: Work) -> None:
        self._transaction = transaction
        self._adding = threading.Lock()
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        with reading() as connection:
            for number, name in connection.execute(select(schema.names).order_by(schema.names.c.number)):
                self._numbers[name] = number
                self._names.append(name)

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
            with self._adding:
                new = [name for name in dict.fromkeys(names) if name not in self._numbers]
                first = len(self._names)
                rows = [{"number": first + place, "name": name} for place, name in enumerate(new)]
                if rows:
                    with self._transaction() as connection:
                        connection.execute(insert(schema.names), rows)
                self._names += new
                self._numbers.update((row["name"], row["number"]) for row in rows)  # type: ignore[misc]
        return [self._numbers[name] for name in names]

    def name(self, number: int) -> str:
        """The name behind a number. Raises KeyError for one that was never given."""
        if not 0 <= number < len(self._names):
            raise KeyError(number)
        return self._names[number]

    def all(self) -> tuple[str, ...]:
        """Every name, in order of its number."""
        return tuple(self._names)
