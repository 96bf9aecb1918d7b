"""Remaining life of parts, from the life model that their profile names: kept by engine, asked in batches.

What is kept and compared is models/life.py's; here is one engine's state as a list of numbers, so that it travels in a
checkpoint, and the model's answers for many readings at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.life import LIFE_STATE, SENSORS, SETTINGS, Float32, Scaling, life_features, life_step, remaining_life
from models.runtime import OnnxScorer, load_scorer

LoadLife = Callable[[str], OnnxScorer]
"""Gives the life model of a name. Raises ModelError."""


class Life:
    """A life model."""

    def __init__(self, scorer: OnnxScorer) -> None:
        self._scorer = scorer
        self._scaling = Scaling.from_metadata(scorer.metadata)

    def after(self, state: Sequence[float], reading: Mapping[str, float]) -> list[float]:
        """An engine's state after one more reading; an empty one is that of an engine not seen before."""
        before = np.array([state]) if len(state) else np.zeros((1, LIFE_STATE))
        settings = np.array([[reading.get(name, np.nan) for name in SETTINGS]])
        sensors = np.array([[reading.get(name, np.nan) for name in SENSORS]])
        after: list[float] = life_step(before, settings, sensors, self._scaling)[0].tolist()
        return after

    def features(self, state: Sequence[float]) -> Float32:
        """(1, features) of a state."""
        return life_features(np.array([state]))

    def left(self, features: Sequence[Float32]) -> list[tuple[float, float, float]]:
        """(5 %, 50 %, 95 %) quantiles of what is left, of each row of features, ascending."""
        if not features:
            return []
        quantiles = np.maximum.accumulate(remaining_life(self._scorer.score(np.concatenate(features))), axis=1)
        return [(low, median, high) for low, median, high in np.round(quantiles, 4).tolist()]


def load_life(name: str) -> OnnxScorer:
    """The life model of a name that is in force in the registry. Raises ModelError."""
    return load_scorer(name)
