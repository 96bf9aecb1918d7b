"""The item page: past level, forecast, open questions and orders, and forms for outcomes and requests."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from config.catalogue import SlotItem
from console.backend import ASKING_REACTIONS, OUTSTANDING_STATES, Backend, Item, ReactionView
from console.chart import Mark, fan_chart
from console.formatting import Formatter
from console.forms import form_reader, parse_amount
from console.item_summary import ItemSummary, quantile_rows, summarize_item
from console.page_context import Page, RequestRefused, SignedInPage, await_submission, item_url, redirect_back
from star.analyse import QUANTILES, NeedKind
from star.ids import ItemId
from star.react import Option, ReactionType
from star.repeat import NeedState
from star.times import DAY_MS, epoch_seconds

SPANS_DAYS = (7, 30, 90, 365)
SPAN_DEFAULT_DAYS = 30
REACTIONS_SHOWN = 12
MARKS_MAX = 100
TABLE_ROWS = 10
FULFILLED_TYPES = frozenset({ReactionType.ORDER_REQUESTED, ReactionType.MAINTENANCE_BOOKED})
"""Types of reactions that are fulfilled by somebody, and so can be outstanding."""

router = APIRouter()


@router.get("/items/{device}/{name}")
def item(page: SignedInPage, device: str, name: str, days: int = SPAN_DEFAULT_DAYS) -> Response:
    """The page of an item. days: how much of its history is drawn."""
    item = page.item(str(ItemId(device, name)))
    days = days if days in SPANS_DAYS else SPAN_DEFAULT_DAYS
    formats = page.formats(item.customer)
    backend = page.backend
    row = summarize_item(
        item, backend.latest_forecasts([item.key]).get(item.key), backend.reorder_point(item.key), formats
    )
    reactions = backend.reactions(item=item.key, limit=MARKS_MAX)
    return page.render(
        "item.html",
        formats=formats,
        item=item,
        title=page.item_title(item),
        is_slot=isinstance(item, SlotItem),
        row=row,
        days=days,
        spans=SPANS_DAYS,
        quantiles=quantile_rows(row.forecast, formats) if row.forecast is not None else [],
        reactions=reactions[:REACTIONS_SHOWN],
        **_charts(page, item, row, reactions, days, formats),
        **_open_reactions(backend, item, reactions),
        once=secrets.token_urlsafe(9),
    )


def _open_reactions(backend: Backend, item: Item, reactions: Sequence[ReactionView]) -> dict[str, Any]:
    """The open question, the outstanding order, and the last delivery, on which feedback may be given."""
    needs = {need.id: need for need in backend.needs(item=item.key)}
    asked = ordered = last = cancelling = None
    for shown in reactions:
        need, kind = needs.get(shown.reaction.need), shown.reaction.type
        if need is not None and shown.result is None and asked is None and ASKING_REACTIONS.get(need.state) == kind:
            asked = shown
        if kind not in FULFILLED_TYPES:
            continue
        under_way = need is not None and need.state in OUTSTANDING_STATES and shown.result in (None, "accepted")
        if under_way and need is not None and ordered is None:
            ordered, cancelling = shown, need.state is NeedState.CANCELLING
        # A need that closed without an outcome of its order was met by a detected refill: the order has arrived.
        came = shown.result == "delivered" or (need is None and shown.result is None)
        if came and last is None and kind is ReactionType.ORDER_REQUESTED:
            last = shown
    lead_time = backend.lead_time_days(item.key)
    expected = None
    if ordered is not None and lead_time is not None:
        expected = tuple(ordered.reaction.at_ms + round(days * DAY_MS) for days in lead_time)
    return {
        "asked": asked,
        "choices": selectable_options(asked),
        "ordered": ordered,
        "booked": ordered is not None and ordered.reaction.type is ReactionType.MAINTENANCE_BOOKED,
        "cancelling": cancelling,
        "last": last,
        "expected": expected,
        "service": any(need.kind is NeedKind.SERVICE_DUE for need in needs.values()),
    }


def selectable_options(asked: ReactionView | None) -> list[tuple[int, Option]]:
    """The options that can be chosen, with their index in the offer.

    An acceptance identifies its option by quantity, so of several with one quantity only the first can be chosen.
    """
    found: dict[float, tuple[int, Option]] = {}
    for place, option in enumerate(asked.reaction.options if asked is not None else ()):
        found.setdefault(option.quantity, (place, option))
    return list(found.values())


def _charts(
    page: Page, item: Item, row: ItemSummary, reactions: Sequence[ReactionView], days: int, formats: Formatter
) -> dict[str, Any]:
    """The chart, wide and narrow (the style sheet shows one of them), and its table."""
    now_ms = page.now_ms
    points = page.backend.level_history(item.key, now_ms - days * DAY_MS, now_ms)
    if row.forecast is None and not points:
        return {"chart": None, "chart_narrow": None, "table": []}
    texts = formats.texts
    capacity = item.capacity if isinstance(item, SlotItem) else 1.0
    description = texts("item.chart_desc_none")
    if row.forecast is not None:
        low, middle, high = (formats.days(row.forecast.days[QUANTILES.index(level)]) for level in (0.05, 0.5, 0.95))
        first = formats.date(points[0].at_ms if points else now_ms)
        description = texts(
            "item.chart_desc",
            span=texts("item.days_n", n=days),
            first=first,
            last=formats.date(now_ms),
            level=row.level,
            median=middle,
            low=low,
            high=high,
        )

    def drawn(name: str, width: int, height: int) -> str:
        return fan_chart(
            points,
            row.forecast,
            capacity=capacity,
            now_ms=now_ms,
            formats=formats,
            reorder_point=page.backend.reorder_point(item.key) if isinstance(item, SlotItem) else None,
            marks=chart_marks(reactions, formats),
            title=f"{page.item_title(item)}: {texts('item.chart' if isinstance(item, SlotItem) else 'item.chart_part')}",
            description=description,
            name=name,
            width=width,
            height=height,
        )

    step = max(1, -(-len(points) // TABLE_ROWS))
    table = [(formats.moment(point.at_ms), formats.percent(point.level / capacity, 1)) for point in points[::-step]]
    return {"chart": drawn("fan", 980, 330), "chart_narrow": drawn("fan-narrow", 340, 290), "table": table}


def chart_marks(reactions: Sequence[ReactionView], formats: Formatter) -> list[Mark]:
    """Orders and deliveries as marks on the chart."""
    marks = []
    for shown in reactions:
        if shown.reaction.type is not ReactionType.ORDER_REQUESTED:
            continue
        at_ms = shown.reaction.at_ms
        label = formats.texts("item.order_mark_at", moment=formats.moment(at_ms))
        marks.append(Mark(at_ms=at_ms, kind="order", label=label))
        if shown.result == "delivered" and shown.result_ms is not None:
            label = formats.texts("item.delivery_mark_at", moment=formats.moment(shown.result_ms))
            marks.append(Mark(at_ms=shown.result_ms, kind="delivery", label=label))
    return marks


@router.post("/items/{device}/{name}/say")
async def declare(page: SignedInPage, device: str, name: str) -> Response:
    """Declares a refill or service, or requests an order."""
    item = page.item(str(ItemId(device, name)))
    value = form_reader(await page.request.form())
    what, once = value("what"), value("once")
    if not once or len(once) > 64:
        raise RequestRefused(400)
    quantity = parse_quantity(value("quantity"))
    body: dict[str, Any] = {"id": f"console:{once}", "item": item.key}
    if quantity is not None:
        body["quantity"] = quantity
    if what == "request":
        await await_submission(page.backend.submit_request(body))
        return redirect_back(item_url(item.key), "requested")
    if what not in ("refilled", "serviced"):
        raise RequestRefused(400)
    await await_submission(page.backend.submit_outcome({**body, "result": what}))
    return redirect_back(item_url(item.key), what)


@router.post("/answers/{id:path}")
async def answer(page: SignedInPage, id: str) -> Response:
    """Answers a reaction: accepted, declined, cancelled, done, or feedback on its timing."""
    shown = await run_in_threadpool(page.reaction, id)
    value = form_reader(await page.request.form())
    result, timing = value("result"), value("timing")
    back = item_url(shown.reaction.item_key)
    if timing in ("early", "right", "late"):
        outcome: dict[str, Any] = {"id": f"console:{value('once')[:64]}:{id}", "reaction": id, "result": "delivered"}
        if shown.result_ms is not None:
            outcome["at"] = epoch_seconds(shown.result_ms)  # feedback given now must not move the delivery to now
        await await_submission(page.backend.submit_outcome({**outcome, "feedback": {"timing": timing}}))
        return redirect_back(back, "feedback")
    if result not in ("accepted", "declined", "cancelled", "done"):
        raise RequestRefused(400)
    if result == "accepted" and not page.account.spends:
        raise RequestRefused(403, page.formats().texts("item.spend_note"))
    # The id is derived from the answer, so a form sent twice is one answer.
    outcome = {"id": f"console:{id}:{result}", "reaction": id, "result": result}
    quantity = _chosen_quantity(shown, value("option")) if result == "accepted" else None
    await await_submission(
        page.backend.submit_outcome(outcome if quantity is None else {**outcome, "quantity": quantity})
    )
    return redirect_back(back, result)


def _chosen_quantity(shown: ReactionView, option: str) -> float | None:
    """The quantity of the chosen option; None for a reaction without options."""
    if not shown.reaction.options:
        return None
    chosen = {str(place): one for place, one in selectable_options(shown)}.get(option)
    if chosen is None:
        raise RequestRefused(400)
    return chosen.quantity


def parse_quantity(text: str) -> float | None:
    """The quantity of a form; None where it is left empty. Raises RequestRefused with 400 for what is no quantity."""
    try:
        return parse_amount(text) if text else None
    except ValueError:
        raise RequestRefused(400) from None
