"""`starloop models shadow`: a challenger is scored on the same log as the champion, and the log is unchanged."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from config.settings import Settings
from models.champion import champion_dir
from models.onnx_scorer import load_model_dir
from star.errors import InputError, UsageError
from starloop.cli import cli
from starloop.commands.data.log import load_lines
from tests.support.biased_model import write_biased_model

START, DAYS, TANKS = 1_767_225_600, 150, 6
DEVICE = """
[[devices]]
id = "t{number}"
customer = "ann"
profile = "level-tank"
[devices.slots.oil]
capacity = 100.0
pack = 80.0
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a service whose log holds five months of six tanks, readings and ticks four times a day."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(4)
    level, lines = np.full(TANKS, 90.0), []
    for quarter in range(4 * DAYS):
        at = START + quarter * 21_600
        for number in range(TANKS):
            payload = {"values": {"oil": round(float(level[number]), 2)}}
            lines.append({"at": at, "topic": f"starloop/v1/t{number}/telemetry", "payload": payload})
        lines.append({"at": at, "tick": True})
        level -= rng.gamma(4.0, 0.25, TANKS) * 1.5
        level = np.where(level < 12.0, level + 80.0, level)
    readings, fleet = folder / "readings.jsonl", folder / "given.toml"
    readings.write_text("".join(json.dumps(line) + "\n" for line in lines))
    devices = "".join(DEVICE.format(number=number) for number in range(TANKS))
    fleet.write_text('[[customers]]\nid = "ann"\n' + devices)
    asyncio.run(load_lines(Settings.read(data_dir=folder / "data"), readings, fleet))
    return folder / "data"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with run-out 99, whose forecasts are two spreads too late."""
    registry = tmp_path_factory.mktemp("models")
    write_biased_model(registry, 99, 2.0)
    return registry


def test_a_worse_challenger_scores_below_the_champion_and_nothing_is_written(
    data: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lower coverage and a higher pinball loss on the same forecasts; the log keeps its bytes."""
    monkeypatch.setenv("STARLOOP_MODELS_DIR", str(models))
    before = hashlib.sha256((data / "log.db").read_bytes()).digest()
    command = ["models", "shadow", "run-out@99", "--data", str(data)]
    done = CliRunner().invoke(cli, [*command, "--json"])
    assert done.exit_code == 0, done.output
    champion, challenger = json.loads(done.stdout)
    assert champion["model"] == load_model_dir(champion_dir("run-out")).name
    assert challenger["model"].startswith("run-out@99:")
    assert champion["judged"] > 100
    assert champion["covered_5_95"] > 0.8
    assert challenger["covered_25_75"] < champion["covered_25_75"]
    assert challenger["pinball_share"] > 1.2 * champion["pinball_share"]
    assert hashlib.sha256((data / "log.db").read_bytes()).digest() == before
    shown = CliRunner().invoke(cli, command)
    assert "pinball" in shown.stdout
    assert "run-out@99:" in shown.stdout


def test_the_champion_in_the_shadow_has_equal_scores(data: Path) -> None:
    """Every figure is equal, as it is the same analysis."""
    name = load_model_dir(champion_dir("run-out")).name
    done = CliRunner().invoke(cli, ["models", "shadow", name, "--data", str(data), "--json"])
    champion, challenger = json.loads(done.stdout)
    assert champion == challenger


def test_shadow_scoring_needs_the_embedded_log_of_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data directory, or a log on Kafka: one line."""
    command = ["models", "shadow", "run-out@1", "--data", str(tmp_path)]
    assert isinstance(CliRunner().invoke(cli, command).exception, InputError)
    monkeypatch.setenv("STARLOOP_LOG", "kafka://127.0.0.1:1")
    assert isinstance(CliRunner().invoke(cli, command).exception, UsageError)
