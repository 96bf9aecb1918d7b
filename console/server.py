"""The console's HTTP server: uvicorn as a task in the event loop of the process, which keeps its own signal handlers."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI

from console.page_context import Console
from star.errors import InputError, Unavailable

GRACE_S = 3
"""Seconds that open requests have when the service stops; streams end at once."""
KEEP_ALIVE_S = 10
CONNECTIONS_MAX = 1_000
FREE_PORTS_TRIED = 50
START_S = 10.0
BACKLOG = 256
_log = structlog.get_logger("console")


class _Server(uvicorn.Server):
    """A server that ends the streams first when it stops, so that they do not use up GRACE_S."""

    def __init__(self, config: uvicorn.Config, console: Console) -> None:
        super().__init__(config)
        self._console = console

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leaves signals to the process."""
        return nullcontext()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, then the rest."""
        self._console.notifier.close()
        await super().shutdown(sockets)


def open_listener(host: str, port: int, *, free_port: bool = False) -> socket.socket:
    """A listening socket on `port` (0: any free one). free_port: the next free one where it is taken.

    Raises InputError with the reason and what to do.
    """
    last = port + FREE_PORTS_TRIED if free_port and port else port
    for tried in range(port, last + 1):
        try:
            return _bind(host, tried)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and tried < last:
                continue
            raise InputError(_bind_failure(host, port, last, error)) from error
    raise AssertionError("the last port tried either binds or raises")


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    made.setblocking(False)
    return made


def _bind_failure(host: str, port: int, last: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        tried = f"port {port} is" if last == port else f"ports {port} to {last} are all"
        return f"{tried} taken on {host}: stop what uses it, or choose another with --http-port"
    return f"can't listen on {host} port {port}: {error.strerror or error}"


@asynccontextmanager
async def serving(
    app: FastAPI,
    host: str,
    port: int,
    *,
    free_port: bool = False,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> AsyncIterator[int]:
    """Serves while the block runs; yields the port. On exit it stops within GRACE_S. Raises InputError."""
    sock = open_listener(host, port, free_port=free_port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it would hold the tokens of one-time links
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=CONNECTIONS_MAX,
        ssl_certfile=None if tls_cert is None else str(tls_cert),
        ssl_keyfile=None if tls_key is None else str(tls_key),
    )
    server = _Server(config, app.state.console)
    task = asyncio.create_task(server.serve([sock]), name="console")
    try:
        await _wait_until_started(server, task)
        bound = int(sock.getsockname()[1])
        _log.info("served_console", host=host, port=bound)
        yield bound
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await task
        sock.close()


async def serve(
    app: FastAPI,
    host: str,
    port: int,
    *,
    free_port: bool = False,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> None:
    """Serves until cancelled."""
    async with serving(app, host, port, free_port=free_port, tls_cert=tls_cert, tls_key=tls_key):
        await asyncio.Event().wait()


async def _wait_until_started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(START_S):
        while not server.started:
            if task.done():
                task.result()
                raise Unavailable("the console's server ended before it had started")
            await asyncio.sleep(0.01)


def sign_in_link(host: str, port: int, token: str, *, tls: bool = False, public_url: str | None = None) -> str:
    """The one-time sign-in link."""
    shown = (
        "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
    )
    base = public_url.rstrip("/") if public_url else f"{'https' if tls else 'http'}://{shown}:{port}"
    return f"{base}/login?token={token}"
