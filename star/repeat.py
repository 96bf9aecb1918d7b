"""REPEAT: the outcome of a reaction, and the life cycles of needs and orders, each as one transition table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeVar

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


class OrderState(StrEnum):
    """Where an order or booking is in its life. In the first three it may still arrive."""

    OUTSTANDING = "outstanding"
    CANCELLING = "cancelling"  # our cancellation is under way
    PRESUMED = "presumed"  # a matching refill was detected; nobody has reported the delivery
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    FAILED = "failed"
    LOST = "lost"


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
            NeedState.CLOSED,
        }
    ),
    NeedState.ORDERED: frozenset({NeedState.CANCELLING, NeedState.OPEN, NeedState.CLOSED}),
    NeedState.CANCELLING: frozenset({NeedState.ORDERED, NeedState.OPEN, NeedState.CLOSED}),
    NeedState.BOOKED: frozenset({NeedState.OPEN, NeedState.CLOSED}),
    NeedState.REFUSED: frozenset({NeedState.OPEN, NeedState.ORDERED, NeedState.BOOKED, NeedState.CLOSED}),
    NeedState.CLOSED: frozenset(),
}
"""Every move of a need; any other raises IllegalTransition."""

ORDER_TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    OrderState.OUTSTANDING: frozenset(
        {
            OrderState.CANCELLING,
            OrderState.PRESUMED,
            OrderState.DELIVERED,
            OrderState.CANCELLED,
            OrderState.FAILED,
            OrderState.LOST,
        }
    ),
    OrderState.CANCELLING: frozenset(
        {
            OrderState.OUTSTANDING,
            OrderState.PRESUMED,
            OrderState.DELIVERED,
            OrderState.CANCELLED,
            OrderState.FAILED,
            OrderState.LOST,
        }
    ),
    OrderState.PRESUMED: frozenset({OrderState.DELIVERED, OrderState.CANCELLED, OrderState.FAILED}),
    OrderState.DELIVERED: frozenset(),
    # An order that was reported cancelled or failed, or given up as lost, can still be delivered.
    OrderState.CANCELLED: frozenset({OrderState.DELIVERED}),
    OrderState.FAILED: frozenset({OrderState.DELIVERED}),
    OrderState.LOST: frozenset({OrderState.DELIVERED}),
}
"""Every move of an order or booking; any other raises IllegalTransition."""

_State = TypeVar("_State", NeedState, OrderState)


def transition(current: _State, target: _State) -> _State:
    """`target`, if the table of its kind lists the move from `current`. Raises IllegalTransition where it does not."""
    if isinstance(current, NeedState):
        kind, listed = "a need", {str(state) for state in NEED_TRANSITIONS[current]}
    else:
        kind, listed = "an order", {str(state) for state in ORDER_TRANSITIONS[current]}
    if target not in listed:
        expected = ", ".join(sorted(listed)) or "none"
        raise IllegalTransition(f"{kind} can't move from {current} to {target}: expected one of {expected}")
    return target
