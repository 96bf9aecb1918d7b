"""The tables of a fleet, from whatever a file or an API call says to `Fleet`, with every mistake found on the way.

A row with mistakes is mended (what is wrong in it left out) so that the other rows can still be checked against it; a fleet
with findings is therefore good for finding more of them and for nothing else. Lines are config/fleet_file.py's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Customer, Device, Fleet, Supplier
from config.profile_schema import Profile
from config.suggestions import did_you_mean, list_names
from config.toml.positions import TomlPath
from config.validation import Model, ValidationFinding, format_value, validate_table
from star.errors import ConfigError, Problem

TABLE_MODELS: dict[str, type[BaseModel]] = {"customers": Customer, "devices": Device, "suppliers": Supplier}
"""The arrays of tables of a fleet file."""

_PLACEHOLDERS = {"customer": "?", "profile": "?"}


@dataclass
class FleetTables:
    """The parsed tables and the findings about them.

    rows: `table.id` -> path of the row in the input. items: `devices.id` -> names of the device's slots and parts.
    """

    customers: list[Customer] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    suppliers: list[Supplier] = field(default_factory=list)
    findings: list[ValidationFinding] = field(default_factory=list)
    rows: dict[str, TomlPath] = field(default_factory=dict)
    items: dict[str, frozenset[str]] = field(default_factory=dict)

    def fleet(self) -> Fleet:
        """The fleet of the rows. Where there are findings, some of its rows are repaired."""
        return Fleet(customers=tuple(self.customers), devices=tuple(self.devices), suppliers=tuple(self.suppliers))

    def path_of(self, problem_field: str) -> TomlPath:
        """The path in the input of a field that config/catalogue.py names by ids, which may contain dots."""
        key = problem_field
        while key and key not in self.rows:
            key = key.rpartition(".")[0]
        if not key:
            return (problem_field,)
        return (*self.rows[key], *_split(problem_field[len(key) + 1 :], self.items.get(key, frozenset())))


def _split(rest: str, items: frozenset[str]) -> TomlPath:
    """The fields under a row, where slots and parts have the names `items`."""
    kind, _, inner = rest.partition(".")
    if not inner:
        return (kind,) if kind else ()
    item, last = inner, ""
    while item and item not in items:
        item = item.rpartition(".")[0]
        last = inner[len(item) + 1 :]
    return tuple(name for name in (kind, item, last) if name)


def parse_tables(data: Mapping[str, Any]) -> FleetTables:
    """The tables in `data`. Does not raise; mistakes are in `findings`."""
    tables = FleetTables()
    for name, rows in data.items():
        if name not in TABLE_MODELS:
            hint = did_you_mean(name, TABLE_MODELS)
            message = f"is not known here{hint}: expected one of {list_names(TABLE_MODELS)}"
            tables.findings.append(ValidationFinding(path=(name,), message=message))
        elif not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            message = f"is {format_value(rows)}: expected tables, each under a line [[{name}]]"
            tables.findings.append(ValidationFinding(path=(name,), message=message))
        else:
            for index, row in enumerate(rows):
                _read_row(tables, name, index, row)
    return tables


def _read_row(tables: FleetTables, name: str, index: int, row: dict[str, Any]) -> None:
    checked = validate_table(TABLE_MODELS[name], row)
    for one in checked.findings:
        path = (name, index, *one.path)
        tables.findings.append(ValidationFinding(path=path, message=one.message, missing=one.missing))
    value = checked.value or _repaired(TABLE_MODELS[name], row, checked.findings, index)
    if value is None:
        return
    key = f"{name}.{value.id}"  # type: ignore[attr-defined]  # each of TABLES has an id
    if key in tables.rows:
        message = f"is {format_value(row.get('id'))}: expected an id of its own, and an earlier one of {name} has it"
        tables.findings.append(ValidationFinding(path=(name, index, "id"), message=message))
        return
    tables.rows[key] = (name, index)
    if isinstance(value, Device):
        tables.items[key] = frozenset((*value.slots, *value.parts))
    getattr(tables, name).append(value)


def _repaired(
    model: type[Model], row: dict[str, Any], findings: tuple[ValidationFinding, ...], index: int
) -> Model | None:
    """The row without its invalid fields, so that other rows can be checked against it; None where that is not possible."""
    kept = copy.deepcopy(row)
    for one in findings:
        _prune(kept, one.path)
    if "id" not in kept:
        kept["id"] = f"?{index + 1}"
    for required, placeholder in _PLACEHOLDERS.items():
        if required in model.model_fields:
            kept.setdefault(required, placeholder)
    if "experience" in row and "experience" not in kept and model is Customer:
        kept["experience"] = "auto"  # so that no item seems to have more than its customer
    return validate_table(model, kept).value


def _prune(row: dict[str, Any], path: TomlPath) -> None:
    """Removes the field at `path`; a list that contains it is removed whole."""
    place: Any = row
    for step, part in enumerate(path):
        last = step == len(path) - 1 or not isinstance(place.get(part), dict)
        if last:
            place.pop(part, None)
            return
        place = place[part]


def validate_tables(
    tables: FleetTables, profiles: Mapping[str, Profile]
) -> tuple[Catalogue | None, list[ValidationFinding]]:
    """The catalogue, or every finding: those of single rows first, then those across tables."""
    try:
        catalogue = resolve_catalogue(tables.fleet(), profiles)
    except ConfigError as error:
        known = {one.path for one in tables.findings}
        more = [_located(tables, problem) for problem in error.problems]
        findings = [
            one for one in more if not any(one.path[:length] in known for length in range(1, len(one.path) + 1))
        ]
        return None, [*tables.findings, *findings]
    return (None, tables.findings) if tables.findings else (catalogue, [])


def _located(tables: FleetTables, problem: Problem) -> ValidationFinding:
    return ValidationFinding(path=tables.path_of(problem.field), message=problem.message)
