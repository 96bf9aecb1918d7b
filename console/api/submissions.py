"""Submissions: telemetry, requests and outcomes, with the same payloads as over MQTT. 202 means that they are on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request

from console.access.accounts import Account
from console.api.problem_details import ERROR_RESPONSES, Caller, ConsoleDependency
from console.page_context import Console, RequestRefused, await_submission
from star.ids import ReactionId, qualified_item

ACCEPTED_BODY = {"taken": True}
SUBMISSIONS_MAX = 1_000
"""Most outcomes or requests in one list."""

router = APIRouter(tags=["say"], responses=ERROR_RESPONSES)


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"title": schema}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/devices/{device}/telemetry",
    status_code=202,
    openapi_extra=_body("Telemetry", {"at": 1764000000.0, "seq": 17, "boot": 3, "values": {"oil": 812.5}}),
)
async def telemetry(device: str, request: Request, account: Caller, console: ConsoleDependency) -> dict[str, bool]:
    """Telemetry: one object or a list, or SenML (JSON or CBOR). Answered with 202 once it is on disk."""
    _require_device(console, account, device)
    payload = await request.body()
    if not payload:
        raise RequestRefused(400, "the body is empty: expected telemetry")
    if "cbor" not in request.headers.get("content-type", ""):
        parse_json(payload)
    await await_submission(console.backend.submit_telemetry(device, payload))
    return ACCEPTED_BODY


@router.post(
    "/devices/{device}/requests",
    status_code=202,
    openapi_extra=_body("Request", {"id": "r-1", "item": "oil", "quantity": 500.0}),
)
async def requests(device: str, request: Request, account: Caller, console: ConsoleDependency) -> dict[str, bool]:
    """A customer's request for an item (one object or a list), which opens a need at once."""
    _require_device(console, account, device)
    for submission in _submissions(await request.body()):
        await await_submission(console.backend.submit_request(_qualify_item(submission, device)))
    return ACCEPTED_BODY


@router.post(
    "/devices/{device}/outcomes",
    status_code=202,
    openapi_extra=_body("Outcome", {"id": "o-1", "reaction": "tank-7/oil/3/order/1", "result": "delivered"}),
)
async def outcomes(device: str, request: Request, account: Caller, console: ConsoleDependency) -> dict[str, bool]:
    """The outcome of a reaction, or a refill or service that the customer declares (one object or a list).

    `accepted` spends money, so it needs the customer's own token, or the service's.
    """
    _require_device(console, account, device)
    submissions = [_qualify_item(submission, device) for submission in _submissions(await request.body())]
    if not account.spends and any(submission.get("result") == "accepted" for submission in submissions):
        raise RequestRefused(403, "result is 'accepted': accepting spends money: expected the customer's own token")
    for submission in submissions:
        await await_submission(console.backend.submit_outcome(submission))
    return ACCEPTED_BODY


def parse_json(body: bytes) -> Any:
    """The JSON of a body. Raises RequestRefused with 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(400, f"not JSON: {error}") from error


def _submissions(body: bytes) -> list[dict[str, Any]]:
    submission = parse_json(body)
    rows = submission if isinstance(submission, list) else [submission]
    if not rows or len(rows) > SUBMISSIONS_MAX or not all(isinstance(row, dict) for row in rows):
        raise RequestRefused(
            422,
            f"the body is {_body_kind(submission)}: expected an object, or a list of 1 to {SUBMISSIONS_MAX} of them",
        )
    return rows


def _body_kind(submission: Any) -> str:
    names: list[tuple[Callable[[Any], bool], str]] = [
        (lambda v: isinstance(v, list), f"a list of {len(submission) if isinstance(submission, list) else 0}"),
        (lambda v: v is None, "null"),
    ]
    return next((name for fits, name in names if fits(submission)), type(submission).__name__)


def _require_device(console: Console, account: Account, device: str) -> None:
    found = console.backend.catalogue().devices.get(device)
    if found is None or not account.can_see(found.customer):
        raise RequestRefused(404, f"there is no device {device!r}, or it is not yours")


def _qualify_item(submission: dict[str, Any], device: str) -> dict[str, Any]:
    """The submission with `item` as `device/name`. Raises RequestRefused for a reaction about another device."""
    reaction, item = submission.get("reaction"), submission.get("item")
    if isinstance(reaction, str):
        found = ReactionId.try_parse(reaction)
        if found is not None and found.need.item.device != device:
            raise RequestRefused(422, f"reaction is {reaction!r}: expected one about the device {device}")
    return {**submission, "item": qualified_item(device, item)} if isinstance(item, str) else submission
