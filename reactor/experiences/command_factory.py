"""Commands composed with what their receipts hold: rules, figures, and the alternative that was not taken.

Whether and when to order, book, prompt or hold is decided by the experiences.
"""

from __future__ import annotations

from config.catalogue import PartItem, SlotItem
from reactor.commands import BookService, Hold, PlaceOrder, PromptCustomer, Rationale
from reactor.decision.decision_context import DecisionContext
from reactor.decision.lead_time import lost_after_days
from reactor.decision.quotes import Quote
from reactor.decision.reorder_policy import Timing
from reactor.i18n import format_money, format_number
from reactor.state import TimerKind
from star.react import Option, ReactionType, RuleVerdict
from star.times import DAY_MS, HOUR_MS

AnyContext = DecisionContext[SlotItem] | DecisionContext[PartItem] | DecisionContext[SlotItem | PartItem]

CANCEL_WINDOW_MS = 12 * HOUR_MS
"""How long a customer can cancel an order freely, unless it is needed sooner. It trades time to object against the delivery."""
CANCEL_WINDOW_MIN_MS = HOUR_MS
"""The same at least, however soon the order is needed."""
BOOKING_TIMEOUT_DAYS = 45.0
"""Days after which a booked service without an outcome counts as lost. It trades a service that is booked twice against a part
that nobody looks after."""


def place_order(
    context: DecisionContext[SlotItem],
    quote: Quote,
    because: str,
    *,
    rules: tuple[RuleVerdict, ...],
    timing: Timing | None = None,
) -> PlaceOrder:
    """An order like `quote`. The item has no order that may still arrive: the caller made sure."""
    lead_days = quote.arrival_window_days()
    return PlaceOrder(
        target=context.target,
        rationale=Rationale(
            because=because,
            rules=rules,
            alternative=_waiting_alternative(context, timing),
            figures=_order_figures(context, quote, timing),
        ),
        option=Option(sku=quote.sku or "", supplier=quote.supplier, quantity=quote.quantity, price=quote.price, why=""),
        lead_days=lead_days,
        deadline_ms=context.at_ms + round(lost_after_days(lead_days) * DAY_MS),
        cancel_before_ms=context.at_ms + _cancel_window_ms(context, quote),
    )


def book_service(
    context: DecisionContext[PartItem],
    because: str,
    option: Option,
    *,
    rules: tuple[RuleVerdict, ...],
    timing: Timing | None = None,
) -> BookService:
    """A booking of the service `option`."""
    return BookService(
        target=context.target,
        rationale=Rationale(
            because=because,
            rules=rules,
            alternative=_waiting_alternative(context, timing),
            figures={"price": option.price, **(timing.figures() if timing else {})},
        ),
        option=option,
        lead_days=(1.0, BOOKING_TIMEOUT_DAYS),
        deadline_ms=context.at_ms + round(BOOKING_TIMEOUT_DAYS * DAY_MS),
    )


def prompt_customer(
    context: AnyContext,
    kind: ReactionType,
    because: str,
    options: tuple[Option, ...],
    *,
    rules: tuple[RuleVerdict, ...],
    timing: Timing | None = None,
    hold_until_ms: int | None = None,
) -> PromptCustomer:
    """An offer, a reminder or a ready request. The contact rules allow it: the caller made sure."""
    return PromptCustomer(
        target=context.target,
        rationale=Rationale(
            because=because,
            rules=rules,
            alternative=_refused_alternative(context, rules) or _waiting_alternative(context, timing),
            figures=({"price": options[0].price} if options else {}) | (timing.figures() if timing else {}),
        ),
        kind=kind,
        options=options,
        hold_until_ms=hold_until_ms,
    )


def hold_decision(
    context: AnyContext, refusal: RuleVerdict, rules: tuple[RuleVerdict, ...], *, timer: TimerKind
) -> Hold:
    """A hold until the moment that the refusal names, if any, recorded once."""
    because = context.translate("held", state=context.remaining_text(), reason=refusal.reason)
    return Hold(
        target=context.target,
        rationale=Rationale(because=because, rules=rules),
        timer=timer,
        until_ms=refusal.until_ms,
        dedup_key=f"{refusal.rule}:{refusal.until_ms or ''}",
    )


def _cancel_window_ms(context: DecisionContext[SlotItem], quote: Quote) -> int:
    """How long the customer can cancel: less than the usual window where the order is needed soon."""
    if context.forecast is None:
        return CANCEL_WINDOW_MIN_MS
    slack_ms = round((context.forecast.days[1] - quote.lead_days[1]) * DAY_MS)
    return min(CANCEL_WINDOW_MS, max(slack_ms, CANCEL_WINDOW_MIN_MS))


def _order_figures(context: DecisionContext[SlotItem], quote: Quote, timing: Timing | None) -> dict[str, float]:
    figures = {
        "price": quote.price,
        "quantity": quote.quantity,
        "lead_days_10": round(quote.lead_days[0], 4),
        "lead_days_90": round(quote.lead_days[1], 4),
        "stockout_cost": context.item.stockout_cost,
        "stockout_cost_per_day": context.item.stockout_cost_per_day,
        "holding_cost_per_day": context.item.holding_cost_per_day,
    }
    if context.forecast is not None:
        figures["order_point"] = round(max(context.forecast.level, 0.0), 6)
    shift = context.view.item_record(context.item.key).shift
    if shift:
        figures["timing_shift"] = shift
    return figures | (timing.figures() if timing else {})


def _waiting_alternative(context: AnyContext, timing: Timing | None) -> str:
    if timing is None:
        return ""
    return context.translate(
        "alternative_wait",
        days=format_number(timing.wait_days, context.language, 2),
        later=format_money(timing.cost_wait, context.language),
        now=format_money(timing.cost_now, context.language),
    )


def _refused_alternative(context: AnyContext, rules: tuple[RuleVerdict, ...]) -> str:
    """The order that price or budget ruled out, where one of them did."""
    refusal = next((rule for rule in rules if not rule.allowed and rule.rule in ("price", "budget")), None)
    return "" if refusal is None else context.translate("alternative_order", reason=refusal.reason)
