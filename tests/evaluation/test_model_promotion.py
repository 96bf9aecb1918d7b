"""`starloop models promote`: a better model is promoted with the figures of its comparison, a worse one is rejected."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from evaluation import model_promotion
from evaluation.model_promotion import PromotionTrial, evaluate_challenger
from models.cards import CARD_FILE, MODEL_FILE, SHIPPED_REGISTRY, read_card, write_model
from models.champion import CHAMPION_FILE, champion_dir, find_version, resolve_model, write_champion
from models.onnx_scorer import load_model_dir
from operations.diagnostics.setup import champion_finding
from star.errors import ModelError, UsageError
from starloop.cli import cli
from tests.support.biased_model import write_biased_model

SHORT = ("cold-start",)
"""Sixty days of a few items: enough to reject a poor model."""


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with run-out 99, whose forecasts are five spreads too late."""
    registry = tmp_path_factory.mktemp("models")
    write_biased_model(registry, 99, 5.0)
    return registry


@pytest.fixture
def own(poor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the installation's own registry, and promotions limited to one short family."""
    shutil.copytree(poor, tmp_path / "models")
    monkeypatch.setenv("STARLOOP_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr("starloop.commands.modelling.promote.REQUIRED_FAMILIES", SHORT)
    monkeypatch.setattr("starloop.commands.modelling.promote.ITEMS_PER_SEED", 6)
    return tmp_path / "models"


def promote(*arguments: str) -> Result:
    """The command's result."""
    return CliRunner().invoke(cli, ["models", "promote", *arguments, "--processes", "1"])


def set_champion(registry: Path, version: int) -> None:
    """Makes a version the champion without a comparison."""
    folder = find_version("run-out", version, registry)
    write_champion("run-out", registry, {"version": version, "sha256": read_card(folder)["sha256"]})


def test_a_worse_model_is_rejected_with_the_figures_and_nothing_changes(own: Path) -> None:
    """The table names what failed; no champion.toml is written."""
    done = promote("run-out", "99")
    assert isinstance(done.exception, ModelError)
    assert "run-out@99" in str(done.exception)
    assert "cost of the decisions" in str(done.exception)
    assert "FAILS" in done.stdout
    assert "cost in cold-start" in done.stdout
    assert not (own / "run-out" / CHAMPION_FILE).exists()
    assert champion_dir("run-out", own) == SHIPPED_REGISTRY / "run-out" / champion_dir("run-out").name


def test_a_better_model_is_promoted_with_the_comparison(own: Path) -> None:
    """Against the poor champion the shipped model wins: champion.toml holds its hash, the loser and every criterion."""
    set_champion(own, 99)
    assert load_model_dir(champion_dir("run-out", own)).name.startswith("run-out@99:")
    shipped = champion_dir("run-out")
    done = promote("run-out", shipped.name, "--json")
    assert done.exit_code == 0, done.output
    verdict = json.loads(done.stdout)
    assert verdict["promoted"]
    assert verdict["cost_ratio"][0] < 1.0
    champion = tomllib.loads((own / "run-out" / CHAMPION_FILE).read_text())
    assert champion["sha256"] == read_card(shipped)["sha256"]
    assert champion["judged"]["champion"].startswith("run-out@99:")
    assert {check["what"] for check in champion["judged"]["checks"]} >= {
        "invariants violated",
        "run-outs per item-year",
    }
    assert champion_dir("run-out", own) == shipped


def test_a_quick_promotion_changes_no_champion(own: Path) -> None:
    """--quick compares only, even where the challenger is better."""
    set_champion(own, 99)
    promote("run-out", champion_dir("run-out").name, "--quick")
    assert champion_dir("run-out", own) == own / "run-out" / "99"


def test_a_model_in_the_own_registry_is_a_challenger_until_promoted(own: Path) -> None:
    """It is listed as not in force; doctor names the model that a service would use."""
    listed = json.loads(CliRunner().invoke(cli, ["models", "list", "--json"]).stdout)["models"]
    in_force = {row["version"]: row["in_force"] for row in listed if row["name"] == "run-out"}
    assert not in_force[99]
    assert champion_finding(own).said == load_model_dir(champion_dir("run-out")).name


def test_a_replay_uses_the_champion_or_the_model_that_is_named(own: Path, tmp_path: Path) -> None:
    """Forecasts differ between champions; --model, as receipts name it, selects another."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(
        '[[customers]]\nid = "ann"\nconsents = ["replenishment"]\n'
        '[[devices]]\nid = "tank"\ncustomer = "ann"\nprofile = "level-tank"\n'
        '[devices.slots.oil]\ncapacity = 100.0\npack = 50.0\nsuppliers = ["acme"]\n'
        '[[suppliers]]\nid = "acme"\nkind = "retailer"\nlead_time_days = [2.0, 5.0]\nprice = 9.0\n'
    )
    lines = [
        {
            "at": 1_764_000_000 + 86_400 * day,
            "topic": "starloop/v1/tank/telemetry",
            "payload": {"values": {"oil": left}},
        }
        for day, left in enumerate((90.0, 87.0, 86.0, 82.0, 80.0))
    ]
    readings = tmp_path / "readings.jsonl"
    readings.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"at": 1764345700, "tick": true}\n')
    shipped = load_model_dir(champion_dir("run-out")).name

    def forecasts(*options: str) -> str:
        command = ["replay", "--fleet", str(fleet), "--readings", str(readings), "--emit", "forecasts", *options]
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
        return done.stdout

    before = forecasts()
    set_champion(own, 99)
    assert forecasts() != before
    assert forecasts("--model", shipped) == before


def test_a_champion_with_another_hash_is_not_run(own: Path) -> None:
    """The error names the hash that was evaluated and the one found; doctor fails."""
    set_champion(own, 99)
    folder = own / "run-out" / "99"
    card = read_card(folder)
    (folder / CARD_FILE).write_text((folder / CARD_FILE).read_text().replace(card["sha256"], "0" * 64))
    with pytest.raises(ModelError, match=rf"was evaluated with sha256 {card['sha256']}, but .* has 000"):
        champion_dir("run-out", own)
    assert champion_finding(own).state == "fail"


def test_a_model_is_selected_by_the_name_in_receipts(own: Path) -> None:
    """NAME@VERSION with or without the hash; another hash, no version and another name are rejected."""
    name = load_model_dir(own / "run-out" / "99").name
    assert resolve_model(name, "run-out", own) == own / "run-out" / "99"
    with pytest.raises(ModelError, match="expected one that begins with ffffffffffff"):
        resolve_model("run-out@99:ffffffffffff", "run-out", own)
    for wrong in ("run-out", "run-out@new", "other@1"):
        with pytest.raises(UsageError, match="expected run-out@VERSION"):
            resolve_model(wrong, "run-out", own)


def test_the_champion_itself_and_models_without_decisions_are_not_promoted(own: Path) -> None:
    """Each is wrong use of the command."""
    assert isinstance(promote("run-out", champion_dir("run-out").name).exception, UsageError)
    assert isinstance(promote("turbofan-rul", "1").exception, UsageError)
    assert isinstance(promote("run-out", "77").exception, ModelError)


def test_a_model_compared_with_itself_costs_the_same(own: Path) -> None:
    """Same simulations, same decisions: a ratio of exactly one, and every criterion holds."""
    folder = champion_dir("run-out")
    verdict = evaluate_challenger(
        PromotionTrial(champion=folder, challenger=folder, families=SHORT, items=3), 1, lambda _: None
    )
    assert verdict.cost_ratio == [1.0, 1.0, 1.0]
    assert verdict.passed


def test_a_promotion_covers_every_kind_of_sensor_and_demand() -> None:
    """No promotion rests on easy families alone."""
    assert len(model_promotion.REQUIRED_FAMILIES) >= 10
    assert {"increments", "sparse", "weather", "intermittent", "cold-start"} <= set(model_promotion.REQUIRED_FAMILIES)


def test_a_folder_of_a_registry_gives_a_model_its_version(tmp_path: Path) -> None:
    """run-out/7 holds version 7; elsewhere the card's version counts."""
    card = {"name": "run-out", "version": 1}
    assert write_model(tmp_path / "run-out" / "7", b"x", card)["version"] == 7
    assert write_model(tmp_path / "mine", b"x", card)["version"] == 1


def test_a_backtest_of_the_own_history_is_a_criterion(own: Path, tmp_path: Path) -> None:
    """With --fleet and --readings the cost of a backtest is one more criterion, which a model fails that forecasts everything to be
    nearly empty; one option without the other is wrong use."""
    write_biased_model(own, 98, -5.0)
    fleet, readings = tmp_path / "fleet.toml", tmp_path / "readings.jsonl"
    fleet.write_text(
        '[[customers]]\nid = "ann"\nexperience = "auto"\nconsents = ["replenishment"]\n'
        '[[devices]]\nid = "tank"\ncustomer = "ann"\nprofile = "level-tank"\n'
        '[devices.slots.oil]\ncapacity = 100.0\npack = 80.0\nsuppliers = ["acme"]\nstockout_cost = 90.0\n'
        '[[suppliers]]\nid = "acme"\nlead_time_days = [2.0, 5.0]\nprice = 9.0\n'
    )
    rng, level, rows = np.random.default_rng(3), 90.0, []
    for quarter in range(4 * 60):
        level -= rng.gamma(0.7, 1.5 / 0.7)
        level = 90.0 if level < 10.0 else level
        payload = {"values": {"oil": round(level, 2)}}
        rows.append({"at": 1_764_000_000 + 21_600 * quarter, "topic": "starloop/v1/tank/telemetry", "payload": payload})
    readings.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = promote("run-out", "98", "--quick", "--json", "--fleet", str(fleet), "--readings", str(readings))
    assert isinstance(done.exception, ModelError)
    check = json.loads(done.stdout)["checks"][-1]
    assert check["what"] == "money on your own 60 days"
    assert check["challenger"] > check["champion"] > 0.0
    assert not check["holds"]
    assert check["expected"].startswith("not significantly more (")
    assert isinstance(promote("run-out", "98", "--fleet", str(fleet)).exception, UsageError)


def test_a_model_with_other_features_is_rejected_before_any_simulation(own: Path) -> None:
    """The turbofan's model under the name of run-out: one line that says so, and doctor fails."""
    other = SHIPPED_REGISTRY / "turbofan-rul" / "1"
    card = {**read_card(other), "name": "run-out"}
    write_model(own / "run-out" / "98", (other / MODEL_FILE).read_bytes(), card)
    assert "train it again" in str(promote("run-out", "98").exception)
    set_champion(own, 98)
    assert champion_finding(own).state == "fail"
