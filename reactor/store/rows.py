"""Rows that the store returns, and the JSON form of what it keeps (msgspec, exact for every float)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from reactor.state import ENTITY_TABLES, Entity, Need
from star.errors import StoreDamaged
from star.react import Decision, Reaction
from star.repeat import Outcome, Result

TimingFeedback = Literal["early", "right", "late"]
DeliveryState = Literal["waiting", "sent", "given-up"]

ENTITY_TYPES: dict[str, type[Entity]] = {table: kind for kind, table in ENTITY_TABLES.items()}
"""Each table with the type of its entities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionRow:
    """A reaction with the result of its latest outcome. timing: the customer's feedback on when it came."""

    reaction: Reaction
    result: Result | None = None
    result_ms: int | None = None
    timing: TimingFeedback | None = None

    def with_outcome(self, outcome: Outcome) -> ReactionRow:
        """The row after an outcome."""
        return ReactionRow(
            reaction=self.reaction,
            result=outcome.result,
            result_ms=outcome.at_ms,
            timing=outcome.timing or self.timing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One reaction to be sent to one target. tries: failed attempts; error: of the last one; partition: where it was decided."""

    id: int
    need: str
    target: str
    reaction: Reaction
    tries: int = 0
    error: str | None = None
    partition: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """State of the delivery of a reaction to one target."""

    target: str
    state: DeliveryState
    tries: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """A message that could not be decoded, or an event that matches nothing known. id: ascending in time.

    topic, payload: of a message; None and empty for an event.
    """

    id: int
    at_ms: int
    reason: str
    topic: str | None = None
    payload: bytes = b""


_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()
# All are created on import, in one thread: created on first use by several threads at once they crash the process.
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (*ENTITY_TYPES.values(), Need, Reaction, Decision)
}


def storable_text(received: str) -> str:
    """A received text as a column can hold it: PostgreSQL stores no NUL, and no database a lone surrogate."""
    return received.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def to_json(value: object) -> str:
    """JSON text of the value."""
    return _encoder.encode(value).decode()


def from_json(kind: type[_T], text: str) -> _T:
    """The value of a text of `to_json`. Raises StoreDamaged where it is none."""
    try:
        found: _T = _decoders[kind].decode(text)
    except msgspec.DecodeError as error:
        raise StoreDamaged(f"the store holds a {kind.__name__} that can't be read: {error}") from error
    return found
