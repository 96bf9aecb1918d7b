"""Health endpoint of roles without a console (/healthz, /readyz, /metrics), and /metrics for the console's app.

/healthz: liveness. /readyz: readiness, 200 or 503. Status codes are public; reasons and metrics are given to callers on this
machine or, if a token is set, to callers with the token. It is plain HTTP: outside a private network use a TLS proxy.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from console.server import open_listener
from operations.observability.metrics import Meters
from star.errors import InputError, StarloopError, Unavailable

CHECK_TIMEOUT_S = 2.0
"""Timeout of one check, in seconds: a trade-off between slow databases and a prompt response to the probe."""
CHECK_CACHE_S = 1.0
"""Age up to which results are reused, in seconds: limits the load on log and store under frequent probes."""
START_TIMEOUT_S = 10.0
SHUTDOWN_GRACE_S = 2
"""Time for requests in progress at shutdown, in seconds."""
CONNECTIONS_MAX = 100
"""Concurrent connections: probes and Prometheus need a few; more are refused to limit memory."""
TOKEN_CHARACTERS_MIN = 16
"""Minimum token length: 96 bits in base64."""
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
_log = structlog.get_logger("watching")

HealthCheck = Callable[[], str | Awaitable[str | None] | None]
"""Returns why a part is not ready, or None if it is ready. It must be quick, and may be a coroutine function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckResult:
    """Result of one check, with the reason if it failed."""

    name: str
    ok: bool
    why: str | None = None


class HealthChecks:
    """The checks of a role, run at most once per CHECK_CACHE_S."""

    def __init__(self, checks: Mapping[str, HealthCheck]) -> None:
        self._checks = dict(checks)
        self._results: list[HealthCheckResult] = []
        self._checked_s = -CHECK_CACHE_S
        self._lock = asyncio.Lock()

    async def results(self) -> list[HealthCheckResult]:
        """Results of all checks."""
        async with self._lock:
            if time.monotonic() - self._checked_s >= CHECK_CACHE_S:
                self._results = list(await asyncio.gather(*(_run_check(*one) for one in self._checks.items())))
                self._checked_s = time.monotonic()
        return self._results


async def _run_check(name: str, check: HealthCheck) -> HealthCheckResult:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            found = check()
            why = found if found is None or isinstance(found, str) else await found
    except TimeoutError:
        why = f"no answer within {CHECK_TIMEOUT_S:g} s"
    except (StarloopError, OSError) as error:
        why = str(error) or type(error).__name__
    return HealthCheckResult(name=name, ok=why is None, why=why)


def read_metrics_token(path: Path | None) -> str | None:
    """The token for /metrics; None if no file is set. Raises InputError if it is unreadable or too short."""
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable ({error}): expected a file with the token for /metrics") from error
    if len(token) < TOKEN_CHARACTERS_MIN or not token.isascii():
        raise InputError(f"{path}: expected a token for /metrics of at least {TOKEN_CHARACTERS_MIN} ASCII characters")
    return token


def is_authorized(request: Request, token: str | None) -> bool:
    """Whether the caller may see metrics and reasons: with the token if one is set, else from loopback without a proxy."""
    if token is not None:
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def add_metrics(app: FastAPI, meters: Meters, token: str | None) -> None:
    """Adds /metrics to an application, such as the console's."""

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        if not is_authorized(request, token):
            return _refused(token)
        return Response(meters.exposition(), media_type=CONTENT_TYPE_LATEST)


def health_app(meters: Meters, checks: Mapping[str, HealthCheck], token: str | None = None) -> FastAPI:
    """The health application of a role without a console."""
    app = FastAPI(title="Starloop", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    health = HealthChecks(checks)

    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz(request: Request) -> Response:
        found = await health.results()
        ready = all(one.ok for one in found)
        body: dict[str, object] = {"ready": ready, "role": meters.role}
        if is_authorized(request, token):
            body["checks"] = [asdict(one) for one in found]
        return JSONResponse(body, 200 if ready else 503)

    add_metrics(app, meters, token)
    return app


def _refused(token: str | None) -> Response:
    if token is None:
        return PlainTextResponse(
            "metrics are available on this machine only: set STARLOOP_METRICS_TOKEN_FILE for remote access\n", 403
        )
    return PlainTextResponse("expected the token\n", 401, {"WWW-Authenticate": "Bearer"})


class _Server(uvicorn.Server):
    """A server that leaves signal handling to the process."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Captures no signals."""
        return nullcontext()


@asynccontextmanager
async def serve_health(app: FastAPI, host: str, port: int) -> AsyncIterator[int]:
    """Serves while the block runs, and yields the port. Raises InputError if it can't listen."""
    try:
        sock = open_listener(host, port)
    except InputError as error:
        raise InputError(str(error).replace("--http-port", "STARLOOP_HEALTH_PORT")) from error
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
        limit_concurrency=CONNECTIONS_MAX,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([sock]), name="health")
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not server.started:
                if task.done():
                    task.result()
                    raise Unavailable("the health endpoint failed to start")
                await asyncio.sleep(0.01)
        bound = int(sock.getsockname()[1])
        _log.info("served_health", host=host, port=bound)
        yield bound
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await task
        sock.close()
