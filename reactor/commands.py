"""Carrying decisions out: ordering, booking, asking, holding - each with its receipt. Whether and when is the experiences'."""

from __future__ import annotations

from dataclasses import replace

from config.catalogue import PartItem, SlotItem
from reactor.decision.decision_context import DecisionContext
from reactor.decision.lead_time import lost_after_days
from reactor.decision.quotes import Quote
from reactor.decision.reorder_policy import Timing
from reactor.i18n import format_money, format_number
from reactor.rules.contact_limit import check_contact_limit
from reactor.rules.quiet_hours import check_quiet_hours
from reactor.state import Authorization, Order, TimerKind
from reactor.unit_of_work import REFUSED, WAIT
from star.react import Option, ReactionType, RuleVerdict
from star.repeat import NeedState
from star.times import DAY_MS, HOUR_MS

AnyContext = DecisionContext[SlotItem] | DecisionContext[PartItem] | DecisionContext[SlotItem | PartItem]

CANCEL_WINDOW_MS = 12 * HOUR_MS
"""How long a customer can cancel an automatic order freely, unless it is needed sooner."""
CANCEL_WINDOW_MIN_MS = HOUR_MS
BOOKING_TIMEOUT_DAYS = 45.0
"""A booked service that nobody reports on is looked at again after so long."""
PROMPTED_STATE = {
    ReactionType.REQUEST_READY: NeedState.READIED,
    ReactionType.OFFER_MADE: NeedState.OFFERED,
    ReactionType.REMINDER_SENT: NeedState.REMINDED,
}
"""What a need becomes by each way of asking."""


def place_order(
    context: DecisionContext[SlotItem],
    quote: Quote,
    because: str,
    *,
    rules: tuple[RuleVerdict, ...] = (),
    timing: Timing | None = None,
    cancellable: bool = False,
    alternative: str = "",
) -> None:
    """Orders like `quote`. The item has no order that may still arrive: the caller made sure."""
    unit, need = context.unit, context.ensure_need()
    if unit.state.open_order(context.item.key) is not None:
        raise AssertionError(f"{context.item.key} has an order under way")
    unit.close_prompts(need)
    unit.clear_need_timers(need)
    need = unit.transition_via_open(need, NeedState.ORDERED)
    cancel_before_ms = context.at_ms + _cancel_window_ms(context, quote) if cancellable else None
    option = Option(sku=quote.sku or "", supplier=quote.supplier, quantity=quote.quantity, price=quote.price, why="")
    need, reaction = unit.add_reaction(
        need,
        ReactionType.ORDER_REQUESTED,
        context.at_ms,
        because,
        option=option,
        forecast=context.forecast,
        cancel_before_ms=cancel_before_ms,
    )
    placed = Order(
        id=reaction.id,
        need=need.id,
        item=need.item,
        customer=need.customer,
        supplier=quote.supplier,
        sku=quote.sku,
        quantity=quote.quantity,
        price=quote.price,
        at_ms=context.at_ms,
        lead_days=quote.arrival_window_days(),
        cancel_before_ms=cancel_before_ms,
    )
    unit.upsert(placed)
    unit.set_timer(TimerKind.DEADLINE, placed.id, context.at_ms + round(lost_after_days(placed.lead_days) * DAY_MS))
    figures = _decision_figures(context, quote, timing)
    context.need = unit.record_decision(
        need,
        str(reaction.type),
        because,
        context.at_ms,
        rules=rules,
        forecast=context.forecast,
        alternative=alternative or _waiting_alternative(context, timing),
        figures=figures,
        reaction=reaction.id,
    )


def book_service(
    context: DecisionContext[PartItem],
    because: str,
    option: Option,
    *,
    rules: tuple[RuleVerdict, ...],
    timing: Timing | None = None,
) -> None:
    """Books a service."""
    unit, need = context.unit, context.ensure_need()
    unit.close_prompts(need)
    unit.clear_need_timers(need)
    need = unit.transition_via_open(need, NeedState.BOOKED)
    need, reaction = unit.add_reaction(
        need, ReactionType.MAINTENANCE_BOOKED, context.at_ms, because, option=option, forecast=context.forecast
    )
    booked = Order(
        id=reaction.id,
        need=need.id,
        item=need.item,
        customer=need.customer,
        supplier=option.supplier or None,
        sku=option.sku or None,
        quantity=option.quantity,
        price=option.price,
        at_ms=context.at_ms,
        lead_days=(1.0, BOOKING_TIMEOUT_DAYS),
        booking=True,
    )
    unit.upsert(booked)
    unit.set_timer(TimerKind.DEADLINE, booked.id, context.at_ms + round(BOOKING_TIMEOUT_DAYS * DAY_MS))
    context.need = unit.record_decision(
        need,
        str(reaction.type),
        because,
        context.at_ms,
        rules=rules,
        forecast=context.forecast,
        alternative=_waiting_alternative(context, timing),
        figures={"price": option.price, **(timing.figures() if timing else {})},
        reaction=reaction.id,
    )


