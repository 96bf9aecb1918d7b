"""A table's memory that knows how far into the changelog it has come, so that a standby copy is of use.

Faust's own memory store forgets a standby copy at the end of every recovery, and reads a partition's whole changelog again
when it takes it over. This one keeps the copies it is told to keep, and recovery reads on from where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from faust import stores
from faust.stores import memory
from faust.types import TP, EventT

SCHEME = "kept"


def register() -> None:
    """Makes `kept://` known to Faust."""
    stores.STORES.aliases[SCHEME] = "stream.transports.faust_overrides.durable_table_store:DurableTableStore"


class DurableTableStore(memory.Store[Any, Any]):
    """Keys of every partition that is active or standby here, in memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._changelog_offsets: dict[TP, int] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        # Faust's own notes the partition of what it reads only, and keeps for ever what this worker wrote.
        self._key_partition[key] = self.table.partition_for_key(key) or 0

    def persisted_offset(self, tp: TP) -> int | None:
        """The offset of the last record of the changelog that is in the table; None where there is none."""
        return self._changelog_offsets.get(TP(*tp))

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """What this worker wrote itself, once the log has it."""
        self._changelog_offsets[TP(*tp)] = max(offset, self._changelog_offsets.get(TP(*tp), -1))

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Takes up records of the changelog. A table that says what `goes_back` (held, come) does not take it."""
        goes_back: Any = getattr(self.table, "is_stale", None)
        for event in batch:
            held = None if goes_back is None or event.value is None else self.data.get(to_key(event.key))
            if held is None or not goes_back(held, to_value(event.value)):
                super().apply_changelog_batch([event], to_key, to_value)
            self.set_persisted_offset(event.message.tp, event.message.offset)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Forgets partitions that are neither active nor standby here any more."""
        kept = {TP(*tp) for tp in active_tps | standby_tps}
        partitions = {tp.partition for tp in kept}
        for key in [key for key, partition in self._key_partition.items() if partition not in partitions]:
            self.data.pop(key, None)
            del self._key_partition[key]
        self._changelog_offsets = {tp: offset for tp, offset in self._changelog_offsets.items() if tp in kept}
