"""Webhooks to suppliers, over real HTTP on loopback, verified by the library that suppliers use."""

from __future__ import annotations

import json
import socket
import time
from email.utils import formatdate

import httpx
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from reactor.channels.webhook import WebhookChannel, check_endpoint, retry_after_s, webhook_id
from reactor.delivery.cloudevents import event_bytes
from star.errors import InputError, Unavailable
from tests.support.delivery_fleet import SECRET, START_MS, ManualClock, fleet_of, reaction_of, supplier_lookup
from tests.support.supplier_server import SupplierServer, serving

OWN_SECRET = "whsec_b3duLXNlY3JldC1vZi10aGUtaW5zdGFsbGF0aW9uLSE="


def channel_to(url: str, clock: ManualClock | None = None, **changes: object) -> WebhookChannel:
    """A channel whose only supplier, acme, is at `url`."""
    acme = fleet_of(url).suppliers["acme"].model_copy(update=changes)
    return WebhookChannel(
        {"acme": acme}.get, default_secret=OWN_SECRET, clock=clock or ManualClock(round(time.time() * 1000))
    )


async def test_a_supplier_can_verify_that_an_order_is_ours_and_unchanged() -> None:
    """The library's verifier accepts the call, with the event as its payload, and rejects a changed one."""
    async with serving(SupplierServer()) as acme:
        channel = channel_to(acme.url)
        await channel.send(reaction_of(), acme.url)
        await channel.close()
    call = acme.calls[0]
    assert Webhook(SECRET).verify(call.body, call.headers) == json.loads(event_bytes(reaction_of()))
    assert call.headers["content-type"] == "application/cloudevents+json"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(call.body.replace(b"500.0", b"900.0"), call.headers)


async def test_a_supplier_without_a_secret_verifies_with_the_installation_s_own() -> None:
    """No order goes out unsigned."""
    async with serving(SupplierServer()) as acme:
        channel = channel_to(acme.url, secret=None)
        await channel.send(reaction_of(), acme.url)
        await channel.close()
    assert Webhook(OWN_SECRET).verify(acme.calls[0].body, acme.calls[0].headers)


async def test_a_retry_carries_the_same_id_and_a_signature_of_its_own_time() -> None:
    """A supplier can drop what it has, and an old signature can't be replayed for ever."""
    clock = ManualClock(round(time.time() * 1000) - 60_000)
    async with serving(SupplierServer(answers=[(503, {})])) as acme:
        channel = channel_to(acme.url, clock)
        with pytest.raises(Unavailable, match="acme answers 503"):
            await channel.send(reaction_of(), acme.url)
        clock.advance_s(60)
        await channel.send(reaction_of(), acme.url)
        await channel.close()
    first, second = (call.headers for call in acme.calls)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 60
    assert first["webhook-signature"] != second["webhook-signature"]


@pytest.mark.parametrize("device", ["tank-7", "tank.v2.1", "Küche-冷蔵庫", "x" * 128])
def test_the_idempotency_key_fits_any_name_of_a_device(device: str) -> None:
    """Short, ASCII and without a dot, as the dot separates what is signed."""
    name = webhook_id(reaction_of(device=device).id)
    assert name.isascii()
    assert "." not in name
    assert len(name) == 36


@pytest.mark.parametrize(
    ("status", "meaning", "said"),
    [
        (200, None, ""),
        (202, None, ""),
        (409, None, ""),
        (408, Unavailable, "answers 408"),
        (425, Unavailable, "answers 425"),
        (429, Unavailable, "answers 429"),
        (500, Unavailable, "answers 500: the warehouse says why"),
        (503, Unavailable, "answers 503"),
        (301, InputError, "a redirect"),
        (400, InputError, "refuses it with 400: the warehouse says why"),
        (401, InputError, "refuses it with 401"),
        (410, InputError, "gone for good"),
    ],
)
async def test_a_response_means_delivered_or_retry_or_refused(
    status: int, meaning: type[Exception] | None, said: str
) -> None:
    """Each kind of status has one meaning; a refusal carries the supplier's own reason."""
    async with serving(SupplierServer(answers=[(status, {"location": "/elsewhere"})])) as acme:
        channel = channel_to(acme.url)
        if meaning is None:
            await channel.send(reaction_of(), acme.url)
        else:
            with pytest.raises(meaning, match=said):
                await channel.send(reaction_of(), acme.url)
        await channel.close()
    assert len(acme.calls) == 1


