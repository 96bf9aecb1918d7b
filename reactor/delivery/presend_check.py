"""Pre-send check of a contact: consent, the customer's answer, quiet hours.

The rules were checked when the contact was decided; a channel that was down or a service that was stopped can delay its
delivery into quiet hours, past a withdrawn consent or an answer. Orders and cancellations are not checked: they are sent as
decided.
"""

from __future__ import annotations

from dataclasses import dataclass

from config.catalogue import Catalogue
from reactor.rules.consent import PURPOSES, has_consent
from reactor.rules.quiet_hours import quiet_hours_end
from star.analyse import NeedKind
from star.react import Reaction, ReactionType
from star.repeat import NeedState

_PROMPTS = frozenset({ReactionType.OFFER_MADE, ReactionType.REMINDER_SENT})
_ANSWERED_STATES = frozenset(
    {NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED, NeedState.REFUSED, NeedState.CLOSED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """The contact is sent at `until_ms` at the earliest."""

    until_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """The contact is not sent any more."""

    reason: str


def check_before_send(
    contact: Reaction, catalogue: Catalogue, need: NeedState | None, now_ms: int
) -> Postpone | Discard | None:
    """None where the contact may be sent now. need: the current state of its need, None for an unknown one."""
    customer = catalogue.customers.get(contact.customer)
    if customer is None:
        return Discard(reason=f"customer {contact.customer} is not in the fleet any more")
    kind = NeedKind.SERVICE_DUE if f"{contact.device}/{contact.item}" in catalogue.parts else NeedKind.RUN_OUT
    if not has_consent(customer, kind):
        return Discard(reason=f"{customer.id} does not consent to {PURPOSES[kind]} any more")
    if contact.type in _PROMPTS and need in _ANSWERED_STATES:
        return Discard(reason="it has been answered, or is not needed any more")
    until_ms = quiet_hours_end(customer, now_ms)
    return None if until_ms is None else Postpone(until_ms=until_ms, reason="held until the end of quiet hours")
