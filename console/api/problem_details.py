"""Problem details of the API (RFC 9457), and authentication by bearer tokens."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict

from console.access.accounts import OWNER, Account
from console.page_context import Console, RequestRefused, console_of
from star.errors import ConfigError


class ProblemDetails(BaseModel):
    """Problem details (RFC 9457). errors: each mistake with its field."""

    model_config = ConfigDict(extra="forbid")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    errors: list[dict[str, str]] = []


def problem_response(
    status: int, detail: str = "", errors: list[dict[str, str]] | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """A response of type application/problem+json."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


def config_problem(error: ConfigError) -> RequestRefused:
    """The refusal, with 422, of a fleet change with mistakes."""
    mistakes = [{"field": one.field, "message": one.message} for one in error.problems]
    return RequestRefused(422, str(error), mistakes)


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": ProblemDetails.model_json_schema()}},
    }
    for status, text in (
        (401, "No token, or one that is not known"),
        (404, "It does not exist, or you may not see it"),
        (422, "Well-formed, but invalid: `detail` has the reason"),
    )
}

_bearer = HTTPBearer(auto_error=False, description="The service's own token (DATA/service.token) or a user's.")


async def account_of(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Account:
    """The account of the request's token. Raises RequestRefused with 401."""
    console = console_of(request)
    if given is None:
        raise RequestRefused(401, "expected the header Authorization: Bearer TOKEN")
    if hmac.compare_digest(given.credentials.encode(), console.service_token.encode()):
        return OWNER
    account = console.users.authenticate_token(given.credentials)
    if account is None:
        raise RequestRefused(401, "the token is not known")
    return account


Caller = Annotated[Account, Depends(account_of)]
ConsoleDependency = Annotated[Console, Depends(console_of)]
