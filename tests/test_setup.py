"""scripts/setup, run with stand-ins for Python and uv that write down how they are called: what it says, and what installs what."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_locks import LOCKS, ROOT

PYTHON_NAMES = ("python3", "python3.11", "python3.12", "python3.13")
INSTALLS = [
    "--no-deps --require-hashes -r requirements.lock -r requirements-build.lock",
    "--no-deps --no-build-isolation -e .",
]
PYTHON = """#!/bin/sh
case "$*" in
    --version) echo "Python {version}" ;;
    *%d.%d*) echo 3.11 ;;
    *version_info*) exit {wrong_version} ;;
    *ensurepip*) exit {no_venv} ;;
    "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *requirements-uv.lock*) [ -n "{no_uv}" ] && exit 1; cp uv-to-be-installed .venv/bin/uv ;;
    "-m pip install"*) echo "pip: $*" >>called ;;
esac
"""
UV = """#!/bin/sh
[ "$1" = --version ] || echo "{name}: $*" >>called
"""


class Machine:
    """A checkout with the script and the locks, on a machine with the stand-ins on its path and little else."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._path = folder, folder / "path"
        self._path.mkdir()
        (folder / "scripts").mkdir()
        for name in ("scripts/setup", "pyproject.toml", *LOCKS):
            shutil.copy(ROOT / name, folder / name)
        for program in ("sh", "cat", "cksum", "tr", "dirname", "rm", "mkdir", "cp", "touch"):
            (self._path / program).symlink_to(str(shutil.which(program)))
        self._write(folder / "uv-to-be-installed", UV.format(name="pinned uv"))

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def has_python(self, version: str = "3.11.7", wrong_version: int = 0, no_venv: int = 0, no_uv: str = "") -> None:
        """Puts Python there, by each of its names."""
        text = PYTHON.format(version=version, wrong_version=wrong_version, no_venv=no_venv, no_uv=no_uv)
        for name in PYTHON_NAMES:
            self._write(self._path / name, text)

    def has_uv(self) -> None:
        """Puts uv on the path."""
        self._write(self._path / "uv", UV.format(name="uv"))

    def set_up(self) -> subprocess.CompletedProcess[str]:
        """Runs the script."""
        environment = {"PATH": str(self._path)}
        command = [str(self.folder / "scripts" / "setup"), "requirements.lock"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def called(self) -> list[str]:
        """What was told to install, since the last time that this was asked."""
        path = self.folder / "called"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without Python and uv."""
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("python", "found"), [(None, "no python3"), ("3.10.2", "Python 3.10.2"), ("3.14.0", "Python 3.14.0")]
)
def test_a_missing_or_untried_python_is_said_in_one_line(machine: Machine, python: str | None, found: str) -> None:
    """With what is wanted, and how to get it."""
    if python is not None:
        machine.has_python(python, wrong_version=1)
    done = machine.set_up()
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"setup: {found} here, and Starloop needs Python 3.11, 3.12 or 3.13: sudo apt install")


def test_a_python_without_venv_is_said_in_one_line(machine: Machine) -> None:
    """With the package that holds it."""
    machine.has_python(no_venv=1)
    done = machine.set_up()
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ["setup: Python 3.11 is here without its venv module: sudo apt install python3.11-venv"],
    )


@pytest.mark.parametrize("installer", ["uv", "pinned uv", "pip"])
def test_the_uv_that_is_here_installs_else_the_pinned_one_else_pip(machine: Machine, installer: str) -> None:
    """Each installs what the locks name and nothing else, into .venv."""
    machine.has_python(no_uv="yes" if installer == "pip" else "")
    if installer == "uv":
        machine.has_uv()
    done = machine.set_up()
    assert done.returncode == 0, done.stderr
    called = machine.called()
    assert len(called) == len(INSTALLS)
    for line, what in zip(called, INSTALLS, strict=True):
        assert line.startswith(f"{installer}: ")
        assert line.endswith(what)
        assert "--python .venv/bin/python" in line or installer == "pip"


def test_what_is_installed_is_not_installed_again_until_a_lock_changes(machine: Machine) -> None:
    """`make demo` starts at once the second time."""
    machine.has_python()
    machine.has_uv()
    for _ in range(2):
        machine.set_up()
    assert len(machine.called()) == len(INSTALLS)
    with (machine.folder / "requirements-build.lock").open("a") as lock:
        lock.write("# another one\n")
    assert machine.set_up().returncode == 0
    assert len(machine.called()) == len(INSTALLS)
