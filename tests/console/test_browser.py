"""Journeys in a real Chromium: what a person does, axe on every page, and nothing loaded from anywhere else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from console.app import create_app, create_console
from console.page_context import Console
from console.server import serving, sign_in_link
from star.times import HOUR_MS
from tests.support.console.fake_backend import FakeBackend
from tests.support.console.sample_fleet import NOW_MS, forecast_of

CHROMIUM = Path("/usr/bin/chromium")
PAGES = (
    "/",
    "/?show=needs&q=ink",
    "/items/tank-7/oil?days=90",
    "/items/brew-1/beans",
    "/items/filter-2/filter",
    "/items/brew-1/descaling",
    "/items/inkjet-3/yellow",
    "/reactions",
    "/why/filter-2/filter/1/order/1",
    "/why/rack-007/paper_towels/1",
    "/preferences",
    "/preferences/maria",
    "/quarantine",
    "/nowhere",
)
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1200, "height": 900}

pytestmark = pytest.mark.browser


@dataclass
class Site:
    """A console served in a thread of its own, as its own process would."""

    base: str
    world: FakeBackend
    console: Console
    call: Callable[[Callable[[], None]], None]

    def link(self) -> str:
        port = urlsplit(self.base).port
        assert port is not None
        return sign_in_link("127.0.0.1", port, self.console.sessions.create_link())


@dataclass
class Seen:
    """What a page asked for and complained of."""

    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)

    def _said(self, message: Any) -> None:
        # A page that answers 404 on purpose is no complaint of the page's.
        if message.type in ("error", "warning") and "status of 404" not in message.text:
            self.complaints.append(message.text)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CHROMIUM} is missing: expected Debian's chromium where CI=true")
        pytest.skip(f"{CHROMIUM} is not installed: no browser to drive")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    import asyncio

    ready, done = threading.Event(), threading.Event()
    found: list[Site] = []

    async def serve() -> None:
        world = FakeBackend(tmp_path, days=30)
        console = create_console(world, tmp_path)
        loop = asyncio.get_running_loop()

        def call(what: Callable[[], None]) -> None:
            loop.call_soon_threadsafe(what)

        async with serving(create_app(console), "127.0.0.1", 0) as port:
            found.append(Site(f"http://127.0.0.1:{port}", world, console, call))
            ready.set()
            await asyncio.to_thread(done.wait)
        console.sessions.close()
        world.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    done.set()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport=DESK, locale="en-GB")  # type: ignore[arg-type]
    made.set_default_timeout(10_000)
    yield made
    made.close()


def test_a_customer_follows_the_link_and_orders_and_reads_why(site: Site, context: BrowserContext) -> None:
    """Link, home, item, accept, the order, its receipt, a preference changed, and all of it in French."""
    page, seen = context.new_page(), Seen()
    seen.watch(page)
    page.goto(site.link())
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
    page.get_by_role("link", name="Coffee beans").click()
    expect(page.get_by_role("img", name="Coffee beans: Level and forecast")).to_be_visible()
    page.get_by_text("12 % moins cher").click()
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_role("status").filter(has_text="Accepted")).to_be_visible()
    expect(page.get_by_role("heading", name="Order under way")).to_be_visible()
    expect(page.get_by_text("300 cups · roastery")).to_be_visible()
    page.get_by_role("link", name="Why?", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("You accepted it")
    page.get_by_role("link", name="Preferences").click()
    page.get_by_role("link", name="Maria Duval").click()
    page.get_by_text("Orders go out automatically").click()
    page.get_by_label("Contacts a week, at most").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="in effect")).to_be_visible()
    assert site.world.catalogue().customers["maria"].contacts_per_week_max == 5
    page.get_by_role("button", name="FR: Français").click()
    expect(page.get_by_role("heading", name="Préférences")).to_be_visible()
    page.get_by_role("link", name="Parc").click()
    expect(page.get_by_role("link", name="Café en grains")).to_be_visible()
    assert [said["result"] for kind, said in site.world.submissions if kind == "outcome"] == ["accepted"]
    assert seen.hosts == {urlsplit(site.base).netloc}
    assert seen.complaints == []


def test_everything_works_without_a_script(site: Site, chromium: Browser) -> None:
    """Accepting, telling, choosing a theme and a language, signing out: forms, all of them."""
    context = chromium.new_context(java_script_enabled=False, viewport=PHONE, locale="en-GB")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(site.link())
    page.get_by_role("button", name="Light or dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.goto(f"{site.base}/items/brew-1/beans")
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("button", name="Cancel the order").click()
    page.get_by_label("Quantity (cups)").first.fill("50")
    page.get_by_role("button", name="I refilled it").click()
    assert [said["result"] for _, said in site.world.submissions] == ["accepted", "cancelled", "refilled"]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


def test_an_open_page_shows_a_new_level_by_itself(site: Site, context: BrowserContext) -> None:
    """In every tab of the browser over one stream; what someone is typing is not touched."""
    page = context.new_page()
    page.goto(site.link())
    page.goto(f"{site.base}/items/tank-7/oil")
    second = context.new_page()
    second.goto(f"{site.base}/items/tank-7/oil")
    for one in (page, second):
        expect(one.locator(".live")).to_have_text("Live")
    assert len(site.console.notifier._streams) == 1
    second.get_by_label("Quantity (litres)").first.fill("12")

    def fall() -> None:
        later = forecast_of(site.world.catalogue(), "tank-7/oil", NOW_MS + HOUR_MS, 0.51)
        site.world.projection.apply_forecasts([later])
        site.console.notifier.notify_items([("maria", "tank-7/oil")])

    site.call(fall)
    expect(second.locator(".cards b").first).to_contain_text("51.0")
    expect(second.get_by_label("Quantity (litres)").first).to_have_value("12")
    page.bring_to_front()
    expect(page.locator(".cards b").first).to_contain_text("51.0")


def test_another_tab_takes_the_stream_over(site: Site, context: BrowserContext) -> None:
    """When the tab that listens is closed, the next one listens."""
    first = context.new_page()
    first.goto(site.link())
    second = context.new_page()
    second.goto(site.base)
    expect(second.locator(".live")).to_have_text("Live")
    first.close()
    site.call(
        lambda: site.world.projection.apply_forecasts(
            [forecast_of(site.world.catalogue(), "tank-7/oil", NOW_MS + 1, 0.33)]
        )
    )
    second.wait_for_timeout(500)
    site.call(lambda: site.console.notifier.notify_items([("maria", "tank-7/oil")]))
    expect(second.get_by_role("row", name="Heating oil")).to_contain_text("33.0")


@pytest.mark.parametrize(
    ("language", "theme", "viewport"),
    [("en", "light", DESK), ("fr", "dark", DESK), ("en", "dark", PHONE), ("fr", "light", PHONE)],
)
def test_every_page_can_be_used_by_everyone(
    site: Site, chromium: Browser, language: str, theme: str, viewport: dict[str, int]
) -> None:
    """axe finds nothing, nothing is wider than the screen, nothing comes from another host, the policy holds."""
    context = chromium.new_context(viewport=viewport, color_scheme=theme, locale=language)  # type: ignore[arg-type]
    context.add_cookies([{"name": "starloop_language", "value": language, "url": site.base}])
    page, seen, axe = context.new_page(), Seen(), Axe()
    seen.watch(page)
    problems: list[str] = []

    def look(path: str) -> None:
        page.goto(site.base + path)
        for summary in page.locator("summary").all():
            summary.click()
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            problems.append(f"{path}: wider than the screen")
        found = axe.run(
            page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
        )
        problems.extend(
            f"{path}: {rule['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
            for rule in found.response["violations"]
            for node in rule["nodes"]
        )

    look("/login?token=wrong")
    page.goto(site.link())
    for path in PAGES:
        look(path)
    assert problems == []
    assert seen.hosts == {urlsplit(site.base).netloc}
    # The sign-in page with a wrong token answers 403 on purpose.
    assert [said for said in seen.complaints if "status of 403" not in said] == []
    context.close()


def test_violations_of_axe_and_of_the_policy_would_be_reported(site: Site, context: BrowserContext) -> None:
    """The two checks above can fail: an image without a text is found, an inline script is refused and complained of."""
    page, seen = context.new_page(), Seen()
    seen.watch(page)
    page.goto(site.link())
    page.evaluate("document.querySelector('main').append(new Image())")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')")
    assert "image-alt" in {rule["id"] for rule in Axe().run(page).response["violations"]}
    assert any("Content Security Policy" in said for said in seen.complaints)