def prompt_customer(
    context: AnyContext,
    kind: ReactionType,
    because: str,
    options: tuple[Option, ...],
    *,
    rules: tuple[RuleVerdict, ...],
    timing: Timing | None = None,
) -> None:
    """Asks the customer: an offer, a reminder or a ready request. Contact rules were asked before."""
    unit, need = context.unit, context.ensure_need()
    contact = kind is not ReactionType.REQUEST_READY
    unit.clear_timer(TimerKind.HOLD, need.id)
    need = unit.transition_via_open(need, PROMPTED_STATE[kind])
    need, reaction = unit.add_reaction(
        need,
        kind,
        context.at_ms,
        because,
        option=options[0] if options else None,
        options=options if kind is ReactionType.OFFER_MADE else (),
        forecast=context.forecast,
    )
    unit.add_prompt(need, reaction, options)
    if contact:
        unit.record_contact(need.customer, context.at_ms)
        need = replace(need, contacts=need.contacts + 1, contacted_ms=context.at_ms)
    else:
        need = replace(need, readied_ms=context.at_ms)
    unit.upsert(need)
    context.need = unit.record_decision(
        need,
        str(kind),
        because,
        context.at_ms,
        rules=rules,
        forecast=context.forecast,
        alternative=_refused_alternative(context, rules) or _waiting_alternative(context, timing),
        figures=({"price": options[0].price} if options else {}) | (timing.figures() if timing else {}),
        reaction=reaction.id,
    )


def check_contact_rules(context: AnyContext) -> tuple[RuleVerdict, ...]:
    """Quiet hours and the contact limit, at the case's moment."""
    return (
        check_quiet_hours(context.customer, context.at_ms),
        check_contact_limit(context.customer, context.unit.state.contacts.get(context.customer.id), context.at_ms),
    )


def hold_decision(
    context: AnyContext, refusal: RuleVerdict, rules: tuple[RuleVerdict, ...], *, kind: TimerKind
) -> None:
    """Puts the case off until the rule's own moment, where it has one, and says so once."""
    unit, need = context.unit, context.ensure_need()
    if refusal.until_ms is not None:
        unit.set_timer(kind, need.id, max(refusal.until_ms, context.at_ms + 1))
    because = context.translate("held", state=context.remaining_text(), reason=refusal.reason)
    verdict = WAIT if refusal.until_ms is not None else REFUSED
    context.need = unit.record_decision(
        need,
        verdict,
        because,
        context.at_ms,
        rules=rules,
        forecast=context.forecast,
        dedup_key=f"{refusal.rule}:{refusal.until_ms or ''}",
    )


def _cancel_window_ms(context: DecisionContext[SlotItem], quote: Quote) -> int:
    """How long the customer can cancel: less than the usual window where the order is needed soon."""
    if context.forecast is None:
        return CANCEL_WINDOW_MIN_MS
    slack_ms = round((context.forecast.days[1] - quote.lead_days[1]) * DAY_MS)
    return min(CANCEL_WINDOW_MS, max(slack_ms, CANCEL_WINDOW_MIN_MS))


def _decision_figures(context: DecisionContext[SlotItem], quote: Quote, timing: Timing | None) -> dict[str, float]:
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
    record = context.unit.state.items.get(context.item.key)
    if record is not None and record.shift:
        figures["timing_shift"] = record.shift
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
    """What kept an order from being made, where a rule did."""
    refusal = next((rule for rule in rules if not rule.allowed and rule.rule in ("price", "budget")), None)
    return "" if refusal is None else context.translate("alternative_order", reason=refusal.reason)


def authorization_of(option: Option) -> Authorization:
    """What accepting the option means."""
    return Authorization(
        reason="accepted",
        quantity=option.quantity,
        price=option.price,
        supplier=option.supplier or None,
        sku=option.sku or None,
    )
