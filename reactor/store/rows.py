"""What the store gives back, and the wire form of what it keeps: JSON by msgspec, exact for every float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from reactor.state import (
    ContactHistory,
    Entity,
    FleetOverride,
    ItemRecord,
    LeadTimeSample,
    Need,
    Order,
    PendingPrompt,
    SupplierRecord,
    Timer,
    Watermark,
)
from star.errors import StoreDamaged
from star.react import Decision, Reaction
from star.repeat import Outcome, Result

TimingFeedback = Literal["early", "right", "late"]
DeliveryState = Literal["waiting", "sent", "given-up"]

ENTITY_TYPES: dict[str, type[Entity]] = {
    "needs": Need,
    "orders": Order,
    "questions": PendingPrompt,
    "contacts": ContactHistory,
    "items": ItemRecord,
    "suppliers": SupplierRecord,
    "lessons": LeadTimeSample,
    "reached": Watermark,
    "settings": FleetOverride,
    "timers": Timer,
}
"""The kind of entity of each table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionRow:
    """A reaction and the last that was said of it. timing: what the customer said of the moment it came at."""

    reaction: Reaction
    result: Result | None = None
    result_ms: int | None = None
    timing: TimingFeedback | None = None

    def with_outcome(self, outcome: Outcome) -> ReactionRow:
        """After an outcome."""
        return ReactionRow(
            reaction=self.reaction,
            result=outcome.result,
            result_ms=outcome.at_ms,
            timing=outcome.timing or self.timing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One reaction on its way to one target. tries: how often it failed; error: how it failed last. partition: where it was decided."""

    id: int
    need: str
    target: str
    reaction: Reaction
    tries: int = 0
    error: str | None = None
    partition: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """How far the sending of a reaction to one target has come."""

    target: str
    state: DeliveryState
    tries: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """What could not be read or placed. id: its order. topic, payload: of a message; a notice has neither."""

    id: int
    at_ms: int
    reason: str
    topic: str | None = None
    payload: bytes = b""


_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()
# All are made here, in one thread: made when they are first needed, by several threads at once, they crash the process.
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (*ENTITY_TYPES.values(), Need, Reaction, Decision)
}


def storable_text(said: str) -> str:
    """A text of others as a column can hold it: PostgreSQL keeps no NUL, and no database half a surrogate pair."""
    return said.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def to_json(value: object) -> str:
    """The value as JSON text."""
    return _encoder.encode(value).decode()


def from_json(kind: type[_T], text: str) -> _T:
    """The value of `write`'s text. Raises StoreDamaged where it is not one."""
    try:
        found: _T = _decoders[kind].decode(text)
    except msgspec.DecodeError as error:
        raise StoreDamaged(f"the store holds a {kind.__name__} that can't be read: {error}") from error
    return found
