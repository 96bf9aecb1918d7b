"""Transitions of a need that several handlers share: met, refused, reopened, authorized."""

from __future__ import annotations

from collections.abc import Callable

from config.catalogue import SlotItem
from reactor.commands import (
    REFUSED,
    CancelOrder,
    CloseNeed,
    Commands,
    MarkMet,
    MoveNeed,
    MoveOrder,
    Rationale,
    RecordDecision,
    Reevaluate,
    RefuseNeed,
    ReleaseHold,
    ReopenNeed,
)
from reactor.handlers.messages import item_message
from reactor.state import ANSWERABLE_STATES, IN_PROGRESS_STATES, Need, Order
from reactor.state_view import StateView
from star.repeat import NeedState, OrderState
from star.times import DAY_MS, HOUR_MS

RETRY_MIN_MS = HOUR_MS
"""The wait after the second failure of a need's orders; each further failure doubles it. It trades a late order against
orders that a supplier in trouble fails one after another."""
RETRY_MAX_MS = DAY_MS
"""The longest wait after a failure."""


def close_met(view: StateView, need: Need) -> Commands:
    """Closes the need with the receipt that it was met."""
    rationale = Rationale(because=item_message(view, need.item, "met"))
    return (
        RecordDecision(need=need.id, verdict="met", rationale=rationale, at_ms=view.at_ms),
        CloseNeed(need=need.id, at_ms=view.at_ms),
    )


def meet(view: StateView, need: Need, ended_order: str) -> Commands:
    """The need is met by a delivery. Another order of it that is under way is cancelled where that is free."""
    order = view.open_order(need.item)
    if order is not None and order.id != ended_order and order.need == need.id and not order.booking:
        return cancel_superfluous(view, order, need)
    return close_met(view, need)


def cancel_superfluous(view: StateView, order: Order, need: Need) -> Commands:
    """The need is met while its order is under way: the order is cancelled where that is free, else left to arrive."""
    if order.state is OrderState.CANCELLING:
        return (MarkMet(need=need.id),)
    item = view.catalogue.slots.get(order.item)
    keeps = item is not None and item.spare_packs
    free = order.cancel_before_ms is not None and view.at_ms < order.cancel_before_ms
    if order.state is OrderState.OUTSTANDING and free and not keeps and not order.called_off:
        return (MarkMet(need=need.id), *request_cancellation(view, order, need, "cancel_met"))
    return close_met(view, need)


def request_cancellation(view: StateView, order: Order, need: Need, key: str) -> Commands:
    """Asks the supplier to cancel; the order counts as open until the supplier confirms. key: of the sentence."""
    return (
        MoveOrder(order=order.id, to=OrderState.CANCELLING),
        MoveNeed(need=need.id, to=NeedState.CANCELLING),
        cancel_order(view, order, key),
    )


def cancel_order(view: StateView, order: Order, key: str) -> CancelOrder:
    """The cancellation for the supplier. key: of the sentence."""
    return CancelOrder(order=order.id, because=item_message(view, order.item, key, supplier=order.supplier or ""))


def refuse(view: StateView, need: Need) -> Commands:
    """The customer declined an order of the need, which has ended now."""
    rationale = Rationale(because=item_message(view, need.item, "declined"))
    return (
        RefuseNeed(need=need.id),
        RecordDecision(need=need.id, verdict=REFUSED, rationale=rationale, at_ms=view.at_ms),
    )


def reopen(view: StateView, order: Order, key: str) -> Commands:
    """The order failed or was lost (key): another supplier is tried at once, the same one after increasing waits."""
    need = view.need(order.need)
    if need is None:
        return (Reevaluate(item=order.item),)
    if need.state not in IN_PROGRESS_STATES:
        return ()
    if need.met:
        return (CloseNeed(need=need.id, at_ms=view.at_ms),)
    supplier = order.supplier or ""
    reopened = ReopenNeed(need=need.id, supplier=supplier, retry_ms=_retry_ms(view, need, supplier))
    if need.refused:
        return (reopened, *refuse(view, need))
    rationale = Rationale(because=item_message(view, order.item, key, supplier=supplier))
    return (
        reopened,
        RecordDecision(need=need.id, verdict=key, rationale=rationale, at_ms=view.at_ms),
        Reevaluate(item=order.item),
    )


def _retry_ms(view: StateView, need: Need, supplier: str) -> int | None:
    """When the need is tried again, None where it is at once: while a supplier is untried, and after the first failure."""
    item = view.item(need.item)
    untried = [] if item is None else [name for name in item.suppliers if name not in (*need.tried, supplier)]
    if untried or need.failures == 0:
        return None
    return view.at_ms + min((RETRY_MIN_MS << min(need.failures - 1, 16)), RETRY_MAX_MS)


def release_holds(view: StateView, is_concerned: Callable[[Need], bool]) -> Commands:
    """Live needs without an order are evaluated again at this tick, whatever they were held for."""
    return tuple(
        ReleaseHold(need=need.id) for need in view.needs() if need.state in ANSWERABLE_STATES and is_concerned(need)
    )


def declared_quantity(view: StateView, item_key: str, quantity: float | None) -> float:
    """The quantity that an event states, else the item's pack; 1 of a part."""
    item = view.item(item_key)
    if quantity is not None:
        return quantity
    return item.pack if isinstance(item, SlotItem) else 1.0
