"""Checkpoints: when the state shards of a partition are written, and how the table of shards stores them.

A checkpoint is taken only at a tick, when nothing is half done. Whether one is due depends on the records alone (their number,
and the times of ticks) and on no clock, so that every run over the same log takes the same ones. The order of writes that makes
it safe is in stream/partition/partition_processor.py: facts, shards, flush, offset.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

_STAMP = struct.Struct(">q")
CHECKPOINT_S = 10.0
"""Between checkpoints: trades the writing of shards against the records that are read again after a restart."""
CHECKPOINT_RECORDS = 2_000
"""Records after which a checkpoint is due earlier, so that a restart under load reads no more than these again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """A checkpoint is due at the first tick `every_s` after the last one, or with `records` records since."""

    every_s: float = CHECKPOINT_S
    records: int = CHECKPOINT_RECORDS


class CheckpointSchedule:
    """The ticks at which a checkpoint is due. first_ahead_share: share of the interval by which the first one comes sooner."""

    def __init__(self, policy: CheckpointPolicy, first_ahead_share: float = 0.0) -> None:
        self._policy = policy
        self._ahead_ms = round(first_ahead_share * policy.every_s * 1000)
        self._records = 0
        self._last_ms: int | None = None

    def count_record(self) -> None:
        """Counts a record."""
        self._records += 1

    def due(self, tick_ms: int) -> bool:
        """Whether a checkpoint is due at this tick; it then counts as taken."""
        if self._last_ms is None:
            self._last_ms = tick_ms - self._ahead_ms
        passed_s = (tick_ms - self._last_ms) / 1000
        if passed_s < self._policy.every_s and self._records < self._policy.records:
            return False
        self._last_ms, self._records = tick_ms, 0
        return True


def shard_key(name: str, partition: int = 0) -> bytes:
    """A shard's key in the table, which holds the shards of all partitions of a worker."""
    return f"{partition}/{name}".encode()


def with_offset(shard: bytes, offset: int) -> bytes:
    """A shard as the table stores it: after the offset of the last record that it includes."""
    return _STAMP.pack(offset) + shard


def is_stale(held: bytes, incoming: bytes) -> bool:
    """Whether a shard that arrives is older than the one that is held, both as the table stores them.

    A worker that was suspended may write shards when it resumes, after another one has taken over its partition: of several
    the one with the highest offset counts, not the last one written.
    """
    (held_offset,), (come_offset,) = _STAMP.unpack_from(held), _STAMP.unpack_from(incoming)
    return int(come_offset) < int(held_offset)


def shards_of_partition(rows: Iterable[tuple[bytes, bytes]], partition: int = 0) -> dict[str, bytes]:
    """The shards of a partition by key, from a table's (key, value) rows."""
    prefix = shard_key("", partition)
    return {key[len(prefix) :].decode(): value[_STAMP.size :] for key, value in rows if key.startswith(prefix)}
