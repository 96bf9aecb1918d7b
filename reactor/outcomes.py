"""What people and suppliers say: outcomes, requests, terms. Each moves a need, teaches, or is told to be about nothing known.

What is said of something that has ended is recorded, and changes nothing else; nothing here decides whether to order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reactor import orders
from reactor.acts import mandate_of
from reactor.learning import with_feedback
from reactor.lessons import start_over
from reactor.prices import with_price
from reactor.state import OPEN_ORDERS, Mandate, Need, Order, OrderState, Question, TimerKind
from reactor.texts import say
from reactor.turn import REFUSED, WAIT, Turn
from star.analyse import NeedKind
from star.react import VERBS, ReactionType
from star.records import Request, SupplierTerms
from star.repeat import NeedState, Outcome

REQUESTED = "request"
ASKED = frozenset({NeedState.OPEN, NeedState.READIED, NeedState.OFFERED, NeedState.REMINDED, NeedState.REFUSED})
"""A need in these can be accepted, declined or asked for."""


def take_outcome(turn: Turn, outcome: Outcome) -> None:
    """What came of a reaction, or a refill or service that the customer declares."""
    if outcome.reaction is None:
        _declared(turn, outcome, outcome.item)
        return
    order = turn.state.orders.get(outcome.reaction)
    question = turn.state.questions.get(outcome.reaction)
    called_off = _called_off(turn, outcome.reaction)
    known = order or question or called_off
    if known is None:
        turn.unmatched.append(
            f"outcome {outcome.id!r} speaks of {outcome.reaction!r}, which is not a reaction known here"
        )
        return
    turn.said.append((outcome.reaction, outcome))
    if outcome.timing is not None:
        turn.put(with_feedback(turn.memory(known.item), outcome.timing))
    if order is not None:
        _of_order(turn, order, outcome)
    elif question is not None:
        _of_question(turn, question, outcome)
    elif called_off is not None:
        _of_cancellation(turn, called_off, outcome)


def _called_off(turn: Turn, reaction: str) -> Order | None:
    """The order that a cancellation with this id calls off: it has the order's number."""
    need, verb, number = reaction.rsplit("/", 2) if reaction.count("/") >= 2 else ("", "", "")
    if verb != VERBS[ReactionType.ORDER_CANCELLED]:
        return None
    orders_ = turn.state.orders
    return orders_.get(f"{need}/order/{number}") or orders_.get(f"{need}/booking/{number}")


def _of_cancellation(turn: Turn, order: Order, outcome: Outcome) -> None:
    """A supplier's answer to a cancellation of ours: it holds, or the order comes all the same."""
    match outcome.result:
        case "cancelled":
            if order.state is OrderState.CANCELLING:
                orders.cancelled(turn, order, outcome.arrived_ms)
        case "failed" | "declined":
            orders.comes_all_the_same(turn, order)
        case _:
            pass  # it holds only when "cancelled" is said


def _of_order(turn: Turn, order: Order, outcome: Outcome) -> None:
    match outcome.result:
        case "done" | "refilled" | "serviced" if not order.booking:
            orders.said_done(turn, order, outcome.quantity)
        case "delivered" | "done" | "refilled" | "serviced":
            if order.state is OrderState.DELIVERED:
                return
            orders.deliver(turn, order, min(outcome.at_ms, outcome.arrived_ms), outcome.quantity)
        case "cancelled":
            if order.state in OPEN_ORDERS:
                orders.cancelled(turn, order, outcome.arrived_ms)
        case "failed":
            if order.state in OPEN_ORDERS:
                orders.fail(turn, order)
        case "declined":
            orders.decline(turn, order)
        case _:
            pass  # accepted: the supplier has it, and it goes on being outstanding


def _of_question(turn: Turn, question: Question, outcome: Outcome) -> None:
    match outcome.result:
        case "accepted":
            _accepted(turn, question, outcome)
        case "declined" | "cancelled":
            _declined(turn, question)
        case "done" | "delivered" | "refilled" | "serviced":
            _declared(turn, outcome, question.item)
        case _:
            pass  # failed: a contact that did not reach its customer


