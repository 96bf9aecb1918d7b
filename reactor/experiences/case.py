"""A case: one item at one moment, with all that a decision about it needs. Looks things up; decides nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

from config.fleet import Customer
from config.profiles import Signal
from config.resolve import PartItem, SlotItem
from reactor.lead_time import lead_time
from reactor.policy import Costs, Timing, timing
from reactor.prices import PriceOutlook
from reactor.quotes import LEAD_DAYS_DEFAULT, LEAD_TIME_DEFAULT, Quote, outlook_of
from reactor.rules.away import closed_days
from reactor.rules.budget import spent_in_month
from reactor.state import Need
from reactor.texts import amount_of, label_of, money, number, say, state_of
from reactor.turn import Turn
from star.analyse import Forecast, NeedKind

SECONDS_A_DAY = 86_400.0

AnyItem = TypeVar("AnyItem", SlotItem, PartItem, SlotItem | PartItem, covariant=True)


@dataclass(slots=True, kw_only=True)
class Case(Generic[AnyItem]):
    """need is None until there is one; `opened()` opens it. at_ms: the moment decided for, at most the tick's."""

    turn: Turn
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
    def look_days(self) -> float:
        """Until the item is looked at again if nothing comes: its profile's, or the ticks' where they are rarer."""
        return max(self.item.look_every_s / SECONDS_A_DAY, self.turn.look_gap_days)

    def opened(self) -> Need:
        """The case's need, opened if there is none yet."""
        if self.need is None:
            self.need = self.turn.open_need(self.item, self.kind, self.cause, self.at_ms)
        return self.need

    def spent(self) -> float:
        """What this month's budget is taken by already."""
        if self.customer.budget_per_month is None:
            return 0.0
        return spent_in_month(self.customer, self.turn.orders(self.customer.id), self.at_ms)

    def state(self) -> str:
        """How long the item lasts, in the customer's words."""
        return state_of(self.item, self.turn.catalogue, self.language, self.forecast)

    def words(
        self, quote: Quote | None = None, quantity: float | None = None, price: float | None = None
    ) -> dict[str, str]:
        """The figures of a sentence, written."""
        lead = LEAD_DAYS_DEFAULT if quote is None else quote.lead_days
        amount = quantity if quantity is not None else (1.0 if quote is None else quote.quantity)
        cost = price if price is not None else (0.0 if quote is None else quote.price)
        return {
            "state": self.state(),
            "label": label_of(self.item, self.turn.catalogue, self.language),
            "device": self.item.device,
            "supplier": "" if quote is None else quote.supplier,
            "amount": amount_of(amount, self.item, self.language),
            "price": money(cost, self.language),
            "from_days": number(lead[0], self.language),
            "to_days": number(lead[1], self.language),
        }

    def say(self, key: str, **figures: str) -> str:
        """A sentence in the customer's language."""
        return say(self.language, key, **figures)


def slot_timing(case: Case[SlotItem], quote: Quote | None, answer_days: float, *, exact: bool = False) -> Timing:
    """Whether to act on the slot now, with an order like `quote` and an answer that takes so long. exact: as in `timing`."""
    assert case.forecast is not None
    lead = LEAD_TIME_DEFAULT if quote is None else quote.lead
    closed: tuple[tuple[float, float], ...] = ()
    if case.customer.away:
        closed = closed_days(case.customer, case.at_ms, LEAD_DAYS_DEFAULT if quote is None else quote.widest_days())
    costs = case_costs(case, quote)
    return timing(
        case.forecast,
        case.at_ms,
        lead,
        costs,
        look_days=case.look_days,
        answer_days=answer_days,
        closed_days=closed,
        prices=None if quote is None else price_outlook(case, quote),
        exact=exact,
    )


def case_costs(case: Case[SlotItem], quote: Quote | None) -> Costs:
    """The slot's costs, as the customer's words on earlier moments have moved them."""
    assert case.forecast is not None
    memory = case.turn.state.items.get(case.item.key)
    costs = slot_costs(case.item, case.forecast, quote)
    return costs.shifted(memory.shift) if memory is not None and memory.shift else costs


def price_outlook(case: Case[SlotItem], quote: Quote) -> PriceOutlook | None:
    """What waiting does to the price of an order like `quote`; None where prices never moved."""
    turn = case.turn
    aheads = outlook_of(case.item, turn.quotes(case.item), turn.catalogue, turn.state, case.at_ms)
    if not aheads:
        return None
    return PriceOutlook(
        ahead=aheads[quote.supplier],
        sellers=tuple(aheads.values()),
        packs=quote.quantity / case.item.pack,
        stockout=case.item.stockout_cost,
        per_day=case.item.stockout_cost_per_day,
    )


def slot_costs(item: SlotItem, forecast: Forecast, quote: Quote | None) -> Costs:
    """The slot's costs. What does not fit is lost only where a level is measured and packs don't wait unopened."""
    clipped = item.signal is Signal.LEVEL and not item.spare_packs
    quantity = item.pack if quote is None else quote.quantity
    return Costs(
        stockout=item.stockout_cost,
        per_day=item.stockout_cost_per_day,
        holding=item.holding_cost_per_day * max(quantity / item.pack, 1.0),
        room=max(item.capacity - forecast.level, 0.0) if clipped else None,
        quantity=quantity,
        unit_price=0.0 if quote is None else quote.price / quote.quantity,
        lasts_days=quantity / forecast.rate_per_day if forecast.rate_per_day > 0.0 else math.inf,
        packs_left=max(forecast.level, 0.0) / item.pack,
        counted=item.signal is Signal.USAGE,
        level=max(forecast.level, 0.0),
    )


def part_timing(case: Case[PartItem], lead_days: tuple[float, float], answer_days: float) -> Timing:
    """Whether to act on the part now: a failure costs what running out does, a service too early loses what is left of it."""
    assert case.forecast is not None
    costs = part_costs(case.item)
    lead = lead_time(lead_days)
    return timing(case.forecast, case.at_ms, lead, costs, look_days=case.look_days, answer_days=answer_days)


INTERVAL_DAYS = 180.0
"""A service done a day early loses this share of its cost."""
OVERDUE_DAYS = 90.0
"""A part overdue for so long has cost a failure: wear is not a cliff like an empty tank."""


def part_costs(item: PartItem) -> Costs:
    """A part's costs: being overdue costs by the day, and doing it early wastes the service's."""
    return Costs(
        stockout=0.0, per_day=item.failure_cost / OVERDUE_DAYS, holding=max(item.service_cost, 0.01) / INTERVAL_DAYS
    )
