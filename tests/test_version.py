"""What `starloop --version` says, and the package that is made: every file of every room, and the commit, in wheel and archive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from models.cards import model_dir, model_names, read_card
from starloop.cli import cli
from starloop.version import COMMIT_FILE, UNKNOWN, commit, git_commit
from tests.test_house import ROOMS, ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def git(folder: Path, *arguments: str) -> str:
    """What git prints, run in a folder with an identity of its own; the test is skipped where git is missing."""
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", f"safe.directory={folder}"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit, with a file that is tracked."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "tracked").write_text("as committed\n")
    git(folder, "add", "tracked")
    git(folder, "commit", "--quiet", "--no-gpg-sign", "--message=First")
    return folder


def test_the_version_names_the_commit_and_the_models() -> None:
    """For whoever reports a fault: pyproject's version, this checkout's commit, each model with its hash."""
    done = CliRunner().invoke(cli, ["--version"])
    assert done.exit_code == 0
    first, second = done.output.splitlines()
    assert first == f"starloop {VERSION} (commit {git_commit(ROOT)})"
    cards = [read_card(model_dir(name)) for name in model_names()]
    assert second == "models: " + ", ".join(f"{card['name']}@{card['version']}:{card['sha256'][:12]}" for card in cards)


def test_the_version_is_told_where_a_model_in_force_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with the model is said in its place."""
    (tmp_path / "run-out").mkdir()
    (tmp_path / "run-out" / "champion.toml").write_text("version = 'two'\n")
    monkeypatch.setenv("STARLOOP_MODELS_DIR", str(tmp_path))
    done = CliRunner().invoke(cli, ["--version"])
    assert (done.exit_code, done.output.split()[:2]) == (0, ["starloop", VERSION])
    assert "champion.toml" in done.output.splitlines()[1]


def test_a_commit_is_named_and_a_change_on_top_of_it_too(checkout: Path) -> None:
    """Twelve digits; `-dirty` where a tracked file was changed, for another file not."""
    head = git(checkout, "rev-parse", "HEAD")[:12]
    assert git_commit(checkout) == head
    (checkout / "untracked").write_text("\n")
    assert git_commit(checkout) == head
    (checkout / "tracked").write_text("changed\n")
    assert git_commit(checkout) == f"{head}-dirty"


def test_a_commit_that_nobody_knows_is_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed inside somebody else's checkout, or without git: no commit is better than a wrong one."""
    (checkout / "site").mkdir()
    assert git_commit(checkout / "site") == UNKNOWN
    monkeypatch.setenv("PATH", "")
    assert git_commit(checkout) == UNKNOWN


def test_the_recorded_commit_goes_before_git_s(checkout: Path) -> None:
    """A package was made from one commit, wherever it is unpacked."""
    package = checkout / "starloop"
    package.mkdir()
    assert commit(package) == git_commit(checkout)
    (package / COMMIT_FILE).write_text("0123456789ab\n")
    assert commit(package) == "0123456789ab"


def test_the_wheel_holds_every_file_of_the_rooms_and_runs(tmp_path: Path) -> None:
    """Profiles, models, migrations, templates, styles and texts; it says its version and commit from a folder that is no checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    tracked = git(ROOT, "ls-files", "--", *ROOMS).splitlines()
    others = git(ROOT, "ls-files", "--others", "--exclude-standard", "--", *ROOMS).splitlines()
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert sorted(set(tracked) - set(held)) == []
    beside = {name for name in held if not name.startswith(f"starloop-{VERSION}.dist-info/")}
    assert beside - {*tracked, *others} == {f"starloop/{COMMIT_FILE}"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "starloop", "--version"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[0] == f"starloop {VERSION} (commit {git_commit(ROOT)})"


def test_a_wheel_made_from_the_source_archive_keeps_its_commit(tmp_path: Path) -> None:
    """The archive has no git, but the commit that it was made from."""
    (made,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(made) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11 has it from 3.11.4 on
        archive.extractall(tmp_path)
    source = tmp_path / f"starloop-{VERSION}"
    (wheel,) = WheelBuilder(str(source)).build(directory=str(tmp_path))
    with zipfile.ZipFile(wheel) as opened:
        assert opened.read(f"starloop/{COMMIT_FILE}").decode() == f"{git_commit(ROOT)}\n"


def test_the_chart_is_of_the_same_version() -> None:
    """Helm's chart names the image by the version of the application."""
    chart = yaml.safe_load((ROOT / "deploy" / "helm" / "starloop" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
