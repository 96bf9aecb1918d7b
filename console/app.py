"""The console as one ASGI application: pages, HTTP API, guards, and error responses."""

from __future__ import annotations

import secrets
import traceback
from pathlib import Path
from urllib.parse import urlencode

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from console.access.accounts import Users
from console.access.http_guards import BODY_BYTES_MAX, BodyLimit, BodyTooLarge, SecurityHeaders
from console.access.sessions import Sessions, load_or_create_secret
from console.access.sign_in_throttle import SignInThrottle
from console.api import fleet as api_fleet
from console.api import queries, submissions
from console.api.problem_details import problem_response
from console.backend import Backend
from console.live_updates import ChangeNotifier
from console.page_context import (
    CONSOLE_DIR,
    Console,
    NotSignedIn,
    Page,
    RequestRefused,
    console_of,
    template_environment,
)
from console.pages import fleet, item, preferences, quarantine, reactions, sign_in
from star.errors import BadPayload, ConfigError, StarloopError

API = "/api/v1"
GZIP_FROM_BYTES = 1_000
TRACEBACK_FRAMES = 12
_log = structlog.get_logger("console")


def create_console(backend: Backend, data_dir: Path) -> Console:
    """The parts of a console whose secrets, sessions and users are in `data_dir`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    users = Users(data_dir / "users.toml")
    return Console(
        backend=backend,
        sessions=Sessions(data_dir, users),
        users=users,
        throttle=SignInThrottle(),
        notifier=ChangeNotifier(),
        service_token=load_or_create_secret(data_dir / "service.token"),
        templates=template_environment(),
    )


def create_app(console: Console, *, body_bytes_max: int = BODY_BYTES_MAX) -> FastAPI:
    """The application. `app.state.console` has its parts, such as the notifier of changes and the sessions."""
    app = FastAPI(
        title="Starloop",
        version="1",
        description="The HTTP API of Starloop. Errors are problem details (RFC 9457).",
        docs_url=None,  # its page loads from a CDN
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.console = console
    for pages in (sign_in, fleet, item, reactions, preferences, quarantine):
        app.include_router(pages.router, include_in_schema=False)
    for api in (submissions, queries, api_fleet):
        app.include_router(api.router, prefix=API)
    _public_routes(app)
    app.mount("/static", _Static(directory=CONSOLE_DIR / "static"))
    _error_handlers(app)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES)
    app.add_middleware(BodyLimit, bytes_max=body_bytes_max)
    app.add_middleware(SecurityHeaders)
    return app


class _Static(StaticFiles):
    """Static files, which browsers may cache for ever, as their addresses change with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def _public_routes(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    def readyz(request: Request) -> Response:
        unready_reason = console_of(request).backend.unready_reason()
        return PlainTextResponse(f"{unready_reason}\n", 503) if unready_reason else PlainTextResponse("ready\n")

    @app.get(f"{API}/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(app.openapi())


def _error_handlers(app: FastAPI) -> None:
    @app.exception_handler(NotSignedIn)
    async def sign_in(request: Request, _: NotSignedIn) -> Response:
        if request.query_params.get("part") or request.url.path == "/live":
            return PlainTextResponse("", 401)
        target = request.url.path if request.method == "GET" else "/"
        return RedirectResponse("/login?" + urlencode({"next": target}), 303)

    @app.exception_handler(RequestRefused)
    async def refused(request: Request, error: RequestRefused) -> Response:
        return _error_response(request, error.status, error.detail, error.errors)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return _error_response(request, error.status_code, "", None, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        mistakes = [{"field": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()]
        return _error_response(request, 422 if _is_api(request) else 400, mistakes[0]["message"], mistakes)

    @app.exception_handler(BadPayload)
    async def bad(request: Request, error: BadPayload) -> Response:
        return _error_response(request, 422, str(error))

    @app.exception_handler(ConfigError)
    async def config(request: Request, error: ConfigError) -> Response:
        return _error_response(request, 422, str(error))

    @app.exception_handler(StarloopError)
    async def unable(request: Request, error: StarloopError) -> Response:
        _log.warning("could_not_answer", path=request.url.path, error=str(error))
        return _error_response(request, 503, str(error))

    @app.exception_handler(BodyTooLarge)
    async def large(request: Request, _: BodyTooLarge) -> Response:
        return problem_response(413, "the body is too large")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        reference = secrets.token_hex(4)
        # As text: rendering a traceback with its locals takes seconds, on the event loop that also ingests readings.
        formatted = "".join(traceback.format_exception(error, limit=-TRACEBACK_FRAMES))
        _log.error("failed_to_answer", path=request.url.path, reference=reference, traceback=formatted)
        return _error_response(request, 500, reference)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def _error_response(
    request: Request,
    status: int,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error as a page or, under /api, as problem details."""
    if _is_api(request):
        extra = {**(headers or {}), **({"WWW-Authenticate": "Bearer"} if status == 401 else {})}
        shown_detail = f"this is in the service's log as {detail}" if status == 500 else detail
        return problem_response(status, shown_detail, errors, extra)
    console = console_of(request)
    given = request.cookies.get(console.sessions.cookie)
    # What failed may be needed for a signed-in page too, so an error of the service is shown as to anyone.
    account = console.sessions.find_account(given) if status < 500 else None
    page = Page(console, request, account, given if account else None)
    texts = page.formats().texts
    text = texts.get(f"error.{status}_text", "")
    if status == 500:
        text, detail = texts("error.500_text", reference=detail), ""
    title = texts.get(f"error.{status}", str(status))
    response = page.render("error.html", status, title=title, text=text, detail=detail)
    response.headers.update(headers or {})
    return response
