"""Refills: detected in the readings, or declared by the customer or by an outcome.

A detected refill that matches the item's open order is presumed to be its delivery. Even so no other order goes out for the item
until the 90 % lead time is over, as the refill may have been another one.
"""

from __future__ import annotations

from reactor.commands import (
    ClearExpectedRefill,
    Command,
    Commands,
    EndOrder,
    ExpectRefill,
    PresumeDelivered,
    RecordDelivery,
    ReportUnmatched,
)
from reactor.handlers.needs import cancel_superfluous, close_met, declared_quantity
from reactor.state import ItemRecord, Need, Order
from reactor.state_view import StateView
from star.analyse import RefillStage, RefillUpdate
from star.repeat import OrderState, Outcome
from star.times import DAY_MS

REFILL_MATCH_RANGE = (0.4, 1.75)
"""Share of an order's quantity that a refill may have and match it. Wide, as a detected quantity is an estimate and part of a
delivery may be kept aside; it trades a delivery that is missed against another refill taken for it."""
DECLARED_REFILL_DAYS = 3.0
"""Days within which the refill of a declared delivery is detected, and is not counted as another one."""


def detected(view: StateView, refill: RefillUpdate) -> Commands:
    """A refill that analysis has confirmed; one that is provisional or retracted changes nothing."""
    if refill.stage is not RefillStage.CONFIRMED:
        return ()
    record = view.item_record(refill.item)
    decided: list[Command] = []
    if record.declared_ms is not None:
        decided.append(ClearExpectedRefill(item=refill.item))
        if _is_declared(view, record, record.declared_ms, refill):
            return tuple(decided)
    order, need = view.open_order(refill.item), view.live_need(refill.item)
    if order is None or not _matches(order, refill):
        return (*decided, *_meet_by_refill(view, refill.item, order, need))
    if order.supplier is not None and order.state is not OrderState.PRESUMED:
        decided.append(RecordDelivery(supplier=order.supplier, ordered_ms=order.at_ms, delivered_ms=refill.at_ms))
    return (*decided, *presume_delivered(view, order, need))


def declared(view: StateView, outcome: Outcome, item_key: str | None) -> Commands:
    """A refill or service that the customer declares."""
    if item_key is None or view.item(item_key) is None:
        text = f"outcome {outcome.id!r} speaks of {item_key!r}, which is not an item of the fleet"
        return (ReportUnmatched(text=text),)
    order, need = view.open_order(item_key), view.live_need(item_key)
    quantity = declared_quantity(view, item_key, outcome.quantity)
    return (ExpectRefill(item=item_key, quantity=quantity), *_meet_by_refill(view, item_key, order, need))


def presume_delivered(view: StateView, order: Order, need: Need | None) -> Commands:
    """The order counts as delivered once its 90 % lead time is over; its need is met now."""
    deadline_ms = max(order.at_ms + round(order.lead_days[1] * DAY_MS), view.at_ms)
    presumed = PresumeDelivered(order=order.id, deadline_ms=deadline_ms)
    if need is None or need.id != order.need:
        return (presumed,)
    return (presumed, *close_met(view, need))


def _meet_by_refill(view: StateView, item: str, order: Order | None, need: Need | None) -> Commands:
    """The item was refilled or serviced by other means. An order under way still counts, unless it can be cancelled freely."""
    if need is None:
        return ()
    if order is None or order.need != need.id:
        return close_met(view, need)
    if order.booking:
        return (EndOrder(order=order.id, to=OrderState.DELIVERED), *close_met(view, need))
    if item in view.observed_needs:  # still low: the order is wanted
        return ()
    return cancel_superfluous(view, order, need)


def _matches(order: Order, refill: RefillUpdate) -> bool:
    waited_days = (refill.at_ms - order.at_ms) / DAY_MS
    fits = REFILL_MATCH_RANGE[0] * order.quantity <= refill.quantity <= REFILL_MATCH_RANGE[1] * order.quantity
    return not order.booking and fits and waited_days >= order.lead_days[0] / 2.0


def _is_declared(view: StateView, record: ItemRecord, declared_ms: int, refill: RefillUpdate) -> bool:
    """Whether the refill is the one that was declared before."""
    in_time = view.at_ms - declared_ms <= DECLARED_REFILL_DAYS * DAY_MS
    return in_time and refill.quantity <= REFILL_MATCH_RANGE[1] * record.declared
