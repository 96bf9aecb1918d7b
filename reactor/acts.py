"""Carrying decisions out: ordering, booking, asking, holding - each with its receipt. Whether and when is the experiences'."""

from __future__ import annotations

from dataclasses import replace

from config.resolve import PartItem, SlotItem
from reactor.experiences.case import Case
from reactor.lead_time import lost_after_days
from reactor.policy import Timing
from reactor.quotes import Quote
from reactor.rules.contacts import contact_limit
from reactor.rules.quiet_hours import quiet_hours
from reactor.state import Mandate, Order, OrderState, TimerKind
from reactor.texts import money, number
from reactor.turn import REFUSED, WAIT
from star.react import Option, ReactionType, RuleVerdict
from star.repeat import NeedState
from star.times import DAY_MS, HOUR_MS

AnyCase = Case[SlotItem] | Case[PartItem] | Case[SlotItem | PartItem]

CANCEL_WINDOW_MS = 12 * HOUR_MS
"""How long a customer can cancel an automatic order freely, unless it is needed sooner."""
CANCEL_WINDOW_LEAST_MS = HOUR_MS
BOOKING_LOST_DAYS = 45.0
"""A booked service that nobody reports on is looked at again after so long."""
BECOMES = {
    ReactionType.REQUEST_READY: NeedState.READIED,
    ReactionType.OFFER_MADE: NeedState.OFFERED,
    ReactionType.REMINDER_SENT: NeedState.REMINDED,
}
"""What a need becomes by each way of asking."""


def order(
    case: Case[SlotItem],
    quote: Quote,
    because: str,
    *,
    rules: tuple[RuleVerdict, ...] = (),
    timing: Timing | None = None,
    cancellable: bool = False,
    alternative: str = "",
) -> None:
    """Orders like `quote`. The item has no order that may still arrive: the caller made sure."""
    turn, need = case.turn, case.opened()
    if turn.state.arriving(case.item.key) is not None:
        raise AssertionError(f"{case.item.key} has an order under way")
    turn.close_questions(need)
    turn.clear_need_timers(need)
    need = turn.brought(need, NeedState.ORDERED)
    cancel_before_ms = case.at_ms + _window_ms(case, quote) if cancellable else None
    option = Option(sku=quote.sku or "", supplier=quote.supplier, quantity=quote.quantity, price=quote.price, why="")
    need, reaction = turn.react(
        need,
        ReactionType.ORDER_REQUESTED,
        case.at_ms,
        because,
        option=option,
        forecast=case.forecast,
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
        at_ms=case.at_ms,
        lead_days=quote.widest_days(),
        cancel_before_ms=cancel_before_ms,
    )
    turn.put(placed)
    turn.set_timer(TimerKind.DEADLINE, placed.id, case.at_ms + round(lost_after_days(placed.lead_days) * DAY_MS))
    figures = _figures(case, quote, timing)
    case.need = turn.receipt(
        need,
        str(reaction.type),
        because,
        case.at_ms,
        rules=rules,
        forecast=case.forecast,
        alternative=alternative or _alternative(case, timing),
        figures=figures,
        reaction=reaction.id,
    )


def book(
    case: Case[PartItem], because: str, option: Option, *, rules: tuple[RuleVerdict, ...], timing: Timing | None = None
) -> None:
    """Books a service."""
    turn, need = case.turn, case.opened()
    turn.close_questions(need)
    turn.clear_need_timers(need)
    need = turn.brought(need, NeedState.BOOKED)
    need, reaction = turn.react(
        need, ReactionType.MAINTENANCE_BOOKED, case.at_ms, because, option=option, forecast=case.forecast
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
        at_ms=case.at_ms,
        lead_days=(1.0, BOOKING_LOST_DAYS),
        booking=True,
    )
    turn.put(booked)
    turn.set_timer(TimerKind.DEADLINE, booked.id, case.at_ms + round(BOOKING_LOST_DAYS * DAY_MS))
    case.need = turn.receipt(
        need,
        str(reaction.type),
        because,
        case.at_ms,
        rules=rules,
        forecast=case.forecast,
        alternative=_alternative(case, timing),
        figures={"price": option.price, **(timing.figures() if timing else {})},
        reaction=reaction.id,
    )


