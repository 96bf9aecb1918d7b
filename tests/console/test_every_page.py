"""What holds of every page: its headers, its weight, its language, its errors, and the part of it that a script fetches."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from console.access.http_guards import BODY_BYTES_MAX, CONTENT_SECURITY_POLICY
from console.texts import texts
from star.errors import StoreError
from tests.support.console.fake_backend import FakeBackend

FIRST_PAGES_BYTES_MAX = 40_000


async def test_a_script_can_request_a_part_of_a_page(owner: httpx.AsyncClient) -> None:
    """The same page's live part, without head and menus, with the same authorisation."""
    part = (await owner.get("/items/tank-7/oil?part=live")).text
    assert "<html" not in part
    assert "<svg" in part
    assert part.strip().splitlines()[0] in (await owner.get("/items/tank-7/oil")).text


async def test_a_script_without_a_session_gets_401(anyone: httpx.AsyncClient) -> None:
    """401, not a sign-in page put into the middle of another."""
    assert (await anyone.get("/?part=live")).status_code == 401
    assert (await anyone.get("/live")).status_code == 401


@pytest.mark.parametrize(
    "path", ["/", "/items/tank-7/oil", "/login", "/nowhere", "/static/console.css", "/api/v1/items"]
)
async def test_every_answer_carries_the_security_headers(owner: httpx.AsyncClient, path: str) -> None:
    """A strict policy, no sniffing, and no caching of what is not a static file."""
    headers = (await owner.get(path)).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == (
        "public, max-age=31536000, immutable" if path.startswith("/static") else "no-store"
    )


async def test_the_first_pages_are_light(owner: httpx.AsyncClient) -> None:
    """Home and an item with style and script, uncompressed, weigh less than 40 kB each."""
    plain = {"Accept-Encoding": "identity"}
    common = [
        len((await owner.get(f"/static/{name}", headers=plain)).content) for name in ("console.css", "console.js")
    ]
    for path in ("/", "/items/tank-7/oil"):
        assert len((await owner.get(path, headers=plain)).content) + sum(common) < FIRST_PAGES_BYTES_MAX


async def test_language_and_theme_are_chosen_by_a_form_and_kept(owner: httpx.AsyncClient) -> None:
    """Without a script, by cookies, and back to where one was."""
    answer = await owner.post("/look", data={"language": "fr", "back": "/reactions"})
    assert answer.headers["location"] == "/reactions"
    page = await owner.get("/reactions")
    assert '<html lang="fr"' in page.text
    assert "Réactions" in page.text
    await owner.post("/look", data={"theme": "dark", "back": "/"})
    assert 'data-theme="dark"' in (await owner.get("/")).text
    assert (await owner.post("/look", data={"theme": "pink", "back": "//evil.example"})).headers["location"] == "/"


async def test_a_customer_reads_their_own_language_and_a_stranger_the_browsers(
    maria: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    """Maria's fleet row says French; the sign-in page follows Accept-Language."""
    assert '<html lang="fr"' in (await maria.get("/")).text
    assert '<html lang="fr"' in (await anyone.get("/login", headers={"Accept-Language": "fr-CH, en;q=0.8"})).text
    assert '<html lang="en"' in (await anyone.get("/login", headers={"Accept-Language": "de"})).text


async def test_an_error_is_a_page_that_leads_back(maria: httpx.AsyncClient, world: FakeBackend) -> None:
    """404 and 500 in the console's own look; an unexpected error is named by a reference, not by its text."""
    assert texts("fr")("error.404") in (await maria.get("/nowhere")).text

    def broken() -> None:
        raise RuntimeError("secret detail")

    world.catalogue_hook = broken
    answer = await maria.get("/")
    assert answer.status_code == 500
    assert texts("en")("error.500") in answer.text
    assert "secret detail" not in answer.text


async def test_an_unavailable_store_is_reported_as_503(owner: httpx.AsyncClient, world: FakeBackend) -> None:
    """503, with what the store says."""

    def away() -> None:
        raise StoreError("the store can't be reached")

    world.needs_hook = away
    answer = await owner.get("/")
    assert answer.status_code == 503
    assert "be reached" in answer.text


async def test_health_is_public_and_readiness_has_the_reason(anyone: httpx.AsyncClient, world: FakeBackend) -> None:
    """For probes: no sign-in; not ready is 503 with the reason."""
    assert (await anyone.get("/healthz")).text == "ok\n"
    assert (await anyone.get("/readyz")).text == "ready\n"
    world.unready = "the log's disk is full"
    answer = await anyone.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the log's disk is full\n")


async def test_a_body_beyond_the_limit_is_refused(owner: httpx.AsyncClient) -> None:
    """By its said length before it is read, and by counting where none is said."""
    answer = await owner.post("/login", content=b"x" * (BODY_BYTES_MAX + 1))
    assert answer.status_code == 413

    async def drip() -> object:
        for _ in range(BODY_BYTES_MAX // 65_536 + 2):
            yield b"x" * 65_536

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await owner.post("/login", content=drip(), headers=headers)).status_code == 413  # type: ignore[arg-type]


async def test_an_operator_follows_a_customers_sentence_in_the_customers_language(
    signed_in: Callable[[str], httpx.AsyncClient],
) -> None:
    """The page is English, the French sentence in it is marked as French for screen readers."""
    async with signed_in("ops") as ops:
        page = (await ops.get("/items/brew-1/beans")).text
    assert '<html lang="en"' in page
    assert '<p class="because" lang="fr">Il reste' in page
