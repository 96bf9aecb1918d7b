"""Checkpoints: when the analysis' blocks are written, and how they come back.

A checkpoint is taken only at a tick, when the analysis holds nothing half done. When one is due depends on the records
alone (their number, and the time that ticks tell), never on a clock, so that every run over the same log does the same.
The order that makes it safe is in partition_processor.py: facts, then blocks, then a flush, then the offset.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

_STAMP = struct.Struct(">q")
CHECKPOINT_S = 10.0
CHECKPOINT_RECORDS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """A checkpoint is due at the first tick `every_s` after the last one, or once `records` were handled since."""

    every_s: float = CHECKPOINT_S
    records: int = CHECKPOINT_RECORDS


class CheckpointSchedule:
    """Says at which ticks a checkpoint is due. ahead: by what share of the interval the first one comes sooner."""

    def __init__(self, policy: CheckpointPolicy, first_ahead_share: float = 0.0) -> None:
        self._policy = policy
        self._ahead_ms = round(first_ahead_share * policy.every_s * 1000)
        self._records = 0
        self._last_ms: int | None = None

    def count_record(self) -> None:
        """One more record was handled."""
        self._records += 1

    def due(self, tick_ms: int) -> bool:
        """Whether a checkpoint is due at this tick; if so, it counts as taken."""
        if self._last_ms is None:
            self._last_ms = tick_ms - self._ahead_ms
        passed_s = (tick_ms - self._last_ms) / 1000
        if passed_s < self._policy.every_s and self._records < self._policy.records:
            return False
        self._last_ms, self._records = tick_ms, 0
        return True


def shard_key(name: str, partition: int = 0) -> bytes:
    """A block's key in the table: a worker's table holds the blocks of all its partitions."""
    return f"{partition}/{name}".encode()


def with_offset(shard: bytes, offset: int) -> bytes:
    """A block as the table holds it: behind the offset of the last record it includes."""
    return _STAMP.pack(offset) + shard


def is_stale(held: bytes, incoming: bytes) -> bool:
    """Whether a value of the table is older than the one that is held. A worker that was frozen may still send what it had
    in hand when it wakes, after another has taken over: of a block the newest counts, not the last."""
    (held_offset,), (come_offset,) = _STAMP.unpack_from(held), _STAMP.unpack_from(incoming)
    return int(come_offset) < int(held_offset)


def shards_of_partition(rows: Iterable[tuple[bytes, bytes]], partition: int = 0) -> dict[str, bytes]:
    """The blocks of a partition among a table's (key, value) rows, for `load_blocks`."""
    prefix = shard_key("", partition)
    return {key[len(prefix) :].decode(): value[_STAMP.size :] for key, value in rows if key.startswith(prefix)}
