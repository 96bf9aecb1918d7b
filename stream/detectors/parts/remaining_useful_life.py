"""Remaining useful life of parts, from the life model that their profile names, for many readings at once.

The state and the features are models/remaining_useful_life.py's. Here the state of an engine is a list of numbers, for checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.onnx_scorer import OnnxScorer
from models.remaining_useful_life import (
    LIFE_STATE_SIZE,
    OPERATING_SETTINGS,
    SENSORS,
    Float32,
    Scaling,
    life_features,
    remaining_life,
    update_life_state,
)


class LifeModel:
    """A life model."""

    def __init__(self, scorer: OnnxScorer) -> None:
        self._scorer = scorer
        self._scaling = Scaling.from_metadata(scorer.metadata)

    def update(self, state: Sequence[float], reading: Mapping[str, float]) -> list[float]:
        """An engine's state after one more reading; an empty one is that of an engine not seen before."""
        before = np.array([state]) if len(state) else np.zeros((1, LIFE_STATE_SIZE))
        settings = np.array([[reading.get(name, np.nan) for name in OPERATING_SETTINGS]])
        sensors = np.array([[reading.get(name, np.nan) for name in SENSORS]])
        after: list[float] = update_life_state(before, settings, sensors, self._scaling)[0].tolist()
        return after

    def features(self, state: Sequence[float]) -> Float32:
        """(1, features) of a state."""
        return life_features(np.array([state]))

    def remaining_quantiles(self, features: Sequence[Float32]) -> list[tuple[float, float, float]]:
        """(5 %, 50 %, 95 %) quantiles of what is left, of each row of features, ascending."""
        if not features:
            return []
        quantiles = np.maximum.accumulate(remaining_life(self._scorer.score(np.concatenate(features))), axis=1)
        return [(low, median, high) for low, median, high in np.round(quantiles, 4).tolist()]
