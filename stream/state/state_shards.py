"""Which devices lie in which block, which blocks changed, and what offset each of them includes.

All that is known of a device lies in one block, so that a block is right by itself. Devices keep their block over restarts,
as the blocks that were loaded say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.state.state_table import SHARD_ITEMS, Rows

META_SHARD = "meta"
"""The key of the block that holds what belongs to no device."""
NO_OFFSET = -1
"""The offset of a device that no loaded block speaks of."""


class StateShards:
    """Membership by device row."""

    def __init__(self) -> None:
        self.shard_of_device = np.empty(0, dtype=np.intp)  # device row -> block
        self.included_offset = np.empty(0, dtype=np.int64)  # device row -> offset that its loaded block includes
        self._dirty = np.empty(0, dtype=np.bool_)
        self._items: list[int] = []  # items in each block
        self.included_offset_max = NO_OFFSET

    def add(self, device: int, items: int, shard: int | None = None, included_offset: int = NO_OFFSET) -> None:
        """A new device, of so many items, in `block` or in the first that has room (only the last one is tried)."""
        if shard is None:
            shard = len(self._items) - 1 if self._items and self._items[-1] + items <= SHARD_ITEMS else len(self._items)
        while len(self._items) <= shard:
            self._items.append(0)
        self._items[shard] += items
        if device >= self.shard_of_device.size:
            more = max(SHARD_ITEMS, self.shard_of_device.size // 2)
            self.shard_of_device = np.concatenate([self.shard_of_device, np.full(more, -1, dtype=np.intp)])
            self.included_offset = np.concatenate([self.included_offset, np.full(more, NO_OFFSET, dtype=np.int64)])
        if len(self._items) > self._dirty.size:
            self._dirty = np.concatenate([self._dirty, np.zeros(len(self._items), dtype=np.bool_)])
        self.shard_of_device[device], self.included_offset[device] = shard, included_offset
        self.included_offset_max = max(self.included_offset_max, included_offset)

    def mark_dirty(self, devices: Rows) -> None:
        """Something of these devices changed."""
        self._dirty[self.shard_of_device[devices]] = True

    def mask_included(self, devices: Rows, offset: int) -> NDArray[np.bool_] | None:
        """Which of `devices` include the record at `offset` already; None: none can."""
        return None if offset > self.included_offset_max else self.included_offset[devices] >= offset

    def devices_ahead(self, offset: int) -> frozenset[int]:
        """The devices that include the record at `offset` already."""
        return (
            frozenset()
            if offset > self.included_offset_max
            else frozenset(np.nonzero(self.included_offset >= offset)[0].tolist())
        )

    def drain_dirty(self) -> list[int]:
        """The blocks that changed since the last call."""
        dirty: list[int] = np.nonzero(self._dirty)[0].tolist()
        self._dirty[:] = False
        return dirty
