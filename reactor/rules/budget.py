"""The budget: the prices of what is ordered in the customer's calendar month, less orders that were cancelled or failed."""

from __future__ import annotations

import math
from collections.abc import Iterable

from config.fleet import Customer
from reactor.i18n import format_money, translate
from reactor.rules.local_time import month_of, next_month_start
from reactor.state import BUDGET_RELEASED_STATES, Order
from star.react import RuleVerdict


def spent_in_month(customer: Customer, orders: Iterable[Order], at_ms: int) -> float:
    """The sum of the prices of the customer's orders in the month of at_ms; exact, whatever order they come in."""
    month = month_of(at_ms, customer)
    return math.fsum(
        order.price
        for order in orders
        if order.state not in BUDGET_RELEASED_STATES and month_of(order.at_ms, customer) == month
    )


def check_budget(customer: Customer, spent: float, price: float, at_ms: int) -> RuleVerdict:
    """The verdict about an order of `price` after orders of `spent`. until_ms: the start of the next month."""
    most = customer.budget_per_month
    if most is None:
        return RuleVerdict(rule="budget", allowed=True, reason=translate(customer.language, "budget_any"))
    allowed = spent + price <= most + 1e-9
    figures = {"spent": format_money(spent + price, customer.language), "most": format_money(most, customer.language)}
    reason = translate(customer.language, "budget_yes" if allowed else "budget_no", **figures)
    until_ms = None if allowed else next_month_start(at_ms, customer)
    return RuleVerdict(rule="budget", allowed=allowed, reason=reason, until_ms=until_ms)
