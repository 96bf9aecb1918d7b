"""The life of an order after it went out: delivered, cancelled, failed, lost - and refills seen that say something about it.

An order may still arrive until an outcome ends it, or until it is far later than its supplier's deliveries ever are and no
rise was seen. A fitting rise without a word from anyone is taken for the delivery; even so nothing new goes out for the item
until the supplier's 90 % lead time is over, as the rise may have been something else.
"""

from __future__ import annotations

from dataclasses import replace

from config.fleet import Supplier
from config.resolve import PartItem, SlotItem
from reactor.acts import BOOKING_LOST_DAYS, ended
from reactor.lead_time import lost_after_days
from reactor.learning import with_delivery, with_failure, with_loss
from reactor.lessons import teach
from reactor.quotes import stated_lead_days
from reactor.state import OPEN_ORDERS, Need, Order, OrderState, TimerKind
from reactor.texts import label_of, say
from reactor.turn import REFUSED, WAIT, Turn
from star.analyse import RefillSeen
from star.repeat import NeedState
from star.times import DAY_MS, HOUR_MS

FITS = (0.4, 1.75)
"""A rise of so much of an order's quantity may be its delivery."""
DECLARED_DAYS = 3.0
"""A declared delivery's rise is seen within so long; it says nothing new then."""
RETRY_MS = (HOUR_MS, DAY_MS)
"""After a second failure: the first wait, doubled by each further one, and the longest."""


def deliver(turn: Turn, order: Order, delivered_ms: int, quantity: float | None) -> None:
    """An order was delivered: it ends, and so does its need."""
    state = turn.state
    first = order.state not in (OrderState.DELIVERED,)
    known = order.state is OrderState.PRESUMED  # its rise has taught already how long it took
    if first and not known and not order.booking and order.supplier is not None and delivered_ms > order.at_ms:
        found = order.state is OrderState.LOST
        teach(turn, order.supplier, lambda lesson: with_delivery(lesson, order.at_ms, delivered_ms, found=found))
    was_open = order.state in OPEN_ORDERS
    presumed = order.state is OrderState.PRESUMED
    _end(turn, order, OrderState.DELIVERED)
    _expect_rise(turn, order.item, order.quantity if quantity is None else quantity, declared=first and not presumed)
    need = state.needs.get(order.need)
    if need is not None:
        _met(turn, need)
    elif was_open:
        turn.again.add(order.item)


def said_done(turn: Turn, order: Order, quantity: float | None) -> None:
    """Somebody says that an order is "done", and nobody that it was delivered: the need is met, and the order is taken for
    delivered as after a fitting rise."""
    if order.state is OrderState.OUTSTANDING:
        _expect_rise(turn, order.item, order.quantity if quantity is None else quantity, declared=True)
        _presume(turn, order, turn.state.needs.get(order.need))


def _met(turn: Turn, need: Need) -> None:
    """The need is met. Its own order, if another is under way still, is called off where that is still free."""
    order = turn.state.arriving(need.item)
    if order is not None and order.need == need.id and not order.booking:
        superfluous(turn, order, need)
        return
    close_met(turn, need)


def close_met(turn: Turn, need: Need) -> None:
    """Closes a need with the receipt of its being met."""
    item = turn.item(need.item)
    because = "" if item is None else _say(turn, item, "met")
    need = turn.receipt(need, "met", because, turn.at_ms)
    turn.close(need, turn.at_ms)


def cancelled(turn: Turn, order: Order, said_ms: int) -> None:
    """An order is cancelled: by the customer, or as a cancellation of ours asked."""
    ours = order.state is OrderState.CANCELLING
    was_open = order.state in OPEN_ORDERS
    _end(turn, order, OrderState.CANCELLED)
    if was_open and not ours:
        _tell_supplier(turn, order, "cancel_asked")
    need = turn.state.needs.get(order.need)
    if need is None or not was_open or not _is_its_order(need):
        return
    if need.met:
        turn.close(need, turn.at_ms)
        return
    need = turn.moved(need, NeedState.OPEN)
    if need.refused:
        _refuse(turn, need)
        return
    snoozed_ms = max(said_ms, turn.at_ms) + DAY_MS
    need = replace(need, snoozed_ms=snoozed_ms, mandate=None)
    turn.put(need)
    turn.set_timer(TimerKind.AGAIN, need.id, snoozed_ms)
    item = turn.item(need.item)
    turn.receipt(need, WAIT, "" if item is None else _say(turn, item, "cancelled"), turn.at_ms)


