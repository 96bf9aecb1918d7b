"""What is kept of one customer, found and taken out of the store, in one transaction.

What is theirs is the caller's to say. Names of their metrics stay numbered, as the log speaks of numbers, but are no names any more.
No process may work on their partition meanwhile: it would write again what it remembers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Protocol

from sqlalchemy import Connection, Select, delete, select, text, update
from sqlalchemy.engine import Row

from reactor.store import schema
from reactor.store.base import Database
from star.errors import StoreError

IDS_MAX = 500
"""Ids in one statement; databases limit them."""
_ERASED = "erased-{number}/{number}"


class Whose(Protocol):
    """Says what is theirs."""

    def speaks(self, value: Any, key: str = "") -> bool:
        """Whether a JSON value speaks of them."""
        ...

    def item(self, name: str | None) -> bool:
        """Whether an item, id or topic is theirs."""
        ...

    def tables(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Tables of a fleet without their rows."""
        ...


class ErasureCalls(Database):
    """Two calls that look at every row: slow on a large store, and rare."""

    def rows(self, query: Select[Any]) -> list[Row[Any]]:
        """The rows of a query."""
        with self._reading() as connection:
            return list(connection.execute(query))

    def erase(self, theirs: Whose) -> dict[str, int]:
        """Takes out all that is theirs; how many rows of each table."""
        with self._transaction() as connection:
            if connection.dialect.name == "sqlite":
                connection.execute(text("PRAGMA secure_delete = ON"))
            return {
                "needs": _erased(connection, schema.needs, "id", theirs),
                "decisions": _erased(connection, schema.decisions, "id", theirs),
                "reactions": _erased(connection, schema.reactions, "id", theirs),
                "outbox": _by_name(connection, schema.outbox, "reaction", theirs),
                "quarantine": _by_name(connection, schema.quarantine, "topic", theirs),
                "memory": _memory(connection, theirs),
                "names": _names(connection, theirs),
                "fleet": _fleet(connection, theirs),
            }

    def vacuum(self) -> None:
        """SQLite: writes the file anew, without what was deleted. PostgreSQL does it by itself."""
        if self._engine.dialect.name != "sqlite" or self._engine.url.database is None:
            return
        self._engine.dispose()
        try:
            with closing(sqlite3.connect(self._engine.url.database, isolation_level=None)) as connection:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._place}: what was erased may still lie in unused pages ({error}): try again"
            ) from error


def _erased(connection: Connection, table: Any, key: str, theirs: Whose) -> int:
    found = connection.execute(select(table.c[key], table.c.body))
    return _deleted(connection, table, key, [row[0] for row in found if theirs.speaks(json.loads(row[1]))])


def _by_name(connection: Connection, table: Any, column: str, theirs: Whose) -> int:
    found = connection.execute(select(table.c.id, table.c[column]))
    return _deleted(connection, table, "id", [row[0] for row in found if theirs.item(row[1])])


def _deleted(connection: Connection, table: Any, key: str, ids: list[Any]) -> int:
    for start in range(0, len(ids), IDS_MAX):
        connection.execute(delete(table).where(table.c[key].in_(ids[start : start + IDS_MAX])))
    return len(ids)


def _memory(connection: Connection, theirs: Whose) -> int:
    """Timers, orders, questions, contacts, what is known of items, settings that were said."""
    table = schema.memory
    count = 0
    for kind, key, partition, body in list(
        connection.execute(select(table.c.kind, table.c.key, table.c.partition, table.c.body))
    ):
        whole = json.loads(body)
        setting = kind == "settings" and _is_row_of(theirs, key, whole)
        if setting or theirs.speaks(whole) or theirs.item(key):
            where = (table.c.kind == kind) & (table.c.key == key) & (table.c.partition == partition)
            connection.execute(delete(table).where(where))
            count += 1
    return count


def _is_row_of(theirs: Whose, key: str, setting: Mapping[str, Any]) -> bool:
    """A setting "customers/maria" with its row as JSON text."""
    table, _, _ = key.partition("/")
    return not theirs.tables({table: [json.loads(setting["row"])]})[table]


def _names(connection: Connection, theirs: Whose) -> int:
    table = schema.names
    numbers = [number for number, name in connection.execute(select(table.c.number, table.c.name)) if theirs.item(name)]
    for number in numbers:
        connection.execute(update(table).where(table.c.number == number).values(name=_ERASED.format(number=number)))
    return len(numbers)


def _fleet(connection: Connection, theirs: Whose) -> int:
    table = schema.fleet
    count = 0
    for version, tables in list(connection.execute(select(table.c.version, table.c.tables))):
        whole = json.loads(tables)
        left = theirs.tables(whole)
        if left != whole:
            values = {"tables": json.dumps(left, ensure_ascii=False)}
            connection.execute(update(table).where(table.c.version == version).values(**values))
            count += 1
    return count
