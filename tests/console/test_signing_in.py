"""Signing in: a link works once, sessions can be ended, passwords are slow to guess, forms come from our own pages."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from console.access.accounts import Account, Users, hash_password
from console.access.sessions import LINK_LIFETIME_S, SESSION_LIFETIME_S, SESSIONS_MAX, Sessions, load_or_create_secret
from console.access.sign_in_throttle import ADDRESSES_MAX, ATTEMPTS_MAX, WINDOW_S, SignInThrottle
from console.page_context import Console, local_path
from star.errors import ConfigError
from tests.console.conftest import BASE, PASSWORD, browser
from tests.support.console.fake_backend import FakeBackend


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_printed_link_signs_in_once(anyone: httpx.AsyncClient, console: Console, app: FastAPI) -> None:
    """The first browser is in, with a cookie that scripts can't read; the second is told that the link was used."""
    token = console.sessions.create_link()
    answer = await anyone.get(f"/login?token={token}")
    cookie = answer.headers["set-cookie"]
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert (await anyone.get("/")).status_code == 200
    assert (await anyone.get(f"/login?token={token}")).status_code == 303  # who is in may click twice
    async with browser(app) as second:
        assert (await second.get(f"/login?token={token}")).status_code == 403
        assert (await second.get("/")).headers["location"] == "/login?next=%2F"


async def test_looking_at_a_link_without_opening_it_does_not_use_it(
    anyone: httpx.AsyncClient, console: Console
) -> None:
    """A preview by HEAD leaves the link for the person."""
    token = console.sessions.create_link()
    assert (await anyone.head(f"/login?token={token}")).status_code == 405
    assert (await anyone.get(f"/login?token={token}")).status_code == 303


async def test_signing_out_ends_the_session_on_the_server(owner: httpx.AsyncClient, console: Console) -> None:
    """A stolen cookie is worth nothing after the sign-out."""
    stolen = owner.cookies[console.sessions.cookie]
    await owner.post("/logout")
    owner.cookies.set(console.sessions.cookie, stolen)
    assert (await owner.get("/")).status_code == 303