def ask(
    case: AnyCase,
    kind: ReactionType,
    because: str,
    options: tuple[Option, ...],
    *,
    rules: tuple[RuleVerdict, ...],
    timing: Timing | None = None,
) -> None:
    """Asks the customer: an offer, a reminder or a ready request. Contact rules were asked before."""
    turn, need = case.turn, case.opened()
    contact = kind is not ReactionType.REQUEST_READY
    turn.clear_timer(TimerKind.HOLD, need.id)
    need = turn.brought(need, BECOMES[kind])
    need, reaction = turn.react(
        need,
        kind,
        case.at_ms,
        because,
        option=options[0] if options else None,
        options=options if kind is ReactionType.OFFER_MADE else (),
        forecast=case.forecast,
    )
    turn.ask(need, reaction, options)
    if contact:
        turn.count_contact(need.customer, case.at_ms)
        need = replace(need, contacts=need.contacts + 1, contacted_ms=case.at_ms)
    else:
        need = replace(need, readied_ms=case.at_ms)
    turn.put(need)
    case.need = turn.receipt(
        need,
        str(kind),
        because,
        case.at_ms,
        rules=rules,
        forecast=case.forecast,
        alternative=_refused(case, rules) or _alternative(case, timing),
        figures=({"price": options[0].price} if options else {}) | (timing.figures() if timing else {}),
        reaction=reaction.id,
    )


def contact_rules(case: AnyCase) -> tuple[RuleVerdict, ...]:
    """Quiet hours and the contact limit, at the case's moment."""
    return (
        quiet_hours(case.customer, case.at_ms),
        contact_limit(case.customer, case.turn.state.contacts.get(case.customer.id), case.at_ms),
    )


def hold(case: AnyCase, refusal: RuleVerdict, rules: tuple[RuleVerdict, ...], *, kind: TimerKind) -> None:
    """Puts the case off until the rule's own moment, where it has one, and says so once."""
    turn, need = case.turn, case.opened()
    if refusal.until_ms is not None:
        turn.set_timer(kind, need.id, max(refusal.until_ms, case.at_ms + 1))
    because = case.say("held", state=case.state(), reason=refusal.reason)
    verdict = WAIT if refusal.until_ms is not None else REFUSED
    case.need = turn.receipt(
        need,
        verdict,
        because,
        case.at_ms,
        rules=rules,
        forecast=case.forecast,
        key=f"{refusal.rule}:{refusal.until_ms or ''}",
    )


def _window_ms(case: Case[SlotItem], quote: Quote) -> int:
    """How long the customer can cancel: less than the usual window where the order is needed soon."""
    if case.forecast is None:
        return CANCEL_WINDOW_LEAST_MS
    slack_ms = round((case.forecast.days[1] - quote.lead_days[1]) * DAY_MS)
    return min(CANCEL_WINDOW_MS, max(slack_ms, CANCEL_WINDOW_LEAST_MS))


def _figures(case: Case[SlotItem], quote: Quote, timing: Timing | None) -> dict[str, float]:
    figures = {
        "price": quote.price,
        "quantity": quote.quantity,
        "lead_days_10": round(quote.lead_days[0], 4),
        "lead_days_90": round(quote.lead_days[1], 4),
        "stockout_cost": case.item.stockout_cost,
        "stockout_cost_per_day": case.item.stockout_cost_per_day,
        "holding_cost_per_day": case.item.holding_cost_per_day,
    }
    if case.forecast is not None:
        figures["order_point"] = round(max(case.forecast.level, 0.0), 6)
    memory = case.turn.state.items.get(case.item.key)
    if memory is not None and memory.shift:
        figures["timing_shift"] = memory.shift
    return figures | (timing.figures() if timing else {})


def _alternative(case: AnyCase, timing: Timing | None) -> str:
    if timing is None:
        return ""
    return case.say(
        "alternative_wait",
        days=number(timing.wait_days, case.language, 2),
        later=money(timing.cost_wait, case.language),
        now=money(timing.cost_now, case.language),
    )


def _refused(case: AnyCase, rules: tuple[RuleVerdict, ...]) -> str:
    """What kept an order from being made, where a rule did."""
    refusal = next((rule for rule in rules if not rule.allowed and rule.rule in ("price", "budget")), None)
    return "" if refusal is None else case.say("alternative_order", reason=refusal.reason)


def mandate_of(option: Option) -> Mandate:
    """What accepting the option means."""
    return Mandate(
        reason="accepted",
        quantity=option.quantity,
        price=option.price,
        supplier=option.supplier or None,
        sku=option.sku or None,
    )


def ended(order_: Order, state: OrderState, at_ms: int) -> Order:
    """The order at its end."""
    return replace(order_, state=state, ended_ms=at_ms)
