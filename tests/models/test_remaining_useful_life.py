"""Remaining useful life of turbofans: the state kept reading by reading, and the trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from models.cards import SHIPPED_REGISTRY, read_card
from models.onnx_scorer import OnnxScorer, load_scorer
from models.remaining_useful_life import (
    LIFE_FEATURES_COUNT,
    LIFE_STATE_SIZE,
    SCALING_METADATA_KEY,
    SENSORS,
    Scaling,
    life_features,
    new_life_state,
    remaining_life,
    update_life_state,
)
from models.train.turbofan_data import features_of, read_test
from star.errors import ModelError, UsageError
from starloop.cli import cli


@pytest.fixture(scope="module")
def scorer() -> OnnxScorer:
    """The shipped model."""
    return load_scorer("turbofan-rul")


@pytest.fixture(scope="module")
def scaling(scorer: OnnxScorer) -> Scaling:
    """The scaling stored in it."""
    return Scaling.from_metadata(scorer.metadata)


def readings(engines: int, cycles: int, scaling: Scaling) -> tuple[np.ndarray, np.ndarray]:
    """(cycles, engines, 3) settings and (cycles, engines, 21) sensors with increasing wear, some not reported."""
    rng = np.random.default_rng(1)
    point = rng.integers(0, len(scaling.centres), (cycles, engines))
    wear = np.linspace(-1.0, 2.0, cycles)[:, None, None]
    z = rng.normal(0.0, 1.0, (cycles, engines, len(SENSORS))) + wear
    sensors = scaling.means[point] + z * scaling.spreads[point]
    sensors[rng.random(sensors.shape) < 0.05] = np.nan
    return scaling.centres[point], sensors


def test_an_engines_state_does_not_depend_on_other_engines(scorer: OnnxScorer, scaling: Scaling) -> None:
    """One engine alone, or thirty together: the same bits after each reading."""
    settings, sensors = readings(30, 40, scaling)
    together, alone = new_life_state(30), new_life_state(1)
    for cycle in range(40):
        together = update_life_state(together, settings[cycle], sensors[cycle], scaling)
        alone = update_life_state(alone, settings[cycle, 7:8], sensors[cycle, 7:8], scaling)
        assert alone.tobytes() == together[7:8].tobytes()
    single, batch = scorer.score(life_features(alone)), scorer.score(life_features(together))
    assert single.tobytes() == batch[7:8].tobytes()


def test_remaining_life_is_in_order_and_never_negative(scorer: OnnxScorer, scaling: Scaling) -> None:
    """At every reading, with missing sensors."""
    settings, sensors = readings(20, 60, scaling)
    state = new_life_state(20)
    for cycle in range(60):
        state = update_life_state(state, settings[cycle], sensors[cycle], scaling)
        left = remaining_life(scorer.score(life_features(state)))
        assert (left >= 0).all()
        assert (np.diff(left, axis=1) >= 0).all()
    assert state.shape == (20, LIFE_STATE_SIZE)
    assert life_features(state).shape == (20, LIFE_FEATURES_COUNT)


def test_a_reading_without_sensors_changes_only_the_age(scaling: Scaling) -> None:
    """Missing sensors leave their averages unchanged."""
    settings, sensors = readings(3, 5, scaling)
    state = new_life_state(3)
    for cycle in range(5):
        state = update_life_state(state, settings[cycle], sensors[cycle], scaling)
    after = update_life_state(state, np.full((3, 3), np.nan), np.full((3, len(SENSORS)), np.nan), scaling)
    assert np.array_equal(after[:, 1:], state[:, 1:])
    assert np.array_equal(after[:, 0], state[:, 0] + 1)


def test_a_model_without_its_scaling_is_rejected() -> None:
    """The error names the metadata key."""
    with pytest.raises(ModelError, match=SCALING_METADATA_KEY):
        Scaling.from_metadata({})


def test_forecasts_for_unseen_engines_are_calibrated(
    scorer: OnnxScorer, scaling: Scaling, data: Callable[[str], Path]
) -> None:
    """C-MAPSS test set FD001: the 90 % interval covers 85 to 97 %, and the median is close at the last reading."""
    engines = read_test(data("predictive_maintenance/cmapss").parents[1], "FD001")
    left = remaining_life(scorer.score(features_of(engines, scaling)))
    covered = (engines.cycles_left >= left[:, 0]) & (engines.cycles_left <= left[:, 2])
    last = np.append(np.diff(engines.engine) != 0, True)
    assert 0.85 < covered[engines.cycle >= 2].mean() < 0.97
    assert np.sqrt(((left[last, 1] - engines.cycles_left[last]) ** 2).mean()) < 22.0


def test_training_names_the_data_it_needs(tmp_path: Path) -> None:
    """Without the data sets' folder: a one-line error."""
    done = CliRunner().invoke(
        cli, ["models", "train", "turbofan-rul", "--out", str(tmp_path)], env={"STARLOOP_DATA": ""}
    )
    assert isinstance(done.exception, UsageError)
    assert "give the data sets' folder with --data" in str(done.exception)


def test_the_life_model_can_be_trained_again(data: Callable[[str], Path], tmp_path: Path) -> None:
    """All steps on a tenth of the engines; the model passes the parity check."""
    folder = data("predictive_maintenance/cmapss").parents[1]
    options = ["--quick", "--out", str(tmp_path), "--data", str(folder)]
    done = CliRunner().invoke(cli, ["models", "train", "turbofan-rul", *options])
    assert done.exit_code == 0, done.output
    assert read_card(tmp_path)["training"]["parity_max"] < 1e-4


def test_the_shipped_life_model_is_calibrated() -> None:
    """By the cross-validation metrics in its card."""
    metrics = read_card(SHIPPED_REGISTRY / "turbofan-rul" / "1")["metrics"]
    assert 0.87 < metrics["all"]["covered_5_95"] < 0.93
