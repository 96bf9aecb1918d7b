"""Which devices lie in which block, which blocks changed, and what offset each of them includes.

All that is known of a device lies in one block, so that a block is right by itself. Devices keep their block over restarts,
as the blocks that were loaded say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.state import BLOCK_ITEMS, Rows

META = "meta"
"""The key of the block that holds what belongs to no device."""
NEVER = -1
"""The offset of a device that no loaded block speaks of."""


class Blocks:
    """Membership by device row."""

    def __init__(self) -> None:
        self.of = np.empty(0, dtype=np.intp)  # device row -> block
        self.included = np.empty(0, dtype=np.int64)  # device row -> offset that its loaded block includes
        self._dirty = np.empty(0, dtype=np.bool_)
        self._items: list[int] = []  # items in each block
        self.included_max = NEVER

    def add(self, device: int, items: int, block: int | None = None, included: int = NEVER) -> None:
        """A new device, of so many items, in `block` or in the first that has room (only the last one is tried)."""
        if block is None:
            block = len(self._items) - 1 if self._items and self._items[-1] + items <= BLOCK_ITEMS else len(self._items)
        while len(self._items) <= block:
            self._items.append(0)
        self._items[block] += items
        if device >= self.of.size:
            more = max(BLOCK_ITEMS, self.of.size // 2)
            self.of = np.concatenate([self.of, np.full(more, -1, dtype=np.intp)])
            self.included = np.concatenate([self.included, np.full(more, NEVER, dtype=np.int64)])
        if len(self._items) > self._dirty.size:
            self._dirty = np.concatenate([self._dirty, np.zeros(len(self._items), dtype=np.bool_)])
        self.of[device], self.included[device] = block, included
        self.included_max = max(self.included_max, included)

    def touch(self, devices: Rows) -> None:
        """Something of these devices changed."""
        self._dirty[self.of[devices]] = True

    def skipped(self, devices: Rows, offset: int) -> NDArray[np.bool_] | None:
        """Which of `devices` include the record at `offset` already; None: none can."""
        return None if offset > self.included_max else self.included[devices] >= offset

    def ahead(self, offset: int) -> frozenset[int]:
        """The devices that include the record at `offset` already."""
        return frozenset() if offset > self.included_max else frozenset(np.nonzero(self.included >= offset)[0].tolist())

    def take_dirty(self) -> list[int]:
        """The blocks that changed since the last call."""
        dirty: list[int] = np.nonzero(self._dirty)[0].tolist()
        self._dirty[:] = False
        return dirty
