"""Takes the tutorial's pictures: real pages of a running demo and of a first device, by headless Chromium, into docs/tutorial/.

    .venv/bin/python scripts/pictures.py

It needs Debian's chromium (`make servers`) and takes two minutes. Nothing is retouched; a picture is taken again when a page of the
console has changed enough to mislead.
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
"""The demo's first 45 days pass in 25 s on a quiet machine."""
PICTURE_BYTES_MAX = 150_000


@contextlib.contextmanager
def starloop(*arguments: str) -> Iterator[str]:
    """A command that serves a console; gives the console's one-time link."""
    command = [sys.executable, "-m", "starloop", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(found[1] for line in process.stdout if (found := re.search(r"console (http\S+)", line)))
        finally:
            process.terminate()


def opened(page: Page, link: str) -> str:
    """Signs in by the link; the address of the console."""
    page.goto(link)
    return re.sub(r"(?<=\d)/.*", "", page.url)


def take(page: Page, name: str, view: ViewportSize = VIEW) -> None:
    """Writes what the page shows now."""
    page.set_viewport_size(view)
    page.wait_for_timeout(500)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    size = path.stat().st_size
    print(path.relative_to(ROOT), size)
    assert size <= PICTURE_BYTES_MAX, f"{name} has {size} bytes: expected at most {PICTURE_BYTES_MAX}"


def demo(page: Page) -> None:
    """The fleet, an item, its receipt, and what a customer allows."""
    with starloop("demo", "--mqtt-port", "21883", "--http-port", "28080") as link:
        home = opened(page, link)
        page.wait_for_timeout(HISTORY_MS)
        page.goto(f"{home}/")
        take(page, "fleet")
        page.goto(f"{home}/reactions")
        take(page, "reactions")
        english = ", ".join(f"a[href^='/why/{name}-'][href*='/order/']" for name in ("grace", "ruth"))
        ordered = page.locator(english).first.get_attribute("href") or ""
        page.goto(f"{home}/items/hugo-coffee/beans")
        page.get_by_role("heading", name="Level and forecast").evaluate("one => one.scrollIntoView()")
        take(page, "forecast")
        page.goto(home + ordered)
        take(page, "why", TALL)
        page.goto(f"{home}/preferences/maria")
        take(page, "preferences")


def device(page: Page) -> None:
    """A tank's first level, and the order that it caused."""
    with tempfile.TemporaryDirectory() as folder:
        data = ["--data", f"{folder}/var", "--mqtt-port", "21883", "--http-port", "28080"]
        fleet = Path(folder) / "fleet.toml"
        fleet.write_text(re.findall(r"```toml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)[0])
        with starloop("up", "--fleet", str(fleet), *data) as link:
            subprocess.run([sys.executable, "examples/device.py", "tank-7", "oil", "20", "21883"], cwd=ROOT, check=True)
            home = opened(page, link)
            page.goto(f"{home}/items/tank-7/oil")
            take(page, "order")


if __name__ == "__main__":
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = browser.new_page(viewport=VIEW, locale="en-GB")
        demo(shown)
        device(shown)
        browser.close()
