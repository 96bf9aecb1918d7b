"""The pages on adapters and profiles build what they promise: their code is run as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from starloop.cli import cli

EXTEND = Path(__file__).parents[2] / "docs" / "extend"
_FILE = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_SESSION = re.compile(r"^```console\n\$ starloop (.*?)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows, by name."""
    return dict(_FILE.findall((EXTEND / page).read_text("utf-8")))


def session_of(page: str) -> tuple[list[str], str]:
    """The command that a page shows, as arguments, and what it prints."""
    ((command, output),) = _SESSION.findall((EXTEND / page).read_text("utf-8"))
    return command.split(), output


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is the working directory and importable; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def install(project: Path, files: dict[str, str]) -> None:
    """Writes the files, and the entry points of pyproject.toml as an installer would."""
    for name, text in files.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text, "utf-8")
    declared = tomllib.loads(files["pyproject.toml"])["project"]
    info = project / f"{declared['name'].replace('-', '_')}-{declared['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {declared['version']}\n")
    sections = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in declared["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("".join(sections))


def test_the_adapter_of_the_page_decodes_its_sample_as_shown(project: Path) -> None:
    """`starloop decode` finds it by its entry point and prints what the page shows."""
    install(project, files_of("adapter.md"))
    arguments, shown = session_of("adapter.md")
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == json.loads(shown)


def test_the_adapter_of_the_page_passes_its_own_test(project: Path) -> None:
    """The test that the page shows, run by pytest beside the adapter."""
    files = files_of("adapter.md")
    install(project, files)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_tasmota_adapter.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_adapter_of_the_page_is_small() -> None:
    """Adapter, test and packaging are under 60 lines of code together, without blank lines."""
    files = files_of("adapter.md")
    code = [line for name in files if name.endswith((".py", ".toml")) for line in files[name].splitlines()]
    assert sum(bool(line.strip()) for line in code) < 60


def test_the_profile_of_the_page_is_found_once_installed(project: Path) -> None:
    """A fleet may name it, and `starloop check` says what the page shows."""
    files = files_of("profile.md")
    install(project, files | {"softener_profiles/__init__.py": ""})
    arguments, shown = session_of("profile.md")
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.output.strip() == shown
    (project / "fleet.toml").write_text(
        '[[customers]]\nid = "ada"\n[[devices]]\nid = "softener"\ncustomer = "ada"\nprofile = "salt-softener"\n'
    )
    done = CliRunner().invoke(cli, ["check", "fleet.toml"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "1 slot" in done.output
