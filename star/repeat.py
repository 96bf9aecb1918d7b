"""REPEAT: what came of a reaction, and the life of a need as one transition table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from star.errors import IllegalTransition

Result = Literal["accepted", "declined", "cancelled", "delivered", "done", "failed", "refilled", "serviced"]
RESULTS: tuple[Result, ...] = (
    "accepted",
    "declined",
    "cancelled",
    "delivered",
    "done",
    "failed",
    "refilled",
    "serviced",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a reaction, or (without a reaction) a refill or service that the customer declares.

    at_ms: when it happened; arrived_ms: when it came in. reaction: the reaction's id, or None; item: `device/name`, given
    where reaction is None. timing, csat (1-5), nps (0-10), ces (1-5, 5 = much effort), text: feedback, each optional.
    """

    at_ms: int
    arrived_ms: int
    id: str
    result: Result
    reaction: str | None = None
    item: str | None = None
    quantity: float | None = None
    timing: Literal["early", "right", "late"] | None = None
    csat: int | None = None
    nps: int | None = None
    ces: int | None = None
    text: str | None = None


class NeedState(StrEnum):
    """Where a need is in its life."""

    OPEN = "open"  # seen, nothing sent yet (or what was sent ended, and it is looked at again)
    READIED = "readied"  # a request is ready, one tap sends it
    OFFERED = "offered"
    REMINDED = "reminded"
    ORDERED = "ordered"  # an order is outstanding
    CANCELLING = "cancelling"  # a cancellation of ours is under way; the order still counts as outstanding
    BOOKED = "booked"  # a service is booked
    REFUSED = "refused"  # the customer said no
    CLOSED = "closed"  # met by a refill or a service


NEED_TRANSITIONS: dict[NeedState, frozenset[NeedState]] = {
    NeedState.OPEN: frozenset(
        {
            NeedState.READIED,
            NeedState.OFFERED,
            NeedState.REMINDED,
            NeedState.ORDERED,
            NeedState.BOOKED,
            NeedState.CLOSED,
        }
    ),
    NeedState.READIED: frozenset(
        {
            NeedState.ORDERED,
            NeedState.OFFERED,
            NeedState.REMINDED,
            NeedState.BOOKED,
            NeedState.REFUSED,
            NeedState.OPEN,
            NeedState.CLOSED,
        }
    ),
    NeedState.OFFERED: frozenset(
        {NeedState.ORDERED, NeedState.REMINDED, NeedState.BOOKED, NeedState.REFUSED, NeedState.OPEN, NeedState.CLOSED}
    ),
    NeedState.REMINDED: frozenset(
        {
            NeedState.ORDERED,
            NeedState.OFFERED,
            NeedState.READIED,
            NeedState.BOOKED,
            NeedState.REFUSED,
            NeedState.OPEN,
            NeedState.CLOSED,
        }
    ),
    NeedState.ORDERED: frozenset({NeedState.CANCELLING, NeedState.OPEN, NeedState.REFUSED, NeedState.CLOSED}),
    NeedState.CANCELLING: frozenset({NeedState.ORDERED, NeedState.OPEN, NeedState.REFUSED, NeedState.CLOSED}),
    NeedState.BOOKED: frozenset({NeedState.OPEN, NeedState.REFUSED, NeedState.CLOSED}),
    NeedState.REFUSED: frozenset({NeedState.OPEN, NeedState.ORDERED, NeedState.BOOKED, NeedState.CLOSED}),
    NeedState.CLOSED: frozenset(),
}
"""Every move a need may make; one that is not here raises IllegalMove."""


def transition(current: NeedState, target: NeedState) -> NeedState:
    """`to`, if the table lists the move from `now`."""
    if target not in NEED_TRANSITIONS[current]:
        raise IllegalTransition(
            f"a need can't move from {current} to {target}: expected one of {', '.join(sorted(NEED_TRANSITIONS[current])) or 'none'}"
        )
    return target
