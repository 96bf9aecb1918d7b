"""What the input log holds, in one order: readings, what people and suppliers said, changes of the fleet, and ticks.

Everything that the service does is a function of this sequence. A record's wire form is one byte of kind, then
`Readings.pack()` for readings and JSON for all else.
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
    """Time has come this far: every earlier record has been seen. Decisions are made here, and only here."""

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A customer asks for an item: it opens a need at once. `item` is `device/name`; `id` counts once."""

    at_ms: int
    id: str
    item: str
    quantity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierTerms:
    """A supplier's price of one pack (money) and lead time (10 % and 90 % quantiles, days), from now on; None: unchanged."""

    at_ms: int
    supplier: str
    price: float | None = None
    lead_time_days: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChange:
    """Tables of a fleet file that add to or replace those in force, by id; in force at once.

    `tables` is a fleet file's content as JSON text, checked before it was appended.
    """

    at_ms: int
    tables: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A payload that can't be read or represented, whole, with the reason. `topic` is None for a line that is no message."""

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
    """The record's bytes in the log."""
    if isinstance(record, Readings):
        return b"R" + record.pack()
    return EVENT_CODES[type(record)].encode() + json.dumps(asdict(record), ensure_ascii=False, allow_nan=False).encode()


def decode(wire: bytes) -> Record:
    """The record of `encode`'s bytes. Raises LogDamaged where they are not one."""
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
    """An event from the fields that `asdict` gave, its pairs as tuples again."""
    if fields.get("lead_time_days") is not None:
        low, high = fields["lead_time_days"]
        fields = {**fields, "lead_time_days": (float(low), float(high))}
    return kind(**fields)
