"""REACT: a decision with its receipt, and the reaction that carries it out; ids derived from content.

Ids are made of names, never of numbers of a registry, so the same readings give the same ids on every machine:
need `tank-7/oil/3` (third need of the item), reaction `tank-7/oil/3/order/1` (the need's first order).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from star.analyse import Forecast
from star.times import epoch_seconds


class ReactionType(StrEnum):
    """The CloudEvents types of CONTRACT section 4."""

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


def need_id(item: str, cycle: int) -> str:
    """The id of the item's need number `cycle` (1 for the first)."""
    return f"{item}/{cycle}"


def reaction_id(need: str, kind: ReactionType, attempt: int) -> str:
    """The id of a reaction: a retry of one attempt has the same."""
    return f"{need}/{ID_VERBS[kind]}/{attempt}"


def item_from_reaction_id(reaction: str) -> str | None:
    """The item (`device/name`) that a reaction's id names, or None where the id is not of our form."""
    parts = reaction.split("/")
    if len(parts) != 5 or not parts[2].isdigit() or not parts[4].isdigit() or parts[3] not in ID_VERBS.values():
        return None
    return f"{parts[0]}/{parts[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One choice of an offer; price is of the whole quantity."""

    sku: str
    supplier: str
    quantity: float
    price: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What the service does about a need. item is its name on the device; price is of the whole order."""

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
        """The event's data as CONTRACT section 4 names it; what does not apply is left out."""
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
        """The line that replay prints."""
        return {"at": epoch_seconds(self.at_ms), "type": str(self.type), "id": self.id, "data": self.event_data()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """What one rule said about a reaction that was considered."""

    rule: str
    allowed: bool
    reason: str
    until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why a need was acted on, put off or refused: the receipt, enough to decide it again.

    verdict: the type of the reaction made, or "wait" or "refused". alternative: what was not done instead, and why.
    figures: the numbers the decision rests on (costs of acting and of waiting, lead times, price), by name.
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
