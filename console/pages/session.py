"""Signing in and out, and how the console looks to this browser: language, light or dark."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from console.access.accounts import Account
from console.access.sessions import SESSION_S
from console.texts import LANGUAGES
from console.web import (
    LANGUAGE_COOKIE,
    LOOK_S,
    THEME_COOKIE,
    THEMES,
    AnyPage,
    OwnPage,
    Page,
    back_to,
    form_values,
    local_path,
)

router = APIRouter()


@router.get("/login")
async def login(page: AnyPage, token: str = "", next: str = "/") -> Response:
    """The sign-in page; with the token of a printed link, signs in at once and the link is used."""
    if not token:
        return _form(page, next)
    wait_s = page.console.attempts.wait_s(address(page.request))
    if wait_s:
        return _too_many(page, next, wait_s)
    account = page.console.sessions.use_link(token)
    if account is None and page.signed_in:
        return back_to(next)  # the link was clicked twice
    if account is None:
        return _form(page, next, "login.used", status=403)
    return _signed_in(page, account, next)


@router.post("/login")
async def login_by_password(page: AnyPage) -> Response:
    """Signs in with a name and password of the users file."""
    value = form_values(await page.request.form())
    wait_s = page.console.attempts.wait_s(address(page.request))
    if wait_s:
        return _too_many(page, value("next"), wait_s)
    account = await run_in_threadpool(page.console.users.by_password, value("name"), value("password"))
    if account is None:
        return _form(page, value("next"), "login.wrong", status=403, name=value("name"))
    return _signed_in(page, account, value("next"))


@router.post("/logout")
async def logout(page: OwnPage) -> Response:
    """Ends this session, on our side too."""
    if page.session:
        page.console.sessions.end(page.session)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(page.console.sessions.cookie)
    return response


@router.post("/look")
async def look(page: AnyPage) -> Response:
    """Chooses language or theme for this browser, and goes back."""
    value = form_values(await page.request.form())
    response = back_to(value("back"))
    secure = page.request.url.scheme == "https"
    if value("language") in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE, value("language"), max_age=LOOK_S, httponly=True, samesite="lax", secure=secure
        )
    if value("theme") in THEMES:
        response.set_cookie(THEME_COOKIE, value("theme"), max_age=LOOK_S, httponly=True, samesite="lax", secure=secure)
    return response


@router.get("/live")
async def live(page: OwnPage) -> Response:
    """The stream of keys of what changed, of things that are theirs to see."""
    console, session, account = page.console, page.session, page.account
    if console.hub.full:
        return Response(status_code=503, headers={"Retry-After": "10"})
    stream = console.hub.stream(account, lambda: console.sessions.account(session) == account)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def address(request: Request) -> str:
    """The client's address, as attempts are counted by it."""
    return request.client.host if request.client is not None else "unknown"


def _signed_in(page: Page, account: Account, next_path: str) -> Response:
    page.console.attempts.forget(address(page.request))
    session = page.console.sessions.start(account)
    response = RedirectResponse(local_path(next_path or "/"), 303)
    response.set_cookie(
        page.console.sessions.cookie,
        session,
        max_age=SESSION_S,
        httponly=True,
        samesite="lax",
        secure=page.request.url.scheme == "https",
    )
    return response


def _form(page: Page, next_path: str, wrong: str = "", status: int = 200, name: str = "") -> Response:
    said = page.formats().texts(wrong) if wrong else ""
    return page.render(
        "login.html",
        status,
        said=said,
        next=local_path(next_path or "/"),
        name=name,
        passwords=page.console.users.any(),
    )


def _too_many(page: Page, next_path: str, wait_s: float) -> Response:
    response = page.render(
        "login.html",
        429,
        said=page.formats().texts("login.too_many", minutes=-(-int(wait_s) // 60)),
        next=local_path(next_path or "/"),
        name="",
        passwords=page.console.users.any(),
    )
    response.headers["Retry-After"] = str(int(wait_s) + 1)
    return response
