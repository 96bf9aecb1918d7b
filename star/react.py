"""REACT: decisions with their receipts, and the reactions that carry them out. Their ids are star/ids.py's."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from star.analyse import Forecast
from star.times import epoch_seconds


class ReactionType(StrEnum):
    """Types of reactions, which are the types of their CloudEvents (CONTRACT section 4)."""

    ORDER_REQUESTED = "starloop.order.requested"
    ORDER_CANCELLED = "starloop.order.cancelled"
    OFFER_MADE = "starloop.offer.made"
    REQUEST_READY = "starloop.request.ready"
    REMINDER_SENT = "starloop.reminder.sent"
    ADVICE_GIVEN = "starloop.advice.given"
    MAINTENANCE_BOOKED = "starloop.maintenance.booked"


ID_VERBS: dict[ReactionType, str] = {
    ReactionType.ORDER_REQUESTED: "order",
    ReactionType.ORDER_CANCELLED: "cancel",
    ReactionType.OFFER_MADE: "offer",
    ReactionType.REQUEST_READY: "request",
    ReactionType.REMINDER_SENT: "reminder",
    ReactionType.ADVICE_GIVEN: "advice",
    ReactionType.MAINTENANCE_BOOKED: "booking",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of an offer. price: of the whole quantity. why: for the customer."""

    sku: str
    supplier: str
    quantity: float
    price: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """An action of the service about a need. item: the name on the device. price: of the whole order."""

    id: str
    type: ReactionType
    at_ms: int
    need: str
    attempt: int
    device: str
    item: str
    customer: str
    because: str
    supplier: str | None = None
    sku: str | None = None
    quantity: float | None = None
    price: float | None = None
    options: tuple[Option, ...] = ()
    forecast: Forecast | None = None
    cancel_before_ms: int | None = None
    order: str | None = None

    @property
    def item_key(self) -> str:
        """The item's id, `device/name`, as a catalogue's tables have it."""
        return f"{self.device}/{self.item}"

    def event_data(self) -> dict[str, Any]:
        """The CloudEvent's data (CONTRACT section 4); fields that do not apply are left out."""
        data: dict[str, Any] = {
            "need": self.need,
            "attempt": self.attempt,
            "item": self.item,
            "device": self.device,
            "customer": self.customer,
        }
        for name in ("supplier", "sku", "quantity", "price", "order"):
            value = getattr(self, name)
            if value is not None:
                data[name] = value
        if self.options:
            data["options"] = [
                {"sku": o.sku, "supplier": o.supplier, "quantity": o.quantity, "price": o.price, "why": o.why}
                for o in self.options
            ]
        data["because"] = self.because
        if self.forecast is not None:
            data["forecast"] = {
                "at": epoch_seconds(self.forecast.at_ms),
                "level": self.forecast.level,
                "days_to_empty": self.forecast.published_quantiles(),
                "trust": round(self.forecast.trust, 4),
                "model": self.forecast.model,
            }
        if self.cancel_before_ms is not None:
            data["cancel_before"] = epoch_seconds(self.cancel_before_ms)
        return data

    def replay_line(self) -> dict[str, Any]:
        """The reaction's line in the output of replay."""
        return {"at": epoch_seconds(self.at_ms), "type": str(self.type), "id": self.id, "data": self.event_data()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """The verdict of one rule on a proposed reaction. until_ms: until when it refuses, where that is known."""

    rule: str
    allowed: bool
    reason: str
    until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision about a need with its receipt, from which it can be reproduced.

    verdict: the type of the reaction, or "wait" or "refused". because: the reason, for the customer. alternative: what was
    not done instead, and why. figures: the inputs of the decision by name (costs of acting and of waiting, lead times,
    price).
    """

    id: str
    need: str
    at_ms: int
    verdict: str
    because: str
    rules: tuple[RuleVerdict, ...] = ()
    forecast: Forecast | None = None
    alternative: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    reaction: str | None = None
