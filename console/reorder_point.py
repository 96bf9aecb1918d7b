"""The reorder point of a slot: the level at which an order would go out, for bars and charts. Decisions are the reactor's.

It is the highest level at which the reactor's comparison of acting and waiting would act, with the use of the forecast.
What the reactor knows beyond the forecast (a learned shift, a supplier's answer, an absence) is left out, so it is an
approximation. Without a forecast it is use times lead time.
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
"""Steps of the bisection: the result is exact to 1/256 of the capacity, about one pixel of the chart."""
STEPS_PER_E_FOLD = 24
"""Steps per factor e to which durations are rounded, so 4 % each: coarse enough for the cache to be hit, and not visible."""
CACHE_MAX = 50_000
"""Most entries of the cache. A page needs the reorder point of every item each time it is shown, and uses change slowly."""
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
    """The level in the slot's unit, at most its capacity; None without a supplier.

    unit_price: cost of one unit, which is lost where a delivery does not fit. Where it is unknown, a pack is taken to cost
    as much as a stock-out: at no cost, the comparison would refill a measured slot at any level.
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
    """The slot's inputs of the comparison."""
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
    """Whether an order would go out at this level, with the use of `full`: half the level lasts half as long."""
    share = level / full.level
    there = replace(full, level=level, days=tuple(min(days * share, DAYS_MAX) for days in full.days))
    costs = replace(slot_costs(slot, there, None), unit_price=unit_price)
    answer_days = _ANSWER_DAYS[slot.experience]
    look_days = slot.look_every_s / SECONDS_A_DAY
    lead = lead_time_distribution(lead_time_days)
    found = evaluate_timing(there, there.at_ms, lead, costs, evaluation_days=look_days, answer_days=answer_days)
    return found.act
