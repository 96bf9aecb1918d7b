"""The changelog and its fragments: towncrier can build them, and they read alike."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "changelog.d"
KINDS = {"added", "changed", "fixed", "removed", "security"}
FRAGMENT_CHARACTERS_MAX = 500


def fragments() -> list[Path]:
    """The notes of the next release."""
    return sorted(path for path in FOLDER.iterdir() if path.name not in ("README.md", "template.md.jinja"))


def test_every_fragment_is_one_short_paragraph_of_a_known_kind() -> None:
    """`<noun>.<kind>.md`, beginning with its noun in bold; right after a release there may be none."""
    for path in fragments():
        noun, _, kind = path.name.removesuffix(".md").rpartition(".")
        assert noun, path.name
        assert path.suffix == ".md", path.name
        assert kind in KINDS, path.name
        text = path.read_text().strip()
        assert text.startswith("**"), path.name
        assert "\n\n" not in text, path.name
        assert len(text) <= FRAGMENT_CHARACTERS_MAX, path.name


def test_towncrier_takes_every_fragment_into_the_next_release() -> None:
    """A draft of an imaginary version holds the beginning of each fragment."""
    command = [str(Path(sys.executable).parent / "towncrier"), "build", "--draft", "--version", "999.0.0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "## 999.0.0 (" in done.stdout
    for path in fragments():
        assert path.read_text().split("**")[1] in done.stdout, path.name


def test_the_changelog_begins_with_the_version_in_use() -> None:
    """Its newest heading is the version that `starloop --version` tells, with the date of its release."""
    versions = re.findall(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "starloop", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert versions
    assert versions[0][0] in done.stdout
    assert [date for _, date in versions] == sorted((date for _, date in versions), reverse=True)


def test_the_helm_chart_installs_the_version_in_use() -> None:
    """Its appVersion is the changelog's newest: that is the image's tag unless values say otherwise."""
    newest = re.findall(r"^## (\S+) \(", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    chart = (ROOT / "deploy" / "helm" / "starloop" / "Chart.yaml").read_text()
    assert re.findall(r"^appVersion: (\S+)$", chart, re.MULTILINE) == [newest]
