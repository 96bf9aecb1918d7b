"""Remaining useful life of a turbofan: the state kept for each engine, and the features of the model, reading by reading.

An engine's sensors are standardized against all engines at the same operating point, then tracked by two moving averages and the
mean of the first cycles, so a reading costs the same at any age. Operating points and scales come from training and are stored
in the model file. Every function is a pure function of each row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from star.errors import ModelError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

OPERATING_SETTINGS = ("setting_1", "setting_2", "setting_3")
SENSORS = tuple(f"s_{number}" for number in range(1, 22))
LIFE_QUANTILES = (0.05, 0.50, 0.95)
LIFE_STATE_SIZE = 1 + 3 * len(SENSORS)
"""Numbers in an engine's state: cycles seen, fast averages, slow averages, means of the first cycles."""
LIFE_FEATURES_COUNT = 2 + 3 * len(SENSORS)
FAST_CYCLES = 8.0
SLOW_CYCLES = 30.0
"""Memory of the two moving averages, in cycles: the fast one follows recent wear, the slow one removes noise."""
EARLY_CYCLES = 20.0
"""First cycles whose mean represents the engine as new."""
Z_MAX = 10.0
"""Limit of a standardized sensor value: an outlier moves the averages by no more."""
SCALING_METADATA_KEY = "life_scaling"
"""Metadata key of the scaling in the model file."""

_OPERATING_POINT_WIDTHS = np.array([5.0, 0.1, 10.0])  # typical spread of an operating point in the three settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Scales of the sensors. centres: (p, 3) operating points; means, spreads: (p, 21) at each, spread 0 for a constant sensor."""

    centres: Float64
    means: Float64
    spreads: Float64

    def to_json(self) -> str:
        """JSON, as stored in the model file."""
        return json.dumps({name: getattr(self, name).tolist() for name in ("centres", "means", "spreads")})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Scaling:
        """The scaling of a model file's metadata. Raises ModelError where it is missing or malformed."""
        try:
            tables = json.loads(metadata[SCALING_METADATA_KEY])
            return cls(**{name: np.array(tables[name], dtype=np.float64) for name in ("centres", "means", "spreads")})
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"the model's metadata has no valid {SCALING_METADATA_KEY}: {error!r}") from error


def nearest_operating_point(settings: Float64, centres: Float64) -> NDArray[np.intp]:
    """(n,) row of the nearest of the (p, 3) centres to each of the (n, 3) settings, none of which is NaN."""
    off = (settings[:, None, :] - centres[None, :, :]) / _OPERATING_POINT_WIDTHS
    return np.asarray(np.argmin((off * off).sum(axis=2), axis=1))


def new_life_state(rows: int) -> Float64:
    """(rows, LIFE_STATE_SIZE) states of engines without readings."""
    return np.zeros((rows, LIFE_STATE_SIZE))


def update_life_state(state: Float64, settings: Float64, sensors: Float64, scaling: Scaling) -> Float64:
    """The (n, LIFE_STATE_SIZE) states after one more reading each.

    settings: (n, 3); sensors: (n, 21), NaN where not reported: those averages are unchanged.
    """
    z = _standardized(settings, sensors, scaling)
    count = state[:, :1] + 1.0
    fast, slow, early = np.split(state[:, 1:], 3, axis=1)
    known = z == z
    z = np.where(known, z, 0.0)
    fast_weight = known * np.maximum(1.0 / FAST_CYCLES, 1.0 / count)
    slow_weight = known * np.maximum(1.0 / SLOW_CYCLES, 1.0 / count)
    early_weight = known * np.where(count <= EARLY_CYCLES, 1.0 / count, 0.0)
    return np.concatenate(
        [
            count,
            fast + fast_weight * (z - fast),
            slow + slow_weight * (z - slow),
            early + early_weight * (z - early),
        ],
        axis=1,
    )


def life_features(state: Float64) -> Float32:
    """(n, LIFE_FEATURES_COUNT) features: age, slow averages, recent change, change since the engine was new."""
    count = state[:, :1]
    fast, slow, early = np.split(state[:, 1:], 3, axis=1)
    parts = [count / 100.0, np.log1p(count), slow, fast - slow, slow - early]
    return np.concatenate(parts, axis=1).astype(np.float32)


def remaining_life(out: Float32) -> Float64:
    """(n, 3) cycles left at LIFE_QUANTILES, ascending. out: (n, 3) the model's output, their square roots."""
    return np.asarray(np.maximum(out.astype(np.float64), 0.0) ** 2)


def _standardized(settings: Float64, sensors: Float64, scaling: Scaling) -> Float64:
    """(n, 21) sensors standardized at the nearest operating point, NaN where not reported."""
    nearest = nearest_operating_point(np.where(settings == settings, settings, 0.0), scaling.centres)
    spread = scaling.spreads[nearest]
    z = (sensors - scaling.means[nearest]) / np.where(spread > 0, spread, 1.0)
    return np.asarray(np.clip(np.where(spread > 0, z, sensors * 0.0), -Z_MAX, Z_MAX))
