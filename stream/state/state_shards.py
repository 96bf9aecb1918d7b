"""State shards: which devices lie in which, which of them changed, and the offset that each includes.

Everything that is known of a device lies in one shard, so that each shard is consistent by itself. Devices keep their shard
over restarts, as the loaded ones say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.state.state_table import Rows

SHARD_ITEMS = 256
"""Items of a shard: devices are added until it holds so many. Smaller shards mean less to write for a change, larger ones
fewer records in the changelog."""
META_SHARD = "meta"
"""Key of the shard with what belongs to no device."""
NO_OFFSET = -1
"""Offset of a device that is in no loaded shard."""


class StateShards:
    """Membership and included offset by device row; changed shards by number."""

    def __init__(self) -> None:
        self.shard_of_device = np.empty(0, dtype=np.intp)  # device row -> shard
        self.included_offset = np.empty(0, dtype=np.int64)  # device row -> offset that its loaded shard includes
        self._dirty = np.empty(0, dtype=np.bool_)
        self._items: list[int] = []  # items in each shard
        self.included_offset_max = NO_OFFSET

    def add(self, device: int, items: int, shard: int | None = None, included_offset: int = NO_OFFSET) -> None:
        """Adds a device with so many items to `shard`, or to the last one; to a new one where that has no room."""
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
        """The state of these devices changed."""
        self._dirty[self.shard_of_device[devices]] = True

    def mask_included(self, devices: Rows, offset: int) -> NDArray[np.bool_] | None:
        """Mask of the devices whose loaded state includes the record at `offset` already; None where no device's can."""
        return None if offset > self.included_offset_max else self.included_offset[devices] >= offset

    def devices_ahead(self, offset: int) -> frozenset[int]:
        """The rows of devices whose loaded state includes the record at `offset` already."""
        return (
            frozenset()
            if offset > self.included_offset_max
            else frozenset(np.nonzero(self.included_offset >= offset)[0].tolist())
        )

    def drain_dirty(self) -> list[int]:
        """The numbers of the shards that changed since the last call."""
        dirty: list[int] = np.nonzero(self._dirty)[0].tolist()
        self._dirty[:] = False
        return dirty
