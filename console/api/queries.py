"""Queries: items with forecasts and history, needs, reactions, decisions, quarantine."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from config.catalogue import SlotItem
from console.access.accounts import Account
from console.api.problem_details import ERROR_RESPONSES, Caller, ConsoleDependency
from console.backend import Item, NeedView, ReactionView, find_item, items_of
from console.page_context import Console, RequestRefused
from star.analyse import Forecast
from star.ids import ItemId
from star.react import Decision
from star.times import DAY_MS, epoch_seconds

Limit = Annotated[int, Query(ge=1, le=1000)]
HISTORY_DAYS_MAX = 400

router = APIRouter(tags=["see"], responses=ERROR_RESPONSES)


@router.get("/items")
def items(
    account: Caller, console: ConsoleDependency, customer: str | None = None, after: str = "", limit: Limit = 200
) -> dict[str, Any]:
    """Items by `device/name`, each with its latest forecast; `after`: the last item of the page before."""
    catalogue = console.backend.catalogue()
    found = sorted(items_of(catalogue, account.customers), key=lambda item: item.key)
    page = [i for i in found if i.key > after and customer in (None, i.customer)][: limit + 1]
    latest = console.backend.latest_forecasts([item.key for item in page[:limit]])
    rows = [item_row(console, item, latest.get(item.key)) for item in page[:limit]]
    return {"items": rows, "next": rows[-1]["item"] if len(page) > limit else None}


@router.get("/items/{device}/{name}")
def item(
    device: str,
    name: str,
    account: Caller,
    console: ConsoleDependency,
    days: Annotated[int, Query(ge=0, le=HISTORY_DAYS_MAX)] = 30,
) -> dict[str, Any]:
    """An item: its forecast, and its level over the last `days`."""
    found = _item(console, account, str(ItemId(device, name)))
    now_ms = console.backend.now_ms()
    points = console.backend.level_history(found.key, now_ms - days * DAY_MS, now_ms)
    row = item_row(console, found, console.backend.latest_forecasts([found.key]).get(found.key))
    return {**row, "history": [{"at": epoch_seconds(point.at_ms), "level": point.level} for point in points]}


@router.get("/needs")
def needs(
    account: Caller, console: ConsoleDependency, item: str | None = None, living: bool = True, limit: Limit = 200
) -> dict[str, Any]:
    """Needs, newest first; with `living=false` closed ones too."""
    if item is not None:
        _item(console, account, item)
    rows = console.backend.needs(item=item, customers=account.customers, living=living, limit=limit)
    return {"needs": [need_row(need) for need in rows]}


@router.get("/reactions")
def reactions(
    account: Caller,
    console: ConsoleDependency,
    item: str | None = None,
    need: str | None = None,
    before: Annotated[float | None, Query(description="epoch seconds: only earlier ones")] = None,
    limit: Limit = 200,
) -> dict[str, Any]:
    """Reactions, newest first."""
    before_ms = None if before is None else round(before * 1000)
    rows = console.backend.reactions(
        item=item, need=need, customers=account.customers, before_ms=before_ms, limit=limit
    )
    return {"reactions": [reaction_row(row) for row in rows]}


@router.get("/why/{id:path}")
def why(id: str, account: Caller, console: ConsoleDependency) -> dict[str, Any]:
    """The decision behind a reaction, or all decisions about a need. Slashes in ids are not escaped."""
    backend = console.backend
    shown = backend.reaction(id)
    if shown is not None and account.can_see(shown.reaction.customer):
        decision = backend.decision(id)
        return {
            "reaction": reaction_row(shown),
            "decision": None if decision is None else decision_row(decision),
            "sending": [asdict(delivery) for delivery in backend.deliveries(id)],
        }
    need = backend.need(id)
    owner = None if need is None else find_item(backend.catalogue(), need.item)
    if need is None or owner is None or not account.can_see(owner.customer):
        raise RequestRefused(404, f"there is no reaction or need {id!r}")
    return {
        "need": need_row(need),
        "decisions": [decision_row(decision) for decision in backend.decisions(id)],
        "reactions": [reaction_row(row) for row in backend.reactions(need=id)],
    }


@router.get("/quarantine")
def quarantine(
    account: Caller, console: ConsoleDependency, before: int | None = None, limit: Limit = 50
) -> dict[str, Any]:
    """Payloads that could not be decoded, newest first; for operators."""
    if not account.operator:
        raise RequestRefused(404, "quarantine is for operators")
    rows = console.backend.quarantine(before=before, limit=limit)
    return {
        "quarantine": [
            {
                "offset": row.offset,
                "at": epoch_seconds(row.row.at_ms),
                "topic": row.row.topic,
                "reason": row.row.reason,
                "payload_base64": base64.b64encode(row.row.payload).decode(),
            }
            for row in rows
        ]
    }


def _item(console: Console, account: Account, key: str) -> Item:
    found = find_item(console.backend.catalogue(), key)
    if found is None or not account.can_see(found.customer):
        raise RequestRefused(404, f"there is no item {key!r}")
    return found


def item_row(console: Console, item: Item, forecast: Forecast | None) -> dict[str, Any]:
    """The API's JSON of an item."""
    row: dict[str, Any] = {
        "item": item.key,
        "device": item.device,
        "name": item.name,
        "customer": item.customer,
        "kind": "slot" if isinstance(item, SlotItem) else "part",
        "experience": item.experience,
        "forecast": None if forecast is None else forecast_row(forecast),
    }
    if isinstance(item, SlotItem):
        row |= {
            "unit": item.unit,
            "capacity": item.capacity,
            "pack": item.pack,
            "order_point": console.backend.reorder_point(item.key),
        }
    return row


def forecast_row(forecast: Forecast) -> dict[str, Any]:
    """The API's JSON of a forecast."""
    return {
        "at": epoch_seconds(forecast.at_ms),
        "level": forecast.level,
        "days_to_empty": forecast.published_quantiles(),
        "rate_per_day": forecast.rate_per_day,
        "trust": round(forecast.trust, 4),
        "model": forecast.model,
        "readings": forecast.readings,
        "reading": {"at": epoch_seconds(forecast.reading_ms), "value": forecast.reading},
    }


def need_row(need: NeedView) -> dict[str, Any]:
    """The API's JSON of a need."""
    return {
        "need": need.id,
        "item": need.item,
        "kind": need.kind,
        "cause": need.cause,
        "state": need.state,
        "opened_at": epoch_seconds(need.opened_ms),
        "closed_at": None if need.closed_ms is None else epoch_seconds(need.closed_ms),
    }


def reaction_row(shown: ReactionView) -> dict[str, Any]:
    """The API's JSON of a reaction: replay's, with the outcome."""
    return {
        **shown.reaction.replay_line(),
        "result": shown.result,
        "result_at": None if shown.result_ms is None else epoch_seconds(shown.result_ms),
        "timing": shown.timing,
    }


def decision_row(decision: Decision) -> dict[str, Any]:
    """The API's JSON of a decision."""
    return {
        "decision": decision.id,
        "need": decision.need,
        "at": epoch_seconds(decision.at_ms),
        "verdict": decision.verdict,
        "because": decision.because,
        "rules": [
            {
                "rule": rule.rule,
                "allowed": rule.allowed,
                "reason": rule.reason,
                "until": None if rule.until_ms is None else epoch_seconds(rule.until_ms),
            }
            for rule in decision.rules
        ],
        "forecast": None if decision.forecast is None else forecast_row(decision.forecast),
        "alternative": decision.alternative,
        "figures": decision.figures,
        "reaction": decision.reaction,
    }
