"""Absence: nothing is ordered that could arrive on a day of absence, between its 10 % and 90 % lead times."""

from __future__ import annotations

from datetime import date, timedelta

from config.fleet import Customer
from reactor.i18n import format_moment, translate
from reactor.rules.local_time import day_start
from star.react import RuleVerdict
from star.times import DAY_MS

Span = tuple[int, int]


def blocked_spans(customer: Customer, at_ms: int, lead_days: tuple[float, float]) -> tuple[Span, ...]:
    """Spans [from, to) in ms, not over at at_ms, in which an order could arrive on a day of absence; disjoint, in order."""
    spans: list[Span] = []
    for first, last in customer.away:
        start = day_start(date.fromisoformat(first), customer) - round(lead_days[1] * DAY_MS)
        end = day_start(date.fromisoformat(last) + timedelta(days=1), customer) - round(lead_days[0] * DAY_MS)
        if end > at_ms:
            spans.append((start, end))
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def blocked_days(customer: Customer, at_ms: int, lead_days: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """The spans of `blocked_spans`, in days from at_ms."""
    if not customer.away:
        return ()
    spans = blocked_spans(customer, at_ms, lead_days)
    return tuple(((start - at_ms) / DAY_MS, (end - at_ms) / DAY_MS) for start, end in spans)


def check_absence(customer: Customer, at_ms: int, lead_days: tuple[float, float]) -> RuleVerdict:
    """The verdict about an order at at_ms. until_ms: the first moment after it at which an order is safe."""
    if customer.away:
        for start, end in blocked_spans(customer, at_ms, lead_days):
            if start <= at_ms < end:
                reason = translate(customer.language, "away_no", until=format_moment(end, customer))
                return RuleVerdict(rule="away", allowed=False, reason=reason, until_ms=end)
    return RuleVerdict(rule="away", allowed=True, reason=translate(customer.language, "away_yes"))