async def test_a_customer_signs_in_with_a_password_and_lands_where_they_wanted(anyone: httpx.AsyncClient) -> None:
    """The page they asked for comes after the sign-in; a wrong password says so and does not say which half is wrong."""
    away = await anyone.get("/items/tank-7/oil")
    assert away.headers["location"] == "/login?next=%2Fitems%2Ftank-7%2Foil"
    form = {"name": "maria", "password": "wrong", "next": "/items/tank-7/oil"}
    wrong = await anyone.post("/login", data=form)
    nobody = await anyone.post("/login", data={**form, "name": "nobody"})
    assert (wrong.status_code, nobody.status_code) == (403, 403)
    assert "Wrong name or password" in wrong.text
    answer = await anyone.post("/login", data={**form, "password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/items/tank-7/oil")
    assert (await anyone.get("/items/tank-7/oil")).status_code == 200


async def test_sign_in_is_blocked_after_ten_attempts(anyone: httpx.AsyncClient, console: Console) -> None:
    """Links and passwords count together, and the answer says when to come back; the right password waits too."""
    for _ in range(ATTEMPTS_MAX):
        assert (await anyone.get("/login?token=guess")).status_code == 403
    answer = await anyone.post("/login", data={"name": "maria", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert (await anyone.get(f"/login?token={console.sessions.create_link()}")).status_code == 429


def test_attempts_are_counted_by_address_and_forgotten_in_time() -> None:
    """Another address is not held up, time frees the first, and the memory is bounded."""
    clock = HandClock()
    attempts = SignInThrottle(clock)
    for _ in range(ATTEMPTS_MAX):
        assert attempts.wait_s("a") == 0
    assert attempts.wait_s("a") == WINDOW_S
    assert attempts.wait_s("b") == 0
    clock.now_s += WINDOW_S
    assert attempts.wait_s("a") == 0
    attempts.reset("a")
    for number in range(ADDRESSES_MAX + 50):
        attempts.wait_s(f"address {number}")
    assert len(attempts._by_address) <= ADDRESSES_MAX


def test_links_and_sessions_run_out(tmp_path: Path) -> None:
    """A link after a quarter of an hour, a session after two weeks; both sooner when used or revoked."""
    clock = HandClock()
    sessions = Sessions(tmp_path, Users(tmp_path / "users.toml"), clock)
    link, other = sessions.create_link(), sessions.create_link()
    clock.now_s += LINK_LIFETIME_S + 1
    assert sessions.redeem_link(link) is None
    fresh = sessions.create_link()
    owner = sessions.redeem_link(fresh)
    assert owner is not None
    assert sessions.redeem_link(fresh) is None
    assert sessions.redeem_link(other) is None
    session = sessions.start(owner)
    assert sessions.find_account(session) == owner
    clock.now_s += SESSION_LIFETIME_S + 1
    assert sessions.find_account(session) is None
    again = sessions.start(owner)
    assert sessions.revoke(owner.name) >= 1
    assert sessions.find_account(again) is None


def test_sessions_survive_a_restart_and_their_number_is_bounded(tmp_path: Path) -> None:
    """A new process knows the browser again; the oldest sessions end first."""
    clock = HandClock()
    users = Users(tmp_path / "users.toml")
    first = Sessions(tmp_path, users, clock)
    owner = first.redeem_link(first.create_link())
    assert owner is not None
    kept = first.start(owner)
    first.close()
    second = Sessions(tmp_path, users, clock)
    assert second.find_account(kept) == owner
    for _ in range(SESSIONS_MAX):
        clock.now_s += 0.001
        second.start(owner)
    assert second.find_account(kept) is None


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """Mode 0600, made once; the session file holds no session that could be used."""
    secret = load_or_create_secret(tmp_path / "secret")
    assert load_or_create_secret(tmp_path / "secret") == secret
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    sessions = Sessions(tmp_path, Users(tmp_path / "users.toml"))
    session = sessions.start(Account(name="(owner)"))
    sessions.close()
    assert stat.S_IMODE((tmp_path / "sessions.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "console.secret").stat().st_mode) == 0o600
    assert session.encode() not in (tmp_path / "sessions.db").read_bytes()


def test_a_user_who_is_taken_out_of_the_file_is_out_at_once(tmp_path: Path, password_hash: str) -> None:
    """The file is read again when it changes; a session of someone who is gone is nobody's."""
    path = tmp_path / "users.toml"
    path.write_text(f'[[users]]\nname = "ann"\ncustomer = "maria"\npassword = "{password_hash}"\n')
    users = Users(path)
    sessions = Sessions(tmp_path, users)
    account = users.authenticate_password("ann", PASSWORD)
    assert account == Account(name="ann", customer="maria", spends=True)
    session = sessions.start(account)
    path.unlink()
    assert sessions.find_account(session) is None
    assert not users.has_passwords()


@pytest.mark.parametrize("text", ["users = 3", '[[users]]\nname = "(owner)"', '[[users]]\nnam = "x"', "not toml ["])
def test_a_users_file_with_a_mistake_is_named(tmp_path: Path, text: str) -> None:
    """And nobody can take the owner's name."""
    path = tmp_path / "users.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"users\.toml"):
        Users(path)


def test_a_password_is_kept_as_an_argon2_hash() -> None:
    """Never the password itself."""
    assert hash_password("secret").startswith("$argon2id$")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "", "Origin": BASE}, 403),
        ({"Origin": BASE}, 303),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_a_form_is_accepted_from_the_consoles_own_pages_only(
    owner: httpx.AsyncClient, headers: dict[str, str], expected: int, world: FakeBackend
) -> None:
    """Known by Sec-Fetch-Site, else by Origin; with neither the form's own token is needed."""
    del owner.headers["Sec-Fetch-Site"]
    form = {"what": "refilled", "once": "abc"}
    answer = await owner.post("/items/tank-7/oil/say", data=form, headers=headers)
    assert answer.status_code == expected
    assert bool(world.submissions) == (expected == 303)


async def test_a_browser_without_an_origin_needs_the_forms_token(owner: httpx.AsyncClient, console: Console) -> None:
    """The right token of this session counts; another's does not."""
    del owner.headers["Sec-Fetch-Site"]
    token = console.sessions.form_token(owner.cookies[console.sessions.cookie])
    assert token in (await owner.get("/items/tank-7/oil")).text
    form = {"what": "refilled", "once": "abc"}
    assert (await owner.post("/items/tank-7/oil/say", data={**form, "form_token": "0" * 64})).status_code == 403
    assert (await owner.post("/items/tank-7/oil/say", data={**form, "form_token": token})).status_code == 303


async def test_no_page_of_ours_can_be_changed_from_another_site(
    owner: httpx.AsyncClient, app: FastAPI, world: FakeBackend
) -> None:
    """Every form of every page, found in the routes themselves, refuses a cross-site post."""
    posts = [route.path for route in _routes(app) if "POST" in route.methods and not route.path.startswith("/api/")]
    assert len(posts) >= 6
    for path in posts:
        filled = path.replace("{device}", "tank-7").replace("{name}", "oil").replace("{customer}", "maria")
        filled = filled.replace("{id:path}", "filter-2/filter/1/order/1")
        answer = await owner.post(filled, data={"result": "cancelled"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403, path
    assert world.submissions == []


async def test_every_page_needs_a_sign_in(anyone: httpx.AsyncClient, app: FastAPI) -> None:
    """Found in the routes themselves: all but the sign-in, the look, and the health checks."""
    open_to_all = {"/login", "/look", "/healthz", "/readyz", "/api/v1/openapi.json"}
    for route in _routes(app):
        if route.path in open_to_all:
            continue
        path = route.path.replace("{table}", "customers").replace("{customer}", "maria")
        for method in route.methods - {"HEAD"}:
            answer = await anyone.request(method, path)
            assert answer.status_code in (303, 401), (method, route.path, answer.status_code)
            assert answer.status_code == 401 or answer.headers["location"].startswith("/login"), route.path


def _routes(app: FastAPI) -> list[_Route]:
    found: list[_Route] = []

    def walk(routes: list[object], prefix: str) -> None:
        for route in routes:
            inner = getattr(route, "original_router", None)
            if inner is not None:
                context = getattr(route, "include_context", None)
                walk(inner.routes, prefix + getattr(context, "prefix", ""))
            elif getattr(route, "methods", None):
                found.append(_Route(prefix + route.path, set(route.methods)))  # type: ignore[attr-defined]

    walk(list(app.routes), "")
    assert len(found) > 25
    return found


class _Route:
    def __init__(self, path: str, methods: set[str]) -> None:
        self.path = path
        self.methods = methods


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a\r\nb"])
def test_a_sign_in_never_sends_anyone_to_another_host(path: str) -> None:
    """What is no path of ours is the start."""
    assert local_path(path) == "/"
    assert local_path("/items/tank-7/oil?days=7") == "/items/tank-7/oil?days=7"


async def test_an_operator_with_a_password_monitors_but_does_not_spend(
    signed_in: Callable[[str], httpx.AsyncClient], world: FakeBackend
) -> None:
    """Accepting takes the customer's own credentials; the page says so instead of showing the button."""
    async with signed_in("ops") as ops:
        page = await ops.get("/items/brew-1/beans")
        assert 'value="accepted"' not in page.text
        assert "own sign-in" in page.text
        answer = await ops.post("/answers/brew-1/beans/4/offer/1", data={"result": "accepted", "option": "0"})
        assert answer.status_code == 403
    assert world.submissions == []
