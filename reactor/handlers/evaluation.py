"""Evaluation of one item: what its customer's experience decides, on the latest forecast, where nothing is under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from config.catalogue import PartItem, SlotItem
from config.fleet import Customer, Experience
from reactor.commands import (
    REFUSED,
    Command,
    Commands,
    Rationale,
    RecordDecision,
    RefreshForecast,
    WithdrawAuthorization,
)
from reactor.decision.decision_context import DecisionContext
from reactor.decision.order_recovery import should_give_up
from reactor.experiences import authorization, auto, coach, offer, respond, service
from reactor.handlers import orders
from reactor.i18n import translate
from reactor.rules.consent import PURPOSES, check_consent, has_consent
from reactor.state import IN_PROGRESS_STATES, Need
from reactor.state_view import StateView
from star.analyse import DetectedNeed, Forecast, NeedKind
from star.repeat import NeedState, OrderState
from star.times import DAY_MS

FORECAST_AGE_MS = DAY_MS // 2
"""A live need keeps a forecast no older than this, for decisions at moments without one. It trades writes against age."""
FORECAST_STALE_MS = 2 * DAY_MS
"""An item without a forecast for so long has left the reorder horizon: nothing is decided on its last one."""

_Item = TypeVar("_Item", SlotItem, PartItem)

SLOT_EXPERIENCES: Mapping[Experience, Callable[[DecisionContext[SlotItem]], Commands]] = {
    Experience.RESPOND: respond.decide,
    Experience.OFFER: offer.decide,
    Experience.COACH: coach.decide,
    Experience.AUTO: auto.decide,
}


def evaluate(view: StateView, item_key: str, at_ms: int) -> Commands:
    """Decides about the item at at_ms, on this tick's forecast or the one that its need keeps."""
    item, need, observed = view.item(item_key), view.live_need(item_key), view.observed_needs.get(item_key)
    if item is None or (need is not None and need.state in IN_PROGRESS_STATES):
        return ()
    customer = view.customer(item)
    kind = NeedKind.SERVICE_DUE if isinstance(item, PartItem) else NeedKind.RUN_OUT
    if not has_consent(customer, kind):
        return () if need is None else _without_consent(need, customer, kind, at_ms)
    forecast = _current_forecast(view, need, observed)
    refreshed: tuple[Command, ...] = ()
    if need is not None and forecast is not None and _is_refresh(need, forecast):
        need = replace(need, forecast=forecast)
        refreshed = (RefreshForecast(need=need.id, forecast=forecast),)
    if forecast is None and (need is None or need.mandate is None):
        return ()
    if isinstance(item, PartItem):
        part = _context(view, item, need, forecast, at_ms, observed)
        return (*refreshed, *_decide_part(part))
    slot = _context(view, item, need, forecast, at_ms, observed)
    return (*refreshed, *_decide_slot(slot))


def recover_overdue(view: StateView, item_key: str) -> Commands:
    """An item that is low with its order under way, ordered unasked: an overdue order may be given up."""
    item, need, order = view.catalogue.slots.get(item_key), view.live_need(item_key), view.open_order(item_key)
    if item is None or need is None or need.state is not NeedState.ORDERED or need.refused:
        return ()
    if order is None or order.state is not OrderState.OUTSTANDING or order.need != need.id:
        return ()
    if item.experience is not Experience.AUTO or not has_consent(view.customer(item), NeedKind.RUN_OUT):
        return ()
    observed = view.observed_needs[item_key]
    context = _context(view, item, need, observed.forecast, view.at_ms, observed)
    return orders.lost(view, order) if should_give_up(context, order) else ()


def _decide_part(context: DecisionContext[PartItem]) -> Commands:
    if context.need is not None and context.need.mandate is not None:
        return service.execute(context, context.need.mandate)
    return service.decide(context)


def _decide_slot(context: DecisionContext[SlotItem]) -> Commands:
    if context.need is not None and context.need.mandate is not None:
        return authorization.execute(context, context.need.mandate)
    return SLOT_EXPERIENCES[context.item.experience](context)


def _context(
    view: StateView,
    item: _Item,
    need: Need | None,
    forecast: Forecast | None,
    at_ms: int,
    observed: DetectedNeed | None,
) -> DecisionContext[_Item]:
    return DecisionContext(
        view=view,
        item=item,
        customer=view.customer(item),
        need=need,
        forecast=forecast,
        at_ms=at_ms,
        kind=NeedKind.SERVICE_DUE if isinstance(item, PartItem) else NeedKind.RUN_OUT,
        cause="" if observed is None else observed.cause,
    )


def _without_consent(need: Need, customer: Customer, kind: NeedKind, at_ms: int) -> Commands:
    """The customer has not agreed to the purpose, or no longer does: the need waits, and loses its authorization."""
    purpose = translate(customer.language, PURPOSES[kind])
    rationale = Rationale(
        because=translate(customer.language, "consent_no", purpose=purpose), rules=(check_consent(customer, kind),)
    )
    recorded = RecordDecision(need=need.id, verdict=REFUSED, rationale=rationale, at_ms=at_ms, dedup_key="consent")
    return (recorded,) if need.mandate is None else (recorded, WithdrawAuthorization(need=need.id))


def _current_forecast(view: StateView, need: Need | None, observed: DetectedNeed | None) -> Forecast | None:
    """This tick's forecast, else the one that the need keeps, unless it is stale and nothing was authorized."""
    if observed is not None:
        return observed.forecast
    if need is None or need.forecast is None:
        return None
    stale = view.at_ms - need.forecast.at_ms > FORECAST_STALE_MS
    return None if stale and need.mandate is None else need.forecast


def _is_refresh(need: Need, forecast: Forecast) -> bool:
    return need.forecast is None or forecast.at_ms - need.forecast.at_ms >= FORECAST_AGE_MS
