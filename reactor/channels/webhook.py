"""Reactions to suppliers over HTTPS: a CloudEvents body, signed by Standard Webhooks.

One `send` is one request; what its answer means is one table here, when to try again is reactor/delivery/outbox_dispatcher.py's. Redirects
are not followed and no proxy is taken from the environment: an order goes to the address in the fleet file or nowhere.
Source: Standard Webhooks 1.0 (headers webhook-id, webhook-timestamp, webhook-signature).
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from config.fleet import Supplier
from reactor.delivery.cloudevents import CONTENT_TYPE, event_bytes
from reactor.delivery.routes import MQTT, RECORD_ONLY
from star.errors import InputError, Unavailable
from star.ports import Clock
from star.react import Reaction
from star.times import utc

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 20.0
"""Unless set otherwise: a whole request, answer included: a supplier who answers more slowly is asked again."""
CONNECTIONS_MAX = 32
RESPONSE_BYTES_MAX = 300
"""How much of a refusal's body is kept for the person who reads it."""
RETRY_AFTER_S_MAX = 86_400.0
"""A longer wait asked for by a supplier is cut to this."""

_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_DUPLICATE_STATUSES = frozenset({409})
"""Conflict: the supplier already has this id, which is all that a retry wants to know."""


class WebhookChannel:
    """Sends reactions to the endpoints of their suppliers. Close it after use.

    supplier_of: the supplier as the fleet has it now. own_secret: signs for suppliers without a secret of their own.
    clock: the machine's own, also where the service's time runs faster: suppliers turn away a timestamp that is not now.
    """

    def __init__(
        self,
        supplier_of: Callable[[str], Supplier | None],
        *,
        default_secret: str,
        clock: Clock,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._supplier_of = supplier_of
        self._default_secret = default_secret
        self._clock = clock
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def send(self, reaction: Reaction) -> None:
        """Returns when the supplier has it. Raises Unavailable for another try, InputError where none would help."""
        supplier = None if reaction.supplier is None else self._supplier_of(reaction.supplier)
        if supplier is None:
            raise InputError(f"{reaction.id}: supplier {reaction.supplier!r} is not in the fleet any more")
        if supplier.endpoint in (MQTT, RECORD_ONLY):
            return  # changed since: the reactions topic, or the record alone, is this supplier's way now
        check_endpoint(supplier)
        body = event_bytes(reaction)
        headers = self._headers(reaction.id, body, supplier)
        try:
            async with asyncio.timeout(self._timeout_s):
                status, said, after = await self._post(supplier.endpoint, body, headers)
        except TimeoutError:
            raise Unavailable(f"{supplier.id} did not answer within {self._timeout_s:g} s") from None
        except httpx.InvalidURL as error:
            raise InputError(f"{supplier.id}'s endpoint is not a URL: {error}") from error
        except httpx.RequestError as error:
            raise Unavailable(f"{supplier.id} can't be reached: {_describe_error(error)}") from error
        raise_for_response(supplier.id, status, said, retry_after_s(after, self._clock.now_ms()))

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, str | None]:
        async with self._client.stream("POST", url, content=body, headers=headers) as answer:
            said = b""
            async for chunk in answer.aiter_raw(RESPONSE_BYTES_MAX):
                said += chunk
                if len(said) >= RESPONSE_BYTES_MAX:
                    break
            text = " ".join(said[:RESPONSE_BYTES_MAX].decode("utf-8", "replace").split())
            return answer.status_code, text, answer.headers.get("retry-after")

    def _headers(self, reaction: str, body: bytes, supplier: Supplier) -> dict[str, str]:
        at = utc(self._clock.now_ms())
        name = webhook_id(reaction)
        return {
            "content-type": CONTENT_TYPE,
            "accept-encoding": "identity",
            "user-agent": "starloop",
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": _signer(supplier, self._default_secret).sign(name, at, body.decode()),
        }


def webhook_id(reaction: str) -> str:
    """The idempotency key of a reaction: the same for every try; short, ASCII and without a dot whatever devices are called."""
    return f"msg_{hashlib.sha256(reaction.encode()).hexdigest()[:32]}"


def check_endpoint(supplier: Supplier) -> None:
    """Raises InputError where a supplier's endpoint is no address that an order may be sent to."""
    try:
        parts = urlsplit(supplier.endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"{supplier.id}'s endpoint is not a URL: {error}") from error
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and _is_loopback(host):
        return
    raise InputError(
        f"{supplier.id}'s endpoint is {supplier.endpoint!r}: expected an https URL (http on loopback only)"
    )


def raise_for_response(supplier: str, status: int, said: str, after_s: float | None) -> None:
    """What an answer means: returns for "they have it"; raises Unavailable for "later", InputError for "never"."""
    if 200 <= status < 300 or status in _DUPLICATE_STATUSES:
        return
    detail = f": {said}" if said else ""
    if status in _RETRYABLE_STATUSES or status >= 500:
        raise Unavailable(f"{supplier} answers {status}{detail}", retry_after_s=after_s)
    if status < 400:
        raise InputError(f"{supplier} answers {status}, a redirect: set the endpoint to where it has moved")
    if status == 410:
        raise InputError(f"{supplier} answers 410: its endpoint is gone for good{detail}")
    raise InputError(f"{supplier} refuses it with {status}{detail}")


def retry_after_s(header: str | None, now_ms: int) -> float | None:
    """Seconds to wait by a Retry-After header (seconds or an HTTP date), at most RETRY_AFTER_S_MAX; None where unreadable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), RETRY_AFTER_S_MAX)
    try:
        wait_s = parsedate_to_datetime(text).timestamp() - now_ms / 1000
    except ValueError:
        return None
    return min(max(wait_s, 0.0), RETRY_AFTER_S_MAX)


def _signer(supplier: Supplier, own_secret: str) -> Webhook:
    try:
        return Webhook(supplier.secret or own_secret)
    except (ValueError, EmptyWebhookSecretError) as error:
        raise InputError(f"{supplier.id}'s secret can't be read: expected whsec_ and base64") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
