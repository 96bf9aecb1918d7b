"""What people and suppliers say: outcomes, requests, terms. Each moves a need, teaches, or is told to be about nothing known.

What is said of something that has ended is recorded, and changes nothing else; nothing here decides whether to order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reactor import order_lifecycle
from reactor.commands import authorization_of
from reactor.decision.lead_time_stats import apply_feedback
from reactor.decision.price_model import record_price
from reactor.i18n import translate
from reactor.learning_sync import reset_learning
from reactor.state import OPEN_ORDER_STATES, Authorization, Need, Order, PendingPrompt, TimerKind
from reactor.unit_of_work import REFUSED, WAIT, UnitOfWork
from star.analyse import NeedKind
from star.react import ID_VERBS, ReactionType
from star.records import Request, SupplierTerms
from star.repeat import NeedState, OrderState, Outcome

REQUESTED = "request"
ANSWERABLE_STATES = frozenset(
    {NeedState.OPEN, NeedState.READIED, NeedState.OFFERED, NeedState.REMINDED, NeedState.REFUSED}
)
"""A need in these can be accepted, declined or asked for."""


def apply_outcome(unit: UnitOfWork, outcome: Outcome) -> None:
    """What came of a reaction, or a refill or service that the customer declares."""
    if outcome.reaction is None:
        _apply_declared_refill(unit, outcome, outcome.item)
        return
    order = unit.state.orders.get(outcome.reaction)
    prompt = unit.state.prompts.get(outcome.reaction)
    called_off = _order_of_cancellation(unit, outcome.reaction)
    known = order or prompt or called_off
    if known is None:
        unit.unmatched.append(
            f"outcome {outcome.id!r} speaks of {outcome.reaction!r}, which is not a reaction known here"
        )
        return
    unit.outcomes.append((outcome.reaction, outcome))
    if outcome.timing is not None:
        unit.upsert(apply_feedback(unit.item_record(known.item), outcome.timing))
    if order is not None:
        _apply_to_order(unit, order, outcome)
    elif prompt is not None:
        _apply_to_prompt(unit, prompt, outcome)
    elif called_off is not None:
        _apply_to_cancellation(unit, called_off, outcome)


def _order_of_cancellation(unit: UnitOfWork, reaction: str) -> Order | None:
    """The order that a cancellation with this id calls off: it has the order's number."""
    need, verb, number = reaction.rsplit("/", 2) if reaction.count("/") >= 2 else ("", "", "")
    if verb != ID_VERBS[ReactionType.ORDER_CANCELLED]:
        return None
    orders_ = unit.state.orders
    return orders_.get(f"{need}/order/{number}") or orders_.get(f"{need}/booking/{number}")


def _apply_to_cancellation(unit: UnitOfWork, order: Order, outcome: Outcome) -> None:
    """A supplier's answer to a cancellation of ours: it holds, or the order comes all the same."""
    match outcome.result:
        case "cancelled":
            if order.state is OrderState.CANCELLING:
                order_lifecycle.mark_cancelled(unit, order, outcome.arrived_ms)
        case "failed" | "declined":
            order_lifecycle.reject_cancellation(unit, order)
        case _:
            pass  # it holds only when "cancelled" is said


def _apply_to_order(unit: UnitOfWork, order: Order, outcome: Outcome) -> None:
    match outcome.result:
        case "done" | "refilled" | "serviced" if not order.booking:
            order_lifecycle.mark_done(unit, order, outcome.quantity)
        case "delivered" | "done" | "refilled" | "serviced":
            if order.state is OrderState.DELIVERED:
                return
            order_lifecycle.mark_delivered(unit, order, min(outcome.at_ms, outcome.arrived_ms), outcome.quantity)
        case "cancelled":
            if order.state in OPEN_ORDER_STATES:
                order_lifecycle.mark_cancelled(unit, order, outcome.arrived_ms)
        case "failed":
            if order.state in OPEN_ORDER_STATES:
                order_lifecycle.mark_failed(unit, order)
        case "declined":
            order_lifecycle.decline_order(unit, order)
        case _:
            pass  # accepted: the supplier has it, and it goes on being outstanding


def _apply_to_prompt(unit: UnitOfWork, prompt: PendingPrompt, outcome: Outcome) -> None:
    match outcome.result:
        case "accepted":
            _accept_prompt(unit, prompt, outcome)
        case "declined" | "cancelled":
            _decline_prompt(unit, prompt)
        case "done" | "delivered" | "refilled" | "serviced":
            _apply_declared_refill(unit, outcome, prompt.item)
        case _:
            pass  # failed: a contact that did not reach its customer


