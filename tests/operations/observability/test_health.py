"""The health endpoint over real HTTP, for probes, Prometheus and unauthorized clients."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request

from operations.observability import health
from operations.observability.health import add_metrics, health_app, is_authorized, read_metrics_token, serve_health
from operations.observability.metrics import Meters
from operations.observability.probes import watch_log
from star.errors import InputError, LogError

TOKEN = "a-token-of-some-length"


def request_from(host: str, **headers: str) -> Request:
    """A request as the server hands it on."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "client": (host, 4711), "headers": raw, "method": "GET", "path": "/"})


async def test_a_ready_role_reports_all_its_checks() -> None:
    """200, each check by name, a coroutine among them."""

    async def store() -> str | None:
        await asyncio.sleep(0)
        return None

    app = health_app(Meters("react"), {"log": lambda: None, "store": store})
    async with serve_health(app, "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).text == "ok\n"
        answer = await client.get(f"http://127.0.0.1:{port}/readyz")
    assert answer.status_code == 200
    assert answer.json()["role"] == "react"
    assert [(one["name"], one["ok"]) for one in answer.json()["checks"]] == [("log", True), ("store", True)]


async def test_a_role_that_is_not_ready_reports_why_and_stays_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with a reason, a raised error and a timeout; /healthz stays 200."""
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 0.05)

    def raises() -> str | None:
        raise LogError("no broker of kafka-1:9092 answers")

    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    checks = {"log": raises, "store": hangs, "influx": lambda: "not tried yet"}
    app = health_app(Meters("react"), checks)
    async with serve_health(app, "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/readyz")
        alive = await client.get(f"http://127.0.0.1:{port}/healthz")
    assert (answer.status_code, alive.status_code) == (503, 200)
    why = {one["name"]: one["why"] for one in answer.json()["checks"]}
    assert why["log"] == "no broker of kafka-1:9092 answers"
    assert why["store"].startswith("no answer within")
    assert why["influx"] == "not tried yet"


async def test_frequent_probes_do_not_load_the_store() -> None:
    """Twenty concurrent probes run the check once."""
    calls = 0

    def store() -> str | None:
        nonlocal calls
        calls += 1
        return None

    app = health_app(Meters("react"), {"store": store})
    async with serve_health(app, "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        await asyncio.gather(*(client.get(f"http://127.0.0.1:{port}/readyz") for _ in range(20)))
    assert calls == 1


async def test_prometheus_reads_metrics_with_the_token_that_is_set() -> None:
    """Without the token 401 and no reasons, also from this machine; with it everything."""
    meters = Meters("gate")
    watch_log(meters, lambda: "full")
    app = health_app(meters, {"log": lambda: "full"}, TOKEN)
    async with serve_health(app, "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        base = f"http://127.0.0.1:{port}"
        assert (await client.get(f"{base}/metrics")).status_code == 401
        assert (await client.get(f"{base}/metrics", headers={"authorization": "Bearer wrong"})).status_code == 401
        plain = await client.get(f"{base}/readyz")
        answer = await client.get(f"{base}/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert plain.status_code == 503
    assert "checks" not in plain.json()
    assert "starloop_log_reachable 0.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")


async def test_metrics_may_stand_beside_other_pages() -> None:
    """Metrics can be added to an application with pages."""
    app = FastAPI()
    add_metrics(app, Meters("up"), None)
    async with serve_health(app, "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        assert "process_cpu_seconds_total" in (await client.get(f"http://127.0.0.1:{port}/metrics")).text


def test_without_a_token_metrics_are_for_this_machine_alone() -> None:
    """Loopback has access, others do not, nor does anyone through a proxy, behind which all seem local."""
    assert is_authorized(request_from("127.0.0.1"), None)
    assert is_authorized(request_from("::1"), None)
    assert not is_authorized(request_from("10.0.0.7"), None)
    assert not is_authorized(request_from("127.0.0.1", x_forwarded_for="10.0.0.7"), None)
    assert is_authorized(request_from("10.0.0.7", authorization=f"Bearer {TOKEN}"), TOKEN)
    assert not is_authorized(request_from("127.0.0.1", authorization="Bearer ü"), TOKEN)


def test_a_token_that_is_missing_or_short_stops_the_start_with_its_file(tmp_path: Path) -> None:
    """Each error names the file and what was expected."""
    with pytest.raises(InputError, match="not readable"):
        read_metrics_token(tmp_path / "none")
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(InputError, match="at least 16"):
        read_metrics_token(tmp_path / "short")
    (tmp_path / "good").write_text(f"{TOKEN}\n")
    assert read_metrics_token(tmp_path / "good") == TOKEN
    assert read_metrics_token(None) is None


async def test_a_port_in_use_is_reported_with_its_setting() -> None:
    """The error names STARLOOP_HEALTH_PORT."""
    app = health_app(Meters("gate"), {})
    async with serve_health(app, "127.0.0.1", 0) as port:
        with pytest.raises(InputError, match="STARLOOP_HEALTH_PORT"):
            async with serve_health(app, "127.0.0.1", port):
                pass
