"""Data locator: the devices of a customer, and which names, rows and JSON values belong to them.

Names match as a whole (`device`, `device/item`, `starloop/v1/device/…`), so that a device with the name of a supplier does not
match data of the supplier.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operations.log_records import read_range
from reactor.store.metric_registry import SqlMetricRegistry
from reactor.store.sql import SqlStore
from runtime.data_dir import FLEET_FILE
from star.errors import InputError
from star.ids import item_of_reaction
from star.ports import Log
from star.records import FleetChange, Record, Request, decode
from star.repeat import Outcome
from star.sense import Readings
from stream.topics import INPUT

LAST_SEEN_FILE, SNAPSHOT_FILE = "fleet.seen.toml", "fleet.in-force.json"
_KIND_PREFIX = r"(?:[a-z_]+:)?"
_EXACT_FIELDS = frozenset({"device", "subject", "id", "key"})
"""Fields whose whole value may be a device name; in other fields a device name matches only as a prefix of `name/`."""

Tables = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CustomerScope:
    """A customer and the devices that belong to them."""

    customer: str
    devices: frozenset[str]
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = "|".join(re.escape(name) for name in sorted(self.devices)) or r"(?!)"
        object.__setattr__(self, "_pattern", re.compile(rf"^{_KIND_PREFIX}(?:/?starloop/v1/)?(?:{names})/"))

    def owns_name(self, name: str | None) -> bool:
        """Whether an item, need id, reaction id, topic or timer id belongs to the customer."""
        return name is not None and (self._pattern.match(name) is not None)

    def mentions(self, value: Any, key: str = "") -> bool:
        """Whether a JSON value mentions the customer or their devices at any depth."""
        if isinstance(value, str):
            if key == "customer" and value == self.customer:
                return True
            return (key in _EXACT_FIELDS and value in self.devices) or self.owns_name(value)
        if isinstance(value, Mapping):
            return any(self.owns_name(str(name)) or self.mentions(one, str(name)) for name, one in value.items())
        return isinstance(value, list | tuple) and any(self.mentions(one) for one in value)

    def redact(self, value: Any) -> Any:
        """The JSON value without list elements that mention the customer; None if the rest still does."""
        if isinstance(value, list):
            return [one for one in value if not self.mentions(one)]
        if isinstance(value, dict):
            left = {name: self.redact(one) if isinstance(one, list) else one for name, one in value.items()}
            return None if self.mentions(left) else left
        return value

    def redact_tables(self, tables: Tables) -> dict[str, Any]:
        """Fleet tables without the customer's rows."""
        left = dict(tables)
        for name, is_own in (("customers", self._is_customer), ("devices", self._is_device)):
            if isinstance(tables.get(name), list):
                left[name] = [row for row in tables[name] if not is_own(row)]
        return left

    def own_rows(self, tables: Tables) -> dict[str, Any]:
        """The customer's rows of fleet tables."""
        return {
            "customers": [row for row in tables.get("customers", []) if self._is_customer(row)],
            "devices": [row for row in tables.get("devices", []) if self._is_device(row)],
        }

    def owned_metrics(self, names: SqlMetricRegistry) -> NDArray[np.bool_]:
        """(metrics,) mask of the metrics of the customer's devices, by metric number."""
        return np.array(
            [names.name(number).split("/", 1)[0] in self.devices for number in range(len(names))], dtype=bool
        )

    def owns_record(self, record: Record) -> bool:
        """Whether an outcome or request belongs to the customer; False for other records."""
        if isinstance(record, Outcome):
            return self.owns_name(record.item or item_of_reaction(record.reaction or ""))
        return isinstance(record, Request) and self.owns_name(record.item)

    def _is_customer(self, row: Tables) -> bool:
        return row.get("id") == self.customer

    def _is_device(self, row: Tables) -> bool:
        return row.get("customer") == self.customer or row.get("id") in self.devices


def locate_customer(customer: str, sources: Iterable[Tables]) -> CustomerScope:
    """The customer's devices, from fleet tables in order of time: the last owner of a device counts. Raises InputError."""
    owners: dict[str, str] = {}
    known = set()
    for tables in sources:
        known |= {row.get("id") for row in tables.get("customers", [])}
        owners |= {row["id"]: row["customer"] for row in tables.get("devices", []) if "id" in row and "customer" in row}
    if customer not in known and customer not in owners.values():
        raise InputError(
            f"{customer!r}: no such customer: expected one of {', '.join(sorted(map(str, known))) or 'none'}"
        )
    return CustomerScope(customer, frozenset(device for device, owner in owners.items() if owner == customer))


def fleet_table_history(folder: Path, log: Log | None, store: SqlStore | None) -> list[Tables]:
    """All fleets and fleet changes in a data directory, its log and its store, in order."""
    found: list[Tables] = []
    for name in (FLEET_FILE, LAST_SEEN_FILE, SNAPSHOT_FILE):
        path = folder / name
        if path.is_file():
            found.append(_read_tables(path))
    if log is not None:
        records = (decode(wire) for _, wire in read_range(log, INPUT, 0, log.end(INPUT)))
        found += [json.loads(record.tables) for record in records if isinstance(record, FleetChange)]
    if store is not None:
        base = store.fleet.base()
        found += [] if base is None else [base]
        found += [json.loads(text) for _, text in store.fleet.changes()]
    return found


def owned_readings(readings: Readings, owned_metrics: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) mask of the customer's readings. owned_metrics: from `CustomerScope.owned_metrics`."""
    return owned_metrics[readings.metric] if len(readings) else np.zeros(0, dtype=bool)


def _read_tables(path: Path) -> Tables:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return tomllib.loads(text)
    tables: Tables = json.loads(text)["tables"]
    return tables
