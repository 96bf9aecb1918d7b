"""A worse run-out model for tests of promotion and shadow scoring: the shipped one with a constant added to its output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from models.cards import MODEL_FILE, read_card, write_model
from models.champion import champion_dir


def write_biased_model(registry: Path, version: int, spreads: float) -> None:
    """Writes a version of run-out whose quantiles lie `spreads` baseline spreads later than those of the shipped model."""
    shipped = champion_dir("run-out")
    model = onnx.load(shipped / MODEL_FILE)
    output = model.graph.output[0].name
    last = next(node for node in model.graph.node if output in node.output)
    last.output[list(last.output).index(output)] = "unbiased"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([spreads]), "bias"))
    model.graph.node.append(onnx.helper.make_node("Add", ["unbiased", "bias"], [output]))
    write_model(registry / "run-out" / str(version), model.SerializeToString(), read_card(shipped))
