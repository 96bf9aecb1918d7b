"""Consent: what is not named among the customer's purposes is not done."""

from __future__ import annotations

from config.fleet import Customer
from reactor.i18n import translate
from star.analyse import NeedKind
from star.react import RuleVerdict

PURPOSES = {NeedKind.RUN_OUT: "replenishment", NeedKind.SERVICE_DUE: "maintenance"}
"""The purpose that a kind of need serves, reminders of it included."""


def has_consent(customer: Customer, kind: NeedKind) -> bool:
    """Whether the customer agreed to the purpose."""
    return PURPOSES[kind] in customer.consents


def check_consent(customer: Customer, kind: NeedKind) -> RuleVerdict:
    """The rule."""
    allowed = has_consent(customer, kind)
    purpose = translate(customer.language, PURPOSES[kind])
    reason = translate(customer.language, "consent_yes" if allowed else "consent_no", purpose=purpose)
    return RuleVerdict(rule="consent", allowed=allowed, reason=reason)
