"""The how-to guide on InfluxDB, run as it stands; what holds of every page is in tests/docs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.deploy.deploy_tools import ROOT, installed
from tests.support.server_process import free_port
from tests.support.servers import servers_folder

PAGE = ROOT / "docs" / "how-to" / "see-it-in-influxdb.md"
SECONDS_MAX = 240


def page_commands(page: Path) -> list[str]:
    """The commands of a page's console blocks, each with the lines that go on with it."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    return [one.strip() for block in blocks for one in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


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
