"""The level at which an order would go out, for the mark on bars and charts. The decision itself is the reactor's.

Found with the reactor's own comparison of acting and waiting: the highest level at which it would act, were the item's use what
its forecast says. What that comparison knows beyond the forecast (a learned shift, a supplier's answer, an absence) is left
out, so it is a mark and not a promise. Where there is no forecast yet, it is the plain reorder point: use times lead time.
"""

from __future__ import annotations

import math
from dataclasses import replace

from config.fleet import Experience
from config.resolve import SlotItem
from reactor.experiences.asking import ANSWER_DAYS, LOOKING_DAYS
from reactor.experiences.case import SECONDS_A_DAY, slot_costs
from reactor.lead_time import lead_time
from reactor.policy import timing
from star.analyse import DAYS_MAX, Forecast

HALVINGS = 8
"""Steps of the search: the mark is right to a 256th of the capacity."""
USE_ROUNDED = 24
"""A time is taken as the nearest of so many steps to an e-fold, 4 % each: less would not be seen on the mark."""
KNOWN_MAX = 50_000
"""Points found that are remembered: a page asks for every item's each time it is shown, and uses change slowly."""
_known: dict[tuple[object, ...], float] = {}
_ANSWER_DAYS = {
    Experience.RESPOND: LOOKING_DAYS,
    Experience.OFFER: ANSWER_DAYS,
    Experience.COACH: ANSWER_DAYS,
    Experience.AUTO: 0.0,
}


def order_point(
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
    full_days = tuple(_rounded(days * slot.capacity / forecast.level) for days in forecast.days)
    full = replace(forecast, level=slot.capacity, days=full_days)
    key = (*_terms(slot), *full_days, *lead_time_days, unit_price)
    found = _known.get(key)
    if found is None:
        if len(_known) >= KNOWN_MAX:
            _known.clear()
        found = _known[key] = _search(slot, full, lead_time_days, unit_price)
    return found


def _rounded(days: float) -> float:
    return math.exp(round(math.log(max(days, 1e-3)) * USE_ROUNDED) / USE_ROUNDED)


def _terms(slot: SlotItem) -> tuple[object, ...]:
    """What of the slot the comparison rests on."""
    money = (slot.stockout_cost, slot.stockout_cost_per_day, slot.holding_cost_per_day)
    room = (slot.signal, slot.spare_packs, slot.capacity, slot.pack)
    return (*money, *room, slot.look_every_s, slot.experience)


def _search(slot: SlotItem, full: Forecast, lead_time_days: tuple[float, float], unit_price: float) -> float:
    low, high = 0.0, slot.capacity
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _acts(slot, full, middle, lead_time_days, unit_price):
            low = middle
        else:
            high = middle
    return low if low > 0.0 else high


def _acts(slot: SlotItem, full: Forecast, level: float, lead_time_days: tuple[float, float], unit_price: float) -> bool:
    """Whether an order would go out at this level, the use being that of `full`: half the level lasts half as long."""
    share = level / full.level
    there = replace(full, level=level, days=tuple(min(days * share, DAYS_MAX) for days in full.days))
    costs = replace(slot_costs(slot, there, None), unit_price=unit_price)
    answer_days = _ANSWER_DAYS[slot.experience]
    look_days = slot.look_every_s / SECONDS_A_DAY
    lead = lead_time(lead_time_days)
    found = timing(there, there.at_ms, lead, costs, look_days=look_days, answer_days=answer_days)
    return found.act
