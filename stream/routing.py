"""Routing: where a reading goes, as columns by metric number.

The name of a metric is resolved once, when its number is first seen or after the fleet changed: to its device, to its own row
for finding duplicates, and to the rows that detectors gave for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from star.ports import MetricRegistry
from stream.detectors import Route
from stream.state.state_table import Rows

USED_SUFFIX, TOTAL_SUFFIX = "_used", "_total"
"""Ends of the names of values that are the use of a slot or counter: increments, and a running total."""
NO_ROW = -1

Numbers = NDArray[np.int32]


class Routes:
    """Columns by metric number: the rows of its device and of itself, and for each detector its row and kind; NO_ROW for none."""

    def __init__(self, names: MetricRegistry, detectors: int) -> None:
        self._names = names
        self._resolved = np.empty(0, dtype=np.bool_)
        self.device = np.empty(0, dtype=np.intp)
        self.metric = np.empty(0, dtype=np.intp)
        self.rows = [np.empty(0, dtype=np.intp) for _ in range(detectors)]
        self.kinds = [np.empty(0, dtype=np.int8) for _ in range(detectors)]

    def unresolved(self, metric: Numbers) -> list[tuple[int, str]]:
        """The (number, name) of metrics not resolved yet, in the order of names. Each of them has to be `upsert`ed."""
        end = int(metric.max()) + 1
        if end > self._resolved.size:
            self._grow(max(end, 2 * self._resolved.size))
        new = metric[~self._resolved[metric]]
        if not new.size:
            return []
        named = sorted((self._names.name(number), number) for number in np.unique(new).tolist())
        return [(number, name) for name, number in named]

    def upsert(self, number: int, *, device: int, metric: int, routes: Sequence[Route | None]) -> None:
        """Resolves a metric. routes: of each detector."""
        self._resolved[number] = True
        self.device[number], self.metric[number] = device, metric
        for rows, kinds, route in zip(self.rows, self.kinds, routes, strict=True):
            rows[number], kinds[number] = (NO_ROW, 0) if route is None else route

    def clear(self) -> None:
        """Forgets what is resolved, as the fleet changed."""
        self._resolved[:] = False

    def _grow(self, size: int) -> None:
        def grown(column: Rows, start: int) -> Rows:
            return np.concatenate([column, np.full(size - column.size, start, dtype=column.dtype)])

        more = size - self._resolved.size
        self._resolved = np.concatenate([self._resolved, np.zeros(more, dtype=np.bool_)])
        self.kinds = [np.concatenate([kinds, np.zeros(more, dtype=np.int8)]) for kinds in self.kinds]
        self.device, self.metric = grown(self.device, NO_ROW), grown(self.metric, NO_ROW)
        self.rows = [grown(rows, NO_ROW) for rows in self.rows]


def unique_batches(rows: Rows) -> Iterator[Rows | slice]:
    """Splits places of `rows` into batches in which every row is at most once, each row's places in their order."""
    if not rows.size:
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.append(True, ordered[1:] != ordered[:-1])
    if starts.all():
        yield slice(None)
        return
    places = np.arange(rows.size)
    nth = places - np.maximum.accumulate(np.where(starts, places, 0))
    by_batch = np.argsort(nth, kind="stable")
    start = 0
    for end in np.cumsum(np.bincount(nth)).tolist():
        yield order[by_batch[start:end]]
        start = end
