"""Records of the input log: readings, events of customers and suppliers, changes of the fleet, and ticks, in one order.

Everything that the service does is a function of this sequence. A record's wire form is one byte for its kind, then
`Readings.pack()` for readings and JSON for everything else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from star.errors import LogDamaged
from star.repeat import Outcome
from star.sense import Readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A tick: time is `at_ms`, and every earlier record is before it. Decisions are made at ticks only."""

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A customer's request for an item, which opens a need at once. item: `device/name`. Requests of one id count once."""

    at_ms: int
    id: str
    item: str
    quantity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierTerms:
    """A supplier's new price of one pack (money) and lead time (10 % and 90 % quantiles, days). None: unchanged."""

    at_ms: int
    supplier: str
    price: float | None = None
    lead_time_days: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChange:
    """A change of the fleet: rows that are added or replace those in force, by id, with immediate effect.

    tables: as in a fleet file, as JSON text, validated before it was appended.
    """

    at_ms: int
    tables: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A payload that can't be decoded, with the reason. topic: None for a line of a replay that is no message."""

    at_ms: int
    topic: str | None
    payload: bytes
    reason: str


Event = Outcome | Request | SupplierTerms | FleetChange
Record = Readings | Event | Tick

EVENT_TYPES: dict[str, type[Outcome | Request | SupplierTerms | FleetChange | Tick]] = {
    "O": Outcome,
    "Q": Request,
    "S": SupplierTerms,
    "F": FleetChange,
    "T": Tick,
}
EVENT_CODES = {kind: letter for letter, kind in EVENT_TYPES.items()}


def encode(record: Record) -> bytes:
    """The wire form of a record."""
    if isinstance(record, Readings):
        return b"R" + record.pack()
    return EVENT_CODES[type(record)].encode() + json.dumps(asdict(record), ensure_ascii=False, allow_nan=False).encode()


def decode(wire: bytes) -> Record:
    """The record from its wire form. Raises LogDamaged."""
    letter = wire[:1].decode("latin-1")
    if letter == "R":
        return Readings.unpack(memoryview(wire)[1:])
    kind = EVENT_TYPES.get(letter)
    if kind is None:
        raise LogDamaged(f"a record starts with {letter!r}: expected one of R, {', '.join(EVENT_TYPES)}")
    try:
        record: Record = event_from_fields(kind, json.loads(wire[1:]))
    except (ValueError, TypeError) as error:
        raise LogDamaged(f"a record of kind {letter!r} can't be read: {error}") from error
    return record


def event_from_fields(kind: type[Any], fields: dict[str, Any]) -> Any:
    """An event from its fields, as from `asdict` and JSON: lists of two become tuples again."""
    if fields.get("lead_time_days") is not None:
        low, high = fields["lead_time_days"]
        fields = {**fields, "lead_time_days": (float(low), float(high))}
    return kind(**fields)
