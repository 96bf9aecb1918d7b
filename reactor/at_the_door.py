"""A last look before a contact is pushed: is it still wanted, and is this a moment for it?

A contact was decided in good order; but a channel that was down, or a service that was stopped, can bring its delivery
into quiet hours, past a withdrawn consent or behind the customer's answer. Only contacts are looked at here: orders and
cancellations are the reactor's word and go out as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from config.fleet import Customer
from config.resolve import Catalogue
from star.react import Reaction, ReactionType
from star.repeat import NeedState
from star.times import utc

REPLENISHMENT, MAINTENANCE = "replenishment", "maintenance"
_ASKING = frozenset({ReactionType.OFFER_MADE, ReactionType.REMINDER_SENT})
_ANSWERED = frozenset({NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED, NeedState.REFUSED, NeedState.CLOSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Not now: from `until_ms` on."""

    until_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Not any more."""

    reason: str


def look(contact: Reaction, catalogue: Catalogue, need: NeedState | None, now_ms: int) -> Hold | Drop | None:
    """None: push it. need: the state of the contact's need now, None where it is not known."""
    customer = catalogue.customers.get(contact.customer)
    if customer is None:
        return Drop(reason=f"customer {contact.customer} is not in the fleet any more")
    purpose = MAINTENANCE if f"{contact.device}/{contact.item}" in catalogue.parts else REPLENISHMENT
    if purpose not in customer.consents:
        return Drop(reason=f"{customer.id} does not consent to {purpose} any more")
    if contact.type in _ASKING and need in _ANSWERED:
        return Drop(reason="it has been answered, or is not needed any more")
    until_ms = quiet_until_ms(customer, now_ms)
    return None if until_ms is None else Hold(until_ms=until_ms, reason="held until the end of quiet hours")


def quiet_until_ms(customer: Customer, now_ms: int) -> int | None:
    """The end of the quiet hours that now_ms falls into, in the customer's zone; None outside them."""
    if customer.quiet_hours is None:
        return None
    start, end = customer.quiet_hours
    here = utc(now_ms).astimezone(ZoneInfo(customer.timezone))
    clock = here.strftime("%H:%M")
    quiet = start <= clock < end if start <= end else clock >= start or clock < end
    if not quiet:
        return None
    day = here.date() if clock < end else here.date() + timedelta(days=1)
    hour, minute = map(int, end.split(":"))
    ends = datetime(day.year, day.month, day.day, hour, minute, tzinfo=here.tzinfo)
    # Where the clock is set back, the end comes twice: the later one counts, so that now is never after it.
    return max(round(ends.timestamp() * 1000), round(ends.replace(fold=1).timestamp() * 1000), now_ms + 1)
