"""An order that is late beyond what its supplier's lead times allow: waited for, or given up for another one.

What is left of the wait is reckoned from the learned lead times, losses included: the later it is, the surer it is lost. It is
given up when an order that could go out now would cost less than waiting any longer and having only one of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

from config.resolve import SlotItem
from reactor import orders
from reactor.experiences.case import Case, case_costs
from reactor.experiences.choice import best_order
from reactor.lead_time import overdue_after_days
from reactor.policy import Overdue, replaced_now
from reactor.quotes import Quote
from reactor.rules.away import away
from reactor.rules.budget import budget
from reactor.rules.price import within_price
from reactor.state import Order
from star.times import DAY_MS


def decide(case: Case[SlotItem], order: Order) -> bool:
    """Whether the order was given up; what is ordered instead is decided as ever."""
    waited_days = (case.at_ms - order.at_ms) / DAY_MS
    late = next((quote for quote in case.turn.quotes(case.item) if quote.supplier == order.supplier), None)
    if late is None or case.forecast is None or case.need is None:
        return False
    lead_days = max(orders.longest_lead_days(case.turn, order), late.widest_days(), key=lambda days: days[1])
    if waited_days < overdue_after_days(lead_days):
        return False
    tried = tuple(dict.fromkeys((*case.need.tried, late.supplier)))
    again = replace(case, need=replace(case.need, tried=tried))
    quotes = _possible(again)
    if not quotes:
        return False
    quote, timing = best_order(again, quotes)
    costs = case_costs(case, quote)
    twice_cost = costs.holding * (costs.lasts_days if math.isfinite(costs.lasts_days) else 0.0)
    overdue = Overdue(lead=late.lead, waited_days=waited_days, twice_cost=twice_cost)
    given_up = timing.act and replaced_now(
        case.forecast, case.at_ms, quote.lead, costs, overdue, look_days=case.look_days
    )
    if given_up:
        orders.give_up(case.turn, order)
    return given_up


def _possible(case: Case[SlotItem]) -> tuple[Quote, ...]:
    """What could be ordered now."""
    spent = case.spent()
    return tuple(
        quote
        for quote in case.turn.quotes(case.item)
        if within_price(case.item, quote)
        and budget(case.customer, spent, quote.price, case.at_ms).allowed
        and away(case.customer, case.at_ms, quote.widest_days()).allowed
    )
