"""The reactions page, newest first, and the page of the decision behind each."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from config.catalogue import SlotItem
from console.backend import Item, find_item
from console.formatting import Formatter
from console.item_summary import quantile_rows
from console.page_context import Page, RequestRefused, SignedInPage
from reactor.delivery.routes import customer_of_target, supplier_of_target
from star.react import Decision

ROWS = 40

router = APIRouter()


@router.get("/reactions")
def reactions(page: SignedInPage, before: int | None = None) -> Response:
    """Reactions that the account may see. before: milliseconds since the epoch; only earlier ones."""
    rows = page.backend.reactions(customers=page.account.customers, before_ms=before, limit=ROWS + 1)
    older = rows[ROWS - 1].reaction.at_ms if len(rows) > ROWS else None
    return page.render("reactions.html", rows=rows[:ROWS], older=older, before=before)


@router.get("/why/{id:path}")
def why(page: SignedInPage, id: str) -> Response:
    """The decision behind a reaction, or all decisions about a need."""
    backend = page.backend
    if backend.reaction(id) is not None:
        shown = page.reaction(id)
        item = find_item(page.catalogue, shown.reaction.item_key)
        formats = page.formats(shown.reaction.customer)
        decision = backend.decision(id)
        return page.render(
            "why.html",
            formats=formats,
            shown=shown,
            decision=decision,
            item=item,
            key=shown.reaction.item_key,
            deliveries=[(delivery, target_name(page, delivery.target, formats)) for delivery in backend.deliveries(id)],
            **receipt_context(decision, item, formats),
        )
    need = backend.need(id)
    owner = None if need is None else find_item(page.catalogue, need.item)
    if need is None or owner is None or not page.account.can_see(owner.customer):
        raise RequestRefused(404)
    return page.render(
        "need.html",
        formats=page.formats(owner.customer),
        need=need,
        item=owner,
        decisions=backend.decisions(id),
        reactions=backend.reactions(need=id),
    )


def receipt_context(decision: Decision | None, item: Item | None, formats: Formatter) -> dict[str, Any]:
    """The template's values for a decision's tables."""
    forecast = decision.forecast if decision is not None else None
    unit = item.unit if isinstance(item, SlotItem) else ""
    return {
        "forecast": forecast,
        "unit": unit,
        "quantiles": quantile_rows(forecast, formats) if forecast is not None else [],
        "figure_rows": figure_rows(decision, formats) if decision is not None else [],
    }


def figure_rows(decision: Decision, formats: Formatter) -> list[tuple[str, str]]:
    """The figures of a decision, by translated name, or by their own where there is no text."""
    texts = formats.texts
    return [
        (texts.get(f"figures.{name}", name.replace("_", " ")), formats.number(value, 4 if abs(value) < 1 else 2))
        for name, value in decision.figures.items()
    ]


def target_name(page: Page, target: str, formats: Formatter) -> str:
    """Display name of the target of a delivery."""
    texts = formats.texts
    supplier, customer = supplier_of_target(target), customer_of_target(target)
    if supplier is not None:
        return texts("why.targets.supplier", name=supplier)
    if customer is not None:
        return texts("why.targets.customer", name=page.customer_name(customer))
    return texts.get(f"why.targets.{target}", target)
