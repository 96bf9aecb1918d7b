"""Sign-in and sign-out, and the appearance in this browser: language, light or dark; the stream of live updates."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from console.access.accounts import Account
from console.access.sessions import SESSION_LIFETIME_S
from console.forms import form_reader
from console.page_context import (
    APPEARANCE_COOKIE_S,
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEMES,
    Page,
    PublicPage,
    SignedInPage,
    local_path,
    redirect_back,
)
from console.texts import LANGUAGES

router = APIRouter()


@router.get("/login")
async def login(page: PublicPage, token: str = "", next: str = "/") -> Response:
    """The sign-in page. The token of a printed link signs in at once, and is used up."""
    if not token:
        return _form(page, next)
    wait_s = page.console.throttle.wait_s(client_address(page.request))
    if wait_s:
        return _too_many(page, next, wait_s)
    account = page.console.sessions.redeem_link(token)
    if account is None and page.signed_in:
        return redirect_back(next)  # the link was clicked twice
    if account is None:
        return _form(page, next, "login.used", status=403)
    return _signed_in(page, account, next)


@router.post("/login")
async def login_by_password(page: PublicPage) -> Response:
    """Signs in with a name and password of the users file."""
    value = form_reader(await page.request.form())
    wait_s = page.console.throttle.wait_s(client_address(page.request))
    if wait_s:
        return _too_many(page, value("next"), wait_s)
    account = await run_in_threadpool(page.console.users.authenticate_password, value("name"), value("password"))
    if account is None:
        return _form(page, value("next"), "login.wrong", status=403, name=value("name"))
    return _signed_in(page, account, value("next"))


@router.post("/logout")
async def logout(page: SignedInPage) -> Response:
    """Ends the session, in the browser and on the server."""
    if page.session:
        page.console.sessions.end(page.session)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(page.console.sessions.cookie)
    return response


@router.post("/look")
async def choose_appearance(page: PublicPage) -> Response:
    """Sets language or theme for this browser, and returns to the page."""
    value = form_reader(await page.request.form())
    response = redirect_back(value("back"))
    secure = page.request.url.scheme == "https"
    if value("language") in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE,
            value("language"),
            max_age=APPEARANCE_COOKIE_S,
            httponly=True,
            samesite="lax",
            secure=secure,
        )
    if value("theme") in THEMES:
        response.set_cookie(
            THEME_COOKIE, value("theme"), max_age=APPEARANCE_COOKIE_S, httponly=True, samesite="lax", secure=secure
        )
    return response


@router.get("/live")
async def live(page: SignedInPage) -> Response:
    """The stream of keys of what changed, restricted to what the account may see."""
    console, session, account = page.console, page.session, page.account
    if console.notifier.full:
        return Response(status_code=503, headers={"Retry-After": "10"})
    stream = console.notifier.stream(account, lambda: console.sessions.find_account(session) == account)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def client_address(request: Request) -> str:
    """The client's address, by which sign-in attempts are counted."""
    return request.client.host if request.client is not None else "unknown"


def _signed_in(page: Page, account: Account, next_path: str) -> Response:
    page.console.throttle.reset(client_address(page.request))
    session = page.console.sessions.start(account)
    response = RedirectResponse(local_path(next_path or "/"), 303)
    response.set_cookie(
        page.console.sessions.cookie,
        session,
        max_age=SESSION_LIFETIME_S,
        httponly=True,
        samesite="lax",
        secure=page.request.url.scheme == "https",
    )
    return response


def _form(page: Page, next_path: str, wrong: str = "", status: int = 200, name: str = "") -> Response:
    message = page.formats().texts(wrong) if wrong else ""
    return page.render(
        "login.html",
        status,
        message=message,
        next=local_path(next_path or "/"),
        name=name,
        passwords=page.console.users.has_passwords(),
    )


def _too_many(page: Page, next_path: str, wait_s: float) -> Response:
    response = page.render(
        "login.html",
        429,
        message=page.formats().texts("login.too_many", minutes=-(-int(wait_s) // 60)),
        next=local_path(next_path or "/"),
        name="",
        passwords=page.console.users.has_passwords(),
    )
    response.headers["Retry-After"] = str(int(wait_s) + 1)
    return response
