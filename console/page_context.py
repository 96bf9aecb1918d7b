"""The context of a page: account, language, time zone and rendering.

The dependency that FastAPI injects into pages: a page takes a `Page`, queries the backend and renders a template.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from config.catalogue import Catalogue
from console.access.accounts import Account, Users
from console.access.http_guards import SAFE_METHODS, is_same_origin
from console.access.sessions import Sessions
from console.access.sign_in_throttle import SignInThrottle
from console.backend import Backend, Item, ReactionView, find_item
from console.display_names import customer_name, item_title, item_title_by_key, type_key
from console.formatting import Formatter
from console.live_updates import ChangeNotifier
from console.texts import LANGUAGES
from star.errors import BadPayload

CONSOLE_DIR = Path(__file__).parent
APPEARANCE_COOKIE_S = 365 * 24 * 3600
LANGUAGE_COOKIE = "starloop_language"
THEME_COOKIE = "starloop_theme"
THEMES = ("light", "dark")
FLASH_COOKIE = "starloop_flash"


class NotSignedIn(Exception):
    """The page needs a sign-in."""


class RequestRefused(Exception):
    """The request is answered with an error page (or problem details, under /api)."""

    def __init__(self, status: int, detail: str = "", errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []


async def await_submission(submission: Awaitable[None]) -> None:
    """Waits until a submission is on disk. Raises RequestRefused, with 422 and the exact reason, for one that can't be read."""
    try:
        await submission
    except BadPayload as error:
        raise RequestRefused(422, str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The parts of a running console."""

    backend: Backend
    sessions: Sessions
    users: Users
    throttle: SignInThrottle
    notifier: ChangeNotifier
    service_token: str
    templates: Environment


def template_environment() -> Environment:
    """The template environment: autoescaped, and unknown names are errors."""
    made = Environment(
        loader=FileSystemLoader(CONSOLE_DIR / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["static"] = static_url
    made.globals["item_url"] = item_url
    made.globals["why_url"] = why_url
    made.globals["type_key"] = type_key
    return made


_hashes: dict[str, str] = {}


def static_url(name: str) -> str:
    """The address of a static file, with the hash of its content."""
    if name not in _hashes:
        _hashes[name] = hashlib.sha256((CONSOLE_DIR / "static" / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={_hashes[name]}"


def item_url(key: str) -> str:
    """The page of the item `device/name`."""
    return "/items/" + quote(key, safe="/")


def why_url(id: str) -> str:
    """The page of the decisions behind a reaction or a need."""
    return "/why/" + quote(id, safe="/")


class Page:
    """One request for a page. account: None for the sign-in page."""

    def __init__(self, console: Console, request: Request, account: Account | None, session: str | None) -> None:
        self.console = console
        self.backend = console.backend
        self.request = request
        self.session = session
        self._account = account

    @property
    def account(self) -> Account:
        """The account of the request. Raises NotSignedIn."""
        if self._account is None:
            raise NotSignedIn
        return self._account

    @property
    def signed_in(self) -> bool:
        """Whether there is an account."""
        return self._account is not None

    @cached_property
    def catalogue(self) -> Catalogue:
        """The fleet in force, the same for the whole page."""
        return self.backend.catalogue()

    @cached_property
    def now_ms(self) -> int:
        """The service's time, the same for the whole page."""
        return self.backend.now_ms()

    @cached_property
    def language(self) -> str:
        """The language chosen in the console, else the customer's, else the browser's."""
        chosen = self.request.cookies.get(LANGUAGE_COOKIE)
        if chosen in LANGUAGES:
            return chosen
        own = self._account.customer if self._account is not None else None
        if own is not None and own in self.catalogue.customers:
            return self.catalogue.customers[own].language
        return _browser_language(self.request.headers.get("accept-language", ""))

    def formats(self, customer: str | None = None) -> Formatter:
        """Formats in the zone of `customer`, else of the account's customer; UTC for operators."""
        name = customer or (self._account.customer if self._account is not None else None)
        known = self.catalogue.customers.get(name) if name else None
        return Formatter(self.language, known.timezone if known is not None else "UTC")

    def item(self, key: str) -> Item:
        """The item, if the account may see it. Raises RequestRefused with 404 otherwise, whether it exists or not."""
        item = find_item(self.catalogue, key)
        if item is None or not self.account.can_see(item.customer):
            raise RequestRefused(404)
        return item

    def reaction(self, id: str) -> ReactionView:
        """The reaction, if the account may see it. Raises RequestRefused with 404."""
        shown = self.backend.reaction(id)
        if shown is None or not self.account.can_see(shown.reaction.customer):
            raise RequestRefused(404)
        return shown

    def title(self, key: str) -> str:
        """The display name of the item `device/name`."""
        return item_title_by_key(self.catalogue, key, self.language)

    def item_title(self, item: Item) -> str:
        """The display name of the item."""
        return item_title(self.catalogue, item, self.language)

    def customer_name(self, id: str) -> str:
        """The display name of the customer."""
        return customer_name(self.catalogue.customers.get(id), id)

    def language_of(self, customer: str) -> str:
        """The language of the service's messages to the customer, whoever reads them."""
        known = self.catalogue.customers.get(customer)
        return self.language if known is None else known.language

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """The rendered page, or the part of it that the script requests (`?part=live`)."""
        formats = values.pop("formats", None) or self.formats()
        part = self.request.query_params.get("part") == "live"
        flash = self.request.cookies.get(FLASH_COOKIE, "")
        body = self.console.templates.get_template(template).render(
            page=self,
            t=formats.texts,
            f=formats,
            part=part,
            path=self.request.url.path,
            full_path=self.request.url.path + (f"?{self.request.url.query}" if self.request.url.query else ""),
            theme=self.request.cookies.get(THEME_COOKIE) if self.request.cookies.get(THEME_COOKIE) in THEMES else None,
            signed_in=self._account,
            form_token=self.console.sessions.form_token(self.session) if self.session else "",
            flash=formats.texts.get(f"flash.{flash}", "") if flash and not part else "",
            **values,
        )
        response = HTMLResponse(body, status)
        response.headers["Content-Language"] = self.language
        if flash and not part:
            response.delete_cookie(FLASH_COOKIE)
        return response


def _browser_language(header: str) -> str:
    for part in header.split(","):
        name = part.split(";")[0].strip().lower().split("-")[0]
        if name in LANGUAGES:
            return name
    return LANGUAGES[0]


def console_of(request: Request) -> Console:
    """The console of the request's application."""
    console: Console = request.app.state.console
    return console


async def page_for_anyone(request: Request) -> Page:
    """A page that needs no sign-in. Raises RequestRefused for a form of another origin."""
    console = console_of(request)
    session = request.cookies.get(console.sessions.cookie)
    account = console.sessions.find_account(session)
    if request.method not in SAFE_METHODS:
        token = console.sessions.form_token(session) if session and account else None
        if not await is_same_origin(request, token):
            raise RequestRefused(403)
    return Page(console, request, account, session if account else None)


async def page_for_account(page: Annotated[Page, Depends(page_for_anyone)]) -> Page:
    """A page that needs a sign-in. Raises NotSignedIn."""
    _ = page.account
    return page


PublicPage = Annotated[Page, Depends(page_for_anyone)]
SignedInPage = Annotated[Page, Depends(page_for_account)]


def redirect_back(path: str, flash: str = "") -> Response:
    """A redirect to a path of the console after a form. flash: key of the message to show there."""
    response = RedirectResponse(local_path(path), 303)
    if flash:
        response.set_cookie(FLASH_COOKIE, flash, max_age=60, httponly=True, samesite="lax")
    return response


def local_path(path: str) -> str:
    """`path` if it is a path of the console, else "/": never another host (`//host`, `/\\host`)."""
    fine = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if fine else "/"
