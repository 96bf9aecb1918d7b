"""The documentation as a site: a strict build, and every page in the navigation in the order of the sections."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECTIONS = ["Tutorial", "How to", "Reference", "Explanation", "Extend", "Internals", "Decisions"]


def test_the_site_builds_strictly_with_its_sections_in_order(tmp_path: Path) -> None:
    """No link and no anchor leads nowhere; each page of docs/ is a page of the site, with its lists and tables."""
    command = [str(Path(sys.executable).parent / "mkdocs"), "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    for page in pages:
        place = page.parent if page.name == "README" else page
        assert (tmp_path / place / "index.html").exists(), page
        assert not re.search(r"^(\| |- )", without_code((tmp_path / place / "index.html").read_text()), re.MULTILINE), (
            page
        )
    front = (tmp_path / "index.html").read_text()
    navigation = front[front.index("md-nav--primary") : front.index('<div class="md-content"')]
    shown = re.findall(r'<span class="md-ellipsis">\s*([^<]+?)\s*<', navigation)
    places = [shown.index(section) for section in SECTIONS]
    assert places == sorted(places)


def without_code(page: str) -> str:
    """A page's HTML without its blocks of code: what is left of Markdown there was not understood."""
    return re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)


def test_the_site_asks_no_other_host_for_anything() -> None:
    """No web font and no analytics: what the theme ships is all that a page loads."""
    settings = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in settings
    assert "analytics" not in settings
