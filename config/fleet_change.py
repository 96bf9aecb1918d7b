"""Changes of the fleet: rows by id are added or replace those in force, and the result is validated as a whole.

Pure: from the fleet in force and the change to a new fleet, or every problem of the change. Appending the change to the
log, where it takes effect, is the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from config.catalogue import Catalogue
from config.fleet import Customer, Device, Fleet, Supplier
from config.fleet_tables import TABLE_MODELS, FleetTables, parse_tables, validate_tables
from config.profile_schema import Profile
from config.validation import ValidationFinding, findings_to_problems, format_value
from star.errors import ConfigError

_Row = TypeVar("_Row", Customer, Device, Supplier)


def change_fleet(fleet: Fleet | Catalogue, tables: Mapping[str, Any], *, source: str = "change") -> Fleet:
    """The fleet after the change. tables: as in a fleet file.

    A row with a new id is added. A customer in force keeps the fields that the change does not name (`null` resets a field
    to its default); a device or supplier in force is replaced whole. Raises ConfigError with every problem of each row;
    `change_catalogue` also checks rows against each other.
    """
    merged, changed = _merged_tables(fleet, tables, source)
    if changed.findings:
        raise ConfigError(findings_to_problems(merged, changed.findings, source))
    return changed.fleet()


def change_catalogue(
    fleet: Fleet | Catalogue, tables: Mapping[str, Any], profiles: Mapping[str, Profile], *, source: str = "change"
) -> Catalogue:
    """The catalogue after the change. Raises ConfigError with every problem, also of one row against another."""
    merged, changed = _merged_tables(fleet, tables, source)
    catalogue, findings = validate_tables(changed, profiles)
    if catalogue is None:
        raise ConfigError(findings_to_problems(merged, findings, source))
    return catalogue


def change_catalogue_from_json(catalogue: Catalogue, tables: str, *, source: str = "change") -> Catalogue:
    """`change_catalogue` for the catalogue in force and the JSON text of a change, as in the log."""
    return change_catalogue(catalogue, parse_change(tables, source=source), catalogue.profiles, source=source)


def fleet_from_catalogue(catalogue: Catalogue) -> Fleet:
    """The fleet from which a catalogue was resolved."""
    return Fleet(
        customers=tuple(catalogue.customers.values()),
        devices=tuple(catalogue.devices.values()),
        suppliers=tuple(catalogue.suppliers.values()),
    )


def parse_change(text: str, *, source: str = "change") -> dict[str, Any]:
    """The tables of a change from its JSON text, as in the log. Raises ConfigError where it is not an object."""
    try:
        tables = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            findings_to_problems({}, [ValidationFinding(path=(), message=f"is not JSON: {error}")], source)
        ) from None
    if not isinstance(tables, dict):
        message = f"is {format_value(tables)}: expected an object of tables"
        raise ConfigError(findings_to_problems({}, [ValidationFinding(path=(), message=message)], source))
    return tables


def _merged_tables(
    fleet: Fleet | Catalogue, tables: Mapping[str, Any], source: str
) -> tuple[dict[str, list[Any]], FleetTables]:
    """(the rows of the change, merged with those in force; all rows of the fleet after the change)."""
    before = fleet_from_catalogue(fleet) if isinstance(fleet, Catalogue) else fleet
    merged = merge_rows(before, tables, source)
    changed = parse_tables(merged)
    changed.customers = _replace_by_id(before.customers, changed.customers)
    changed.devices = _replace_by_id(before.devices, changed.devices)
    changed.suppliers = _replace_by_id(before.suppliers, changed.suppliers)
    return merged, changed


def _replace_by_id(rows: Sequence[_Row], changed: Sequence[_Row]) -> list[_Row]:
    """`rows` with the changed ones replaced and the new ones appended."""
    return list({**{row.id: row for row in rows}, **{row.id: row for row in changed}}.values())


def merge_rows(fleet: Fleet, tables: Mapping[str, Any], source: str = "change") -> dict[str, list[Any]]:
    """The rows that the change adds or replaces, whole, before validation.

    Raises ConfigError where the change does not consist of tables with ids.
    """
    findings = parse_tables({name: rows for name, rows in tables.items() if name not in TABLE_MODELS}).findings
    merged: dict[str, list[Any]] = {}
    for table in TABLE_MODELS:
        rows = tables.get(table, [])
        if isinstance(rows, list):
            merged[table] = _merged_rows_of(fleet, table, rows, findings)
        else:
            findings.append(
                ValidationFinding(path=(table,), message=f"is {format_value(rows)}: expected a list of tables")
            )
    if findings:
        raise ConfigError(findings_to_problems(tables, findings, source))
    return merged


def _merged_rows_of(fleet: Fleet, table: str, changes: list[Any], findings: list[ValidationFinding]) -> list[Any]:
    in_force = {row.id: row for row in fleet.customers} if table == "customers" else {}
    rows: dict[str, dict[str, Any]] = {}
    for index, row in enumerate(changes):
        name = row.get("id") if isinstance(row, dict) else None
        if not isinstance(name, str):
            findings.append(
                ValidationFinding(path=(table, index, "id"), message="is missing: expected the row's id, a text")
            )
        elif name in rows:
            findings.append(
                ValidationFinding(
                    path=(table, index, "id"), message=f"is {format_value(name)}: expected once in a change"
                )
            )
        else:
            before = in_force[name].model_dump(mode="json", exclude_unset=True) if name in in_force else {}
            rows[name] = {key: value for key, value in {**before, **row}.items() if value is not None}
    return list(rows.values())
