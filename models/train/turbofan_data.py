"""Run-to-failure histories of turbofans: NASA's C-MAPSS simulation, data sets FD001 to FD004 (CC0).

Saxena, Goebel, Simon, Eklund: Damage propagation modeling for aircraft engine run-to-failure simulation, PHM 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.remaining_useful_life import (
    SENSORS,
    Scaling,
    life_features,
    nearest_operating_point,
    new_life_state,
    update_life_state,
)
from star.errors import UsageError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FOLDER = "predictive_maintenance/cmapss"
DATA_SETS = ("FD001", "FD002", "FD003", "FD004")
OPERATING_POINTS = np.array(
    [[0, 0, 100], [10, 0.25, 100], [20, 0.7, 100], [25, 0.62, 60], [35, 0.84, 100], [42, 0.84, 100]], dtype=np.float64
)
"""(6, 3) operating points of the simulation, in the three settings."""
_SPREAD_MIN = 1e-5  # of the mean: a sensor with a smaller deviation at an operating point counts as constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Readings in order of engine and cycle.

    engine: (n,) numbers from 0; data_set: (n,) index in DATA_SETS; cycle: (n,) from 1; settings: (n, 3); sensors: (n, 21);
    cycles_left: (n,) until failure.
    """

    engine: Int64
    data_set: Int64
    cycle: Int64
    settings: Float64
    sensors: Float64
    cycles_left: Float64

    def select(self, rows: NDArray[np.bool_]) -> Engines:
        """The readings at `rows`, which must hold whole engines."""
        return Engines(**{name: getattr(self, name)[rows] for name in Engines.__slots__})


def read_engines(data_dir: Path | None) -> Engines:
    """The engines of all training sets. Raises UsageError where a set is missing."""
    folder = (data_dir or Path()) / FOLDER
    paths = [folder / f"train_{name}.txt.gz" for name in DATA_SETS]
    missing = [path.name for path in paths if not path.is_file()]
    if data_dir is None or missing:
        raise UsageError(
            f"training needs {', '.join(missing) or 'C-MAPSS'} in {folder}: give the data sets' folder with --data"
        )
    tables, engine, data_set = [], [], []
    count = 0
    for number, path in enumerate(paths):
        table = np.loadtxt(path)  # (n, 26): engine, cycle, settings, sensors
        _, index = np.unique(table[:, 0], return_inverse=True)
        tables.append(table)
        engine.append(index + count)
        data_set.append(np.full(len(table), number))
        count += int(index.max()) + 1
    return _engines(np.concatenate(tables), np.concatenate(engine), np.concatenate(data_set), np.zeros(count))


def _engines(table: Float64, engine: Int64, data_set: Int64, left_at_end: Float64) -> Engines:
    """The readings of a table. left_at_end: by engine, cycles left at its last reading."""
    last_cycle = np.zeros(len(left_at_end))
    np.maximum.at(last_cycle, engine, table[:, 1])
    return Engines(
        engine=engine,
        data_set=data_set,
        cycle=table[:, 1].astype(np.int64),
        settings=table[:, 2:5],
        sensors=table[:, 5 : 5 + len(SENSORS)],
        cycles_left=left_at_end[engine] + last_cycle[engine] - table[:, 1],
    )


def scaling_of(engines: Engines) -> Scaling:
    """Means and standard deviations of each sensor at each operating point."""
    nearest = nearest_operating_point(engines.settings, OPERATING_POINTS)
    means, spreads = np.zeros((len(OPERATING_POINTS), len(SENSORS))), np.zeros((len(OPERATING_POINTS), len(SENSORS)))
    for point in range(len(OPERATING_POINTS)):
        sensors = engines.sensors[nearest == point]
        means[point], spreads[point] = sensors.mean(axis=0), sensors.std(axis=0)
    spreads[spreads < _SPREAD_MIN * np.abs(means)] = 0.0
    return Scaling(centres=OPERATING_POINTS, means=means, spreads=spreads)


def features_of(engines: Engines, scaling: Scaling) -> Float32:
    """(n, LIFE_FEATURES_COUNT) features after each reading, by the same steps as in serving."""
    numbers, index = np.unique(engines.engine, return_inverse=True)
    state = new_life_state(len(numbers))
    out: Float32 | None = None
    for cycle in range(1, int(engines.cycle.max()) + 1):
        rows = np.flatnonzero(engines.cycle == cycle)
        alive = index[rows]
        state[alive] = update_life_state(state[alive], engines.settings[rows], engines.sensors[rows], scaling)
        features = life_features(state[alive])
        if out is None:
            out = np.empty((len(engines.cycle), features.shape[1]), dtype=np.float32)
        out[rows] = features
    return np.empty((0, 0), dtype=np.float32) if out is None else out


def read_test(data_dir: Path | None, name: str) -> Engines:
    """The test engines of a data set, truncated before failure, with the true cycles left. Raises UsageError without the data."""
    folder = (data_dir or Path()) / FOLDER
    if data_dir is None or not (folder / f"RUL_{name}.txt.gz").is_file():
        raise UsageError(f"there is no RUL_{name}.txt.gz in {folder}: give the data sets' folder with --data")
    table, left_at_end = np.loadtxt(folder / f"test_{name}.txt.gz"), np.loadtxt(folder / f"RUL_{name}.txt.gz")
    _, engine = np.unique(table[:, 0], return_inverse=True)
    return _engines(table, engine, np.full(len(table), DATA_SETS.index(name)), left_at_end)
