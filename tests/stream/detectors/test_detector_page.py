"""docs/extend/detector.md builds a detector that works: its files are installed and run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "extend" / "detector.md"
FILES = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The page's files in a folder, with the entry points of its pyproject.toml as an installer would write them."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    declared = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = tmp_path / f"{declared['name'].replace('-', '_')}-{declared['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {declared['version']}\n")
    sections = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in declared["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("".join(sections))
    return tmp_path


def test_the_detector_of_the_page_finds_its_need_in_a_replay(project: Path) -> None:
    """The test that the page shows passes where the detector is installed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_clogged_filter.py"]
    environment = {**os.environ, "PYTHONPATH": f"{project}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_detector_of_the_page_is_under_sixty_lines() -> None:
    """Lines of code of the detector, without blank ones."""
    assert sum(bool(line.strip()) for line in FILES["clogged_filter.py"].splitlines()) < 60
