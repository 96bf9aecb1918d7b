"""Live pages: keys only, each to who may see the thing, never more than a slow browser can take; and serving it all."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import httpx
import pytest

from console.access.accounts import OWNER, Account
from console.app import create_app
from console.live_updates import KEYS_MAX, ChangeNotifier
from console.page_context import Console
from console.server import GRACE_S, open_listener, serving, sign_in_link
from star.errors import InputError
from tests.support.console.fake_backend import FakeBackend

MARIA = Account(name="maria", customer="maria")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.live_updates.MESSAGE_INTERVAL_S", 0.01)
    monkeypatch.setattr("console.live_updates.HEARTBEAT_S", 0.2)


async def test_a_stream_has_keys_of_what_its_account_may_see() -> None:
    """Maria hears of her tank, not of the office's printer; an operator hears of both, gathered into one message."""
    hub = ChangeNotifier()
    hers, all_of_it = hub.stream(MARIA, lambda: True), hub.stream(OWNER, lambda: True)
    assert (await anext(hers), await anext(all_of_it)) == (b"retry: 3000\n\n", b"retry: 3000\n\n")
    hub.notify_items([("maria", "tank-7/oil"), ("harbour", "inkjet-3/black"), ("maria", "tank-7/oil")])
    assert await anext(hers) == b"event: changed\ndata: item:tank-7/oil\n\n"
    assert await anext(all_of_it) == b"event: changed\ndata: item:inkjet-3/black\ndata: item:tank-7/oil\n\n"
    await hers.aclose()  # type: ignore[attr-defined]
    await all_of_it.aclose()  # type: ignore[attr-defined]
    assert not hub._streams


async def test_a_slow_browser_gets_all_instead_of_a_long_list() -> None:
    """Its queue is bounded: beyond KEYS_MAX keys it holds one."""
    hub = ChangeNotifier()
    stream = hub.stream(OWNER, lambda: True)
    await anext(stream)
    hub.notify_items(("maria", f"tank-{number}/oil") for number in range(KEYS_MAX + 5))
    assert await anext(stream) == b"event: changed\ndata: all\n\n"
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_stream_ends_with_its_session() -> None:
    """At the next change or silence after the sign-out, whichever comes first."""
    hub = ChangeNotifier()
    valid = True
    stream = hub.stream(MARIA, lambda: valid)
    await anext(stream)
    assert await anext(stream) == b": quiet\n\n"
    valid = False
    assert [part async for part in stream if part != b": quiet\n\n"] == []


async def test_there_are_only_so_many_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that the hub is full."""
    monkeypatch.setattr("console.live_updates.STREAMS_MAX", 2)
    hub = ChangeNotifier()
    streams = [hub.stream(OWNER, lambda: True) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    assert hub.full
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
    assert not hub.full


async def test_a_browser_is_notified_of_a_change_over_http(console: Console, world: FakeBackend) -> None:
    """Through a real server: sign in by link, listen, and a change of preferences elsewhere is told."""
    async with (
        serving(create_app(console), "127.0.0.1", 0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, trust_env=False) as client,
    ):
        assert (await client.get(f"/login?token={console.sessions.create_link()}")).status_code == 200
        async with client.stream("GET", "/live") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["content-security-policy"]
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 3000"
            console.notifier.notify_items([("maria", "tank-7/oil")])
            async with asyncio.timeout(5):
                while not (line := await anext(lines)).startswith("data:"):
                    pass
            assert line == "data: item:tank-7/oil"


async def test_the_service_stops_at_once_though_a_browser_listens(console: Console) -> None:
    """The stream is ended by us: leaving the block takes well under the grace time."""
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
        async with serving(create_app(console), "127.0.0.1", 0) as port:
            await client.get(sign_in_link("127.0.0.1", port, console.sessions.create_link()))
            request = client.build_request("GET", f"http://127.0.0.1:{port}/live")
            answer = await client.send(request, stream=True)
            lines = answer.aiter_lines()
            await anext(lines)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < GRACE_S
        await answer.aclose()


def test_a_taken_port_is_named_and_on_demand_the_next_is_used() -> None:
    """The error says which port and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} is taken on 127\.0\.0\.1: .*--http-port"):
            open_listener("127.0.0.1", port)
        other = open_listener("127.0.0.1", port, free_port=True)
        assert other.getsockname()[1] > port
        other.close()


def test_an_address_of_another_host_is_reported() -> None:
    """Not a stack trace."""
    with pytest.raises(InputError, match=r"can't listen on 203\.0\.113\.7"):
        open_listener("203.0.113.7", 8080)


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("127.0.0.1", {}, "http://127.0.0.1:8080/login?token=t"),
        ("0.0.0.0", {"tls": True}, "https://127.0.0.1:8080/login?token=t"),
        ("::1", {}, "http://[::1]:8080/login?token=t"),
        ("0.0.0.0", {"public_url": "https://home.example/"}, "https://home.example/login?token=t"),
    ],
)
def test_a_printed_link_can_be_opened(host: str, given: dict[str, object], expected: str) -> None:
    """On the machine itself, or under the public address."""
    assert sign_in_link(host, 8080, "t", **given) == expected  # type: ignore[arg-type]


async def test_the_process_keeps_its_signal_handlers(console: Console, tmp_path: Path) -> None:
    """Serving changes no signal handler."""
    import signal

    before = signal.getsignal(signal.SIGTERM)
    async with serving(create_app(console), "127.0.0.1", 0) as port:
        assert signal.getsignal(signal.SIGTERM) is before
        async with httpx.AsyncClient(trust_env=False) as client:
            described = (await client.get(f"http://127.0.0.1:{port}/api/v1/openapi.json")).text
    assert json.loads(described)["info"]["title"] == "Starloop"
