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

from config.explain import Finding, Model, check_table, found
from config.fleet import Customer, Device, Fleet, Supplier
from config.nearest import did_you_mean, one_of
from config.profiles import Profile
from config.resolve import Catalogue, resolve
from config.toml_lines import Path
from star.errors import ConfigError, Problem

TABLES: dict[str, type[BaseModel]] = {"customers": Customer, "devices": Device, "suppliers": Supplier}
"""The arrays of tables of a fleet file."""

_PLACEHOLDERS = {"customer": "?", "profile": "?"}


@dataclass
class Tables:
    """What was read: a fleet, and the findings; `rows` says which row of the input each row of the fleet was."""

    customers: list[Customer] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    suppliers: list[Supplier] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    rows: dict[str, Path] = field(default_factory=dict)  # "devices.tank-7" -> ("devices", 0), its row in the input
    items: dict[str, frozenset[str]] = field(default_factory=dict)  # "devices.tank-7" -> its slots and parts

    def fleet(self) -> Fleet:
        """The fleet of the rows; mended ones among them where there are findings."""
        return Fleet(customers=tuple(self.customers), devices=tuple(self.devices), suppliers=tuple(self.suppliers))

    def path_of(self, problem_field: str) -> Path:
        """The path of a field as config/resolve.py names it, by ids (which may have dots of their own)."""
        key = problem_field
        while key and key not in self.rows:
            key = key.rpartition(".")[0]
        if not key:
            return (problem_field,)
        return (*self.rows[key], *_split(problem_field[len(key) + 1 :], self.items.get(key, frozenset())))


def _split(rest: str, items: frozenset[str]) -> Path:
    """The fields under a row, where slots and parts have the names `items`."""
    kind, _, inner = rest.partition(".")
    if not inner:
        return (kind,) if kind else ()
    item, last = inner, ""
    while item and item not in items:
        item = item.rpartition(".")[0]
        last = inner[len(item) + 1 :]
    return tuple(name for name in (kind, item, last) if name)


def read_tables(data: Mapping[str, Any]) -> Tables:
    """The tables in `data`; never raises, mistakes are in `findings`."""
    tables = Tables()
    for name, rows in data.items():
        if name not in TABLES:
            hint = did_you_mean(name, TABLES)
            message = f"is not known here{hint}: expected one of {one_of(TABLES)}"
            tables.findings.append(Finding(path=(name,), message=message))
        elif not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            message = f"is {found(rows)}: expected tables, each under a line [[{name}]]"
            tables.findings.append(Finding(path=(name,), message=message))
        else:
            for index, row in enumerate(rows):
                _read_row(tables, name, index, row)
    return tables


def _read_row(tables: Tables, name: str, index: int, row: dict[str, Any]) -> None:
    checked = check_table(TABLES[name], row)
    for one in checked.findings:
        path = (name, index, *one.path)
        tables.findings.append(Finding(path=path, message=one.message, missing=one.missing))
    value = checked.value or _mended(TABLES[name], row, checked.findings, index)
    if value is None:
        return
    key = f"{name}.{value.id}"  # type: ignore[attr-defined]  # each of TABLES has an id
    if key in tables.rows:
        message = f"is {found(row.get('id'))}: expected an id of its own, and an earlier one of {name} has it"
        tables.findings.append(Finding(path=(name, index, "id"), message=message))
        return
    tables.rows[key] = (name, index)
    if isinstance(value, Device):
        tables.items[key] = frozenset((*value.slots, *value.parts))
    getattr(tables, name).append(value)


def _mended(model: type[Model], row: dict[str, Any], findings: tuple[Finding, ...], index: int) -> Model | None:
    """The row without what is wrong in it: enough to check other rows against it."""
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
    return check_table(model, kept).value


def _prune(row: dict[str, Any], path: Path) -> None:
    """Leaves out what `path` leads to; a list that holds it is left out whole."""
    place: Any = row
    for step, part in enumerate(path):
        last = step == len(path) - 1 or not isinstance(place.get(part), dict)
        if last:
            place.pop(part, None)
            return
        place = place[part]


def judge(tables: Tables, profiles: Mapping[str, Profile]) -> tuple[Catalogue | None, list[Finding]]:
    """The catalogue, or every finding: those of the tables by themselves, then those of one table against another."""
    try:
        catalogue = resolve(tables.fleet(), profiles)
    except ConfigError as error:
        known = {one.path for one in tables.findings}
        more = [_located(tables, problem) for problem in error.problems]
        findings = [
            one for one in more if not any(one.path[:length] in known for length in range(1, len(one.path) + 1))
        ]
        return None, [*tables.findings, *findings]
    return (None, tables.findings) if tables.findings else (catalogue, [])


def _located(tables: Tables, problem: Problem) -> Finding:
    return Finding(path=tables.path_of(problem.field), message=problem.message)


def shown_field(data: Mapping[str, Any], path: Path) -> str:
    """The name of a field in a message: rows by their id, `customers.maria.away`; without one by number, from 1."""
    names: list[str] = []
    place: Any = data
    for step, part in enumerate(path):
        inner = place[part] if _holds(place, part) else None
        if not isinstance(part, int):
            names.append(part)
        else:
            own = inner.get("id") if step == 1 and isinstance(inner, dict) else None
            if isinstance(own, str) and own:
                names.append(own)
            else:
                names[-1] += f"[{part + 1}]"
        place = inner
    return ".".join(names)


def _holds(place: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(place, list) and part < len(place)
    return isinstance(place, dict) and part in place


def problems_of(data: Mapping[str, Any], findings: list[Finding], source: str) -> list[Problem]:
    """Findings as problems of a source without lines, such as an API call."""
    return [Problem(file=source, line=None, field=shown_field(data, one.path), message=one.message) for one in findings]
