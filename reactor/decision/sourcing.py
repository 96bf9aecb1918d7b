"""Sourcing: which supplier and how many packs, by total cost: price, order cost, timing and holding.

Each supplier is evaluated at its own best moment, and several packs against the same packs ordered one by one later. The
customer's first choice stands unless another order clearly saves money. Whether the chosen order goes out now or later is
decided by its timing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from config.catalogue import SlotItem
from reactor.decision.decision_context import DecisionContext, evaluate_slot, price_risk_of
from reactor.decision.quotes import Quote, bundles_of
from reactor.decision.reorder_policy import Timing

ON_TIME_LEVEL = 0.98
"""Share of orders that arrive in time, at which the usual waiting of a delivery is estimated."""
SWITCH_SAVING_MIN = 0.01
"""Least saving, as a share of a pack's price, for which another order replaces one pack of the first choice."""


def best_order(
    context: DecisionContext[SlotItem], quotes: tuple[Quote, ...], allowed: Callable[[Quote], bool] | None = None
) -> tuple[Quote, Timing]:
    """The cheapest of the quotes, and of their larger orders that are `allowed` (None: none is), with its timing.

    Suppliers that failed this need before are considered only where there is no other.
    """
    tried = () if context.need is None else context.need.tried
    quotes = tuple(quote for quote in quotes if quote.supplier not in tried) or quotes
    found = [(quote, evaluate_slot(context, quote, 0.0, exact=True)) for quote in quotes]
    costs = [quote.price + context.item.order_cost + _timing_cost(timing) for quote, timing in found]
    least = min(costs)
    if allowed is not None:
        for quote, timing in tuple(found):
            saved_per_pack = min(one.pack_price(context.item.pack) for one in quotes) + _usual_order_cost(
                context, quote, timing
            )
            for bundle in bundles_of(context.item, quote, context.view.catalogue):
                # The exact timing is evaluated only where the bundle's other costs leave it a chance.
                cost = bundle.price + context.item.order_cost + _later_packs_cost(context, bundle, saved_per_pack)
                if cost < least and allowed(bundle):
                    found.append((bundle, evaluate_slot(context, bundle, 0.0, exact=True)))
                    costs.append(cost + _timing_cost(found[-1][1]))
                    least = min(least, costs[-1])
    saved = costs[0] - least
    return (
        found[costs.index(least)] if saved > SWITCH_SAVING_MIN * quotes[0].pack_price(context.item.pack) else found[0]
    )


def _timing_cost(timing: Timing) -> float:
    """Expected cost of the order's timing at its best moment."""
    return min(timing.cost_now, timing.cost_wait)


def _usual_order_cost(context: DecisionContext[SlotItem], quote: Quote, timing: Timing) -> float:
    """Expected cost of an order beside its price when it goes out in time: it usually arrives early and is held meanwhile."""
    waits_days = quote.lead_time.quantile(ON_TIME_LEVEL) - quote.lead_time.quantile(0.5)
    return context.item.order_cost + min(_timing_cost(timing), context.item.holding_cost_per_day * waits_days)


def _later_packs_cost(context: DecisionContext[SlotItem], quote: Quote, saved_per_pack: float) -> float:
    """Holding cost of the packs after the first, less what is saved by not ordering them later.

    saved_per_pack: a later pack's price now, with the cost of its order.
    """
    assert context.forecast is not None
    packs = quote.quantity / context.item.pack
    rate = context.forecast.rate_per_day
    if rate <= 0.0:
        return math.inf
    lasts_days = context.item.pack / rate
    cost = context.item.holding_cost_per_day * lasts_days * packs * (packs - 1.0) / 2.0 - (packs - 1.0) * saved_per_pack
    risk = price_risk_of(context, quote)
    if risk is None:
        return cost
    days = lasts_days * np.arange(1.0, np.ceil(packs))
    expected_rise = risk.price_forecast.expected_change * risk.price_forecast.p_moved(days) + risk.refusal_cost(days)
    return cost - float(expected_rise.sum())
