"""Plug-ins as the pages of docs/extend show them: their files written to a folder and registered by an entry point."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from config import channel_schemes, plugins
from reactor.suppliers import registry

EXTEND = Path(__file__).parents[2] / "docs" / "extend"
_BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows, by name."""
    return dict(_BLOCK.findall((EXTEND / page).read_text()))


def code_lines(page: str) -> int:
    """Lines of Python that the page's example and its test have, blank ones aside."""
    python = (text for name, text in files_of(page).items() if name.endswith(".py"))
    return sum(bool(line.strip()) for text in python for line in text.splitlines())


def write_distribution(page: str, folder: Path) -> None:
    """Writes the page's files, and the metadata that an installation of its pyproject.toml would leave."""
    for name, text in files_of(page).items():
        (folder / name).write_text(text)
    project = tomllib.loads(files_of(page)["pyproject.toml"])["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, names in groups for line in (f"[{group}]", *(f"{n} = {v}" for n, v in names.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def run_page_test(folder: Path) -> None:
    """Runs the page's own test where its files are, as its author would."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def register(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the distribution in `folder` an installed one of this process; call `forget_plugins` before and after."""
    monkeypatch.syspath_prepend(str(folder))


def forget_plugins() -> None:
    """Forgets what this process has read of installed plug-ins."""
    plugins.plugin_names.cache_clear()
    channel_schemes.endpoint_schemes.cache_clear()
    channel_schemes.contact_schemes.cache_clear()
    registry.supplier_strategies.cache_clear()
