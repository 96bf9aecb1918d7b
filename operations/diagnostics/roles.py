"""Checks of running roles: readiness of each, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import httpx

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok, warn
from operations.observability.health import read_metrics_token
from star.errors import InputError

REQUEST_TIMEOUT_S = 5.0
"""Longer than the timeout of a role's own checks (health.CHECK_TIMEOUT_S)."""
RESPONSE_CHARACTERS_MAX = 200
"""Characters shown of a response that is not JSON."""


def roles_findings(urls: Sequence[str], settings: Settings) -> Iterator[Finding]:
    """One finding per address, with or without a path: `http://gate-1:9464`."""
    if not urls:
        return
    try:
        token = read_metrics_token(settings.metrics_token_file)
    except InputError as error:
        yield warn("roles", str(error), "without the token, roles report that they are not ready but not why")
        token = None
    for url in urls:
        yield role_finding(url, token)


def role_finding(url: str, token: str | None = None) -> Finding:
    """Readiness of one role, from its /readyz."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    place = url
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        with httpx.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
            response = client.get(f"{place}/readyz", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        said = f"{place} does not answer: {str(error) or type(error).__name__}"
        return fail("role", said, "start the role, check its log, or correct the address")
    role, why = _parse_response(response)
    if response.status_code == httpx.codes.OK:
        return ok("role", f"{place}{role} is ready")
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return fail("role", f"{place}{role} is not ready: {why}", "resolve the cause; the role then recovers by itself")
    return fail(
        "role", f"{place}/readyz returned {response.status_code}", "check that this is the health port of a role"
    )


def _parse_response(response: httpx.Response) -> tuple[str, str]:
    """(role, reason why it is not ready). The console responds in plain text, other roles in JSON."""
    try:
        body = response.json()
    except ValueError:
        return "", " ".join(response.text.split())[:RESPONSE_CHARACTERS_MAX]
    if not isinstance(body, dict):
        return "", str(body)[:RESPONSE_CHARACTERS_MAX]
    failed = [one for one in body.get("checks", ()) if isinstance(one, dict) and not one.get("ok")]
    why = "; ".join(f"{one.get('name')}: {one.get('why')}" for one in failed)
    return (
        f" ({body.get('role', 'role')})",
        why or "the reason is only given on its own machine, or with the metrics token",
    )
