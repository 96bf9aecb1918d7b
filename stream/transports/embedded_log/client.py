"""The embedded log as a LogClient: every topic has partition 0 only, and consumers are woken by its commits.

A group has one member here: there is one process, and a second consumer of a group in it would be a mistake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from star.errors import LogError
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.log_client import Entry, FetchedRecord, PartitionRef, RevokedCallback, TopicSpec


class EmbeddedClient:
    """Implements LogClient. `start` creates `topics`, or changes their retention. The caller closes `log`."""

    def __init__(self, log: SqliteLog, topics: Sequence[TopicSpec] = ()) -> None:
        self.log = log
        self.partitions = 1
        self.group_members: dict[tuple[str, str], EmbeddedConsumer] = {}
        self._topics = tuple(topics)

    async def start(self) -> None:
        """Creates the topics."""
        for topic in self._topics:
            await asyncio.to_thread(
                self.log.create,
                topic.name,
                compacted=topic.compacted,
                retain_ms=topic.retain_ms,
                retain_bytes=topic.retain_bytes,
            )

    async def stop(self) -> None:
        """Does nothing: `append` returns when its records are on disk."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Appends all entries or none; on return they are on disk. Raises DiskFull, another LogError, or LogDamaged."""
        for entry in entries:
            if entry.partition != 0:
                raise LogError(
                    f"topic {entry.topic!r}, partition {entry.partition}: the embedded log has partition 0 only"
                )
        if entries:
            await self.log.append_batch_async([(topic, key, value) for topic, _, key, value in entries])

    def subscribe(
        self,
        topics: Sequence[str],
        *,
        group: str | None = None,
        start_offsets: Mapping[PartitionRef, int] | None = None,
        only_partitions: Collection[int] | None = None,
    ) -> EmbeddedConsumer:
        """A consumer, not started."""
        consumed = tuple(topics) if only_partitions is None or 0 in only_partitions else ()
        return EmbeddedConsumer(self, consumed, group, start_offsets or {})

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """See LogClient."""
        return {0: self.log.end(topic)}

    async def beginning_offsets(self, topic: str) -> dict[int, int]:
        """See LogClient."""
        return {0: self.log.begin(topic)}

    async def lag(self, group: str, topics: Sequence[str]) -> dict[PartitionRef, int]:
        """The number of records from the group's committed offset, or the oldest record, to the end."""
        found: dict[PartitionRef, int] = {}
        for topic in topics:
            begin, committed = self.log.begin(topic), self.log.committed(group, topic)
            found[topic, 0] = max(0, self.log.end(topic) - max(begin, committed or 0))
        return found

    async def last_records(self, topic: str, partitions: Collection[int]) -> dict[int, FetchedRecord]:
        """See LogClient."""
        for record in self.log.read_records(topic, self.log.end(topic) - 1, 1):
            if record.value is not None and 0 in partitions:
                return {0: FetchedRecord(topic, 0, record.offset, record.at_ms, record.key, record.value)}
        return {}


class EmbeddedConsumer:
    """Implements LogConsumer."""

    def __init__(
        self,
        client: EmbeddedClient,
        topics: Sequence[str],
        group: str | None,
        start_offsets: Mapping[PartitionRef, int],
    ) -> None:
        self._client = client
        self._log = client.log
        self._topics = list(topics)
        self._group = group
        self._start_offsets = start_offsets
        self._next_offsets: dict[str, int] = {}
        self._paused: set[str] = set()
        self._records_available = asyncio.Event()
        self._remove_listener: Callable[[], None] | None = None

    async def start(self) -> None:
        """Starts at the group's committed offsets. Raises LogError where the group has a member already."""
        if self._group is not None:
            for topic in self._topics:
                if self._client.group_members.setdefault((self._group, topic), self) is not self:
                    raise LogError(
                        f"group {self._group!r} consumes {topic!r} already: a group on the embedded log has one member"
                    )
        self._remove_listener = self._log.wake_on_commit(self._records_available.set)
        for topic in self._topics:
            self._next_offsets[topic] = self._start_offset(topic)

    async def close(self) -> None:
        """Leaves the group."""
        if self._remove_listener is not None:
            self._remove_listener()
            self._remove_listener = None
        self._next_offsets.clear()
        for owned in [owned for owned, owner in self._client.group_members.items() if owner is self]:
            del self._client.group_members[owned]

    async def fetch(self, records_max: int = 1000, wait_s: float = 1.0) -> list[FetchedRecord]:
        """Records of all topics, in order within each topic."""
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            self._records_available.clear()
            records = self._read(records_max)
            if records:
                return records
            try:
                async with asyncio.timeout_at(deadline):
                    await self._records_available.wait()
            except TimeoutError:
                return []

    async def commit(self, positions: Mapping[PartitionRef, int] | None = None) -> None:
        """Commits offsets; on return they are on disk."""
        if self._group is None:
            raise LogError("a consumer without a group can't commit")
        if positions is None:
            offsets = dict(self._next_offsets)
        else:
            offsets = {topic: offset for (topic, _), offset in positions.items() if topic in self._next_offsets}
        if offsets:
            await self._log.commit_async(self._group, offsets)

    def assignment(self) -> frozenset[PartitionRef]:
        """Partition 0 of every topic."""
        return frozenset((topic, 0) for topic in self._next_offsets)

    def on_revoked(self, callback: RevokedCallback) -> None:
        """Does nothing: no partition is ever revoked here."""

    def pause(self, partitions: Collection[PartitionRef]) -> None:
        """Stops fetching from these."""
        self._paused.update(topic for topic, _ in partitions)

    def resume(self, partitions: Collection[PartitionRef]) -> None:
        """Resumes fetching from these."""
        self._paused.difference_update(topic for topic, _ in partitions)
        self._records_available.set()

    def _start_offset(self, topic: str) -> int:
        committed = None if self._group is None else self._log.committed(self._group, topic)
        position = self._start_offsets.get((topic, 0)) if committed is None else committed
        return self._log.begin(topic) if position is None else position

    def _read(self, records_max: int) -> list[FetchedRecord]:
        found: list[FetchedRecord] = []
        for topic in self._topics:
            if topic in self._next_offsets and topic not in self._paused:
                found += self._read_topic(topic, records_max - len(found))
        if found:
            # The next fetch starts with another topic, so that a busy one does not starve the others.
            self._topics.append(self._topics.pop(0))
        return found

    def _read_topic(self, topic: str, records_max: int) -> list[FetchedRecord]:
        found: list[FetchedRecord] = []
        while not found and records_max > 0 and self._next_offsets[topic] < self._log.end(topic):
            records = self._log.read_records(topic, self._next_offsets[topic], records_max)
            if not records:
                break
            self._next_offsets[topic] = records[-1].offset + 1
            found = [
                FetchedRecord(topic, 0, record.offset, record.at_ms, record.key, record.value)
                for record in records
                if record.value is not None
            ]
        return found
