"""The level at which an order would go out, for the mark on bars and charts. The decision itself is the reactor's.

Exact where the latest receipt says it (`order_point` among its figures); else what is used up, at the forecast's own rate,
in the 90 % lead time: the plain reorder point, near enough for a mark.
"""

from __future__ import annotations

from config.resolve import SlotItem
from star.analyse import Forecast
from star.react import Decision

FIGURE = "order_point"
"""The figure of a receipt that holds the level at which the order went out."""


def order_point(
    slot: SlotItem,
    forecast: Forecast | None,
    lead_time_days: tuple[float, float] | None,
    decision: Decision | None = None,
) -> float | None:
    """The level in the slot's unit, at most its capacity; None where neither a receipt nor a lead time says it."""
    if decision is not None and FIGURE in decision.figures:
        return min(decision.figures[FIGURE], slot.capacity)
    if lead_time_days is None:
        return None
    rate = slot.rate_per_day if forecast is None else forecast.rate_per_day
    return min(rate * lead_time_days[1], slot.capacity)
