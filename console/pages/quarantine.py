"""The quarantine page: payloads that could not be decoded. For operators only, as unknown devices have no customer."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from console.backend import QuarantineView
from console.page_context import RequestRefused, SignedInPage

ROWS = 30
SHOWN_BYTES_MAX = 600

router = APIRouter()


@router.get("/quarantine")
def quarantine(page: SignedInPage, before: int | None = None) -> Response:
    """Payloads in quarantine, newest first."""
    if not page.account.operator:
        raise RequestRefused(404)
    rows = page.backend.quarantine(before=before, limit=ROWS + 1)
    older = rows[ROWS - 1].offset if len(rows) > ROWS else None
    shown = [(row, *readable(row)) for row in rows[:ROWS]]
    return page.render("quarantine.html", rows=shown, older=older, before=before)


def readable(row: QuarantineView) -> tuple[str, bool, int]:
    """(beginning of the payload, as text or in hexadecimal; whether it is hexadecimal; number of bytes not shown)."""
    shown = row.row.payload[:SHOWN_BYTES_MAX]
    left = len(row.row.payload) - len(shown)
    try:
        text = shown.decode("utf-8", "strict" if not left else "ignore")
    except UnicodeDecodeError:
        return shown.hex(" "), True, left
    if all(char.isprintable() or char in "\n\t\r" for char in text):
        return text, False, left
    return shown.hex(" "), True, left
