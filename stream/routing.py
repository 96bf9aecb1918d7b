"""Where a reading goes: from a metric's number to the rows that it changes, as columns by number.

A slot's level is the value named as the slot; its use is `<slot>_used` or `<slot>_total`. Counters of parts that no slot
counts go the same way as usage slots. Names are read once, when a number is first seen or the fleet changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from star.ports import MetricRegistry
from stream.state.state_table import Rows

UNROUTED, TEMPERATURE, LEVEL, INCREMENT, COUNTER = 0, 1, 2, 3, 4
"""What a metric is to its slot row; a temperature's row is its device's thermometer."""
USED_SUFFIX, TOTAL_SUFFIX = "_used", "_total"

Numbers = NDArray[np.int32]


class Routes:
    """Columns by metric number: what it is, its slot row, its device's row, its own row among the names, -1 where none."""

    def __init__(self, names: MetricRegistry) -> None:
        self._names = names
        self.kind = np.empty(0, dtype=np.int8)
        self.slot = np.empty(0, dtype=np.intp)
        self.device = np.empty(0, dtype=np.intp)
        self.metric = np.empty(0, dtype=np.intp)
        self.scored = np.empty(0, dtype=np.bool_)
        self._resolved = np.empty(0, dtype=np.bool_)

    def unresolved(self, metric: Numbers) -> Iterator[tuple[int, str]]:
        """The (number, name) of metrics not resolved yet, in the order of names; each is expected to be `put`."""
        top = int(metric.max()) + 1
        if top > self._resolved.size:
            self._grow(max(top, 2 * self._resolved.size))
        new = metric[~self._resolved[metric]]
        if new.size:
            named = sorted((self._names.name(number), number) for number in np.unique(new).tolist())
            yield from ((number, name) for name, number in named)

    def upsert(self, number: int, *, kind: int, slot: int, device: int, metric: int, scored: bool) -> None:
        """Says where a metric goes."""
        self._resolved[number] = True
        self.kind[number], self.slot[number], self.device[number] = kind, slot, device
        self.metric[number], self.scored[number] = metric, scored

    def clear(self) -> None:
        """Every metric is to be resolved again: the fleet changed."""
        self._resolved[:] = False

    def name(self, number: int) -> str:
        """The name of a metric."""
        return self._names.name(number)

    def _grow(self, size: int) -> None:
        def grown(column: NDArray[np.generic], start: int) -> NDArray[np.generic]:
            return np.concatenate([column, np.full(size - column.size, start, dtype=column.dtype)])

        self.kind, self.slot, self.device = grown(self.kind, 0), grown(self.slot, -1), grown(self.device, -1)  # type: ignore[assignment]
        self.metric, self.scored = grown(self.metric, -1), grown(self.scored, 0)  # type: ignore[assignment]
        self._resolved = grown(self._resolved, 0)  # type: ignore[assignment]


def unique_batches(rows: Rows) -> Iterator[Rows | slice]:
    """Places of `rows` in rounds: in each every row at most once, an item's readings in their order over the rounds."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.append(True, ordered[1:] != ordered[:-1])
    if starts.all():
        yield slice(None)
        return
    places = np.arange(rows.size)
    nth = places - np.maximum.accumulate(np.where(starts, places, 0))
    by_round = np.argsort(nth, kind="stable")
    ends = np.cumsum(np.bincount(nth))
    start = 0
    for end in ends.tolist():
        yield order[by_round[start:end]]
        start = end
