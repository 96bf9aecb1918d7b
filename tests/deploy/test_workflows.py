"""Continuous integration as files: what the workflows and the hooks call is there, and what they fetch is pinned."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()
_USES = re.compile(r"^\s*(?:- )?uses: (\S+)(?: # (\S+))?$", re.MULTILINE)

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def workflow(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 reads its key `on` as true."""
    read = yaml.safe_load(path.read_text())
    return {("on" if key is True else key): value for key, value in read.items()}


def commands(path: Path) -> list[str]:
    """Every line that a workflow runs."""
    jobs = workflow(path)["jobs"].values()
    return [line for job in jobs for step in job["steps"] for line in step.get("run", "").splitlines()]


@every_workflow
def test_a_workflow_may_only_read_and_ends_in_time(path: Path) -> None:
    """No job has more rights than reading the repository, and none runs for the host's six hours."""
    read = workflow(path)
    assert read["permissions"] == {"contents": "read"}
    for job in read["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 60
        assert "permissions" not in job
        assert re.fullmatch(r"ubuntu-\d+\.\d+", job["runs-on"])


@every_workflow
def test_a_workflow_calls_only_targets_and_scripts_that_exist(path: Path) -> None:
    """Each `make …` is a target, each script is in the repository and may be run."""
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    lines = commands(path)
    assert [line for line in lines if re.match(r"(make|\.ci/|scripts/)", line)], "it runs nothing of ours"
    for line in lines:
        if line.startswith("make "):
            assert set(line.split()[1:]) <= targets, line
        for script in re.findall(r"(?:^|\s)((?:\.ci|scripts|deploy)/\S+)", line):
            assert os.access(ROOT / script, os.X_OK), line


@every_workflow
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    """A tag can be moved, a commit can't; the comment is for people and for the tools that propose updates."""
    found = _USES.findall(path.read_text())
    assert found
    for action, version in found:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"v\d+\.\d+\.\d+", version), action


def test_one_action_has_one_version_in_all_workflows() -> None:
    """What is updated in one workflow is updated in the others."""
    found = {action for path in WORKFLOWS for action, _ in _USES.findall(path.read_text())}
    assert len({action.split("@")[0] for action in found}) == len(found)


def test_the_workflows_check_test_build_and_keep_what_was_built() -> None:
    """The same commands that a person runs here."""
    said = "\n".join(line for path in WORKFLOWS for line in commands(path))
    assert {"make check", "make docs", "make test", "make build", ".ci/run"} <= set(said.splitlines())


def test_the_hooks_before_a_commit_ask_what_make_check_asks() -> None:
    """Each hook is a command of `make check` or builds the changelog, with the tools of .venv."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        program = hook["entry"].split(" --")[0]
        assert hook["language"] == "system"
        assert program in MAKEFILE, hook["id"]


def test_the_bill_of_materials_has_everything_that_the_lock_has(tmp_path: Path) -> None:
    """Each locked package with its version and hashes, and Starloop itself with its version on top."""
    if not (ROOT / ".venv" / "bin" / "cyclonedx-py").exists():
        pytest.skip("cyclonedx-py is not in .venv: make setup-dev")
    file = tmp_path / "bom.json"
    done = subprocess.run([ROOT / "scripts" / "sbom", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bom = json.loads(file.read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    locked = re.findall(
        r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    assert {(one["name"], one["version"]) for one in bom["components"]} == set(locked)
    assert all(one["externalReferences"][0]["hashes"] for one in bom["components"])
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {bom['metadata']['component']['version']} (" in changelog
