"""What the log is to all that is not Faust: records appended, and followed by partition. client.py has it on the
embedded log, client.py on Kafka; tests/stream/transports/test_log_client_contract.py holds both to the same promises.

Names of topics are plain here; how Kafka calls them is the client's business. Deleted keys are never delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

PartitionRef = tuple[str, int]
"""(topic, partition)."""
RevokedCallback = Callable[[frozenset[PartitionRef]], None]
"""Is told of partitions that went to another member of the group."""


class Entry(NamedTuple):
    """A record to append. key: what compaction goes by. value None deletes the key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


class FetchedRecord(NamedTuple):
    """A record as it was appended. at_ms: when the log took it."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic as it should be. per_customer: it has all partitions; else it has one. compacted: the latest of each key is
    kept, for ever. retain_ms, retain_bytes: how long and how much, of all partitions together, is kept; None keeps all."""

    name: str
    per_customer: bool
    retain_ms: int | None = None
    retain_bytes: int | None = None
    compacted: bool = False


class LogConsumer(Protocol):
    """Reads topics from where its group committed, or from where it was told, and then as records come."""

    async def start(self) -> None:
        """Joins. Raises LogError where the log is away: try again."""
        ...

    async def close(self) -> None:
        """Leaves; what was not committed comes again. May be called twice."""
        ...

    async def fetch(self, records_max: int = 1000, wait_s: float = 1.0) -> list[FetchedRecord]:
        """Records, in order within a partition; [] after wait_s without news. Raises LogError while the log is away: call
        again."""
        ...

    async def commit(self, positions: Mapping[PartitionRef, int] | None = None) -> None:
        """Keeps, for the group, the offset of the next record to handle; None: all that was fetched is handled. Places that
        went to another member meanwhile are left out. Raises LogError while the log is away, or without a group."""
        ...

    def assignment(self) -> frozenset[PartitionRef]:
        """The partitions that are fetched from now."""
        ...

    def on_revoked(self, callback: RevokedCallback) -> None:
        """From now on `lost` is told, in the event loop, of partitions taken away, before anybody else gets them."""
        ...

    def pause(self, partitions: Collection[PartitionRef]) -> None:
        """Fetch no more from these until `resume`."""
        ...

    def resume(self, partitions: Collection[PartitionRef]) -> None:
        """Fetch from these again, from the record after the last one fetched."""
        ...


class LogClient(Protocol):
    """A log. partitions: of the topics kept apart by customer; known after `start`."""

    partitions: int

    async def start(self) -> None:
        """Makes topics that are missing. Raises InputError where those that are there don't fit, LogError where the log is
        away: try again."""
        ...

    async def stop(self) -> None:
        """What is on its way is written; followers must be closed before."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Appends; on return every record is durable, in order within its partition. Raises LogError where that is not
        sure: appending again is right, since who reads tells twins apart. LogDamaged where trying again does not help."""
        ...

    def subscribe(
        self,
        topics: Sequence[str],
        *,
        group: str | None = None,
        start_offsets: Mapping[PartitionRef, int] | None = None,
        only_partitions: Collection[int] | None = None,
    ) -> LogConsumer:
        """A follower, not started. group: commits are kept, and members share partitions; None: all partitions, or `only`.
        start: where to begin in places without a commit; else it is the oldest record kept."""
        ...

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Of each partition the offset that the next record will get."""
        ...

    async def beginning_offsets(self, topic: str) -> dict[int, int]:
        """Of each partition the offset of the oldest record kept; the end where there is none."""
        ...

    async def lag(self, group: str, topics: Sequence[str]) -> dict[PartitionRef, int]:
        """How many records the group has yet to commit, of each place."""
        ...

    async def last_records(self, topic: str, partitions: Collection[int]) -> dict[int, FetchedRecord]:
        """The last record of each of these partitions that has one."""
        ...
