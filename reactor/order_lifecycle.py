"""The life of an order after it went out: delivered, cancelled, failed, lost - and refills seen that say something about it.

An order may still arrive until an outcome ends it, or until it is far later than its supplier's deliveries ever are and no
rise was seen. A fitting rise without a word from anyone is taken for the delivery; even so nothing new goes out for the item
until the supplier's 90 % lead time is over, as the rise may have been something else.
"""

from __future__ import annotations

from dataclasses import replace

from config.catalogue import PartItem, SlotItem
from config.fleet import Supplier
from reactor.commands import BOOKING_TIMEOUT_DAYS
from reactor.decision.lead_time import lost_after_days
from reactor.decision.lead_time_stats import add_delivery, add_failure, add_loss
from reactor.decision.quotes import stated_lead_days
from reactor.i18n import item_label, translate
from reactor.learning_sync import record_sample
from reactor.state import OPEN_ORDER_STATES, Need, Order, TimerKind
from reactor.unit_of_work import REFUSED, WAIT, UnitOfWork
from star.analyse import RefillUpdate
from star.repeat import NeedState, OrderState
from star.times import DAY_MS, HOUR_MS

REFILL_MATCH_RANGE = (0.4, 1.75)
"""A rise of so much of an order's quantity may be its delivery."""
DECLARED_REFILL_DAYS = 3.0
"""A declared delivery's rise is seen within so long; it says nothing new then."""
RETRY_MS = (HOUR_MS, DAY_MS)
"""After a second failure: the first wait, doubled by each further one, and the longest."""


def mark_delivered(unit: UnitOfWork, order: Order, delivered_ms: int, quantity: float | None) -> None:
    """An order was delivered: it ends, and so does its need."""
    state = unit.state
    first = order.state not in (OrderState.DELIVERED,)
    known = order.state is OrderState.PRESUMED  # its rise has taught already how long it took
    if first and not known and not order.booking and order.supplier is not None and delivered_ms > order.at_ms:
        found = order.state is OrderState.LOST
        record_sample(
            unit, order.supplier, lambda sample: add_delivery(sample, order.at_ms, delivered_ms, was_lost=found)
        )
    was_open = order.state in OPEN_ORDER_STATES
    presumed = order.state is OrderState.PRESUMED
    _end_order(unit, order, OrderState.DELIVERED)
    _expect_refill(unit, order.item, order.quantity if quantity is None else quantity, declared=first and not presumed)
    need = state.needs.get(order.need)
    if need is not None:
        _meet_need(unit, need)
    elif was_open:
        unit.to_reevaluate.add(order.item)


def mark_done(unit: UnitOfWork, order: Order, quantity: float | None) -> None:
    """Somebody says that an order is "done", and nobody that it was delivered: the need is met, and the order is taken for
    delivered as after a fitting rise."""
    if order.state is OrderState.OUTSTANDING:
        _expect_refill(unit, order.item, order.quantity if quantity is None else quantity, declared=True)
        _presume_delivered(unit, order, unit.state.needs.get(order.need))


def _meet_need(unit: UnitOfWork, need: Need) -> None:
    """The need is met. Its own order, if another is under way still, is called off where that is still free."""
    order = unit.state.open_order(need.item)
    if order is not None and order.need == need.id and not order.booking:
        cancel_superfluous(unit, order, need)
        return
    close_met_need(unit, need)


def close_met_need(unit: UnitOfWork, need: Need) -> None:
    """Closes a need with the receipt of its being met."""
    item = unit.item(need.item)
    because = "" if item is None else _translate(unit, item, "met")
    need = unit.record_decision(need, "met", because, unit.at_ms)
    unit.close_need(need, unit.at_ms)


def mark_cancelled(unit: UnitOfWork, order: Order, stated_ms: int) -> None:
    """An order is cancelled: by the customer, or as a cancellation of ours asked."""
    ours = order.state is OrderState.CANCELLING
    was_open = order.state in OPEN_ORDER_STATES
    _end_order(unit, order, OrderState.CANCELLED)
    if was_open and not ours:
        _emit_cancellation(unit, order, "cancel_asked")
    need = unit.state.needs.get(order.need)
    if need is None or not was_open or not _is_in_progress(need):
        return
    if need.met:
        unit.close_need(need, unit.at_ms)
        return
    need = unit.transition(need, NeedState.OPEN)
    if need.refused:
        _refuse_need(unit, need)
        return
    snoozed_ms = max(stated_ms, unit.at_ms) + DAY_MS
    need = replace(need, snoozed_ms=snoozed_ms, mandate=None)
    unit.upsert(need)
    unit.set_timer(TimerKind.REEVALUATE, need.id, snoozed_ms)
    item = unit.item(need.item)
    unit.record_decision(need, WAIT, "" if item is None else _translate(unit, item, "cancelled"), unit.at_ms)


