"""Training: the truth of examples, gradients, calibration, and that the same seed makes the same model."""

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
    """A few thousand, of every kind of demand."""
    return simulate_examples(5, 20, 10)


def test_the_time_to_empty_of_an_example_is_the_truth_of_its_life() -> None:
    """Use of exactly 2 a day: any level lasts half as many days, and what lies beyond the life is said to be censored."""
    use = np.full((1, 600), 2.0)
    made = examples_of(np.random.default_rng(1), use, 400, "flat", np.array([1]), 200)
    sensed = made.x[:, 29]
    exact = np.abs(made.level / 2.0 - made.time_days) < 0.05 * made.time_days + 1.0
    assert exact[(sensed < 0.1) & ~made.censored].mean() > 0.9
    assert made.censored[made.level > 2.0 * 620].all()
    assert not made.censored[made.level < 2.0 * 190].any()


def test_a_life_used_up_in_lumps_runs_out_within_the_day_of_the_lump() -> None:
    """One use of 10 every tenth day."""
    use = np.zeros((1, 900))
    use[0, ::10] = 10.0
    made = examples_of(np.random.default_rng(2), use, 300, "lumps", np.array([1]), 400)
    whole = ~made.censored
    assert (made.time_days[whole] > 0).all()
    rate = 1.0
    assert np.median(np.abs(made.time_days[whole] - made.level[whole] / rate)) < 10.0


def test_examples_are_finite_and_of_every_kind(examples: Examples) -> None:
    """Nothing in them would spoil a fit."""
    assert np.isfinite(examples.x).all()
    assert np.isfinite(examples.batch().y).all()
    assert len(np.unique(examples.kind)) == 10
    assert 0.0 < examples.censored.mean() < 0.3


def test_the_same_seed_gives_the_same_examples(examples: Examples) -> None:
    """And another one others."""
    again, other = simulate_examples(5, 20, 10), simulate_examples(6, 20, 10)
    assert again.x.tobytes() == examples.x.tobytes()
    assert other.x.tobytes() != examples.x.tobytes()


def test_a_card_tells_data_apart_by_their_hash(examples: Examples) -> None:
    """The same examples, the same hash; one value, one row or one part of them another, another."""
    batch = examples.batch()
    there = data_sha256(batch)
    assert data_sha256(simulate_examples(5, 20, 10).batch()) == there
    changed = batch.select(np.arange(len(batch.y)))
    changed.y[7] += 1e-9
    fewer = batch.select(np.arange(len(batch.y) - 1))
    assert len({there, data_sha256(changed), data_sha256(fewer), data_sha256(batch, batch)}) == 4


def _batch(rng: np.random.Generator, count: int) -> Batch:
    x = rng.normal(size=(count, 5)).astype(np.float32)
    y = x[:, 0] + (0.3 + 0.2 * (x[:, 1] > 0)) * rng.standard_normal(count)
    return Batch(x=x, y=y, censored=rng.random(count) < 0.1, weight=rng.uniform(0.5, 2.0, count))


def test_gradients_are_those_of_the_loss() -> None:
    """Against differences, for a few weights of each layer."""
    rng = np.random.default_rng(3)
    batch = _batch(rng, 300)
    net = QuantileNet(batch.x, batch.y, QUANTILES, TrainingConfig(hidden=8))
    _, gradients = net._gradients(batch)
    for layer, gradient in zip([*net.weights, *net.biases], gradients, strict=True):
        place = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
        before = layer[place]
        layer[place] = before + 1e-2
        above, _ = net._gradients(batch)
        layer[place] = before - 1e-2
        below, _ = net._gradients(batch)
        layer[place] = before
        assert (above - below) / 2e-2 == pytest.approx(gradient[place], rel=0.1, abs=2e-3)


def test_a_fitted_and_calibrated_net_covers_what_it_says() -> None:
    """On fresh data with a spread that differs by row; quantiles never cross."""
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


def test_a_gap_moves_every_quantile_beyond_it() -> None:
    """The head's matrix, for five quantiles."""
    assert gaps_matrix(5).tolist() == [[-1, -1, 0, 0, 0], [-1, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]


def test_anyone_can_train_the_model_again_and_gets_the_same(tmp_path: Path) -> None:
    """`starloop models train run-out --quick` twice: the same hash; the card says what was done."""
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


def test_the_model_that_ships_is_right_as_often_as_it_says() -> None:
    """On lives of another seed: 5 to 95 % overall, by kind and near the end; and better than a 28-day mean."""
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


def test_the_model_that_ships_is_small() -> None:
    """At most two megabytes, and its card says how big."""
    shown = CliRunner().invoke(cli, ["models", "show", "run-out", "--json"])
    assert json.loads(shown.stdout)["bytes"] < 2_000_000


def test_the_registry_is_listed_for_people_and_programs() -> None:
    """Name, version and hash."""
    runner = CliRunner()
    assert "run-out@2:" in runner.invoke(cli, ["models", "list"]).stdout
    listed = json.loads(runner.invoke(cli, ["models", "list", "--json"]).stdout)["models"]
    assert {row["name"] for row in listed} >= {"run-out"}


def test_real_homes_are_used_where_they_are_at_hand(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The card names each series, and what was held out is measured."""
    folder = data("consumption/weusedto_water").parents[1]
    done = CliRunner().invoke(
        cli, ["models", "train", "run-out", "--quick", "--out", str(tmp_path), "--data", str(folder)]
    )
    assert done.exit_code == 0, done.output
    card = read_card(tmp_path)
    assert any("Toilet" in name for name in card["training"]["real"])
    assert card["metrics"]["real_held_out"]["examples"] > 0
