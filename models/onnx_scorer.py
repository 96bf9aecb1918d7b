"""The ONNX runtime behind the port `star.ports.Scorer`: the only file that imports onnxruntime.

One thread, and batches of a few fixed sizes, the last one padded: matrix code sums in an order that depends on the shape of
its input, so only fixed shapes give a row the same bits whatever came with it (a property test keeps this).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.cards import MODEL_FILE, SHIPPED_REGISTRY, Card, model_dir, read_card, read_model
from models.champion import champion_dir
from models.features import FEATURES_COUNT
from star.analyse import QUANTILES
from star.errors import ModelError

BATCH_ROWS = (2048, 256)
"""Sizes of a batch, largest first; what is left of the smallest is padded with zeros."""


class OnnxScorer:
    """A model of the registry. `score` is a pure function of each row."""

    def __init__(self, body: bytes, card: Card, path: Path) -> None:
        """body: the model's bytes, already checked. Raises ModelError where they are no model that can be run."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's errors have no other common base
            raise ModelError(f"{path}: is not a model that can be run: {str(error).splitlines()[0][:200]}") from error
        self._input = self._session.get_inputs()[0].name
        self.features = int(self._session.get_inputs()[0].shape[1])
        self.outputs = int(self._session.get_outputs()[0].shape[1])
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self._name = f"{card['name']}@{card['version']}:{card['sha256'][:12]}"

    @property
    def name(self) -> str:
        """`name@version:hash`, the first 12 digits of the sha256."""
        return self._name

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, outputs) for (n, features). Raises ModelError where the number of columns is not the model's."""
        rows, columns = features.shape
        if columns != self.features:
            raise ModelError(f"{self._name}: was given {columns} features: expected {self.features}")
        result = np.empty((rows, self.outputs), dtype=np.float32)
        start = 0
        while start < rows:
            size = next((size for size in BATCH_ROWS if rows - start >= size), BATCH_ROWS[-1])
            batch = features[start : start + size]
            count = int(batch.shape[0])
            if count < size:
                batch = np.zeros((size, columns), dtype=np.float32)
                batch[:count] = features[start:]
            result[start : start + count] = self._session.run(None, {self._input: batch})[0][:count]
            start += count
        return result


def load_scorer(name: str, registry_dir: Path = SHIPPED_REGISTRY, version: int | None = None) -> OnnxScorer:
    """The version of model `name` that is named, or the registry's champion (its newest, unless one was promoted).

    Raises ModelError, in one line naming the file, where a file is missing or damaged or its hash is not the card's.
    """
    return load_model_dir(
        champion_dir(name, shipped_registry=registry_dir) if version is None else model_dir(name, registry_dir, version)
    )


def load_model_dir(folder: Path) -> OnnxScorer:
    """The model in a folder of a registry, checked against its card. Raises ModelError as `load_scorer` does."""
    card = read_card(folder)
    return OnnxScorer(read_model(folder, card), card, folder / MODEL_FILE)


def load_run_out(folder: Path) -> OnnxScorer:
    """A run-out model, which must take the features that are made here. Raises ModelError: found at the start, not at a reading."""
    scorer = load_model_dir(folder)
    if (scorer.features, scorer.outputs) != (FEATURES_COUNT, len(QUANTILES)):
        raise ModelError(
            f"{folder}: takes {scorer.features} features and gives {scorer.outputs} quantiles: expected {FEATURES_COUNT} and "
            f"{len(QUANTILES)}, as this version of Starloop has: train it again"
        )
    return scorer
