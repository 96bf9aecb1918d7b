"""Consent: nothing is done for a purpose that the customer has not agreed to."""

from __future__ import annotations

from config.fleet import Customer
from reactor.i18n import translate
from star.analyse import NeedKind
from star.react import RuleVerdict

PURPOSES = {NeedKind.RUN_OUT: "replenishment", NeedKind.SERVICE_DUE: "maintenance"}
"""The purpose that each kind of need serves, its reminders included."""


def has_consent(customer: Customer, kind: NeedKind) -> bool:
    """Whether the customer agreed to the purpose."""
    return PURPOSES[kind] in customer.consents


def check_consent(customer: Customer, kind: NeedKind) -> RuleVerdict:
    """The verdict about anything done for this kind of need."""
    allowed = has_consent(customer, kind)
    purpose = translate(customer.language, PURPOSES[kind])
    reason = translate(customer.language, "consent_yes" if allowed else "consent_no", purpose=purpose)
    return RuleVerdict(rule="consent", allowed=allowed, reason=reason)
