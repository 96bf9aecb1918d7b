"""Which order: of whom and how many packs, by what a pack costs in the end - its price, the order, its moment, the cupboard.

A slow supplier is weighed at its own best moment against a faster one at its own, several packs against the same packs ordered
one by one later. The customer's first choice stands unless another order clearly saves money. Whether that best order goes out
now or later is its own timing's to say.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from config.resolve import SlotItem
from reactor.experiences.case import Case, price_outlook, slot_timing
from reactor.policy import Timing
from reactor.quotes import Quote, bundles_of

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
    found = [(quote, slot_timing(case, quote, 0.0)) for quote in quotes]
    costs = [_pack_cost(case, quote, timing) for quote, timing in found]
    least = min(costs)
    if allowed is not None:
        for quote in quotes:
            for bundle in bundles_of(case.item, quote, case.turn.catalogue):
                # What its later packs cost at least is soon too much: then nothing of its moment needs to be known.
                if _pack_cost(case, bundle, None) < least and allowed(bundle):
                    found.append((bundle, slot_timing(case, bundle, 0.0)))
                    costs.append(_pack_cost(case, *found[-1]))
                    least = min(least, costs[-1])
    saved = costs[0] - least
    return found[costs.index(least)] if saved > SWITCH_SHARE * quotes[0].pack_price(case.item.pack) else found[0]


def _pack_cost(case: Case[SlotItem], quote: Quote, timing: Timing | None) -> float:
    """What a pack of this order costs at its best moment; without a timing at least that."""
    packs = quote.quantity / case.item.pack
    moment = 0.0 if timing is None else min(timing.cost_now, timing.cost_wait)
    return (quote.price + case.item.order_cost + moment + _later_packs(case, quote, packs)) / packs


def _later_packs(case: Case[SlotItem], quote: Quote, packs: float) -> float:
    """What it costs that the packs after the first wait for those before, less what ordering them then would cost more."""
    assert case.forecast is not None
    if packs <= 1.0:
        return 0.0
    rate = case.forecast.rate_per_day
    lasts_days = case.item.pack / rate if rate > 0.0 else np.inf
    holding = case.item.holding_cost_per_day * lasts_days * packs * (packs - 1.0) / 2.0
    outlook = price_outlook(case, quote)
    if outlook is None or not np.isfinite(lasts_days):
        return float(holding)
    days = lasts_days * np.arange(1.0, np.ceil(packs))
    dearer = outlook.ahead.gap * outlook.ahead.moved(days) + outlook.refused(days)
    return float(holding - dearer.sum())
