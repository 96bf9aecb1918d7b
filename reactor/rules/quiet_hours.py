"""Quiet hours: nobody is contacted in them. Orders disturb nobody and are not held."""

from __future__ import annotations

from datetime import time, timedelta

from config.fleet import Customer
from reactor.rules.local_time import at_local, local
from reactor.texts import moment, say
from star.react import RuleVerdict


def quiet_until(customer: Customer, at_ms: int) -> int | None:
    """When the quiet hours that at_ms lies in are over, in ms, or None outside them. Their end is not in them."""
    if customer.quiet_hours is None:
        return None
    start, end = (time.fromisoformat(clock) for clock in customer.quiet_hours)
    now = local(at_ms, customer)
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
    return max(at_local(day, end, customer), at_ms + 1)


def quiet_hours(customer: Customer, at_ms: int) -> RuleVerdict:
    """The rule."""
    until_ms = quiet_until(customer, at_ms)
    if until_ms is None:
        return RuleVerdict(rule="quiet_hours", allowed=True, reason=say(customer.language, "quiet_yes"))
    reason = say(customer.language, "quiet_no", until=moment(until_ms, customer))
    return RuleVerdict(rule="quiet_hours", allowed=False, reason=reason, until_ms=until_ms)
