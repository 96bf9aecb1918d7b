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


class CustomerDataMatcher(Protocol):
    """Says what is theirs."""

    def mentions(self, value: Any, key: str = "") -> bool:
        """Whether a JSON value speaks of them."""
        ...

    def owns_name(self, name: str | None) -> bool:
        """Whether an item, id or topic is theirs."""
        ...

    def redact_tables(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Tables of a fleet without their rows."""
        ...


class CustomerErasure(Database):
    """Two calls that look at every row: slow on a large store, and rare."""

    def rows(self, query: Select[Any]) -> list[Row[Any]]:
        """The rows of a query."""
        with self._read() as connection:
            return list(connection.execute(query))

    def erase(self, matcher: CustomerDataMatcher) -> dict[str, int]:
        """Takes out all that is theirs; how many rows of each table."""
        with self._transaction() as connection:
            if connection.dialect.name == "sqlite":
                connection.execute(text("PRAGMA secure_delete = ON"))
            return {
                "needs": _erase_by_body(connection, schema.needs, "id", matcher),
                "decisions": _erase_by_body(connection, schema.decisions, "id", matcher),
                "reactions": _erase_by_body(connection, schema.reactions, "id", matcher),
                "outbox": _erase_by_column(connection, schema.outbox, "reaction", matcher),
                "quarantine": _erase_by_column(connection, schema.quarantine, "topic", matcher),
                "memory": _erase_entities(connection, matcher),
                "names": _anonymize_names(connection, matcher),
                "fleet": _erase_fleet_rows(connection, matcher),
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
                f"{self._shown_url}: what was erased may still lie in unused pages ({error}): try again"
            ) from error


def _erase_by_body(connection: Connection, table: Any, key: str, matcher: CustomerDataMatcher) -> int:
    found = connection.execute(select(table.c[key], table.c.body))
    return _delete_ids(connection, table, key, [row[0] for row in found if matcher.mentions(json.loads(row[1]))])


def _erase_by_column(connection: Connection, table: Any, column: str, matcher: CustomerDataMatcher) -> int:
    found = connection.execute(select(table.c.id, table.c[column]))
    return _delete_ids(connection, table, "id", [row[0] for row in found if matcher.owns_name(row[1])])


def _delete_ids(connection: Connection, table: Any, key: str, ids: list[Any]) -> int:
    for start in range(0, len(ids), IDS_MAX):
        connection.execute(delete(table).where(table.c[key].in_(ids[start : start + IDS_MAX])))
    return len(ids)


def _erase_entities(connection: Connection, matcher: CustomerDataMatcher) -> int:
    """Timers, orders, questions, contacts, what is known of items, settings that were said."""
    table = schema.memory
    count = 0
    for kind, key, partition, body in list(
        connection.execute(select(table.c.kind, table.c.key, table.c.partition, table.c.body))
    ):
        whole = json.loads(body)
        setting = kind == "settings" and _is_customer_row(matcher, key, whole)
        if setting or matcher.mentions(whole) or matcher.owns_name(key):
            where = (table.c.kind == kind) & (table.c.key == key) & (table.c.partition == partition)
            connection.execute(delete(table).where(where))
            count += 1
    return count


def _is_customer_row(matcher: CustomerDataMatcher, key: str, setting: Mapping[str, Any]) -> bool:
    """A setting "customers/maria" with its row as JSON text."""
    table, _, _ = key.partition("/")
    return not matcher.redact_tables({table: [json.loads(setting["row"])]})[table]


def _anonymize_names(connection: Connection, matcher: CustomerDataMatcher) -> int:
    table = schema.names
    numbers = [
        number for number, name in connection.execute(select(table.c.number, table.c.name)) if matcher.owns_name(name)
    ]
    for number in numbers:
        connection.execute(update(table).where(table.c.number == number).values(name=_ERASED.format(number=number)))
    return len(numbers)


def _erase_fleet_rows(connection: Connection, matcher: CustomerDataMatcher) -> int:
    table = schema.fleet
    count = 0
    for version, tables in list(connection.execute(select(table.c.version, table.c.tables))):
        whole = json.loads(tables)
        left = matcher.redact_tables(whole)
        if left != whole:
            values = {"tables": json.dumps(left, ensure_ascii=False)}
            connection.execute(update(table).where(table.c.version == version).values(**values))
            count += 1
    return count
