"""An in-memory table store that knows its position in the changelog, so that standby replicas can resume.

Faust's own memory store drops a standby replica at the end of every recovery, and reads a partition's whole changelog again
when the partition becomes active. This store keeps the replicas assigned to this worker, and recovery reads on from their
position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from faust import stores
from faust.stores import memory
from faust.types import TP, EventT

SCHEME = "kept"
"""Scheme of the store's URL in Faust's settings."""


def register() -> None:
    """Makes the scheme known to Faust."""
    stores.STORES.aliases[SCHEME] = f"{__name__}:{DurableTableStore.__name__}"


class DurableTableStore(memory.Store[Any, Any]):
    """The keys of every partition that is active or standby on this worker, in memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._changelog_offsets: dict[TP, int] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        # Faust's own store notes the partition of recovered keys only, so keys written here would never be dropped.
        self._key_partition[key] = self.table.partition_for_key(key) or 0

    def persisted_offset(self, tp: TP) -> int | None:
        """The changelog offset up to which the partition is in the table; None where it is not."""
        return self._changelog_offsets.get(TP(*tp))

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Called with the changelog offset of this worker's own write, once the log has it."""
        self._changelog_offsets[TP(*tp)] = max(offset, self._changelog_offsets.get(TP(*tp), -1))

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Applies records of the changelog. A table with a method `is_stale(held, incoming)` drops what that refuses."""
        is_stale: Any = getattr(self.table, "is_stale", None)
        for event in batch:
            held = None if is_stale is None or event.value is None else self.data.get(to_key(event.key))
            if held is None or not is_stale(held, to_value(event.value)):
                super().apply_changelog_batch([event], to_key, to_value)
            self.set_persisted_offset(event.message.tp, event.message.offset)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Drops partitions that are neither active nor standby on this worker any more."""
        kept = {TP(*tp) for tp in active_tps | standby_tps}
        partitions = {tp.partition for tp in kept}
        for key in [key for key, partition in self._key_partition.items() if partition not in partitions]:
            self.data.pop(key, None)
            del self._key_partition[key]
        self._changelog_offsets = {tp: offset for tp, offset in self._changelog_offsets.items() if tp in kept}
