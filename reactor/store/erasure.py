"""Erasure of one customer's data from the store, in one transaction.

The caller decides what is the customer's. Their metrics keep their numbers, as the log refers to them, and lose their names.
No process may work on their partition meanwhile: it would write again what it holds in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Protocol

from sqlalchemy import Connection, Select, delete, select, text, update
from sqlalchemy.engine import Row

from reactor.state import ENTITY_TABLES, FleetOverride
from reactor.store import schema
from reactor.store.base import Database
from reactor.store.database import BOUND_VALUES_MAX
from star.errors import StoreError

_ERASED_NAME = "erased-{number}/{number}"
"""Name of a metric after erasure: still `device/name`, and unique."""


class CustomerDataMatcher(Protocol):
    """Decides what is the customer's."""

    def mentions(self, value: Any, key: str = "") -> bool:
        """Whether a JSON value refers to the customer."""
        ...

    def owns_name(self, name: str | None) -> bool:
        """Whether an item, id or topic is the customer's."""
        ...

    def redact_tables(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Tables of a fleet without the customer's rows."""
        ...


class CustomerErasure(Database):
    """Erasure, and queries for export. Both scan every row: slow on a large store, and rare."""

    def rows(self, query: Select[Any]) -> list[Row[Any]]:
        """The rows of a query."""
        with self._read() as connection:
            return list(connection.execute(query))

    def erase(self, matcher: CustomerDataMatcher) -> dict[str, int]:
        """Erases all that is the customer's; returns the number of rows by table."""
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
        """Rewrites an SQLite file without its deleted rows, outside any transaction. PostgreSQL's autovacuum does it there."""
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
    for start in range(0, len(ids), BOUND_VALUES_MAX):
        connection.execute(delete(table).where(table.c[key].in_(ids[start : start + BOUND_VALUES_MAX])))
    return len(ids)


def _erase_entities(connection: Connection, matcher: CustomerDataMatcher) -> int:
    """Erases timers, orders, prompts, contacts, item records and fleet overrides."""
    table = schema.memory
    count = 0
    for kind, key, partition, body in list(
        connection.execute(select(table.c.kind, table.c.key, table.c.partition, table.c.body))
    ):
        whole = json.loads(body)
        override = kind == ENTITY_TABLES[FleetOverride] and _is_customer_row(matcher, key, whole)
        if override or matcher.mentions(whole) or matcher.owns_name(key):
            where = (table.c.kind == kind) & (table.c.key == key) & (table.c.partition == partition)
            connection.execute(delete(table).where(where))
            count += 1
    return count


def _is_customer_row(matcher: CustomerDataMatcher, key: str, override: Mapping[str, Any]) -> bool:
    """Whether a fleet override, with a key such as "customers/maria" and its row as JSON text, is the customer's."""
    table, _, _ = key.partition("/")
    return not matcher.redact_tables({table: [json.loads(override["row"])]})[table]


def _anonymize_names(connection: Connection, matcher: CustomerDataMatcher) -> int:
    table = schema.names
    numbers = [
        number for number, name in connection.execute(select(table.c.number, table.c.name)) if matcher.owns_name(name)
    ]
    for number in numbers:
        connection.execute(
            update(table).where(table.c.number == number).values(name=_ERASED_NAME.format(number=number))
        )
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
