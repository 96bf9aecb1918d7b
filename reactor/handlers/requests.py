"""Requests: the customer asks for a refill or a service, which is carried out at this tick whatever the experience."""

from __future__ import annotations

from config.catalogue import SlotItem
from reactor.commands import AuthorizeNeed, CloseNeed, Commands, NeedTarget, ReportUnmatched
from reactor.handlers.needs import declared_quantity
from reactor.handlers.prompts import already_under_way, authorize
from reactor.state import ANSWERABLE_STATES, Authorization
from reactor.state_view import StateView
from star.analyse import NeedKind
from star.records import Request

REQUESTED = "request"
"""The cause of a need that a request opened, and the reason of its authorization."""


def handle(view: StateView, request: Request) -> Commands:
    """The commands that follow from the request."""
    item = view.item(request.item)
    if item is None:
        text = f"request {request.id!r} asks for {request.item!r}, which is not an item of the fleet"
        return (ReportUnmatched(text=text),)
    quantity = declared_quantity(view, item.key, request.quantity)
    authorization = Authorization(reason=REQUESTED, quantity=quantity)
    need = view.live_need(item.key)
    snoozed = need is not None and need.snoozed_ms is not None and need.snoozed_ms > view.at_ms
    if need is not None and not snoozed:
        if need.state not in ANSWERABLE_STATES:
            return (already_under_way(view, need, request.id),)
        return (authorize(view, need, authorization),)
    kind = NeedKind.RUN_OUT if isinstance(item, SlotItem) else NeedKind.SERVICE_DUE
    target = NeedTarget(item=item.key, customer=item.customer, kind=kind, cause=REQUESTED, at_ms=view.at_ms)
    opened = AuthorizeNeed(target=target, authorization=authorization)
    if need is None:
        return (opened,)
    # A need whose order was cancelled orders nothing for a day; what is asked for within it is another need.
    return (CloseNeed(need=need.id, at_ms=view.at_ms), opened)
