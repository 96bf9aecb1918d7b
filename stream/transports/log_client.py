"""The log's interface for everything but Faust: appending records, and consuming them by partition.

embedded_log/client.py implements it on SQLite, kafka_log/client.py on Kafka; both pass the same contract,
tests/stream/transports/test_log_client_contract.py. Topics have their plain names here, without Kafka's prefix. Deleted keys
are never delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

PartitionRef = tuple[str, int]
"""(topic, partition)."""
RevokedCallback = Callable[[frozenset[PartitionRef]], None]
"""Called with partitions that went to another member of the group."""
RECORD_BYTES_MAX = 32 << 20
"""Largest record of either log: the largest payload of a device, quarantined whole, and a state shard fit."""


class Entry(NamedTuple):
    """A record to append. key: of a compacted topic, whose latest record of a key is kept. value: None deletes the key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


class FetchedRecord(NamedTuple):
    """A record as it was appended. at_ms: its arrival time at the log."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic's configuration.

    per_customer: partitioned by customer; else it has one partition. compacted: the latest record of each key is kept, for
    ever. retain_ms, retain_bytes: how long records are kept, and how many bytes of all partitions together; None: all.
    """

    name: str
    per_customer: bool
    retain_ms: int | None = None
    retain_bytes: int | None = None
    compacted: bool = False


class LogConsumer(Protocol):
    """Reads topics from its group's committed offsets, or from given ones, and then as records arrive."""

    async def start(self) -> None:
        """Joins the group. Raises LogError while the log is away; trying again is safe."""
        ...

    async def close(self) -> None:
        """Leaves the group; uncommitted records are delivered again. May be called twice."""
        ...

    async def fetch(self, records_max: int = 1000, wait_s: float = 1.0) -> list[FetchedRecord]:
        """Records, in order within a partition; [] where none arrives within `wait_s`. Raises LogError while the log is away."""
        ...

    async def commit(self, positions: Mapping[PartitionRef, int] | None = None) -> None:
        """Commits, for the group, the offset of each partition's next record to handle; None: of all that was fetched.

        Partitions that went to another member are left out. Raises LogError while the log is away, or without a group.
        """
        ...

    def assignment(self) -> frozenset[PartitionRef]:
        """The partitions fetched from at present."""
        ...

    def on_revoked(self, callback: RevokedCallback) -> None:
        """Calls `callback`, in the event loop, with partitions that this member lost."""
        ...

    def pause(self, partitions: Collection[PartitionRef]) -> None:
        """Stops fetching from these until `resume`."""
        ...

    def resume(self, partitions: Collection[PartitionRef]) -> None:
        """Resumes fetching from these, after the last record fetched."""
        ...


class LogClient(Protocol):
    """A log. partitions: of the topics partitioned by customer; known after `start`."""

    partitions: int

    async def start(self) -> None:
        """Creates missing topics. Raises InputError where existing ones don't fit, LogError while the log is away."""
        ...

    async def stop(self) -> None:
        """Completes appends in flight; consumers must be closed before."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Appends; on return every record is durable, in order within its partition.

        Raises LogError where that is not certain: appending again is safe, since readers recognise duplicates. Raises
        LogDamaged where trying again does not help.
        """
        ...

    def subscribe(
        self,
        topics: Sequence[str],
        *,
        group: str | None = None,
        start_offsets: Mapping[PartitionRef, int] | None = None,
        only_partitions: Collection[int] | None = None,
    ) -> LogConsumer:
        """A consumer, not started.

        group: its offsets are kept, and its members share the partitions; None: all partitions, or `only_partitions`.
        start_offsets: where to begin in partitions without a committed offset; the default is the oldest record.
        """
        ...

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset that each partition's next record will get."""
        ...

    async def beginning_offsets(self, topic: str) -> dict[int, int]:
        """The offset of each partition's oldest record; the end offset of an empty partition."""
        ...

    async def lag(self, group: str, topics: Sequence[str]) -> dict[PartitionRef, int]:
        """The number of records that the group has yet to commit, by partition."""
        ...

    async def last_records(self, topic: str, partitions: Collection[int]) -> dict[int, FetchedRecord]:
        """The last record of each of these partitions; partitions without records are left out."""
        ...