def mark_failed(unit: UnitOfWork, order: Order) -> None:
    """A supplier can't deliver."""
    was_open = order.state in OPEN_ORDER_STATES
    _end_order(unit, order, OrderState.FAILED)
    if was_open:
        if order.supplier is not None and not order.booking:
            record_sample(unit, order.supplier, add_failure)
        _reopen_need(unit, order, "failed")


def decline_order(unit: UnitOfWork, order: Order) -> None:
    """The customer does not want an order that is under way: it is called off, and counts until the supplier confirms."""
    need = unit.state.needs.get(order.need)
    if order.state is not OrderState.OUTSTANDING or order.called_off or need is None or not _is_in_progress(need):
        return
    need = replace(need, refused=True, mandate=None)
    unit.upsert(need)
    if order.booking:
        _end_order(unit, order, OrderState.CANCELLED)
        _emit_cancellation(unit, order, "cancel_asked")
        need = unit.state.needs[need.id]
        _refuse_need(unit, unit.transition(need, NeedState.OPEN))
        return
    _request_cancellation(unit, need, order, "cancel_asked")


def reject_cancellation(unit: UnitOfWork, order: Order) -> None:
    """A cancellation of ours came too late: the order is outstanding as before, and counts until it has come."""
    if order.state is not OrderState.CANCELLING:
        return
    unit.upsert(replace(unit.transition_order(order, OrderState.OUTSTANDING), cancel_before_ms=unit.at_ms))
    need = unit.state.needs.get(order.need)
    if need is None:
        return
    if need.met:
        close_met_need(unit, need)
    else:
        unit.transition(replace(need, refused=False), NeedState.ORDERED)


def handle_deadline(unit: UnitOfWork, order: Order) -> None:
    """The time by which an order should have come is over."""
    if order.state is OrderState.PRESUMED:
        _end_order(unit, order, OrderState.DELIVERED)
        unit.to_reevaluate.add(order.item)
        return
    longest = BOOKING_TIMEOUT_DAYS if order.booking else lost_after_days(longest_lead_days(unit, order))
    due_ms = order.at_ms + round(longest * DAY_MS)
    if due_ms > unit.at_ms:
        unit.set_timer(TimerKind.DEADLINE, order.id, due_ms)
        return
    mark_lost(unit, order)


def mark_lost(unit: UnitOfWork, order: Order) -> None:
    """An order is lost, as far as anyone can tell: its need is open again. If it comes after all, it is welcome."""
    _end_order(unit, order, OrderState.LOST)
    if order.supplier is not None and not order.booking:
        record_sample(unit, order.supplier, add_loss)
    _reopen_need(unit, order, "lost")


def apply_refill(unit: UnitOfWork, refill: RefillUpdate) -> None:
    """A confirmed rise of the level (or a service seen)."""
    if _is_declared_refill(unit, refill):
        return
    order, need = unit.state.open_order(refill.item), unit.state.live_need(refill.item)
    if order is not None and _matches_order(order, refill):
        if order.supplier is not None and order.state is not OrderState.PRESUMED:
            record_sample(unit, order.supplier, lambda sample: add_delivery(sample, order.at_ms, refill.at_ms))
        _presume_delivered(unit, order, need)
        return
    meet_by_refill(unit, refill.item, order, need)


def meet_by_refill(unit: UnitOfWork, item: str, order: Order | None, need: Need | None) -> None:
    """The item was refilled or serviced from elsewhere. An order under way still counts."""
    if need is None:
        return
    if order is None or order.need != need.id:
        close_met_need(unit, need)
    elif order.booking:
        _end_order(unit, order, OrderState.DELIVERED)
        close_met_need(unit, need)
    elif item not in unit.observed_needs:
        cancel_superfluous(unit, order, need)


def cancel_superfluous(unit: UnitOfWork, order: Order, need: Need) -> None:
    """The need is met while its order is under way: the order is called off where that is free, else it is left to come."""
    item = unit.catalogue.slots.get(order.item)
    spare = item is not None and item.spare_packs
    free = order.cancel_before_ms is not None and unit.at_ms < order.cancel_before_ms
    if order.state is OrderState.OUTSTANDING and free and not spare and not order.called_off:
        need = replace(need, met=True)
        unit.upsert(need)
        _request_cancellation(unit, need, order, "cancel_met")
    elif order.state is OrderState.CANCELLING:
        unit.upsert(replace(need, met=True))
    else:
        close_met_need(unit, need)


def _request_cancellation(unit: UnitOfWork, need: Need, order: Order, key: str) -> None:
    unit.transition_order(order, OrderState.CANCELLING)
    unit.transition(need, NeedState.CANCELLING)
    _emit_cancellation(unit, order, key)


def _emit_cancellation(unit: UnitOfWork, order: Order, key: str) -> None:
    """The reaction that calls an order off, numbered like the order, with its receipt while its need lives."""
    item = unit.item(order.item)
    because = "" if item is None else _translate(unit, item, key, supplier=order.supplier or "")
    if order.called_off:
        return
    reaction = unit.add_cancellation(order, because)
    unit.upsert(replace(unit.state.orders[order.id], called_off=True))
    need = unit.state.needs.get(order.need)
    if need is not None:
        unit.record_decision(need, str(reaction.type), because, unit.at_ms, reaction=reaction.id)


