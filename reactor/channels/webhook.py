"""The channel to suppliers over HTTPS: a CloudEvents body, signed by Standard Webhooks.

One `send` is one request; `raise_for_response` maps its status to an error. Redirects are not followed and no proxy of the
environment is used, so that an order goes to the address in the fleet file or nowhere.
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
from reactor.channels.base import ChannelEnvironment
from reactor.channels.signing_secret import installation_secret
from reactor.delivery.cloudevents import CONTENT_TYPE, event_bytes
from star.errors import InputError, Unavailable
from star.ports import Clock
from star.react import Reaction
from star.times import utc

CONNECT_TIMEOUT_S = 5.0
"""Time limit of a connection; the rest of the request's time is for the supplier's answer."""
TIMEOUT_S = 20.0
"""Default time limit of a whole request, answer included; a supplier that takes longer gets a retry."""
CONNECTIONS_MAX = 32
"""Connections that are open at once: no fewer than the dispatcher's deliveries in flight."""
RESPONSE_BYTES_MAX = 300
"""Bytes of a response that are kept in the error, for a person to read."""
RETRY_AFTER_S_MAX = 86_400.0
"""Longest Retry-After that is honoured, in seconds: an order is given up after three days."""

_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_DUPLICATE_STATUSES = frozenset({409})
"""Conflict: the supplier has this id already, so the delivery is complete."""


class WebhookChannel:
    """Sends reactions to the endpoints of their suppliers. Close it after use.

    supplier_of: the supplier as the fleet has it now. default_secret: signs for suppliers without a secret of their own.
    clock: the machine's clock, also where the service runs on sped-up time, as suppliers reject old timestamps.
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

    async def send(self, reaction: Reaction, address: str) -> None:
        """Returns when the supplier has it. Raises Unavailable where a retry may succeed, InputError where it can't."""
        supplier = None if reaction.supplier is None else self._supplier_of(reaction.supplier)
        if supplier is None:
            raise InputError(f"{reaction.id}: supplier {reaction.supplier!r} is not in the fleet any more")
        check_endpoint(supplier.id, address)
        body = event_bytes(reaction)
        headers = self._headers(reaction.id, body, supplier)
        try:
            async with asyncio.timeout(self._timeout_s):
                status, text, retry_after = await self._post(address, body, headers)
        except TimeoutError:
            raise Unavailable(f"{supplier.id} did not answer within {self._timeout_s:g} s") from None
        except httpx.InvalidURL as error:
            raise InputError(f"{supplier.id}'s endpoint is not a URL: {error}") from error
        except httpx.RequestError as error:
            raise Unavailable(f"{supplier.id} can't be reached: {_describe_error(error)}") from error
        raise_for_response(supplier.id, status, text, retry_after_s(retry_after, self._clock.now_ms()))

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, str | None]:
        """Status, beginning of the body on one line, and Retry-After of the response."""
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            received = b""
            async for chunk in response.aiter_raw(RESPONSE_BYTES_MAX):
                received += chunk
                if len(received) >= RESPONSE_BYTES_MAX:
                    break
            text = " ".join(received[:RESPONSE_BYTES_MAX].decode("utf-8", "replace").split())
            return response.status_code, text, response.headers.get("retry-after")

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


class WebhookKind:
    """The plug-in `webhook`."""

    endpoint_schemes = frozenset({"http", "https"})
    contact_schemes: frozenset[str] = frozenset()

    def open(self, environment: ChannelEnvironment) -> WebhookChannel:
        """A channel that signs with the installation's secret for suppliers without one."""
        return WebhookChannel(
            environment.supplier_of,
            default_secret=installation_secret(environment.data_dir),
            clock=environment.clock,
            timeout_s=environment.send_timeout_s,
        )


def webhook_id(reaction: str) -> str:
    """The idempotency key of a reaction, from its id: equal in all attempts; short, ASCII and without a dot for any name."""
    return f"msg_{hashlib.sha256(reaction.encode()).hexdigest()[:32]}"


def check_endpoint(supplier: str, endpoint: str) -> None:
    """Raises InputError for a URL that an order may not be sent to. supplier: its id, for the message."""
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"{supplier}'s endpoint is not a URL: {error}") from error
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and _is_loopback(host):
        return
    raise InputError(f"{supplier}'s endpoint is {endpoint!r}: expected an https URL (http on loopback only)")


def raise_for_response(supplier: str, status: int, text: str, after_s: float | None) -> None:
    """Returns for a status that completes the delivery; raises Unavailable for a retryable one, InputError for any other.

    text: the beginning of the response's body. after_s: the wait that the supplier asks for, in seconds.
    """
    if 200 <= status < 300 or status in _DUPLICATE_STATUSES:
        return
    detail = f": {text}" if text else ""
    if status in _RETRYABLE_STATUSES or status >= 500:
        raise Unavailable(f"{supplier} answers {status}{detail}", retry_after_s=after_s)
    if status < 400:
        raise InputError(f"{supplier} answers {status}, a redirect: set the endpoint to where it has moved")
    if status == 410:
        raise InputError(f"{supplier} answers 410: its endpoint is gone for good{detail}")
    raise InputError(f"{supplier} refuses it with {status}{detail}")


def retry_after_s(header: str | None, now_ms: int) -> float | None:
    """Wait in seconds of a Retry-After header (seconds or an HTTP date), at most RETRY_AFTER_S_MAX; None for any other text."""
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


def _signer(supplier: Supplier, default_secret: str) -> Webhook:
    try:
        return Webhook(supplier.secret or default_secret)
    except (ValueError, EmptyWebhookSecretError) as error:
        raise InputError(f"{supplier.id}'s secret can't be read: expected whsec_ and base64") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