def _accept_prompt(unit: UnitOfWork, prompt: PendingPrompt, outcome: Outcome) -> None:
    need = unit.state.needs.get(prompt.need)
    if need is None or need.state not in ANSWERABLE_STATES or not prompt.open:
        if need is not None:
            unit.record_decision(need, WAIT, _translate(unit, need, "already"), unit.at_ms, dedup_key=prompt.id)
        return
    unit.close_prompts(need)
    unit.clear_need_timers(need)
    if prompt.options:
        sized = (option for option in prompt.options if option.quantity == outcome.quantity)
        chosen = next(sized, prompt.options[0])
        need = replace(need, mandate=authorization_of(chosen), declined_ms=None, snoozed_ms=None, retry_ms=None)
        unit.upsert(need)
        unit.to_reevaluate.add(need.item)


def _decline_prompt(unit: UnitOfWork, prompt: PendingPrompt) -> None:
    need = unit.state.needs.get(prompt.need)
    if need is None or need.state not in ANSWERABLE_STATES or not prompt.open:
        return
    unit.close_prompts(need)
    unit.clear_need_timers(need)
    if need.state is NeedState.OPEN:
        need = unit.transition(need, NeedState.READIED)
    need = unit.transition(need, NeedState.REFUSED)
    need = replace(need, declined=need.declined + 1, declined_ms=unit.at_ms, mandate=None)
    unit.upsert(need)
    unit.record_decision(need, REFUSED, _translate(unit, need, "declined"), unit.at_ms)


def _apply_declared_refill(unit: UnitOfWork, outcome: Outcome, item: str | None) -> None:
    """A refill or a service, said by the customer."""
    if item is None or unit.item(item) is None:
        unit.unmatched.append(f"outcome {outcome.id!r} speaks of {item!r}, which is not an item of the fleet")
        return
    found = unit.item(item)
    quantity = outcome.quantity
    if quantity is None:
        quantity = found.pack if found is not None and item in unit.catalogue.slots else 1.0  # type: ignore[union-attr]
    order, need = unit.state.open_order(item), unit.state.live_need(item)
    order_lifecycle.declare_refill(unit, item, quantity)
    order_lifecycle.meet_by_refill(unit, item, order, need)


def apply_request(unit: UnitOfWork, request: Request) -> None:
    """The customer asks: a need opens at once, and is carried out at this tick."""
    item = unit.item(request.item)
    if item is None:
        unit.unmatched.append(f"request {request.id!r} asks for {request.item!r}, which is not an item of the fleet")
        return
    slot = unit.catalogue.slots.get(request.item)
    quantity = request.quantity if request.quantity is not None else (slot.pack if slot is not None else 1.0)
    need = unit.state.live_need(request.item)
    if need is not None and need.snoozed_ms is not None and need.snoozed_ms > unit.at_ms:
        unit.close_need(
            need, unit.at_ms
        )  # the cancelled need orders no more today; what is asked for now is another one
        need = None
    if need is None:
        kind = NeedKind.RUN_OUT if slot is not None else NeedKind.SERVICE_DUE
        need = unit.open_need(item, kind, REQUESTED, unit.at_ms)
    if need.state not in ANSWERABLE_STATES:
        unit.record_decision(need, WAIT, _translate(unit, need, "already"), unit.at_ms, dedup_key=request.id)
        return
    authorization = Authorization(reason=REQUESTED, quantity=quantity)
    need = replace(need, mandate=authorization, declined_ms=None, snoozed_ms=None, retry_ms=None)
    unit.upsert(need)
    unit.clear_need_timers(need)
    unit.to_reevaluate.add(need.item)


def apply_supplier_terms(unit: UnitOfWork, terms: SupplierTerms) -> None:
    """A supplier's price or lead time, in force at once: what waits for an answer or a price is decided again."""
    if terms.supplier not in unit.catalogue.suppliers:
        unit.unmatched.append(f"terms of {terms.supplier!r}, which is not a supplier of the fleet")
        return
    if terms.price is not None:
        unit.upsert(record_price(unit.supplier_record(terms.supplier), terms.price, terms.at_ms))
    if terms.lead_time_days is not None:
        unit.upsert(replace(unit.supplier_record(terms.supplier), lead_days=terms.lead_time_days))
        reset_learning(unit, terms.supplier, terms.at_ms)
    unit.invalidate_quotes()
    reevaluate_needs(unit, lambda need: _buys_from(unit, need, terms.supplier))


def reevaluate_needs(unit: UnitOfWork, is_concerned: Callable[[Need], bool]) -> None:
    """Living needs without an order are decided again at this tick, whatever they were held for."""
    for need in list(unit.state.needs.values()):
        if need.state in ANSWERABLE_STATES and is_concerned(need):
            unit.clear_timer(TimerKind.HOLD, need.id)
            unit.to_reevaluate.add(need.item)


def _buys_from(unit: UnitOfWork, need: Need, supplier: str) -> bool:
    item = unit.item(need.item)
    return item is not None and supplier in item.suppliers


def _translate(unit: UnitOfWork, need: Need, key: str) -> str:
    customer = unit.catalogue.customers.get(need.customer)
    return translate("en" if customer is None else customer.language, key)