def _end_order(unit: UnitOfWork, order: Order, state: OrderState) -> None:
    unit.clear_timer(TimerKind.DEADLINE, order.id)
    unit.upsert(replace(unit.transition_order(order, state), ended_ms=unit.at_ms))
    unit.schedule_expiry(order.id)


def _reopen_need(unit: UnitOfWork, order: Order, key: str) -> None:
    """The need is open again after its order failed or was lost: another supplier at once, the same one after waits."""
    need = unit.state.needs.get(order.need)
    if need is None:
        unit.to_reevaluate.add(order.item)
        return
    if not _is_in_progress(need):
        return
    if need.met:
        unit.close_need(need, unit.at_ms)
        return
    need = unit.transition(need, NeedState.OPEN)
    failures = need.failures + 1
    tried = tuple(dict.fromkeys((*need.tried, order.supplier or "")))
    item = unit.item(order.item)
    others = [name for name in item.suppliers if name not in tried] if item is not None else []
    retry_ms = None
    if not others and failures > 1:
        retry_ms = unit.at_ms + min(RETRY_MS[0] * 2 ** min(failures - 2, 16), RETRY_MS[1])
        unit.set_timer(TimerKind.REEVALUATE, need.id, retry_ms)
    need = replace(need, failures=failures, tried=tried, retry_ms=retry_ms)
    unit.upsert(need)
    if need.refused:
        _refuse_need(unit, need)
        return
    because = "" if item is None else _translate(unit, item, key, supplier=order.supplier or "")
    unit.record_decision(need, key, because, unit.at_ms)
    unit.to_reevaluate.add(order.item)


def _refuse_need(unit: UnitOfWork, need: Need) -> None:
    """The customer said no to an order that has ended now. Open needs become refused over "readied"."""
    need = unit.transition(unit.transition(need, NeedState.READIED), NeedState.REFUSED)
    need = replace(need, declined=need.declined + 1, declined_ms=unit.at_ms)
    unit.upsert(need)
    item = unit.item(need.item)
    unit.record_decision(need, REFUSED, "" if item is None else _translate(unit, item, "declined"), unit.at_ms)


def _is_in_progress(need: Need) -> bool:
    return need.state in (NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED)


def longest_lead_days(unit: UnitOfWork, order: Order) -> tuple[float, float]:
    """Of the lead times when it was ordered, and stated since, those with the latest 90 %."""
    supplier: Supplier | None = unit.catalogue.suppliers.get(order.supplier or "")
    if supplier is None:
        return order.lead_days
    stated = stated_lead_days(supplier, unit.state.suppliers.get(supplier.id))
    return max(order.lead_days, stated, key=lambda days: days[1])


def _presume_delivered(unit: UnitOfWork, order: Order, need: Need | None) -> None:
    """A fitting rise in a fitting time, and nobody said anything: the delivery."""
    unit.transition_order(order, OrderState.PRESUMED)
    unit.set_timer(TimerKind.DEADLINE, order.id, max(order.at_ms + round(order.lead_days[1] * DAY_MS), unit.at_ms))
    if need is not None and need.id == order.need:
        close_met_need(unit, need)


def _matches_order(order: Order, refill: RefillUpdate) -> bool:
    waited_days = (refill.at_ms - order.at_ms) / DAY_MS
    fits = REFILL_MATCH_RANGE[0] * order.quantity <= refill.quantity <= REFILL_MATCH_RANGE[1] * order.quantity
    return not order.booking and fits and waited_days >= order.lead_days[0] / 2.0 and order.state in OPEN_ORDER_STATES


def _expect_refill(unit: UnitOfWork, item: str, quantity: float, *, declared: bool) -> None:
    if declared:
        unit.upsert(replace(unit.item_record(item), declared_ms=unit.at_ms, declared=quantity))


def declare_refill(unit: UnitOfWork, item: str, quantity: float) -> None:
    """A refill was said: its rise, seen later, says nothing new."""
    _expect_refill(unit, item, quantity, declared=True)


def _is_declared_refill(unit: UnitOfWork, refill: RefillUpdate) -> bool:
    """Whether the rise is that of a delivery or refill that was said before; it counts once."""
    record = unit.item_record(refill.item)
    if record.declared_ms is None:
        return False
    in_time = unit.at_ms - record.declared_ms <= DECLARED_REFILL_DAYS * DAY_MS
    unit.upsert(replace(record, declared_ms=None, declared=0.0))
    return in_time and refill.quantity <= REFILL_MATCH_RANGE[1] * record.declared


def _translate(unit: UnitOfWork, item: SlotItem | PartItem, key: str, **figures: str) -> str:
    language = unit.customer(item).language
    label = item_label(item, unit.catalogue, language)
    return translate(language, key, label=label, device=item.device, **figures)
