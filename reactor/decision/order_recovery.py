"""Order recovery: an overdue order is waited for, or given up for another one.

What is left of the wait is reckoned from the learned lead times, losses included: the later it is, the surer it is lost. It is
given up when an order that could go out now would cost less than waiting any longer and having only one of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

from config.catalogue import SlotItem
from config.fleet import Supplier
from reactor.decision.decision_context import DecisionContext, adjusted_costs
from reactor.decision.lead_time import overdue_after_days
from reactor.decision.quotes import Quote, stated_lead_days
from reactor.decision.reorder_policy import OverdueOrder, should_replace_now
from reactor.decision.sourcing import best_order
from reactor.rules.absence import check_absence
from reactor.rules.budget import check_budget
from reactor.rules.price_limit import within_price
from reactor.state import Order
from reactor.state_view import StateView
from star.times import DAY_MS


def should_give_up(context: DecisionContext[SlotItem], order: Order) -> bool:
    """Whether the order is given up as lost; what is ordered instead is decided as ever."""
    waited_days = (context.at_ms - order.at_ms) / DAY_MS
    late = next((quote for quote in context.view.quotes(context.item) if quote.supplier == order.supplier), None)
    if late is None or context.forecast is None or context.need is None:
        return False
    lead_days = max(longest_lead_days(context.view, order), late.arrival_window_days(), key=lambda days: days[1])
    if waited_days < overdue_after_days(lead_days):
        return False
    tried = tuple(dict.fromkeys((*context.need.tried, late.supplier)))
    again = replace(context, need=replace(context.need, tried=tried))
    quotes = _orderable_quotes(again)
    if not quotes:
        return False
    quote, timing = best_order(again, quotes)
    costs = adjusted_costs(context, quote)
    twice_cost = costs.holding_cost_per_day * (costs.lasts_days if math.isfinite(costs.lasts_days) else 0.0)
    overdue = OverdueOrder(lead_time=late.lead_time, waited_days=waited_days, duplicate_cost=twice_cost)
    return timing.act and should_replace_now(
        context.forecast, context.at_ms, quote.lead_time, costs, overdue, evaluation_days=context.evaluation_days
    )


def longest_lead_days(view: StateView, order: Order) -> tuple[float, float]:
    """Of the lead times when it was ordered, and stated since, those with the latest 90 %."""
    supplier: Supplier | None = view.catalogue.suppliers.get(order.supplier or "")
    if supplier is None:
        return order.lead_days
    stated = stated_lead_days(supplier, view.supplier_record(supplier.id))
    return max(order.lead_days, stated, key=lambda days: days[1])


def _orderable_quotes(context: DecisionContext[SlotItem]) -> tuple[Quote, ...]:
    """What could be ordered now."""
    spent = context.spent_this_month()
    return tuple(
        quote
        for quote in context.view.quotes(context.item)
        if within_price(context.item, quote)
        and check_budget(context.customer, spent, quote.price, context.at_ms).allowed
        and check_absence(context.customer, context.at_ms, quote.arrival_window_days()).allowed
    )
