"""The contact limit: contacts in any seven days, of all items and channels together."""

from __future__ import annotations

from config.fleet import Customer
from reactor.i18n import translate
from reactor.state import ContactHistory
from star.react import RuleVerdict
from star.times import DAY_MS

WINDOW_MS = 7 * DAY_MS
"""The span that the customer's `contacts_per_week_max` counts in."""


def check_contact_limit(customer: Customer, contacts: ContactHistory | None, at_ms: int) -> RuleVerdict:
    """The verdict about a contact at at_ms. Contacts within WINDOW_MS before it count; until_ms: when one more is allowed."""
    most = customer.contacts_per_week_max
    recent = [] if contacts is None else [moment for moment in contacts.at_ms if moment >= at_ms - WINDOW_MS]
    figures = {"count": str(len(recent)), "most": str(most)}
    if len(recent) < most:
        return RuleVerdict(
            rule="contacts", allowed=True, reason=translate(customer.language, "contacts_yes", **figures)
        )
    until_ms = None if most == 0 else sorted(recent)[len(recent) - most] + WINDOW_MS + 1
    reason = translate(customer.language, "contacts_no", **figures)
    return RuleVerdict(rule="contacts", allowed=False, reason=reason, until_ms=until_ms)


def add_contact(contacts: ContactHistory | None, customer: str, at_ms: int) -> ContactHistory:
    """The history after a contact at at_ms, without contacts that can no longer count."""
    before = () if contacts is None else contacts.at_ms
    kept = sorted((*(moment for moment in before if moment >= at_ms - 2 * WINDOW_MS), at_ms))
    return ContactHistory(customer=customer, at_ms=tuple(kept))
