"""Export of a fitted QuantileNet to ONNX, and the check that both compute the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.train.mlp import Float32, QuantileNet
from star.errors import ModelError

OPSET = 17
IR_VERSION = 8
PARITY_MAX = 1e-4
"""Largest difference allowed between the network in numpy and in ONNX Runtime: rounding of float32 gives about 1e-5."""


def to_onnx(net: QuantileNet, name: str, metadata: Mapping[str, str] | None = None) -> bytes:
    """The ONNX model, input scaling and calibration included: (rows, k) float32 in, (rows, m) float32 out.

    metadata: text stored in the file, covered by its hash.
    """
    inputs, outputs = net.weights[0].shape[0], len(net.levels)
    first = net.weights[0] / net.spread[:, None]
    tensors = {
        "w1": first,
        "b1": net.biases[0] - net.mean @ first,
        "w2": net.weights[1],
        "b2": net.biases[1],
        "wm": net.weights[2][:, :1],
        "bm": net.biases[2][:1] + net.shift,
        "wg": net.weights[2][:, 1:],
        "bg": net.biases[2][1:],
        "spread": net.stretch[:, None] * net.matrix,
    }
    nodes = [
        helper.make_node("Gemm", ["features", "w1", "b1"], ["z1"]),
        helper.make_node("Relu", ["z1"], ["h1"]),
        helper.make_node("Gemm", ["h1", "w2", "b2"], ["z2"]),
        helper.make_node("Relu", ["z2"], ["h2"]),
        helper.make_node("Gemm", ["h2", "wm", "bm"], ["middle"]),
        helper.make_node("Gemm", ["h2", "wg", "bg"], ["zg"]),
        helper.make_node("Softplus", ["zg"], ["gaps"]),
        helper.make_node("MatMul", ["gaps", "spread"], ["around"]),
        helper.make_node("Add", ["around", "middle"], ["quantiles"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", inputs])],
        [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, ["rows", outputs])],
        [numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), key) for key, value in tensors.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="starloop"
    )
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def check_parity(net: QuantileNet, scored: Float32, x: Float32) -> float:
    """The largest difference between `scored`, the ONNX model's output for `x`, and the network's. Raises ModelError above PARITY_MAX."""
    worst = float(np.abs(net.predict(x) - scored).max())
    if not worst <= PARITY_MAX:
        raise ModelError(
            f"the exported model differs from the trained one by {worst:.2g}: expected at most {PARITY_MAX}"
        )
    return worst
