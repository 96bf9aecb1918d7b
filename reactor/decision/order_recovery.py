"""An order that is late beyond what its supplier's lead times allow: waited for, or given up for another one.

What is left of the wait is reckoned from the learned lead times, losses included: the later it is, the surer it is lost. It is
given up when an order that could go out now would cost less than waiting any longer and having only one of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

from config.catalogue import SlotItem
from reactor import order_lifecycle
from reactor.decision.decision_context import DecisionContext, adjusted_costs
from reactor.decision.lead_time import overdue_after_days
from reactor.decision.quotes import Quote
from reactor.decision.reorder_policy import OverdueOrder, should_replace_now
from reactor.decision.sourcing import best_order
from reactor.rules.absence import check_absence
from reactor.rules.budget import check_budget
from reactor.rules.price_limit import within_price
from reactor.state import Order
from star.times import DAY_MS


def recover_overdue(context: DecisionContext[SlotItem], order: Order) -> bool:
    """Whether the order was given up; what is ordered instead is decided as ever."""
    waited_days = (context.at_ms - order.at_ms) / DAY_MS
    late = next((quote for quote in context.unit.quotes(context.item) if quote.supplier == order.supplier), None)
    if late is None or context.forecast is None or context.need is None:
        return False
    lead_days = max(
        order_lifecycle.longest_lead_days(context.unit, order), late.arrival_window_days(), key=lambda days: days[1]
    )
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
    given_up = timing.act and should_replace_now(
        context.forecast, context.at_ms, quote.lead_time, costs, overdue, evaluation_days=context.evaluation_days
    )
    if given_up:
        order_lifecycle.mark_lost(context.unit, order)
    return given_up


def _orderable_quotes(context: DecisionContext[SlotItem]) -> tuple[Quote, ...]:
    """What could be ordered now."""
    spent = context.spent_this_month()
    return tuple(
        quote
        for quote in context.unit.quotes(context.item)
        if within_price(context.item, quote)
        and check_budget(context.customer, spent, quote.price, context.at_ms).allowed
        and check_absence(context.customer, context.at_ms, quote.arrival_window_days()).allowed
    )
