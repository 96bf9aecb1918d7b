"""HTTP guards: forms of the console's own origin only, security headers on every response, and a limit of bodies.

The origin is checked by Sec-Fetch-Site, which browsers send on HTTPS and loopback; else by Origin; and where a browser
sends neither, by the session's token in the form.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_BYTES_MAX = 1 << 20
"""Default of the largest request body; a larger one is answered with 413 and not read further."""
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # same-origin, not no-referrer: with the latter, browsers send "Origin: null" with the console's own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]


async def is_same_origin(request: Request, form_token: str | None) -> bool:
    """Whether an unsafe request comes from a page of the same origin. form_token: the session's, None without a session."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.headers.get("host", "")
    if form_token is None:
        return False
    given = (await request.form()).get("form_token")
    return isinstance(given, str) and hmac.compare_digest(given.encode(), form_token.encode())


class SecurityHeaders:
    """Adds security headers to every response; caches may store static files only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                extra = [*_HEADERS, (b"cache-control", b"no-store")]
                message["headers"] = [*message["headers"], *(row for row in extra if row[0] not in given)]
            await send(message)

        await self._app(scope, receive, with_headers)


class BodyTooLarge(Exception):
    """A body beyond the limit, answered with 413."""


class BodyLimit:
    """Refuses bodies beyond a size, by their declared length or else by counting."""

    def __init__(self, app: ASGIApp, bytes_max: int = BODY_BYTES_MAX) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._bytes_max:
            await _refuse(send, self._bytes_max)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._bytes_max:
                raise BodyTooLarge
            return message

        await self._app(scope, counted, send)


async def _refuse(send: Send, bytes_max: int) -> None:
    detail = f"the body is larger than {bytes_max} bytes"
    body = b'{"type":"about:blank","title":"Content Too Large","status":413,"detail":"%s"}' % detail.encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
