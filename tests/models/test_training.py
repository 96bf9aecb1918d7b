"""Training: true times to empty, gradients, calibration, and reproducibility from the seed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from models.cards import read_card
from models.train.mlp import Batch, QuantileNet, TrainingConfig, data_sha256, gaps_matrix
from models.train.run_out_examples import Examples, examples_of, simulate_examples
from star.analyse import QUANTILES
from starloop.cli import cli


@pytest.fixture(scope="module")
def examples() -> Examples:
    """A few thousand examples of every kind of demand."""
    return simulate_examples(5, 20, 10)


def test_the_time_to_empty_of_an_example_is_its_true_one() -> None:
    """Exactly 2 a day: a level lasts half as many days, and a run-out beyond the series is censored."""
    use = np.full((1, 600), 2.0)
    examples = examples_of(np.random.default_rng(1), use, 400, "flat", np.array([1]), 200)
    sensed = examples.x[:, 29]
    exact = np.abs(examples.level / 2.0 - examples.time_days) < 0.05 * examples.time_days + 1.0
    assert exact[(sensed < 0.1) & ~examples.censored].mean() > 0.9
    assert examples.censored[examples.level > 2.0 * 620].all()
    assert not examples.censored[examples.level < 2.0 * 190].any()


def test_lumpy_demand_runs_out_on_the_day_of_a_lump() -> None:
    """A withdrawal of 10 every tenth day."""
    use = np.zeros((1, 900))
    use[0, ::10] = 10.0
    examples = examples_of(np.random.default_rng(2), use, 300, "lumps", np.array([1]), 400)
    whole = ~examples.censored
    assert (examples.time_days[whole] > 0).all()
    rate = 1.0
    assert np.median(np.abs(examples.time_days[whole] - examples.level[whole] / rate)) < 10.0


def test_examples_are_finite_and_of_every_kind(examples: Examples) -> None:
    """Features and targets are finite; fewer than a third are censored."""
    assert np.isfinite(examples.x).all()
    assert np.isfinite(examples.batch().y).all()
    assert len(np.unique(examples.kind)) == 10
    assert 0.0 < examples.censored.mean() < 0.3


def test_the_same_seed_gives_the_same_examples(examples: Examples) -> None:
    """Another seed gives others."""
    again, other = simulate_examples(5, 20, 10), simulate_examples(6, 20, 10)
    assert again.x.tobytes() == examples.x.tobytes()
    assert other.x.tobytes() != examples.x.tobytes()


def test_the_data_hash_identifies_the_training_data(examples: Examples) -> None:
    """Equal for the same examples; different for one changed value, row or part."""
    batch = examples.batch()
    original = data_sha256(batch)
    assert data_sha256(simulate_examples(5, 20, 10).batch()) == original
    changed = batch.select(np.arange(len(batch.y)))
    changed.y[7] += 1e-9
    fewer = batch.select(np.arange(len(batch.y) - 1))
    assert len({original, data_sha256(changed), data_sha256(fewer), data_sha256(batch, batch)}) == 4


def _batch(rng: np.random.Generator, count: int) -> Batch:
    x = rng.normal(size=(count, 5)).astype(np.float32)
    y = x[:, 0] + (0.3 + 0.2 * (x[:, 1] > 0)) * rng.standard_normal(count)
    return Batch(x=x, y=y, censored=rng.random(count) < 0.1, weight=rng.uniform(0.5, 2.0, count))


def test_gradients_are_those_of_the_loss() -> None:
    """Compared with finite differences, for one weight of each layer."""
    rng = np.random.default_rng(3)
    batch = _batch(rng, 300)
    net = QuantileNet(batch.x, batch.y, QUANTILES, TrainingConfig(hidden=8))
    _, gradients = net._gradients(batch)
    for layer, gradient in zip([*net.weights, *net.biases], gradients, strict=True):
        index = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
        before = layer[index]
        layer[index] = before + 1e-2
        above, _ = net._gradients(batch)
        layer[index] = before - 1e-2
        below, _ = net._gradients(batch)
        layer[index] = before
        assert (above - below) / 2e-2 == pytest.approx(gradient[index], rel=0.1, abs=2e-3)


def test_a_calibrated_network_has_its_nominal_coverage() -> None:
    """On fresh data with a spread that depends on the row; quantiles never cross."""
    rng = np.random.default_rng(4)
    plan = TrainingConfig(hidden=16, epochs=15, batch_rows=256)
    data, other, fresh = (_batch(rng, 6000) for _ in range(3))
    data = Batch(x=data.x, y=data.y, censored=np.zeros(6000, dtype=bool), weight=np.ones(6000))
    net = QuantileNet(data.x, data.y, QUANTILES, plan)
    net.fit(data, plan)
    net.calibrate(Batch(x=other.x, y=other.y, censored=np.zeros(6000, dtype=bool), weight=np.ones(6000)))
    out = net.predict(fresh.x)
    assert (np.diff(out, axis=1) >= 0).all()
    share = (fresh.y[:, None] <= out).mean(axis=0)
    assert np.abs(share - np.array(QUANTILES)).max() < 0.025


def test_a_gap_shifts_every_quantile_beyond_it() -> None:
    """The head's matrix, for five quantiles."""
    assert gaps_matrix(5).tolist() == [[-1, -1, 0, 0, 0], [-1, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]


def test_training_again_gives_the_same_model(tmp_path: Path) -> None:
    """`starloop models train run-out --quick` twice: the same hash of model and data, recorded in the card."""
    runner = CliRunner()
    cards = []
    for name in ("a", "b"):
        done = runner.invoke(
            cli,
            ["models", "train", "run-out", "--quick", "--json", "--out", str(tmp_path / name)],
            env={"STARLOOP_DATA": ""},
        )
        assert done.exit_code == 0, done.output
        cards.append(read_card(tmp_path / name))
    card = cards[0]
    assert card["sha256"] == cards[1]["sha256"]
    assert card["training"]["data_sha256"] == cards[1]["training"]["data_sha256"]
    assert re.fullmatch("[0-9a-f]{64}", card["training"]["data_sha256"])
    assert card["training"]["real"] == ["none"]
    assert card["training"]["parity_max"] < 1e-4
    assert 0.8 < card["metrics"]["all"]["covered_5_95"] < 0.97


def test_the_shipped_model_is_calibrated() -> None:
    """On series of another seed: coverage overall, by kind and near the end; and better than a 28-day mean."""
    done = CliRunner().invoke(
        cli, ["models", "evaluate", "run-out", "--quick", "--json", "--seed", "77"], env={"STARLOOP_DATA": ""}
    )
    assert done.exit_code == 0, done.output
    metrics = json.loads(done.stdout)["metrics"]
    assert 0.86 < metrics["all"]["covered_5_95"] < 0.94
    assert 0.43 < metrics["all"]["covered_25_75"] < 0.57
    assert 0.86 < metrics["near_end"]["covered_5_95"] < 0.94
    assert metrics["near_end"]["of_reference"] < 0.8
    for kind, row in metrics["by_kind"].items():
        assert 0.74 < row["covered_5_95"] < 0.99, kind


def test_the_shipped_model_has_at_most_two_megabytes() -> None:
    """By the size in its card."""
    shown = CliRunner().invoke(cli, ["models", "show", "run-out", "--json"])
    assert json.loads(shown.stdout)["bytes"] < 2_000_000


def test_the_registry_is_listed_for_people_and_programs() -> None:
    """With name, version and hash."""
    runner = CliRunner()
    assert "run-out@2:" in runner.invoke(cli, ["models", "list"]).stdout
    listed = json.loads(runner.invoke(cli, ["models", "list", "--json"]).stdout)["models"]
    assert {row["name"] for row in listed} >= {"run-out"}


def test_real_homes_are_used_where_they_are_available(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The card names each series, and has metrics of those held out."""
    folder = data("consumption/weusedto_water").parents[1]
    done = CliRunner().invoke(
        cli, ["models", "train", "run-out", "--quick", "--out", str(tmp_path), "--data", str(folder)]
    )
    assert done.exit_code == 0, done.output
    card = read_card(tmp_path)
    assert any("Toilet" in name for name in card["training"]["real"])
    assert card["metrics"]["real_held_out"]["examples"] > 0
