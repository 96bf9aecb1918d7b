"""Applies the commands about orders and bookings."""

from __future__ import annotations

from dataclasses import replace

from reactor import commands
from reactor.apply.needs import clear_timers, close_prompts, ensure_need, move_need
from reactor.apply.reactions import add_cancellation, add_reaction, record_decision
from reactor.commands import Rationale
from reactor.state import Order, TimerKind
from reactor.unit_of_work import UnitOfWork
from star.react import ReactionType
from star.repeat import NeedState, OrderState, transition


def place(unit: UnitOfWork, command: commands.PlaceOrder) -> None:
    """Makes the order. Raises AssertionError where the item has one that may still arrive: the caller made sure."""
    if unit.state.open_order(command.target.item) is not None:
        raise AssertionError(f"{command.target.item} has an order under way")
    _commit(unit, command, ReactionType.ORDER_REQUESTED, NeedState.ORDERED, command.cancel_before_ms)


def book(unit: UnitOfWork, command: commands.BookService) -> None:
    """Makes the booking."""
    _commit(unit, command, ReactionType.MAINTENANCE_BOOKED, NeedState.BOOKED, None)


def _commit(
    unit: UnitOfWork,
    command: commands.PlaceOrder | commands.BookService,
    kind: ReactionType,
    state: NeedState,
    cancel_before_ms: int | None,
) -> None:
    """The reaction, the order and its deadline, and the receipt; what the need waited for before is over."""
    target, option = command.target, command.option
    need = ensure_need(unit, target)
    close_prompts(unit, need)
    clear_timers(unit, need)
    need = move_need(unit, need, state)
    need, reaction = add_reaction(
        unit,
        need,
        kind,
        target.at_ms,
        command.rationale.because,
        option=option,
        forecast=target.forecast,
        cancel_before_ms=cancel_before_ms,
    )
    order = Order(
        id=reaction.id,
        need=need.id,
        item=need.item,
        customer=need.customer,
        supplier=option.supplier or None,
        sku=option.sku or None,
        quantity=option.quantity,
        price=option.price,
        at_ms=target.at_ms,
        lead_days=command.lead_days,
        cancel_before_ms=cancel_before_ms,
        booking=kind is ReactionType.MAINTENANCE_BOOKED,
    )
    unit.upsert(order)
    unit.set_timer(TimerKind.DEADLINE, order.id, command.deadline_ms)
    record_decision(
        unit, need, str(kind), command.rationale, target.at_ms, forecast=target.forecast, reaction=reaction.id
    )


def cancel(unit: UnitOfWork, command: commands.CancelOrder) -> None:
    """Makes the cancellation, with a receipt while the order's need lives."""
    order = unit.state.orders[command.order]
    reaction = add_cancellation(unit, order, command.because)
    unit.upsert(replace(order, called_off=True))
    need = unit.state.needs.get(order.need)
    if need is not None:
        rationale = Rationale(because=command.because)
        record_decision(unit, need, str(reaction.type), rationale, unit.at_ms, reaction=reaction.id)


def move(unit: UnitOfWork, command: commands.MoveOrder) -> None:
    """Moves the order."""
    order = unit.state.orders[command.order]
    unit.upsert(replace(order, state=transition(order.state, command.to)))


def reinstate(unit: UnitOfWork, command: commands.ReinstateOrder) -> None:
    """The order is outstanding, and its time of free cancellation over."""
    order = unit.state.orders[command.order]
    state = transition(order.state, OrderState.OUTSTANDING)
    unit.upsert(replace(order, state=state, cancel_before_ms=unit.at_ms))


def presume_delivered(unit: UnitOfWork, command: commands.PresumeDelivered) -> None:
    """Moves the order and its deadline. A second matching refill leaves it presumed."""
    order = unit.state.orders[command.order]
    if order.state is not OrderState.PRESUMED:
        unit.upsert(replace(order, state=transition(order.state, OrderState.PRESUMED)))
    unit.set_timer(TimerKind.DEADLINE, order.id, command.deadline_ms)


def extend_deadline(unit: UnitOfWork, command: commands.ExtendDeadline) -> None:
    """Moves the deadline."""
    unit.set_timer(TimerKind.DEADLINE, command.order, command.deadline_ms)


def end(unit: UnitOfWork, command: commands.EndOrder) -> None:
    """Ends the order; it is kept for late outcomes."""
    order = unit.state.orders[command.order]
    unit.clear_timer(TimerKind.DEADLINE, order.id)
    unit.upsert(replace(order, state=transition(order.state, command.to), ended_ms=unit.at_ms))
    unit.schedule_expiry(order.id)


def delete_expired(unit: UnitOfWork, command: commands.DeleteExpired) -> None:
    """Deletes the order or prompt; the store keeps its history."""
    expired = unit.state.orders.get(command.subject) or unit.state.prompts.get(command.subject)
    if expired is not None:
        unit.delete(expired)
