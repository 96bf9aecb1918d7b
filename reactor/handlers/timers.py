"""Timers that are due: holds, planned evaluations, deadlines of orders, expiry of what ended long ago."""

from __future__ import annotations

from reactor.commands import Commands, DeleteExpired, EndOrder, ExtendDeadline, Reevaluate
from reactor.decision.lead_time import lost_after_days
from reactor.decision.order_recovery import longest_lead_days
from reactor.experiences.command_factory import BOOKING_TIMEOUT_DAYS
from reactor.handlers import evaluation, orders
from reactor.state import Order, Timer, TimerKind
from reactor.state_view import StateView
from star.ids import NeedId
from star.repeat import OrderState
from star.times import DAY_MS


def handle(view: StateView, timer: Timer) -> Commands:
    """The commands that follow from the timer, which is deleted already and may be set again."""
    match timer.kind:
        case TimerKind.HOLD:
            need = view.need(timer.subject)
            return () if need is None else evaluation.evaluate(view, need.item, timer.due_ms)
        case TimerKind.REEVALUATE:
            return (Reevaluate(item=str(NeedId.parse(timer.subject).item)),)
        case TimerKind.DEADLINE:
            order = view.order(timer.subject)
            assert order is not None, f"a deadline of {timer.subject}, which is no order kept here"
            return deadline(view, order)
        case TimerKind.EXPIRE:
            return (DeleteExpired(subject=timer.subject),)


def deadline(view: StateView, order: Order) -> Commands:
    """The time by which an order should have arrived is over; later lead times, stated since, extend it."""
    if order.state is OrderState.PRESUMED:
        return (EndOrder(order=order.id, to=OrderState.DELIVERED), Reevaluate(item=order.item))
    longest = BOOKING_TIMEOUT_DAYS if order.booking else lost_after_days(longest_lead_days(view, order))
    due_ms = order.at_ms + round(longest * DAY_MS)
    if due_ms > view.at_ms:
        return (ExtendDeadline(order=order.id, deadline_ms=due_ms),)
    return orders.lost(view, order)