async def test_a_supplier_that_asks_to_wait_is_given_the_time() -> None:
    """Retry-After, in seconds, comes with the error."""
    async with serving(SupplierServer(answers=[(429, {"retry-after": "120"})])) as acme:
        channel = channel_to(acme.url)
        with pytest.raises(Unavailable) as caught:
            await channel.send(reaction_of(), acme.url)
        await channel.close()
    assert caught.value.retry_after_s == 120.0


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, None),
        ("30", 30.0),
        (" 0 ", 0.0),
        ("999999999999999", 86_400.0),
        (formatdate(START_MS / 1000 + 90, usegmt=True), 90.0),
        (formatdate(START_MS / 1000 - 90, usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_more_than_a_day(header: str | None, wait_s: float | None) -> None:
    """A header that can't be parsed is ignored."""
    assert retry_after_s(header, START_MS) == wait_s


async def test_a_supplier_that_never_answers_gets_a_retry() -> None:
    """The whole request has a time limit."""
    async with serving(SupplierServer(slow_s=0.6)) as acme:
        suppliers = supplier_lookup(fleet_of(acme.url))
        channel = WebhookChannel(suppliers, default_secret=OWN_SECRET, clock=ManualClock(), timeout_s=0.2)
        with pytest.raises(Unavailable, match="did not answer within"):
            await channel.send(reaction_of(), acme.url)
        await channel.close()


async def test_a_supplier_whose_server_is_down_gets_a_retry() -> None:
    """A refused connection is not a refusal of the order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/orders"
    channel = channel_to(url)
    with pytest.raises(Unavailable, match="can't be reached: ConnectError"):
        await channel.send(reaction_of(), url)
    await channel.close()


async def test_no_proxy_of_the_environment_gets_to_see_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call goes straight to the endpoint though the environment names a proxy (a dead one)."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert httpx.Client(trust_env=True)._mounts  # the environment's proxy would be used
    async with serving(SupplierServer()) as acme:
        channel = channel_to(acme.url)
        await channel.send(reaction_of(), acme.url)
        await channel.close()
    assert len(acme.calls) == 1


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://shop.example/orders",
        "ftp://shop.example",
        "https://",
        "orders",
        "http://[::1",
        "https://x:99999/",
        "file:///etc/passwd",
    ],
)
def test_an_order_never_travels_in_the_clear_or_to_something_that_is_no_address(endpoint: str) -> None:
    """https anywhere, http on loopback, nothing else."""
    with pytest.raises(InputError, match="acme's endpoint is"):
        check_endpoint("acme", endpoint)


@pytest.mark.parametrize(
    "endpoint", ["https://shop.example/x", "http://127.0.0.1:8000/x", "http://[::1]/x", "http://localhost/x"]
)
def test_https_and_loopback_are_addresses(endpoint: str) -> None:
    """Addresses that orders may be sent to pass."""
    check_endpoint("acme", endpoint)


async def test_a_supplier_that_left_the_fleet_or_has_a_broken_secret_gets_nothing() -> None:
    """The error names the supplier and what is wrong."""
    channel = WebhookChannel(supplier_lookup(fleet_of()), default_secret=OWN_SECRET, clock=ManualClock())
    with pytest.raises(InputError, match="'gone' is not in the fleet"):
        await channel.send(reaction_of(supplier="gone"), "http://127.0.0.1:9/")
    await channel.close()
    broken = channel_to("http://127.0.0.1:9/", secret="whsec_!")
    with pytest.raises(InputError, match="acme's secret can't be read"):
        await broken.send(reaction_of(), "http://127.0.0.1:9/")
    await broken.close()
