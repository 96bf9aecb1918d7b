"""A supplier's endpoint for tests: a real HTTP server on loopback that answers as it is told and keeps what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import uvicorn


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    headers: dict[str, str]
    body: bytes


@dataclass
class SupplierServer:
    """answers: (status, headers) of the next requests, in order; then 204. slow_s: how long each answer takes."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    slow_s: float = 0.0
    calls: list[Call] = field(default_factory=list)
    on_call: Callable[[], None] | None = None
    url: str = ""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # killed in the middle of its request: nothing was heard
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.calls.append(Call(headers, body))
        if self.on_call is not None:
            self.on_call()
        await asyncio.sleep(self.slow_s)
        status, extra = self.answers.pop(0) if self.answers else (204, {})
        raw = [(name.encode(), value.encode()) for name, value in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if status == 204 else b"the warehouse says why"})


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        return nullcontext()


@asynccontextmanager
async def serving(server: SupplierServer) -> AsyncIterator[SupplierServer]:
    """The server on a free port of loopback, its `url` set."""
    config = uvicorn.Config(server, port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    web = _Server(config)
    task = asyncio.create_task(web.serve())
    while not web.started:  # noqa: ASYNC110 - uvicorn sets a flag, no event
        await asyncio.sleep(0.005)
    port = web.servers[0].sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/orders"
    try:
        yield server
    finally:
        web.should_exit = True
        await task
