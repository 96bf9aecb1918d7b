"""Quiet hours: the customer is not contacted in them. Orders contact nobody, and are not held."""

from __future__ import annotations

from datetime import time, timedelta

from config.fleet import Customer
from reactor.i18n import format_moment, translate
from reactor.rules.local_time import local_datetime, local_to_ms
from star.react import RuleVerdict


def quiet_hours_end(customer: Customer, at_ms: int) -> int | None:
    """The end, in ms, of the quiet hours that at_ms lies in; None outside of them. The end itself is outside."""
    if customer.quiet_hours is None:
        return None
    start, end = (time.fromisoformat(clock) for clock in customer.quiet_hours)
    now = local_datetime(at_ms, customer)
    clock = now.time()
    if start <= end:
        if not start <= clock < end:
            return None
        day = now.date()
    elif clock >= start:
        day = now.date() + timedelta(days=1)
    elif clock < end:
        day = now.date()
    else:
        return None
    return max(local_to_ms(day, end, customer), at_ms + 1)


def check_quiet_hours(customer: Customer, at_ms: int) -> RuleVerdict:
    """The verdict about a contact at at_ms. until_ms: the end of the quiet hours."""
    until_ms = quiet_hours_end(customer, at_ms)
    if until_ms is None:
        return RuleVerdict(rule="quiet_hours", allowed=True, reason=translate(customer.language, "quiet_yes"))
    reason = translate(customer.language, "quiet_no", until=format_moment(until_ms, customer))
    return RuleVerdict(rule="quiet_hours", allowed=False, reason=reason, until_ms=until_ms)
