"""The fleet page: every item, by customer, with cards and filters for what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from fastapi import APIRouter
from fastapi.responses import Response

from console.backend import ASKING_REACTIONS, items_of
from console.item_summary import ItemSummary, summarize_fleet, summarize_item
from console.page_context import Page, SignedInPage

ROWS_PER_PAGE = 40
FILTERS = ("all", "needs", "below")
NEEDS_MAX = 10_000
"""Most open needs that are counted for the card "waiting for you"."""

router = APIRouter()


@router.get("/")
def fleet(page: SignedInPage, show: str = "all", q: str = "", customer: str = "", at: int = 1) -> Response:
    """The fleet: cards, and a table by customer. show: one of FILTERS; q: search words; at: number of the page, from 1."""
    formats = page.formats()
    backend = page.backend
    items = items_of(page.catalogue, page.account.customers)
    latest = backend.latest_forecasts(None if page.account.operator else [item.key for item in items])
    rows = [summarize_item(item, latest.get(item.key), backend.reorder_point(item.key), formats) for item in items]
    asking = {
        need.item
        for need in backend.needs(customers=page.account.customers, limit=NEEDS_MAX)
        if need.state in ASKING_REACTIONS
    }
    shown = [row for row in rows if _matches_filter(page, row, show, q, customer, asking)]
    pages = max(1, -(-len(shown) // ROWS_PER_PAGE))
    at = min(max(1, at), pages)
    return page.render(
        "fleet.html",
        cards=summarize_fleet(rows, len(asking), formats),
        groups=_groups(shown[(at - 1) * ROWS_PER_PAGE : at * ROWS_PER_PAGE]),
        asking=asking,
        show=show if show in FILTERS else "all",
        q=q,
        customer=customer,
        at=at,
        pages=pages,
        found=len(shown),
        empty=not rows,
    )


def _matches_filter(page: Page, row: ItemSummary, show: str, q: str, customer: str, asking: set[str]) -> bool:
    if (show == "needs" and row.item.key not in asking) or (show == "below" and not row.below):
        return False
    if customer and row.item.customer != customer:
        return False
    words = f"{page.item_title(row.item)} {row.item.key} {row.item.customer} {page.customer_name(row.item.customer)}"
    return all(word in words.casefold() for word in q.casefold().split())


def _groups(rows: Sequence[ItemSummary]) -> list[tuple[str, list[ItemSummary]]]:
    return [(customer, list(group)) for customer, group in groupby(rows, key=lambda row: row.item.customer)]
