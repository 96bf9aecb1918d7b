"""The level at which an order would go out, for the mark on bars and charts. The decision itself is the reactor's.

Found with the reactor's own comparison of acting and waiting: the highest level at which it would act, were the item's use what
its forecast says. What that comparison knows beyond the forecast (a learned shift, a supplier's answer, an absence) is left
out, so it is a mark and not a promise. Where there is no forecast yet, it is the plain reorder point: use times lead time.
"""

from __future__ import annotations

import math
from dataclasses import replace

from config.catalogue import SlotItem
from config.fleet import Experience
from reactor.decision.decision_context import SECONDS_A_DAY, slot_costs
from reactor.decision.lead_time import lead_time_distribution
from reactor.decision.reorder_policy import evaluate_timing
from reactor.experiences.contact_policy import RESPONSE_DAYS, UNNOTIFIED_RESPONSE_DAYS
from star.analyse import DAYS_MAX, Forecast

BISECTION_STEPS = 8
"""Steps of the search: the mark is right to a 256th of the capacity."""
STEPS_PER_E_FOLD = 24
"""A time is taken as the nearest of so many steps to an e-fold, 4 % each: less would not be seen on the mark."""
CACHE_MAX = 50_000
"""Points found that are remembered: a page asks for every item's each time it is shown, and uses change slowly."""
_cache: dict[tuple[object, ...], float] = {}
_ANSWER_DAYS = {
    Experience.RESPOND: UNNOTIFIED_RESPONSE_DAYS,
    Experience.OFFER: RESPONSE_DAYS,
    Experience.COACH: RESPONSE_DAYS,
    Experience.AUTO: 0.0,
}


def reorder_point(
    slot: SlotItem,
    forecast: Forecast | None,
    lead_time_days: tuple[float, float] | None,
    unit_price: float | None = None,
) -> float | None:
    """The level in the slot's unit, at most its capacity; None where nobody delivers.

    unit_price: what one unit costs, which is lost where it does not fit. Not known, it is taken that a pack is worth one
    run-out: with nothing to lose, the comparison would fill a measured slot up at any level.
    """
    if lead_time_days is None:
        return None
    if unit_price is None:
        unit_price = slot.stockout_cost / slot.pack
    if forecast is None or forecast.level <= 0.0 or forecast.days[-1] <= 0.0:
        rate = slot.rate_per_day if forecast is None else forecast.rate_per_day
        return min(rate * lead_time_days[1], slot.capacity)
    full_days = tuple(_quantized_days(days * slot.capacity / forecast.level) for days in forecast.days)
    full = replace(forecast, level=slot.capacity, days=full_days)
    key = (*_cache_terms(slot), *full_days, *lead_time_days, unit_price)
    found = _cache.get(key)
    if found is None:
        if len(_cache) >= CACHE_MAX:
            _cache.clear()
        found = _cache[key] = _search(slot, full, lead_time_days, unit_price)
    return found


def _quantized_days(days: float) -> float:
    return math.exp(round(math.log(max(days, 1e-3)) * STEPS_PER_E_FOLD) / STEPS_PER_E_FOLD)


def _cache_terms(slot: SlotItem) -> tuple[object, ...]:
    """What of the slot the comparison rests on."""
    money = (slot.stockout_cost, slot.stockout_cost_per_day, slot.holding_cost_per_day)
    room = (slot.signal, slot.spare_packs, slot.capacity, slot.pack)
    return (*money, *room, slot.look_every_s, slot.experience)


def _search(slot: SlotItem, full: Forecast, lead_time_days: tuple[float, float], unit_price: float) -> float:
    low, high = 0.0, slot.capacity
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        if _would_order(slot, full, middle, lead_time_days, unit_price):
            low = middle
        else:
            high = middle
    return low if low > 0.0 else high


def _would_order(
    slot: SlotItem, full: Forecast, level: float, lead_time_days: tuple[float, float], unit_price: float
) -> bool:
    """Whether an order would go out at this level, the use being that of `full`: half the level lasts half as long."""
    share = level / full.level
    there = replace(full, level=level, days=tuple(min(days * share, DAYS_MAX) for days in full.days))
    costs = replace(slot_costs(slot, there, None), unit_price=unit_price)
    answer_days = _ANSWER_DAYS[slot.experience]
    look_days = slot.look_every_s / SECONDS_A_DAY
    lead = lead_time_distribution(lead_time_days)
    found = evaluate_timing(there, there.at_ms, lead, costs, evaluation_days=look_days, answer_days=answer_days)
    return found.act
