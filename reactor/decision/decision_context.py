"""The context of a decision: one item at one moment, read-only, with the arithmetic that every experience shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

from config.catalogue import PartItem, SlotItem
from config.fleet import Customer
from config.profile_schema import SlotSignal
from reactor.commands import NeedTarget
from reactor.decision.lead_time import lead_time_distribution
from reactor.decision.price_model import PriceRisk
from reactor.decision.quotes import LEAD_DAYS_DEFAULT, LEAD_TIME_DEFAULT, Quote
from reactor.decision.reorder_policy import Costs, Timing, evaluate_timing
from reactor.i18n import format_money, format_number, item_label, quantity_text, remaining_text, translate
from reactor.rules.absence import blocked_days
from reactor.rules.budget import spent_in_month
from reactor.state import Need
from reactor.state_view import StateView
from star.analyse import Forecast, NeedKind

SECONDS_A_DAY = 86_400.0

AnyItem = TypeVar("AnyItem", SlotItem, PartItem, SlotItem | PartItem, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionContext(Generic[AnyItem]):
    """need: the item's live need, None where it has none. at_ms: the moment decided for, at most the tick's."""

    view: StateView
    item: AnyItem
    customer: Customer
    need: Need | None
    forecast: Forecast | None
    at_ms: int
    kind: NeedKind
    cause: str

    @property
    def language(self) -> str:
        """The customer's."""
        return self.customer.language

    @property
    def evaluation_days(self) -> float:
        """Until the item is looked at again if nothing comes: its profile's, or the ticks' where they are rarer."""
        return max(self.item.look_every_s / SECONDS_A_DAY, self.view.evaluation_gap_days)

    @property
    def target(self) -> NeedTarget:
        """The need that a command is about."""
        return NeedTarget(
            item=self.item.key,
            customer=self.item.customer,
            kind=self.kind,
            cause=self.cause,
            at_ms=self.at_ms,
            forecast=self.forecast,
        )

    def spent_this_month(self) -> float:
        """What this month's budget is taken by already."""
        if self.customer.budget_per_month is None:
            return 0.0
        return spent_in_month(self.customer, self.view.orders_of(self.customer.id), self.at_ms)

    def remaining_text(self) -> str:
        """How long the item lasts, in the customer's words."""
        return remaining_text(self.item, self.view.catalogue, self.language, self.forecast)

    def message_fields(
        self, quote: Quote | None = None, quantity: float | None = None, price: float | None = None
    ) -> dict[str, str]:
        """The figures of a sentence, written."""
        lead = LEAD_DAYS_DEFAULT if quote is None else quote.lead_days
        amount = quantity if quantity is not None else (1.0 if quote is None else quote.quantity)
        cost = price if price is not None else (0.0 if quote is None else quote.price)
        return {
            "state": self.remaining_text(),
            "label": item_label(self.item, self.view.catalogue, self.language),
            "device": self.item.device,
            "supplier": "" if quote is None else quote.supplier,
            "amount": quantity_text(amount, self.item, self.language),
            "price": format_money(cost, self.language),
            "from_days": format_number(lead[0], self.language),
            "to_days": format_number(lead[1], self.language),
        }

    def translate(self, key: str, **figures: str) -> str:
        """A sentence in the customer's language."""
        return translate(self.language, key, **figures)


def evaluate_slot(
    context: DecisionContext[SlotItem], quote: Quote | None, answer_days: float, *, exact: bool = False
) -> Timing:
    """Whether to act on the slot now, with an order like `quote` and an answer that takes so long. exact: as in `timing`."""
    assert context.forecast is not None
    lead = LEAD_TIME_DEFAULT if quote is None else quote.lead_time
    closed: tuple[tuple[float, float], ...] = ()
    if context.customer.away:
        closed = blocked_days(
            context.customer, context.at_ms, LEAD_DAYS_DEFAULT if quote is None else quote.arrival_window_days()
        )
    costs = adjusted_costs(context, quote)
    return evaluate_timing(
        context.forecast,
        context.at_ms,
        lead,
        costs,
        evaluation_days=context.evaluation_days,
        answer_days=answer_days,
        blocked_days=closed,
        prices=None if quote is None else price_risk_of(context, quote),
        exact=exact,
    )


def adjusted_costs(context: DecisionContext[SlotItem], quote: Quote | None) -> Costs:
    """The slot's costs, as the customer's words on earlier moments have moved them."""
    assert context.forecast is not None
    shift = context.view.item_record(context.item.key).shift
    costs = slot_costs(context.item, context.forecast, quote)
    return costs.with_timing_shift(shift) if shift else costs


def price_risk_of(context: DecisionContext[SlotItem], quote: Quote) -> PriceRisk | None:
    """What waiting does to the price of an order like `quote`; None where prices never moved."""
    forecasts = context.view.price_forecasts(context.item, context.at_ms)
    if not forecasts:
        return None
    return PriceRisk(
        price_forecast=forecasts[quote.supplier],
        supplier_forecasts=tuple(forecasts.values()),
        packs=quote.quantity / context.item.pack,
        stockout_cost=context.item.stockout_cost,
        stockout_cost_per_day=context.item.stockout_cost_per_day,
    )


def slot_costs(item: SlotItem, forecast: Forecast, quote: Quote | None) -> Costs:
    """The slot's costs. What does not fit is lost only where a level is measured and packs don't wait unopened."""
    clipped = item.signal is SlotSignal.LEVEL and not item.spare_packs
    quantity = item.pack if quote is None else quote.quantity
    return Costs(
        stockout_cost=item.stockout_cost,
        stockout_cost_per_day=item.stockout_cost_per_day,
        holding_cost_per_day=item.holding_cost_per_day * max(quantity / item.pack, 1.0),
        headroom=max(item.capacity - forecast.level, 0.0) if clipped else None,
        quantity=quantity,
        unit_price=0.0 if quote is None else quote.price / quote.quantity,
        lasts_days=quantity / forecast.rate_per_day if forecast.rate_per_day > 0.0 else math.inf,
        packs_left=max(forecast.level, 0.0) / item.pack,
        counted=item.signal is SlotSignal.USAGE,
        level=max(forecast.level, 0.0),
    )


def evaluate_part(context: DecisionContext[PartItem], lead_days: tuple[float, float], answer_days: float) -> Timing:
    """Whether to act on the part now: a failure costs what running out does, a service too early loses what is left of it."""
    assert context.forecast is not None
    costs = part_costs(context.item)
    lead = lead_time_distribution(lead_days)
    return evaluate_timing(
        context.forecast, context.at_ms, lead, costs, evaluation_days=context.evaluation_days, answer_days=answer_days
    )


SERVICE_INTERVAL_DAYS = 180.0
"""A service done a day early loses this share of its cost."""
PART_OVERDUE_DAYS = 90.0
"""A part overdue for so long has cost a failure: wear is not a cliff like an empty tank."""


def part_costs(item: PartItem) -> Costs:
    """A part's costs: being overdue costs by the day, and doing it early wastes the service's."""
    return Costs(
        stockout_cost=0.0,
        stockout_cost_per_day=item.failure_cost / PART_OVERDUE_DAYS,
        holding_cost_per_day=max(item.service_cost, 0.01) / SERVICE_INTERVAL_DAYS,
    )
