"""Scoring by ONNX Runtime, behind the port `star.ports.Scorer`: the only module that imports onnxruntime.

One thread and batches of a few fixed sizes, the last one padded. Matrix kernels sum in an order that depends on the shape of their
input, so only fixed shapes give a row the same bits in any batch (a property test checks this).
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
"""Batch sizes, largest first; a rest smaller than the smallest is padded with zeros. Large ones save calls, small ones padding."""


class OnnxScorer:
    """A model of the registry. `score` is a pure function of each row. Implements star.ports.Scorer."""

    def __init__(self, body: bytes, card: Card, path: Path) -> None:
        """body: the model's bytes, whose hash has been checked. Raises ModelError where ONNX Runtime can't load them."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            raise ModelError(f"{path}: is not a model that can be run: {str(error).splitlines()[0][:200]}") from error
        self._input = self._session.get_inputs()[0].name
        self.features = int(self._session.get_inputs()[0].shape[1])
        self.outputs = int(self._session.get_outputs()[0].shape[1])
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self._name = f"{card['name']}@{card['version']}:{card['sha256'][:12]}"

    @property
    def name(self) -> str:
        """`name@version:hash`, with the first 12 digits of the SHA-256."""
        return self._name

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, outputs) of (n, features). Raises ModelError for another number of columns than the model's."""
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
    """A version of model `name`; None: the registry's champion, which is its newest version unless another was promoted.

    Raises ModelError, which names the file, where one is missing or damaged or the hash is not the card's.
    """
    return load_model_dir(
        champion_dir(name, shipped_registry=registry_dir) if version is None else model_dir(name, registry_dir, version)
    )


def load_model_dir(folder: Path) -> OnnxScorer:
    """The model in a folder, checked against its card. Raises ModelError as `load_scorer` does."""
    card = read_card(folder)
    return OnnxScorer(read_model(folder, card), card, folder / MODEL_FILE)


def load_run_out(folder: Path) -> OnnxScorer:
    """A run-out model with this version's features and quantiles. Raises ModelError for others, before any reading is scored."""
    scorer = load_model_dir(folder)
    if (scorer.features, scorer.outputs) != (FEATURES_COUNT, len(QUANTILES)):
        raise ModelError(
            f"{folder}: has {scorer.features} features and {scorer.outputs} quantiles: expected {FEATURES_COUNT} and "
            f"{len(QUANTILES)}, as in this version of Starloop: train it again"
        )
    return scorer
