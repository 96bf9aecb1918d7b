"""Summaries of items and of the fleet: the figures of a row and of the head of an item's page, formatted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from config.catalogue import SlotItem
from console.backend import Item
from console.formatting import Formatter
from star.analyse import QUANTILES, Forecast

TRUST_LOW = 0.5
"""Trust below which it is shown as a warning. Higher would warn of most new devices, lower of hardly any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSummary:
    """The figures of an item. Texts are empty where there is no forecast; shares are 0 to 1 of the capacity."""

    item: Item
    forecast: Forecast | None
    share: float | None
    level: str
    level_detail: str
    order_share: float | None
    below: bool
    empty: str
    empty_range: str
    trust: str
    trust_low: bool

    @property
    def bar(self) -> float:
        """The length of the bar, 0 to 1."""
        return min(1.0, max(0.0, self.share or 0.0))


def summarize_item(
    item: Item, forecast: Forecast | None, reorder_point: float | None, formats: Formatter
) -> ItemSummary:
    """The figures of one item. reorder_point: in the slot's unit; None for a part, which is due when nothing is left."""
    capacity = item.capacity if isinstance(item, SlotItem) else 1.0
    order_share = None if reorder_point is None else reorder_point / capacity
    if forecast is None:
        return ItemSummary(
            item=item,
            forecast=None,
            share=None,
            level="",
            level_detail="",
            order_share=order_share,
            below=False,
            empty="",
            empty_range="",
            trust="",
            trust_low=False,
        )
    share = forecast.level / capacity
    low, middle, high = (forecast.days[QUANTILES.index(level)] for level in (0.05, 0.5, 0.95))
    return ItemSummary(
        item=item,
        forecast=forecast,
        share=share,
        level=formats.percent(share, 1 if share < 1 else 0),
        level_detail=_detail(item, forecast, formats),
        order_share=order_share,
        below=share <= order_share if order_share is not None else share <= 0,
        empty=formats.days(middle),
        empty_range=formats.range_without_unit(low, high),
        trust=formats.percent(forecast.trust),
        trust_low=forecast.trust < TRUST_LOW,
    )


def _detail(item: Item, forecast: Forecast, formats: Formatter) -> str:
    if not isinstance(item, SlotItem) or item.unit == "%":
        return ""
    level, capacity = formats.number(forecast.level), formats.quantity(item.capacity, item.unit)
    return formats.texts("fleet.level_of", level=level, capacity=capacity)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSummary:
    """The figures of the cards above the fleet."""

    items: int
    below: int
    needs_you: int
    trust: str


def summarize_fleet(rows: Sequence[ItemSummary], needs_you: int, formats: Formatter) -> FleetSummary:
    """The figures of the fleet's items together."""
    trusts = [row.forecast.trust for row in rows if row.forecast is not None]
    return FleetSummary(
        items=len(rows),
        below=sum(row.below for row in rows),
        needs_you=needs_you,
        trust=formats.percent(median(trusts)) if trusts else "–",
    )


def quantile_rows(forecast: Forecast, formats: Formatter) -> list[dict[str, Any]]:
    """The forecast as a table: the probability of being empty, and after how long."""
    return [
        {
            "chance": formats.percent(level),
            "days": formats.days(forecast.days[QUANTILES.index(level)]),
        }
        for level in (0.05, 0.25, 0.5, 0.75, 0.95)
    ]
