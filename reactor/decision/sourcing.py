"""Which order: of whom and how many packs, by what it costs in the end - its price, the order, its moment, the cupboard.

A slow supplier is weighed at its own best moment against a faster one at its own, several packs against the same packs ordered
one by one later. The customer's first choice stands unless another order clearly saves money. Whether that best order goes out
now or later is its own timing's to say.
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
"""So many orders come in time."""
SWITCH_SAVING_MIN = 0.01
"""Another order than one pack of the first choice must save this share of a pack's price."""


def best_order(
    context: DecisionContext[SlotItem], quotes: tuple[Quote, ...], allowed: Callable[[Quote], bool] | None = None
) -> tuple[Quote, Timing]:
    """The best of the quotes, and of the larger orders that are `allowed` (None: none is), with its timing.

    Suppliers that this need has tried in vain come last.
    """
    tried = () if context.need is None else context.need.tried
    quotes = tuple(quote for quote in quotes if quote.supplier not in tried) or quotes
    found = [(quote, evaluate_slot(context, quote, 0.0, exact=True)) for quote in quotes]
    costs = [quote.price + context.item.order_cost + _timing_cost(timing) for quote, timing in found]
    least = min(costs)
    if allowed is not None:
        for quote, timing in tuple(found):
            spared = min(one.pack_price(context.item.pack) for one in quotes) + _usual_order_cost(
                context, quote, timing
            )
            for bundle in bundles_of(context.item, quote, context.view.catalogue):
                # What its later packs cost is soon too much: then nothing of its moment needs to be known.
                cost = bundle.price + context.item.order_cost + _later_packs_cost(context, bundle, spared)
                if cost < least and allowed(bundle):
                    found.append((bundle, evaluate_slot(context, bundle, 0.0, exact=True)))
                    costs.append(cost + _timing_cost(found[-1][1]))
                    least = min(least, costs[-1])
    saved = costs[0] - least
    return (
        found[costs.index(least)] if saved > SWITCH_SAVING_MIN * quotes[0].pack_price(context.item.pack) else found[0]
    )


def _timing_cost(timing: Timing) -> float:
    """What the order's best moment costs."""
    return min(timing.cost_now, timing.cost_wait)


def _usual_order_cost(context: DecisionContext[SlotItem], quote: Quote, timing: Timing) -> float:
    """What an order costs beside its price when it goes out in time: it waits for what the longest lead times leave over."""
    waits_days = quote.lead_time.quantile(ON_TIME_LEVEL) - quote.lead_time.quantile(0.5)
    return context.item.order_cost + min(_timing_cost(timing), context.item.holding_cost_per_day * waits_days)


def _later_packs_cost(context: DecisionContext[SlotItem], quote: Quote, saved_per_pack: float) -> float:
    """What it costs that the packs after the first wait for those before, less what is spared by not ordering them then.

    spared: a later pack's price now, and its order.
    """
    assert context.forecast is not None
    packs = quote.quantity / context.item.pack
    rate = context.forecast.rate_per_day
    if rate <= 0.0:
        return math.inf
    lasts_days = context.item.pack / rate
    cost = context.item.holding_cost_per_day * lasts_days * packs * (packs - 1.0) / 2.0 - (packs - 1.0) * saved_per_pack
    outlook = price_risk_of(context, quote)
    if outlook is None:
        return cost
    days = lasts_days * np.arange(1.0, np.ceil(packs))
    dearer = outlook.price_forecast.expected_change * outlook.price_forecast.p_moved(days) + outlook.refusal_cost(days)
    return cost - float(dearer.sum())
