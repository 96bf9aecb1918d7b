"""A change of the fleet: tables by id are added or take the place of those in force, and everything is judged again.

Pure: the fleet in force and the change go in, a new fleet comes out, or every problem of the change. Writing the change to
the log, where it takes effect in its turn, is the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from config.explain import Finding
from config.fleet import Fleet
from config.profiles import Profile
from config.resolve import Catalogue
from config.tables import TABLES, judge, problems_of, read_tables
from star.errors import ConfigError

Rows = dict[str, dict[str, Any]]
"""A table's rows by id."""


def apply(
    fleet: Fleet, tables: Mapping[str, Any], profiles: Mapping[str, Profile], *, source: str = "change"
) -> Catalogue:
    """The catalogue after the change. `tables` is a fleet file's content.

    A row whose id is new is added. A customer in force keeps what the change does not name (`null` takes a field back to
    its default); a device or supplier in force is replaced whole. Raises ConfigError with every problem.
    """
    merged = merge(fleet, tables, source)
    judged = read_tables(merged)
    catalogue, findings = judge(judged, profiles)
    if catalogue is None:
        raise ConfigError(problems_of(merged, findings, source))
    return catalogue


def fleet_of(catalogue: Catalogue) -> Fleet:
    """The fleet that a catalogue was resolved from."""
    return Fleet(
        customers=tuple(catalogue.customers.values()),
        devices=tuple(catalogue.devices.values()),
        suppliers=tuple(catalogue.suppliers.values()),
    )


def apply_text(catalogue: Catalogue, tables: str, *, source: str = "change") -> Catalogue:
    """`apply` for a catalogue in force and a change as the log keeps it, JSON text."""
    try:
        change = json.loads(tables)
    except ValueError as error:
        raise ConfigError(problems_of({}, [Finding(path=(), message=f"is not JSON: {error}")], source)) from None
    if not isinstance(change, dict):
        raise ConfigError(problems_of({}, [Finding(path=(), message="expected an object of tables")], source))
    return apply(fleet_of(catalogue), change, catalogue.profiles, source=source)


def merge(fleet: Fleet, tables: Mapping[str, Any], source: str = "change") -> dict[str, list[Any]]:
    """The rows of the fleet with those of the change in their places, not judged yet.

    Raises ConfigError where the change is not made of tables with ids.
    """
    findings: list[Finding] = []
    merged: dict[str, list[Any]] = {}
    for table in TABLES:
        rows: Rows = {row.id: row.model_dump(mode="json", exclude_unset=True) for row in getattr(fleet, table)}
        _merge_table(rows, table, tables.get(table, []), findings)
        merged[table] = list(rows.values())
    unknown = {name: rows for name, rows in tables.items() if name not in TABLES}
    findings += read_tables(unknown).findings
    if findings:
        raise ConfigError(problems_of(tables, findings, source))
    return merged


def _merge_table(rows: Rows, table: str, changes: object, findings: list[Finding]) -> None:
    if not isinstance(changes, list):
        findings.append(Finding(path=(table,), message=f"is {type(changes).__name__}: expected a list of tables"))
        return
    seen: set[str] = set()
    for index, row in enumerate(changes):
        name = row.get("id") if isinstance(row, dict) else None
        if not isinstance(name, str):
            findings.append(Finding(path=(table, index, "id"), message="is missing: expected the row's id, a text"))
        elif name in seen:
            findings.append(
                Finding(path=(table, index, "id"), message=f"is {name!r}: expected each id once in a change")
            )
        else:
            seen.add(name)
            before = rows.get(name, {}) if table == "customers" else {}
            rows[name] = {key: value for key, value in {**before, **row}.items() if value is not None}
