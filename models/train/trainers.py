"""Trainers by model name: each is a module with `train` and `evaluate`, imported on demand."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from models.cards import Card
from star.errors import UsageError

TRAINERS: dict[str, str] = {"run-out": "models.train.run_out", "turbofan-rul": "models.train.turbofan_rul"}
"""Model name -> training module."""

Progress = Callable[[str], None]
"""Receives one line for a person after each step of a training."""


class Trainer(Protocol):
    """The interface of a training module. SEED: of the shipped model."""

    SEED: int

    def train(self, out: Path, *, seed: int, data_dir: Path | None, quick: bool, report: Progress) -> Card:
        """Trains the model and writes it with its card into `out`; the card. Raises ModelError, UsageError."""
        ...

    def evaluate(
        self, folder: Path, *, seed: int, data_dir: Path | None, quick: bool, report: Progress
    ) -> dict[str, Any]:
        """Metrics of the model in `folder` on data it was not trained on."""
        ...


def trainer(name: str) -> Trainer:
    """The trainer of model `name`. Raises UsageError where there is none, or the package onnx is not installed."""
    module = TRAINERS.get(name)
    if module is None:
        raise UsageError(f"there is no model {name!r} to train: expected one of {', '.join(TRAINERS)}")
    if importlib.util.find_spec("onnx") is None:
        raise UsageError("training needs the package onnx: install starloop[train]")
    return cast(Trainer, importlib.import_module(module))