def _accepted(turn: Turn, question: Question, outcome: Outcome) -> None:
    need = turn.state.needs.get(question.need)
    if need is None or need.state not in ASKED or not question.open:
        if need is not None:
            turn.receipt(need, WAIT, _say(turn, need, "already"), turn.at_ms, key=question.id)
        return
    turn.close_questions(need)
    turn.clear_need_timers(need)
    if question.options:
        sized = (option for option in question.options if option.quantity == outcome.quantity)
        chosen = next(sized, question.options[0])
        need = replace(need, mandate=mandate_of(chosen), declined_ms=None, snoozed_ms=None, retry_ms=None)
        turn.put(need)
        turn.again.add(need.item)


def _declined(turn: Turn, question: Question) -> None:
    need = turn.state.needs.get(question.need)
    if need is None or need.state not in ASKED or not question.open:
        return
    turn.close_questions(need)
    turn.clear_need_timers(need)
    if need.state is NeedState.OPEN:
        need = turn.moved(need, NeedState.READIED)
    need = turn.moved(need, NeedState.REFUSED)
    need = replace(need, declined=need.declined + 1, declined_ms=turn.at_ms, mandate=None)
    turn.put(need)
    turn.receipt(need, REFUSED, _say(turn, need, "declined"), turn.at_ms)


def _declared(turn: Turn, outcome: Outcome, item: str | None) -> None:
    """A refill or a service, said by the customer."""
    if item is None or turn.item(item) is None:
        turn.unmatched.append(f"outcome {outcome.id!r} speaks of {item!r}, which is not an item of the fleet")
        return
    found = turn.item(item)
    quantity = outcome.quantity
    if quantity is None:
        quantity = found.pack if found is not None and item in turn.catalogue.slots else 1.0  # type: ignore[union-attr]
    order, need = turn.state.arriving(item), turn.state.living(item)
    orders.declare_rise(turn, item, quantity)
    orders.refilled(turn, item, order, need)


def take_request(turn: Turn, request: Request) -> None:
    """The customer asks: a need opens at once, and is carried out at this tick."""
    item = turn.item(request.item)
    if item is None:
        turn.unmatched.append(f"request {request.id!r} asks for {request.item!r}, which is not an item of the fleet")
        return
    slot = turn.catalogue.slots.get(request.item)
    quantity = request.quantity if request.quantity is not None else (slot.pack if slot is not None else 1.0)
    need = turn.state.living(request.item)
    if need is not None and need.snoozed_ms is not None and need.snoozed_ms > turn.at_ms:
        turn.close(need, turn.at_ms)  # the cancelled need orders no more today; what is asked for now is another one
        need = None
    if need is None:
        kind = NeedKind.RUN_OUT if slot is not None else NeedKind.SERVICE_DUE
        need = turn.open_need(item, kind, REQUESTED, turn.at_ms)
    if need.state not in ASKED:
        turn.receipt(need, WAIT, _say(turn, need, "already"), turn.at_ms, key=request.id)
        return
    mandate = Mandate(reason=REQUESTED, quantity=quantity)
    need = replace(need, mandate=mandate, declined_ms=None, snoozed_ms=None, retry_ms=None)
    turn.put(need)
    turn.clear_need_timers(need)
    turn.again.add(need.item)


def take_terms(turn: Turn, terms: SupplierTerms) -> None:
    """A supplier's price or lead time, in force at once: what waits for an answer or a price is decided again."""
    if terms.supplier not in turn.catalogue.suppliers:
        turn.unmatched.append(f"terms of {terms.supplier!r}, which is not a supplier of the fleet")
        return
    if terms.price is not None:
        turn.put(with_price(turn.supplier_memory(terms.supplier), terms.price, terms.at_ms))
    if terms.lead_time_days is not None:
        turn.put(replace(turn.supplier_memory(terms.supplier), lead_days=terms.lead_time_days))
        start_over(turn, terms.supplier, terms.at_ms)
    turn.forget_quotes()
    decide_again(turn, lambda need: _buys_from(turn, need, terms.supplier))


def decide_again(turn: Turn, concerned: Callable[[Need], bool]) -> None:
    """Living needs without an order are decided again at this tick, whatever they were held for."""
    for need in list(turn.state.needs.values()):
        if need.state in ASKED and concerned(need):
            turn.clear_timer(TimerKind.HOLD, need.id)
            turn.again.add(need.item)


def _buys_from(turn: Turn, need: Need, supplier: str) -> bool:
    item = turn.item(need.item)
    return item is not None and supplier in item.suppliers


def _say(turn: Turn, need: Need, key: str) -> str:
    customer = turn.catalogue.customers.get(need.customer)
    return say("en" if customer is None else customer.language, key)
