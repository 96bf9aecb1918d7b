"""Which order: of whom and how many packs, by what it costs in the end - its price, the order, its moment, the cupboard.

A slow supplier is weighed at its own best moment against a faster one at its own, several packs against the same packs ordered
one by one later. The customer's first choice stands unless another order clearly saves money. Whether that best order goes out
now or later is its own timing's to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from config.resolve import SlotItem
from reactor.experiences.case import Case, price_outlook, slot_timing
from reactor.policy import Timing
from reactor.quotes import Quote, bundles_of

IN_TIME = 0.98
"""So many orders come in time."""
SWITCH_SHARE = 0.01
"""Another order than one pack of the first choice must save this share of a pack's price."""


def best_order(
    case: Case[SlotItem], quotes: tuple[Quote, ...], allowed: Callable[[Quote], bool] | None = None
) -> tuple[Quote, Timing]:
    """The best of the quotes, and of the larger orders that are `allowed` (None: none is), with its timing.

    Suppliers that this need has tried in vain come last.
    """
    tried = () if case.need is None else case.need.tried
    quotes = tuple(quote for quote in quotes if quote.supplier not in tried) or quotes
    found = [(quote, slot_timing(case, quote, 0.0, exact=True)) for quote in quotes]
    costs = [quote.price + case.item.order_cost + _moment(timing) for quote, timing in found]
    least = min(costs)
    if allowed is not None:
        for quote, timing in tuple(found):
            spared = min(one.pack_price(case.item.pack) for one in quotes) + _usual_order(case, quote, timing)
            for bundle in bundles_of(case.item, quote, case.turn.catalogue):
                # What its later packs cost is soon too much: then nothing of its moment needs to be known.
                cost = bundle.price + case.item.order_cost + _later_packs(case, bundle, spared)
                if cost < least and allowed(bundle):
                    found.append((bundle, slot_timing(case, bundle, 0.0, exact=True)))
                    costs.append(cost + _moment(found[-1][1]))
                    least = min(least, costs[-1])
    saved = costs[0] - least
    return found[costs.index(least)] if saved > SWITCH_SHARE * quotes[0].pack_price(case.item.pack) else found[0]


def _moment(timing: Timing) -> float:
    """What the order's best moment costs."""
    return min(timing.cost_now, timing.cost_wait)


def _usual_order(case: Case[SlotItem], quote: Quote, timing: Timing) -> float:
    """What an order costs beside its price when it goes out in time: it waits for what the longest lead times leave over."""
    waits_days = quote.lead.quantile(IN_TIME) - quote.lead.quantile(0.5)
    return case.item.order_cost + min(_moment(timing), case.item.holding_cost_per_day * waits_days)


def _later_packs(case: Case[SlotItem], quote: Quote, spared: float) -> float:
    """What it costs that the packs after the first wait for those before, less what is spared by not ordering them then.

    spared: a later pack's price now, and its order.
    """
    assert case.forecast is not None
    packs = quote.quantity / case.item.pack
    rate = case.forecast.rate_per_day
    if rate <= 0.0:
        return math.inf
    lasts_days = case.item.pack / rate
    cost = case.item.holding_cost_per_day * lasts_days * packs * (packs - 1.0) / 2.0 - (packs - 1.0) * spared
    outlook = price_outlook(case, quote)
    if outlook is None:
        return cost
    days = lasts_days * np.arange(1.0, np.ceil(packs))
    dearer = outlook.ahead.gap * outlook.ahead.moved(days) + outlook.refused(days)
    return cost - float(dearer.sum())
