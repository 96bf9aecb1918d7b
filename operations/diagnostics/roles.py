"""Roles that run elsewhere: each is asked over HTTP whether it can do its work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import httpx

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok, warn
from operations.observability.health import read_metrics_token
from star.errors import InputError

REQUEST_TIMEOUT_S = 5.0
ANSWER_CHARACTERS_MAX = 200
"""Characters of another program's answer that are shown."""


def roles_findings(urls: Sequence[str], settings: Settings) -> Iterator[Finding]:
    """One for each address, with or without a path: `http://gate-1:9464`."""
    if not urls:
        return
    try:
        token = read_metrics_token(settings.metrics_token_file)
    except InputError as error:
        yield warn("roles", str(error), "without it roles say that they are not ready, but not why")
        token = None
    for url in urls:
        yield role_finding(url, token)


def role_finding(url: str, token: str | None = None) -> Finding:
    """How one role is, by its /readyz."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    place = url
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        with httpx.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
            answer = client.get(f"{place}/readyz", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        said = f"{place} does not answer: {str(error) or type(error).__name__}"
        return fail("role", said, "start it, see its log, or correct the address")
    role, why = _parse_answer(answer)
    if answer.status_code == httpx.codes.OK:
        return ok("role", f"{place}{role} is ready")
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return fail("role", f"{place}{role} is not ready: {why}", "mend what it names; it goes on by itself then")
    return fail("role", f"{place}/readyz answers {answer.status_code}", "see that this is the health port of a role")


def _parse_answer(answer: httpx.Response) -> tuple[str, str]:
    """The role, and why it is not ready; the console answers in plain words, other roles in JSON."""
    try:
        body = answer.json()
    except ValueError:
        return "", " ".join(answer.text.split())[:ANSWER_CHARACTERS_MAX]
    if not isinstance(body, dict):
        return "", str(body)[:ANSWER_CHARACTERS_MAX]
    failed = [one for one in body.get("checks", ()) if isinstance(one, dict) and not one.get("ok")]
    why = "; ".join(f"{one.get('name')}: {one.get('why')}" for one in failed)
    return f" ({body.get('role', 'role')})", why or "it says why on its own machine, or to who shows the metrics' token"