def fail(turn: Turn, order: Order) -> None:
    """A supplier can't deliver."""
    was_open = order.state in OPEN_ORDERS
    _end(turn, order, OrderState.FAILED)
    if was_open:
        if order.supplier is not None and not order.booking:
            teach(turn, order.supplier, with_failure)
        _try_again(turn, order, "failed")


def decline(turn: Turn, order: Order) -> None:
    """The customer does not want an order that is under way: it is called off, and counts until the supplier confirms."""
    need = turn.state.needs.get(order.need)
    if order.state is not OrderState.OUTSTANDING or order.called_off or need is None or not _is_its_order(need):
        return
    need = replace(need, refused=True, mandate=None)
    turn.put(need)
    if order.booking:
        _end(turn, order, OrderState.CANCELLED)
        _tell_supplier(turn, order, "cancel_asked")
        need = turn.state.needs[need.id]
        _refuse(turn, turn.moved(need, NeedState.OPEN))
        return
    _call_off(turn, need, order, "cancel_asked")


def comes_all_the_same(turn: Turn, order: Order) -> None:
    """A cancellation of ours came too late: the order is outstanding as before, and counts until it has come."""
    if order.state is not OrderState.CANCELLING:
        return
    turn.put(replace(order, state=OrderState.OUTSTANDING, cancel_before_ms=turn.at_ms))
    need = turn.state.needs.get(order.need)
    if need is None:
        return
    if need.met:
        close_met(turn, need)
    else:
        turn.moved(replace(need, refused=False), NeedState.ORDERED)


def deadline(turn: Turn, order: Order) -> None:
    """The time by which an order should have come is over."""
    if order.state is OrderState.PRESUMED:
        _end(turn, order, OrderState.DELIVERED)
        turn.again.add(order.item)
        return
    longest = BOOKING_LOST_DAYS if order.booking else lost_after_days(longest_lead_days(turn, order))
    due_ms = order.at_ms + round(longest * DAY_MS)
    if due_ms > turn.at_ms:
        turn.set_timer(TimerKind.DEADLINE, order.id, due_ms)
        return
    give_up(turn, order)


def give_up(turn: Turn, order: Order) -> None:
    """An order is lost, as far as anyone can tell: its need is open again. If it comes after all, it is welcome."""
    _end(turn, order, OrderState.LOST)
    if order.supplier is not None and not order.booking:
        teach(turn, order.supplier, with_loss)
    _try_again(turn, order, "lost")


def rise_seen(turn: Turn, refill: RefillSeen) -> None:
    """A confirmed rise of the level (or a service seen)."""
    if _is_expected(turn, refill):
        return
    order, need = turn.state.arriving(refill.item), turn.state.living(refill.item)
    if order is not None and _may_be_delivery(order, refill):
        if order.supplier is not None and order.state is not OrderState.PRESUMED:
            teach(turn, order.supplier, lambda lesson: with_delivery(lesson, order.at_ms, refill.at_ms))
        _presume(turn, order, need)
        return
    refilled(turn, refill.item, order, need)


def refilled(turn: Turn, item: str, order: Order | None, need: Need | None) -> None:
    """The item was refilled or serviced from elsewhere. An order under way still counts."""
    if need is None:
        return
    if order is None or order.need != need.id:
        close_met(turn, need)
    elif order.booking:
        _end(turn, order, OrderState.DELIVERED)
        close_met(turn, need)
    elif item not in turn.seen:
        superfluous(turn, order, need)


def superfluous(turn: Turn, order: Order, need: Need) -> None:
    """The need is met while its order is under way: the order is called off where that is free, else it is left to come."""
    item = turn.catalogue.slots.get(order.item)
    spare = item is not None and item.spare_packs
    free = order.cancel_before_ms is not None and turn.at_ms < order.cancel_before_ms
    if order.state is OrderState.OUTSTANDING and free and not spare and not order.called_off:
        need = replace(need, met=True)
        turn.put(need)
        _call_off(turn, need, order, "cancel_met")
    elif order.state is OrderState.CANCELLING:
        turn.put(replace(need, met=True))
    else:
        close_met(turn, need)


def _call_off(turn: Turn, need: Need, order: Order, key: str) -> None:
    turn.put(replace(order, state=OrderState.CANCELLING))
    turn.moved(need, NeedState.CANCELLING)
    _tell_supplier(turn, order, key)


def _tell_supplier(turn: Turn, order: Order, key: str) -> None:
    """The reaction that calls an order off, numbered like the order, with its receipt while its need lives."""
    item = turn.item(order.item)
    because = "" if item is None else _say(turn, item, key, supplier=order.supplier or "")
    if order.called_off:
        return
    reaction = turn.call_off(order, because)
    turn.put(replace(turn.state.orders[order.id], called_off=True))
    need = turn.state.needs.get(order.need)
    if need is not None:
        turn.receipt(need, str(reaction.type), because, turn.at_ms, reaction=reaction.id)


