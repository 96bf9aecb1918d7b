"""State tables: rows known by name, with numeric columns in numpy matrices.

A row's values are one line of a matrix, so that a batch gathers and scatters all columns of its rows at once. Row numbers
differ between runs, and no output may depend on them: names are the keys, here and in a checkpoint (stream/state/shard_file.py).
What the columns mean is defined by the detectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star.errors import NewerFormat

Rows = NDArray[np.intp]
Float64 = NDArray[np.float64]
Matrix = NDArray[Any]

GROW_ROWS = 256
"""Rows that a table grows by at least; it then grows by half, so that adding a row costs constant time on average."""


def device_of(name: str) -> str:
    """The device of an item or metric `device/name`; of a device its own name."""
    return name.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSpec:
    """One matrix of a table.

    names: of the columns, unique. fill: what every column of a new row starts at, and a column that a checkpoint does not
    hold. dtype: of all columns: <f8, <f4 or <i8. renamed: names that columns had in earlier builds, to their present ones;
    former_name: that of the matrix itself. A renamed column keeps its meaning and its values.
    """

    name: str
    names: tuple[str, ...]
    fill: float
    dtype: str = "<f8"
    renamed: Mapping[str, str] = field(default_factory=dict)
    former_name: str | None = None

    def column_numbers(self, columns: Sequence[str], where: str) -> list[int]:
        """The places of `columns`, by their present or former names. where: for the message. Raises NewerFormat."""
        places = {name: place for place, name in enumerate(self.names)}
        places |= {former: places[name] for former, name in self.renamed.items() if former not in places}
        unknown = [column for column in columns if column not in places]
        if unknown:
            raise NewerFormat(
                f"{where} has a column {', '.join(map(repr, unknown))}, which this Starloop does not know:"
                " expected a state that it or an earlier version wrote"
            )
        return [places[column] for column in columns]


class Table:
    """Rows known by name, each with a line in every matrix. A removed item keeps its row.

    former_name: the table's name in checkpoints of earlier builds, where it had another one.
    """

    def __init__(self, name: str, matrices: Sequence[MatrixSpec], *, former_name: str | None = None) -> None:
        self.name = name
        self.former_name = former_name
        self.matrices = tuple(matrices)
        self.index: dict[str, int] = {}
        self.names: list[str] = []
        self.device: Rows = np.empty(0, dtype=np.intp)
        self._data: dict[str, Matrix] = {m.name: np.empty((0, len(m.names)), dtype=m.dtype) for m in matrices}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, matrix: str) -> Matrix:
        """A matrix, (places, columns), with at least as many places as rows. `add` may replace it: don't keep it."""
        return self._data[matrix]

    def row(self, name: str) -> int:
        """The row of `name`. Raises KeyError for one not added."""
        return self.index[name]

    def add(self, name: str, device: int) -> int:
        """The row of `name`; a new one, with starting values, where there is none. device: row of its device."""
        row = self.index.get(name)
        if row is not None:
            return row
        row = len(self.names)
        if row >= self.device.shape[0]:
            self._grow(max(GROW_ROWS, row // 2))
        self.index[name] = row
        self.names.append(name)
        self.device[row] = device
        return row

    def load(self, rows: Sequence[int], matrix: str, columns: Sequence[str], values: Matrix) -> None:
        """Values of rows that were just added, as a checkpoint names them: (rows, columns) of a matrix.

        Columns that are not among `columns` keep their starting values. Raises NewerFormat, by name, for a matrix or column
        that this table does not have and for values of another type.
        """
        where = f"the state's table {self.name!r}"
        spec = next((spec for spec in self.matrices if matrix in (spec.name, spec.former_name)), None)
        if spec is None:
            known = ", ".join(one.name for one in self.matrices)
            raise NewerFormat(
                f"{where} has a matrix {matrix!r}, which this Starloop does not know: expected one of {known}"
            )
        where = f"{where}, matrix {spec.name!r},"
        if values.dtype != np.dtype(spec.dtype):
            raise NewerFormat(f"{where} has values of type {values.dtype.str}: expected {spec.dtype}")
        places = np.array(spec.column_numbers(columns, where), dtype=np.intp)
        self._data[spec.name][np.ix_(np.array(rows, dtype=np.intp), places)] = values

    def _grow(self, rows: int) -> None:
        self.device = np.concatenate([self.device, np.full(rows, -1, dtype=np.intp)])
        for spec in self.matrices:
            more = np.full((rows, len(spec.names)), spec.fill, dtype=spec.dtype)
            self._data[spec.name] = np.concatenate([self._data[spec.name], more])

    def ranks(self) -> NDArray[np.int64]:
        """(rows,) the place of each row in the order of names."""
        ranks = np.empty(len(self.names), dtype=np.int64)
        ranks[sorted(range(len(self.names)), key=self.names.__getitem__)] = np.arange(len(self.names))
        return ranks
