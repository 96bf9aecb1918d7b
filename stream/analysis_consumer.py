"""The consumer of facts: hands those of each tick to the reactor, once, in order within a partition, and commits them afterwards.

Partitions are independent: one whose handler has to wait, such as for what other partitions learned, delays only itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from star.analyse import Facts
from star.errors import LogDamaged, LogError
from stream.partition.partition_processor import FactsDeduplicator
from stream.topics import FACTS
from stream.transports.log_client import FetchedRecord, LogClient, LogConsumer, PartitionRef

CONSUMER_GROUP = "starloop-reactor"
"""Consumer group of the reactor on an embedded log."""
FETCH_RECORDS_MAX = 500
"""Records fetched at once."""
WAITING_MAX = 1_000
"""Records of a partition in memory; beyond, it is paused until half of them are handled."""
COMMIT_S = 1.0
"""Between commits. Facts that come again after a crash are skipped by the reactor, so this only bounds how many."""
RETRY_S = 0.5
"""Before the next try when the log is unavailable."""
_log = structlog.get_logger("facts")

FactsHandler = Callable[[int, Facts, int], Awaitable[None]]
"""Handles the facts of one tick: (partition, facts, when the log took them in ms). They are durable when it returns."""


class AnalysisConsumer:
    """Hands facts to `on_facts` until cancelled, or until that fails. on_revoked: called with each partition that is revoked."""

    def __init__(
        self,
        client: LogClient,
        on_facts: FactsHandler,
        *,
        group: str = CONSUMER_GROUP,
        on_revoked: Callable[[int], None] = lambda partition: None,
        commit_s: float = COMMIT_S,
    ) -> None:
        self._client = client
        self._on_facts = on_facts
        self._on_revoked = on_revoked
        self._commit_s = commit_s
        self._group = group
        self._queues: dict[int, _PartitionQueue] = {}
        self.last_error: str | None = None
        """Why the log can't be read at present."""

    def partitions(self) -> frozenset[int]:
        """The partitions that are assigned to this process."""
        return frozenset(self._queues)

    async def run(self) -> None:
        """Consumes facts. Raises what `on_facts` raises, and LogDamaged."""
        consumer = self._client.subscribe([FACTS], group=self._group)
        consumer.on_revoked(self._revoke)
        try:
            async with asyncio.TaskGroup() as group:
                await self._retry_while_unavailable(consumer.start)
                await self._consume(consumer, group)
        finally:
            await consumer.close()
            self._revoke(frozenset((FACTS, partition) for partition in self._queues))

    async def _consume(self, consumer: LogConsumer, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        commit_at = loop.time() + self._commit_s
        while True:
            rows: list[FetchedRecord] = []

            async def fetch() -> None:
                nonlocal rows
                rows = await consumer.fetch(FETCH_RECORDS_MAX, wait_s=min(self._commit_s, 1.0))

            await self._retry_while_unavailable(fetch)
            for _, partition in consumer.assignment():
                if partition not in self._queues:
                    queue = self._queues[partition] = _PartitionQueue(partition, self._on_facts)
                    queue.task = group.create_task(queue.run(), name=f"facts-{partition}")
            for row in rows:
                if row.partition in self._queues:
                    self._queues[row.partition].add(row)
            self._apply_back_pressure(consumer)
            if loop.time() >= commit_at:
                await self._commit(consumer)
                commit_at = loop.time() + self._commit_s

    async def _retry_while_unavailable(self, operation: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await operation()
            except LogDamaged:
                raise
            except LogError as error:
                if self.last_error is None:
                    _log.warning("lost_log", error=str(error))
                self.last_error = str(error)
                await asyncio.sleep(RETRY_S)
            else:
                if self.last_error is not None:
                    _log.info("found_log")
                self.last_error = None
                return

    def _apply_back_pressure(self, consumer: LogConsumer) -> None:
        full = [(FACTS, queue.partition) for queue in self._queues.values() if queue.waiting() > WAITING_MAX]
        if full:
            consumer.pause(full)
        free = [
            (FACTS, queue.partition)
            for queue in self._queues.values()
            if queue.paused and queue.waiting() * 2 < WAITING_MAX
        ]
        if free:
            consumer.resume(free)
        for _, partition in full:
            self._queues[partition].paused = True
        for _, partition in free:
            self._queues[partition].paused = False

    async def _commit(self, consumer: LogConsumer) -> None:
        done = {
            (FACTS, queue.partition): queue.next_offset
            for queue in self._queues.values()
            if queue.next_offset is not None
        }
        if done:
            with suppress(LogError):  # a later commit covers it
                await consumer.commit(done)

    def _revoke(self, revoked: frozenset[PartitionRef]) -> None:
        for _, partition in revoked:
            queue = self._queues.pop(partition, None)
            if queue is not None:
                if queue.task is not None:
                    queue.task.cancel()
                self._on_revoked(partition)


class _PartitionQueue:
    """Facts of one partition. next_offset: after the last record that was handled."""

    def __init__(self, partition: int, on_facts: FactsHandler) -> None:
        self.partition = partition
        self.next_offset: int | None = None
        self.paused = False
        self.task: asyncio.Task[None] | None = None
        self._on_facts = on_facts
        self._reader = FactsDeduplicator()
        self._rows: deque[FetchedRecord] = deque()
        self._added = asyncio.Event()

    def add(self, row: FetchedRecord) -> None:
        """Appends a record."""
        self._rows.append(row)
        self._added.set()

    def waiting(self) -> int:
        """The number of records that wait."""
        return len(self._rows)

    async def run(self) -> None:
        """Handles added records in order until cancelled."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._rows:
                row = self._rows[0]
                facts = self._reader.unpack_new(row.value)
                if facts is not None:
                    await self._on_facts(self.partition, facts, row.at_ms)
                self._rows.popleft()
                self.next_offset = row.offset + 1
                await asyncio.sleep(0)  # lets other tasks run where `on_facts` never waits
