"""Commands about an order or a booking: placing, cancelling, and its state."""

from __future__ import annotations

from dataclasses import dataclass

from reactor.commands.needs import NeedTarget, Rationale
from star.react import Option
from star.repeat import OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """Order `option`. lead_days: 10 % and 90 % lead times; deadline_ms: when the order may be lost."""

    target: NeedTarget
    rationale: Rationale
    option: Option
    lead_days: tuple[float, float]
    deadline_ms: int
    cancel_before_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookService:
    """Book the service `option`, on the same terms as an order, but with no free cancellation."""

    target: NeedTarget
    rationale: Rationale
    option: Option
    lead_days: tuple[float, float]
    deadline_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Emit the cancellation of an order to its supplier. An order is cancelled at most once."""

    order: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOrder:
    """Put the order in another state in which it may still arrive."""

    order: str
    to: OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinstateOrder:
    """The supplier rejected the cancellation: the order is outstanding, and can't be cancelled again."""

    order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PresumeDelivered:
    """A matching refill was detected, and no one has reported the delivery. deadline_ms: when it counts as delivered."""

    order: str
    deadline_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendDeadline:
    """The order may arrive until deadline_ms."""

    order: str
    deadline_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOrder:
    """The order is delivered, cancelled, failed or lost."""

    order: str
    to: OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteExpired:
    """Delete an order or a prompt that ended long ago."""

    subject: str
