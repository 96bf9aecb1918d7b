"""What devices and people say: telemetry, requests and outcomes, the same payloads as over MQTT. 202 means: on disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request

from console.access.accounts import Account
from console.api.problem import ERRORS, Caller, TheConsole
from console.web import Console, Refused
from star.errors import BadPayload
from star.react import item_of_reaction

TAKEN = {"taken": True}
SAYINGS_MAX = 1_000
"""Outcomes or requests in one list."""

router = APIRouter(tags=["say"], responses=ERRORS)


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"title": schema}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/devices/{device}/telemetry",
    status_code=202,
    openapi_extra=_body("Telemetry", {"at": 1764000000.0, "seq": 17, "boot": 3, "values": {"oil": 812.5}}),
)
async def telemetry(device: str, request: Request, account: Caller, console: TheConsole) -> dict[str, bool]:
    """Readings: one object or a list of them, or SenML (JSON or CBOR). 202 when they are on disk."""
    _own_device(console, account, device)
    payload = await request.body()
    if not payload:
        raise Refused(400, "the body is empty: expected telemetry")
    if "cbor" not in request.headers.get("content-type", ""):
        parsed(payload)
    await taken(console.backend.submit_telemetry(device, payload))
    return TAKEN


@router.post(
    "/devices/{device}/requests",
    status_code=202,
    openapi_extra=_body("Request", {"id": "r-1", "item": "oil", "quantity": 500.0}),
)
async def requests(device: str, request: Request, account: Caller, console: TheConsole) -> dict[str, bool]:
    """A customer asks for an item (one object or a list): it opens a need at once."""
    _own_device(console, account, device)
    for said in _sayings(await request.body()):
        await taken(console.backend.submit_request(_of_device(said, device)))
    return TAKEN


@router.post(
    "/devices/{device}/outcomes",
    status_code=202,
    openapi_extra=_body("Outcome", {"id": "o-1", "reaction": "tank-7/oil/3/order/1", "result": "delivered"}),
)
async def outcomes(device: str, request: Request, account: Caller, console: TheConsole) -> dict[str, bool]:
    """What came of a reaction, or a refill or service that the customer declares (one object or a list).

    `accepted` spends money: it takes the customer's own token, or the service's.
    """
    _own_device(console, account, device)
    sayings = [_of_device(said, device) for said in _sayings(await request.body())]
    if not account.spends and any(said.get("result") == "accepted" for said in sayings):
        raise Refused(403, "result is 'accepted': accepting spends money, so it takes the customer's own token")
    for said in sayings:
        await taken(console.backend.submit_outcome(said))
    return TAKEN


def parsed(body: bytes) -> Any:
    """The body as JSON. Raises Refused with 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"not JSON: {error}") from error


async def taken(submitting: Awaitable[None]) -> None:
    """Waits until it is on disk. Raises Refused with 422 and the exact reason."""
    try:
        await submitting
    except BadPayload as error:
        raise Refused(422, str(error)) from error


def _sayings(body: bytes) -> list[dict[str, Any]]:
    said = parsed(body)
    rows = said if isinstance(said, list) else [said]
    if not rows or len(rows) > SAYINGS_MAX or not all(isinstance(row, dict) for row in rows):
        raise Refused(422, f"the body is {_kind(said)}: expected an object, or a list of 1 to {SAYINGS_MAX} of them")
    return rows


def _kind(said: Any) -> str:
    names: list[tuple[Callable[[Any], bool], str]] = [
        (lambda v: isinstance(v, list), f"a list of {len(said) if isinstance(said, list) else 0}"),
        (lambda v: v is None, "null"),
    ]
    return next((name for fits, name in names if fits(said)), type(said).__name__)


def _own_device(console: Console, account: Account, device: str) -> None:
    found = console.backend.catalogue().devices.get(device)
    if found is None or not account.sees(found.customer):
        raise Refused(404, f"there is no device {device!r}, or it is not yours")


def _of_device(said: dict[str, Any], device: str) -> dict[str, Any]:
    """The saying with `item` as `device/name`; refused where it speaks of another device's reaction."""
    reaction, item = said.get("reaction"), said.get("item")
    if isinstance(reaction, str):
        about = item_of_reaction(reaction)
        if about is not None and not about.startswith(f"{device}/"):
            raise Refused(422, f"reaction is {reaction!r}: expected one about the device {device}")
    if isinstance(item, str) and not item.startswith(f"{device}/"):
        return {**said, "item": f"{device}/{item}"}
    return said
