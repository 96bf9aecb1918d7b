"""Fleet overrides: rows of the fleet that changed since its file was read, kept whole for the next start.

A row is kept as it is in force after the change, as a customer's row keeps the fields that a change does not name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from config.catalogue import Catalogue
from config.fleet import Customer, Device, Supplier
from reactor.state import FleetOverride

OVERRIDABLE_TABLES = ("customers", "devices", "suppliers")
"""Tables of the fleet whose rows a change may replace."""


def overrides_of(tables: Mapping[str, Any], catalogue: Catalogue) -> list[FleetOverride]:
    """The rows that the change names, as they are in the changed catalogue."""
    rows: dict[str, Mapping[str, Customer | Device | Supplier]] = {
        "customers": catalogue.customers,
        "devices": catalogue.devices,
        "suppliers": catalogue.suppliers,
    }
    return [
        FleetOverride(id=f"{table}/{row['id']}", row=_row_json(rows[table][row["id"]]))
        for table in OVERRIDABLE_TABLES
        for row in tables.get(table, [])
    ]


def _row_json(row: Customer | Device | Supplier) -> str:
    """The row as JSON. A customer's field that is at its default is null, so that the file's value is not in force."""
    fields: dict[str, Any] = row.model_dump(mode="json", exclude_unset=True)
    if isinstance(row, Customer):
        fields = {name: fields.get(name) for name in Customer.model_fields}
    return json.dumps(fields, ensure_ascii=False, sort_keys=True)


def to_tables(overrides: Iterable[FleetOverride]) -> dict[str, list[Any]]:
    """The kept rows as tables of a fleet file, by id."""
    tables: dict[str, list[Any]] = {}
    for override in sorted(overrides, key=lambda override: override.id):
        tables.setdefault(override.id.split("/", 1)[0], []).append(json.loads(override.row))
    return tables