def _end(turn: Turn, order: Order, state: OrderState) -> None:
    turn.clear_timer(TimerKind.DEADLINE, order.id)
    turn.put(ended(order, state, turn.at_ms))
    turn.forget_later(order.id)


def _try_again(turn: Turn, order: Order, key: str) -> None:
    """The need is open again after its order failed or was lost: another supplier at once, the same one after waits."""
    need = turn.state.needs.get(order.need)
    if need is None:
        turn.again.add(order.item)
        return
    if not _is_its_order(need):
        return
    if need.met:
        turn.close(need, turn.at_ms)
        return
    need = turn.moved(need, NeedState.OPEN)
    failures = need.failures + 1
    tried = tuple(dict.fromkeys((*need.tried, order.supplier or "")))
    item = turn.item(order.item)
    others = [name for name in item.suppliers if name not in tried] if item is not None else []
    retry_ms = None
    if not others and failures > 1:
        retry_ms = turn.at_ms + min(RETRY_MS[0] * 2 ** min(failures - 2, 16), RETRY_MS[1])
        turn.set_timer(TimerKind.AGAIN, need.id, retry_ms)
    need = replace(need, failures=failures, tried=tried, retry_ms=retry_ms)
    turn.put(need)
    if need.refused:
        _refuse(turn, need)
        return
    because = "" if item is None else _say(turn, item, key, supplier=order.supplier or "")
    turn.receipt(need, key, because, turn.at_ms)
    turn.again.add(order.item)


def _refuse(turn: Turn, need: Need) -> None:
    """The customer said no to an order that has ended now. Open needs become refused over "readied"."""
    need = turn.moved(turn.moved(need, NeedState.READIED), NeedState.REFUSED)
    need = replace(need, declined=need.declined + 1, declined_ms=turn.at_ms)
    turn.put(need)
    item = turn.item(need.item)
    turn.receipt(need, REFUSED, "" if item is None else _say(turn, item, "declined"), turn.at_ms)


def _is_its_order(need: Need) -> bool:
    return need.state in (NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED)


def longest_lead_days(turn: Turn, order: Order) -> tuple[float, float]:
    """Of the lead times when it was ordered, and stated since, those with the latest 90 %."""
    supplier: Supplier | None = turn.catalogue.suppliers.get(order.supplier or "")
    if supplier is None:
        return order.lead_days
    stated = stated_lead_days(supplier, turn.state.suppliers.get(supplier.id))
    return max(order.lead_days, stated, key=lambda days: days[1])


def _presume(turn: Turn, order: Order, need: Need | None) -> None:
    """A fitting rise in a fitting time, and nobody said anything: the delivery."""
    turn.put(replace(order, state=OrderState.PRESUMED))
    turn.set_timer(TimerKind.DEADLINE, order.id, max(order.at_ms + round(order.lead_days[1] * DAY_MS), turn.at_ms))
    if need is not None and need.id == order.need:
        close_met(turn, need)


def _may_be_delivery(order: Order, refill: RefillSeen) -> bool:
    waited_days = (refill.at_ms - order.at_ms) / DAY_MS
    fits = FITS[0] * order.quantity <= refill.quantity <= FITS[1] * order.quantity
    return not order.booking and fits and waited_days >= order.lead_days[0] / 2.0 and order.state in OPEN_ORDERS


def _expect_rise(turn: Turn, item: str, quantity: float, *, declared: bool) -> None:
    if declared:
        turn.put(replace(turn.memory(item), declared_ms=turn.at_ms, declared=quantity))


def declare_rise(turn: Turn, item: str, quantity: float) -> None:
    """A refill was said: its rise, seen later, says nothing new."""
    _expect_rise(turn, item, quantity, declared=True)


def _is_expected(turn: Turn, refill: RefillSeen) -> bool:
    """Whether the rise is that of a delivery or refill that was said before; it counts once."""
    memory = turn.memory(refill.item)
    if memory.declared_ms is None:
        return False
    in_time = turn.at_ms - memory.declared_ms <= DECLARED_DAYS * DAY_MS
    turn.put(replace(memory, declared_ms=None, declared=0.0))
    return in_time and refill.quantity <= FITS[1] * memory.declared


def _say(turn: Turn, item: SlotItem | PartItem, key: str, **figures: str) -> str:
    language = turn.customer(item).language
    label = label_of(item, turn.catalogue, language)
    return say(language, key, label=label, device=item.device, **figures)
