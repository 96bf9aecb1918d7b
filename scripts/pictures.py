"""Takes the screenshots of the tutorial with headless Chromium: pages of a running demo and of a first device.

    .venv/bin/python scripts/pictures.py

They are written to docs/tutorial/. It needs Debian's chromium (`make servers`) and takes two minutes. Take them again when a page of
the console has changed visibly.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "tutorial"
CHROMIUM = "/usr/bin/chromium"
VIEW: ViewportSize = {"width": 1000, "height": 680}
TALL: ViewportSize = {"width": 1000, "height": 1000}
HISTORY_MS = 40_000
"""Time until the demo has played its history, in milliseconds: 25 s on an idle machine, with a margin."""
PICTURE_BYTES_MAX = 150_000


@contextlib.contextmanager
def starloop(*arguments: str) -> Iterator[str]:
    """Runs a command with a console while the block runs, and yields the one-time sign-in link."""
    command = [sys.executable, "-m", "starloop", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(found[1] for line in process.stdout if (found := re.search(r"console (http\S+)", line)))
        finally:
            process.terminate()


def sign_in(page: Page, link: str) -> str:
    """Signs in with the link, and returns the address of the console."""
    page.goto(link)
    return re.sub(r"(?<=\d)/.*", "", page.url)


def take_screenshot(page: Page, name: str, view: ViewportSize = VIEW) -> None:
    """Writes a screenshot of the page."""
    page.set_viewport_size(view)
    page.wait_for_timeout(500)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    size = path.stat().st_size
    print(path.relative_to(ROOT), size)
    assert size <= PICTURE_BYTES_MAX, f"{name} has {size} bytes: expected at most {PICTURE_BYTES_MAX}"


def demo(page: Page) -> None:
    """Fleet, item, receipt and customer preferences."""
    with starloop("demo", "--mqtt-port", "21883", "--http-port", "28080") as link:
        home = sign_in(page, link)
        page.wait_for_timeout(HISTORY_MS)
        page.goto(f"{home}/")
        take_screenshot(page, "fleet")
        page.goto(f"{home}/reactions")
        take_screenshot(page, "reactions")
        english_orders = ", ".join(f"a[href^='/why/{name}-'][href*='/order/']" for name in ("grace", "ruth"))
        ordered = page.locator(english_orders).first.get_attribute("href") or ""
        page.goto(f"{home}/items/hugo-coffee/beans")
        page.get_by_role("heading", name="Level and forecast").evaluate("one => one.scrollIntoView()")
        take_screenshot(page, "forecast")
        page.goto(home + ordered)
        take_screenshot(page, "why", TALL)
        page.goto(f"{home}/preferences/maria")
        take_screenshot(page, "preferences")


def device(page: Page) -> None:
    """The first level of a tank, and the order for it."""
    with tempfile.TemporaryDirectory() as folder:
        data = ["--data", f"{folder}/var", "--mqtt-port", "21883", "--http-port", "28080"]
        fleet = Path(folder) / "fleet.toml"
        fleet.write_text(re.findall(r"```toml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)[0])
        with starloop("up", "--fleet", str(fleet), *data) as link:
            subprocess.run([sys.executable, "examples/device.py", "tank-7", "oil", "20", "21883"], cwd=ROOT, check=True)
            home = sign_in(page, link)
            page.goto(f"{home}/items/tank-7/oil")
            take_screenshot(page, "order")


if __name__ == "__main__":
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEW, locale="en-GB")
        demo(page)
        device(page)
        browser.close()
