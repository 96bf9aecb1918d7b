"""The how-to guides: commands that are there, settings that are ones, links that lead somewhere, and one page run as it stands."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from starloop.cli import cli
from tests.deploy.deploy_tools import NOT_OURS, ROOT, SETTINGS, installed, named_settings
from tests.support.server_process import free_port
from tests.support.servers import servers_folder

HOW_TO = ROOT / "docs" / "how-to"
PAGES = sorted(HOW_TO.glob("*.md"))
PAGE = HOW_TO / "see-it-in-influxdb.md"
SECONDS_MAX = 240
_COMMAND = re.compile(
    r"(?:^|[\s/])starloop ((?:run|fleet|log|up|doctor|dashboards|simulate|check|decode|replay|why|bench)\b[^\n`#|]*)"
)


def page_commands(page: Path) -> list[str]:
    """The commands of a page's console blocks, each with the lines that go on with it."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    return [one.strip() for block in blocks for one in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_setting_that_a_guide_names_is_one(page: Path) -> None:
    """Nobody is told to set what is not read."""
    named = {name for name in named_settings(page.read_text()) if name not in ("STARLOOP_KAFKA", "STARLOOP_SERVERS")}
    assert named <= SETTINGS | NOT_OURS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_option_that_a_guide_names_is_there(page: Path) -> None:
    """Each `starloop …` is a command, and each of its options is one that it has."""
    for given in _COMMAND.findall(page.read_text().replace("\\\n", " ")):
        words = given.split()
        options = [word.split("=")[0] for word in words if re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word)]
        depth = 2 if words[0] in ("run", "fleet", "log") and len(words) > 1 and "|" not in words[1] else 1
        done = CliRunner().invoke(cli, [*words[:depth], "--help"])
        assert done.exit_code == 0, (given, done.output)
        known = set(re.findall(r"--[a-z][a-z-]*", done.output))
        assert set(options) <= known, given


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs" / "README.md", ROOT / "README.md"], ids=lambda page: page.stem)
def test_every_link_of_a_guide_leads_to_a_file(page: Path) -> None:
    """Links within the repository, without their anchors."""
    links = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_index_knows_every_page() -> None:
    """docs/README.md has a row for each guide, reference and explanation."""
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [
        path for folder in ("how-to", "reference", "explanation") for path in (ROOT / "docs" / folder).glob("*.md")
    ]
    assert [path.name for path in pages if f"{path.parent.name}/{path.name}" not in index] == []


def moved(commands: list[str]) -> str:
    """The page's commands as a script, at ports that are free here, in a quarter of the time; what installs is left out."""
    text = "\n".join(command for command in commands if not command.startswith("make "))
    for port in ("8086", "8080", "1883"):
        text = re.sub(rf"\b{port}\b", str(free_port()), text)
    text = text.replace("$HOME/.cache/starloop/servers", str(servers_folder()))
    text = text.replace("wait %1", "wait %1 || true")  # InfluxDB says that it was told to end; Starloop just ends
    assert "--speed 43200 --duration 60" in text
    return text.replace("--speed 43200 --duration 60", "--speed 172800 --duration 15")


def test_a_newcomer_sees_a_months_data_in_influxdb(tmp_path: Path) -> None:
    """Every command of the page works from an empty folder, and each question to InfluxDB is answered with rows."""
    installed("influxd", "INFLUX_VERSION", "influxd")
    commands = page_commands(PAGE)
    assert [command for command in commands if command.startswith("make ")] == ["make setup", "make servers"]
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    starloop = tmp_path / ".venv" / "bin" / "starloop"
    starloop.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m starloop "$@"\n')
    starloop.chmod(0o755)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STARLOOP_")}
    with subprocess.Popen(
        ["bash", "-euc", moved(commands[:-1] if commands[-1].startswith("rm ") else commands)],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            said, errors = process.communicate(timeout=SECONDS_MAX)
        finally:
            with contextlib.suppress(ProcessLookupError):  # what a command that failed left behind
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said[-2_000:] + errors[-2_000:]
    answers = [json.loads(line) for line in said.splitlines() if line.startswith('{"results"')]
    assert len(answers) == 3
    for answer in answers:
        assert answer["results"][0]["series"], answer
    assert "nothing failed" in said
    assert (tmp_path / "try" / "grafana" / "dashboards" / "fleet.json").exists()
