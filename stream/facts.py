"""The way of the facts to the reactor: each tick's once and in order within its partition, handled for good before they
are committed. Partitions do not wait for each other: one that has to (for what others learned) holds up itself alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from star.analyse import Facts
from star.errors import LogDamaged, LogError
from stream.topics import FACTS
from stream.transports.client import Fetched, Follower, LogClient, Place
from stream.worker import FactsReader

GROUP = "starloop-reactor"
"""The consumer group of the reactors of an embedded log."""
FETCH_RECORDS_MAX = 500
WAITING_MAX = 1_000
"""Records of a partition that wait in memory; then it is not fetched from until half of them are handled."""
COMMIT_S = 1.0
"""Between commits of what is handled. The reactor skips what it has, so nothing rests on it."""
RETRY_S = 0.5
"""Before the log is asked again when it was away."""
_log = structlog.get_logger("facts")

OnFacts = Callable[[int, Facts, int], Awaitable[None]]
"""Handles the facts of one tick of a partition, which the log took at that moment (ms), for good when it returns."""


class FactsLoop:
    """Hands facts to `on_facts` until it is cancelled; a failure of that ends it. lost: is told of partitions that go."""

    def __init__(
        self,
        client: LogClient,
        on_facts: OnFacts,
        *,
        group: str = GROUP,
        lost: Callable[[int], None] = lambda partition: None,
        commit_s: float = COMMIT_S,
    ) -> None:
        self._client = client
        self._on_facts = on_facts
        self._lost = lost
        self._commit_s = commit_s
        self._group = group
        self._lanes: dict[int, _Lane] = {}
        self.trouble: str | None = None
        """Why the log can't be read now."""

    def partitions(self) -> frozenset[int]:
        """The partitions that this process handles now."""
        return frozenset(self._lanes)

    async def run(self) -> None:
        """Follows the facts. Raises what `on_facts` raises, and LogDamaged."""
        follower = self._client.follow([FACTS], group=self._group)
        follower.on_change(self._gone)
        try:
            async with asyncio.TaskGroup() as group:
                await self._patiently(follower.start)
                await self._follow(follower, group)
        finally:
            await follower.close()
            self._gone(frozenset((FACTS, partition) for partition in self._lanes))

    async def _follow(self, follower: Follower, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        commit_at = loop.time() + self._commit_s
        while True:
            rows: list[Fetched] = []

            async def fetch() -> None:
                nonlocal rows
                rows = await follower.fetch(FETCH_RECORDS_MAX, wait_s=min(self._commit_s, 1.0))

            await self._patiently(fetch)
            for place in follower.assigned():
                if place[1] not in self._lanes:
                    lane = self._lanes[place[1]] = _Lane(place[1], self._on_facts)
                    lane.task = group.create_task(lane.run(), name=f"facts-{place[1]}")
            for row in rows:
                if row.partition in self._lanes:
                    self._lanes[row.partition].add(row)
            self._balance(follower)
            if loop.time() >= commit_at:
                await self._commit(follower)
                commit_at = loop.time() + self._commit_s

    async def _patiently(self, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await act()
            except LogDamaged:
                raise
            except LogError as error:
                if self.trouble is None:
                    _log.warning("lost_log", error=str(error))
                self.trouble = str(error)
                await asyncio.sleep(RETRY_S)
            else:
                if self.trouble is not None:
                    _log.info("found_log")
                self.trouble = None
                return

    def _balance(self, follower: Follower) -> None:
        full = [(FACTS, lane.partition) for lane in self._lanes.values() if lane.waiting() > WAITING_MAX]
        if full:
            follower.pause(full)
        free = [
            (FACTS, lane.partition) for lane in self._lanes.values() if lane.paused and lane.waiting() * 2 < WAITING_MAX
        ]
        if free:
            follower.resume(free)
        for _, partition in full:
            self._lanes[partition].paused = True
        for _, partition in free:
            self._lanes[partition].paused = False

    async def _commit(self, follower: Follower) -> None:
        done = {(FACTS, lane.partition): lane.next for lane in self._lanes.values() if lane.next is not None}
        if done:
            with suppress(LogError):  # a later commit covers it; until then facts may come again and are skipped
                await follower.commit(done)

    def _gone(self, places: frozenset[Place]) -> None:
        for _, partition in places:
            lane = self._lanes.pop(partition, None)
            if lane is not None:
                if lane.task is not None:
                    lane.task.cancel()
                self._lost(partition)


class _Lane:
    """One partition's facts. next: the offset after the last one handled."""

    def __init__(self, partition: int, on_facts: OnFacts) -> None:
        self.partition = partition
        self.next: int | None = None
        self.paused = False
        self.task: asyncio.Task[None] | None = None
        self._on_facts = on_facts
        self._reader = FactsReader()
        self._rows: deque[Fetched] = deque()
        self._news = asyncio.Event()

    def add(self, row: Fetched) -> None:
        """One more record to handle."""
        self._rows.append(row)
        self._news.set()

    def waiting(self) -> int:
        """How many records wait."""
        return len(self._rows)

    async def run(self) -> None:
        """Handles what is added, in order, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._rows:
                row = self._rows[0]
                facts = self._reader.take(row.value)
                if facts is not None:
                    await self._on_facts(self.partition, facts, row.at_ms)
                self._rows.popleft()
                self.next = row.offset + 1
                await asyncio.sleep(0)  # others have their turn, also where facts need no waiting
