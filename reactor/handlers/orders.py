"""Outcomes of orders, bookings and cancellations: one handler for each kind of outcome.

An order may still arrive until an outcome ends it, or until it is far later than its supplier's deliveries ever are and no refill
was detected. Which handler answers which outcome in which state is the table in outcomes.py.
"""

from __future__ import annotations

from reactor.commands import (
    WAIT,
    CloseNeed,
    Command,
    Commands,
    EndOrder,
    ExpectRefill,
    MarkRefused,
    Rationale,
    RecordDecision,
    RecordDelivery,
    RecordFailure,
    RecordLoss,
    Reevaluate,
    ReinstateOrder,
    ResumeNeed,
    SnoozeNeed,
)
from reactor.handlers.messages import item_message
from reactor.handlers.needs import cancel_order, close_met, meet, refuse, reopen, request_cancellation
from reactor.handlers.refills import presume_delivered
from reactor.state import IN_PROGRESS_STATES, OPEN_ORDER_STATES, Need, Order
from reactor.state_view import StateView
from star.repeat import OrderState, Outcome
from star.times import DAY_MS


def delivered(view: StateView, order: Order, outcome: Outcome) -> Commands:
    """The order arrived, or the service was done; it may have been reported cancelled or failed, or given up, before."""
    decided: list[Command] = []
    delivered_ms = min(outcome.at_ms, outcome.arrived_ms)
    if order.supplier is not None and not order.booking and delivered_ms > order.at_ms:
        decided.append(
            RecordDelivery(
                supplier=order.supplier,
                ordered_ms=order.at_ms,
                delivered_ms=delivered_ms,
                was_lost=order.state is OrderState.LOST,
            )
        )
    return (*decided, _expected_refill(order, outcome), *presumed_delivered(view, order, outcome))


def presumed_delivered(view: StateView, order: Order, outcome: Outcome) -> Commands:
    """The delivery of an order that is presumed delivered: its refill was learned from already, and is expected no more."""
    del outcome
    ended = EndOrder(order=order.id, to=OrderState.DELIVERED)
    need = view.need(order.need)
    if need is not None:
        return (ended, *meet(view, need, order.id))
    return (ended, Reevaluate(item=order.item)) if order.state in OPEN_ORDER_STATES else (ended,)


def done(view: StateView, order: Order, outcome: Outcome) -> Commands:
    """Someone reports the need of the order as met, and nobody its delivery: it is presumed, as after a matching refill."""
    return (_expected_refill(order, outcome), *presume_delivered(view, order, view.need(order.need)))


def cancelled(view: StateView, order: Order, outcome: Outcome) -> Commands:
    """The order is cancelled: by its customer, which its supplier is told, or by the supplier as we asked."""
    decided: list[Command] = [EndOrder(order=order.id, to=OrderState.CANCELLED)]
    if order.state is not OrderState.CANCELLING and not order.called_off:
        decided.append(cancel_order(view, order, "cancel_asked"))
    need = view.need(order.need)
    if need is None or need.state not in IN_PROGRESS_STATES:
        return tuple(decided)
    if need.met:
        return (*decided, CloseNeed(need=need.id, at_ms=view.at_ms))
    if need.refused:
        return (*decided, *refuse(view, need))
    until_ms = max(outcome.arrived_ms, view.at_ms) + DAY_MS
    rationale = Rationale(because=item_message(view, need.item, "cancelled"))
    return (
        *decided,
        SnoozeNeed(need=need.id, until_ms=until_ms),
        RecordDecision(need=need.id, verdict=WAIT, rationale=rationale, at_ms=view.at_ms),
    )


def failed(view: StateView, order: Order, outcome: Outcome) -> Commands:
    """The supplier can't deliver."""
    del outcome
    decided: list[Command] = [EndOrder(order=order.id, to=OrderState.FAILED)]
    if order.supplier is not None and not order.booking:
        decided.append(RecordFailure(supplier=order.supplier))
    return (*decided, *reopen(view, order, "failed"))


def lost(view: StateView, order: Order) -> Commands:
    """The order is given up: its need is open again. Should it arrive after all, that is a delivery."""
    decided: list[Command] = [EndOrder(order=order.id, to=OrderState.LOST)]
    if order.supplier is not None and not order.booking:
        decided.append(RecordLoss(supplier=order.supplier))
    return (*decided, *reopen(view, order, "lost"))


def declined(view: StateView, order: Order, outcome: Outcome) -> Commands:
    """The customer declines an order that is under way: it is cancelled, and counts as open until the supplier confirms."""
    del outcome
    need = _declinable(view, order)
    if need is None:
        return ()
    return (MarkRefused(need=need.id), *request_cancellation(view, order, need, "cancel_asked"))


def booking_declined(view: StateView, order: Order, outcome: Outcome) -> Commands:
    """The customer declines a booking: it ends at once."""
    del outcome
    need = _declinable(view, order)
    if need is None:
        return ()
    return (
        MarkRefused(need=need.id),
        EndOrder(order=order.id, to=OrderState.CANCELLED),
        cancel_order(view, order, "cancel_asked"),
        *refuse(view, need),
    )


def cancellation_rejected(view: StateView, order: Order, outcome: Outcome) -> Commands:
    """Our cancellation came too late: the order is outstanding as before."""
    del outcome
    reinstated = ReinstateOrder(order=order.id)
    need = view.need(order.need)
    if need is None:
        return (reinstated,)
    if need.met:
        return (reinstated, *close_met(view, need))
    return (reinstated, ResumeNeed(need=need.id))


def _declinable(view: StateView, order: Order) -> Need | None:
    """The need of an order that can be declined: while it is in progress, and no cancellation has gone out."""
    need = view.need(order.need)
    return need if need is not None and need.state in IN_PROGRESS_STATES and not order.called_off else None


def _expected_refill(order: Order, outcome: Outcome) -> ExpectRefill:
    quantity = order.quantity if outcome.quantity is None else outcome.quantity
    return ExpectRefill(item=order.item, quantity=quantity)
