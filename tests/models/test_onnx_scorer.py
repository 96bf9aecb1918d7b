"""The scorer: a row gets the same bits in any batch, and a model that does not match its card is a one-line error."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cards import CARD_FILE, MODEL_FILE, SHIPPED_REGISTRY, read_card
from models.onnx_scorer import OnnxScorer, load_scorer
from star.analyse import QUANTILES
from star.errors import ModelError
from star.ports import Scorer

ROWS = 5000


@pytest.fixture(scope="module")
def scorer() -> OnnxScorer:
    """The shipped run-out model."""
    return load_scorer("run-out")


@pytest.fixture(scope="module")
def features(scorer: OnnxScorer) -> np.ndarray:
    """Random rows."""
    rng = np.random.default_rng(1)
    return np.clip(rng.normal(0.0, 2.0, (ROWS, scorer.features)), -8.0, 8.0).astype(np.float32)


@pytest.fixture(scope="module")
def scored(scorer: OnnxScorer, features: np.ndarray) -> np.ndarray:
    """The model's output for all of them at once."""
    return scorer.score(features)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 2600), start=st.integers(0, ROWS - 1), seed=st.integers(0, 2**16))
def test_a_rows_forecast_does_not_depend_on_its_batch(
    scorer: OnnxScorer, features: np.ndarray, scored: np.ndarray, count: int, start: int, seed: int
) -> None:
    """Any batch size, position and neighbours: bit for bit."""
    rows = np.random.default_rng(seed).permutation(np.arange(start, min(start + count, ROWS)))
    assert scorer.score(features[rows]).tobytes() == scored[rows].tobytes()


def test_quantiles_come_in_ascending_order(scorer: OnnxScorer, scored: np.ndarray) -> None:
    """For every row."""
    assert scored.shape == (ROWS, len(QUANTILES))
    assert (np.diff(scored, axis=1) >= 0).all()


def test_the_scorers_name_has_model_version_and_hash(scorer: Scorer) -> None:
    """The name that receipts show."""
    assert scorer.name == f"run-out@2:{read_card(SHIPPED_REGISTRY / 'run-out' / '2')['sha256'][:12]}"


def test_scoring_no_rows_gives_no_rows(scorer: OnnxScorer) -> None:
    """An empty batch is valid."""
    assert scorer.score(np.empty((0, scorer.features), dtype=np.float32)).shape == (0, len(QUANTILES))


def test_features_of_another_model_are_rejected(scorer: OnnxScorer) -> None:
    """The error names the number of columns."""
    with pytest.raises(ModelError, match=r"was given 3 features: expected \d+"):
        scorer.score(np.zeros((2, 3), dtype=np.float32))


def _copy(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED_REGISTRY / "run-out", tmp_path / "run-out")
    return tmp_path / "run-out" / "2"


def test_a_changed_model_file_is_named_with_both_hashes(tmp_path: Path) -> None:
    """One line: the file, the hash found, the hash expected."""
    folder = _copy(tmp_path)
    body = bytearray((folder / MODEL_FILE).read_bytes())
    body[500] ^= 1
    (folder / MODEL_FILE).write_bytes(body)
    with pytest.raises(ModelError) as caught:
        load_scorer("run-out", tmp_path)
    message = str(caught.value)
    assert str(folder / MODEL_FILE) in message
    assert f"expected {read_card(folder)['sha256']}" in message
    assert "\n" not in message


def test_a_missing_model_or_card_is_named(tmp_path: Path) -> None:
    """Each by its path."""
    folder = _copy(tmp_path)
    (folder / MODEL_FILE).unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: is missing: expected the model with sha256"):
        load_scorer("run-out", tmp_path)
    (folder / CARD_FILE).unlink()
    with pytest.raises(ModelError, match=r"card\.toml: is missing"):
        load_scorer("run-out", tmp_path)
    with pytest.raises(ModelError, match="no model 'wind'"):
        load_scorer("wind", tmp_path)
    with pytest.raises(ModelError, match="has no version 7: expected one of 2"):
        load_scorer("run-out", SHIPPED_REGISTRY, 7)


def test_a_malformed_card_is_named(tmp_path: Path) -> None:
    """Not TOML, or without a hash."""
    folder = _copy(tmp_path)
    (folder / CARD_FILE).write_text("name = ")
    with pytest.raises(ModelError, match=r"card\.toml: can't be read"):
        load_scorer("run-out", tmp_path)
    (folder / CARD_FILE).write_text('name = "run-out"\nversion = 1\n')
    with pytest.raises(ModelError, match="sha256 is None: expected a str"):
        load_scorer("run-out", tmp_path)


def test_bytes_that_are_no_model_are_rejected_even_where_the_card_agrees(tmp_path: Path) -> None:
    """The error names the file."""
    card = {"name": "x", "version": 1, "sha256": "0" * 64}
    with pytest.raises(ModelError, match="is not a model that can be run"):
        OnnxScorer(b"rubbish", card, tmp_path / MODEL_FILE)
