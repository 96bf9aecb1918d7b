"""Settings changed since the fleet file was read: rows as changes brought them, remembered whole, so that a restart has them.

A row is kept as it is in force after the change, as the customer's row keeps what a change does not name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from config.fleet import Customer, Device, Supplier
from config.resolve import Catalogue
from reactor.state import Setting

TABLES = ("customers", "devices", "suppliers")


def settings_of(tables: Mapping[str, Any], catalogue: Catalogue) -> list[Setting]:
    """The rows that the change names, as they are in the catalogue after it."""
    rows: dict[str, Mapping[str, Customer | Device | Supplier]] = {
        "customers": catalogue.customers,
        "devices": catalogue.devices,
        "suppliers": catalogue.suppliers,
    }
    return [
        Setting(id=f"{table}/{row['id']}", row=_whole(rows[table][row["id"]]))
        for table in TABLES
        for row in tables.get(table, [])
    ]


def _whole(row: Customer | Device | Supplier) -> str:
    """The row as JSON. A customer's says null for what was taken back to its default, so that the file's is not in force."""
    fields: dict[str, Any] = row.model_dump(mode="json", exclude_unset=True)
    if isinstance(row, Customer):
        fields = {name: fields.get(name) for name in Customer.model_fields}
    return json.dumps(fields, ensure_ascii=False, sort_keys=True)


def tables_of(settings: Iterable[Setting]) -> dict[str, list[Any]]:
    """The remembered rows as tables of a fleet file, by id."""
    tables: dict[str, list[Any]] = {}
    for setting in sorted(settings, key=lambda setting: setting.id):
        tables.setdefault(setting.id.split("/", 1)[0], []).append(json.loads(setting.row))
    return tables
