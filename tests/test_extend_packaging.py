"""The pages of docs/extend show packages that can be installed as they stand."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugin_page import files_of

PAGES = ["adapter.md", "channel.md", "detector.md", "profile.md", "supplier-kind.md"]


def modules_of(files: dict[str, str]) -> set[str]:
    """Modules of a page's package: its Python files other than the test."""
    return {name.removesuffix(".py") for name in files if name.endswith(".py") and not name.startswith("test_")}


def project_of(files: dict[str, str]) -> dict[str, Any]:
    """The page's pyproject.toml."""
    return tomllib.loads(files["pyproject.toml"])


@pytest.mark.parametrize("page", PAGES)
def test_every_page_declares_its_build_system_and_modules(page: str) -> None:
    """Without the modules' names setuptools refuses a folder that holds a test beside them."""
    files = files_of(page)
    project = project_of(files)
    assert project["build-system"] == {"requires": ["setuptools"], "build-backend": "setuptools.build_meta"}
    declared = project["tool"]["setuptools"]
    assert set(declared.get("py-modules", ())) == modules_of(files)
    entries = [value for group in project["project"]["entry-points"].values() for value in group.values()]
    assert {value.partition(":")[0] for value in entries} <= {*modules_of(files), *declared.get("packages", ())}


@pytest.mark.skipif(find_spec("setuptools") is None, reason="setuptools, which pip installs for a build, is not here")
@pytest.mark.parametrize("page", PAGES)
def test_setuptools_builds_the_package_of_every_page(page: str, tmp_path: Path) -> None:
    """The wheel, built in the page's folder, holds its modules, its profiles and its entry points."""
    files = files_of(page)
    declared = project_of(files)["tool"]["setuptools"]
    wanted = {f"{module}.py" for module in modules_of(files)}
    for package in declared.get("packages", ()):
        wanted |= {name for name in files if name.startswith(f"{package}/")}
        files[f"{package}/__init__.py"] = ""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    command = [sys.executable, "-c", "from setuptools.build_meta import build_wheel; build_wheel('dist')"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        names = set(built.namelist())
    assert wanted <= names
    assert any(name.endswith("/entry_points.txt") for name in names)
    assert not any(name.startswith("test_") for name in names)
