"""The ticker: puts a Tick into the input while time passes, so that decisions are made soon after readings, and also for
devices that are silent.

Decisions are made at ticks and nowhere else. While something arrives there is a tick every `busy_s`, else every `idle_s`.
On start there is one at once: it stands for all that fell due while the machine was off.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable

from star.ports import Clock
from star.records import Record, Tick

BUSY_S = 0.1
"""Between ticks while readings or events arrive."""
IDLE_S = 5.0
"""Between ticks while nothing arrives."""


class Ticker:
    """Ticks through `put`, which takes a record into the order of arrival at once (`edge.ingest_service.Inlet.put`).

    clock: the time of arrival, which never goes back (the same inlet's).

    Call `arrived` whenever something came in. `run` ticks until it is cancelled.
    """

    def __init__(
        self,
        append: Callable[[Record], object],
        clock: Clock,
        *,
        busy_s: float = BUSY_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self._append = append
        self._clock = clock
        self._busy_s = busy_s
        self._idle_s = idle_s
        self._arrived = asyncio.Event()

    def notify_arrival(self) -> None:
        """Something came in: a tick follows within `busy_s`."""
        self._arrived.set()

    def tick(self) -> None:
        """One tick, now."""
        self._arrived.clear()
        self._append(Tick(at_ms=self._clock.now_ms()))

    async def run(self) -> None:
        """Ticks until it is cancelled."""
        while True:
            self.tick()
            try:
                async with asyncio.timeout(self._idle_s):
                    # Not before busy_s have passed, so that a flood gives ten ticks a second and not ten thousand.
                    await asyncio.sleep(min(self._busy_s, self._idle_s))
                    await self._arrived.wait()
            except TimeoutError:
                continue


class PartitionTickSchedule:
    """When each partition of a worker is due for a tick: within `busy_s` where something came since the last one, else
    every `idle_s`. monotonic_s: a clock that only says how much time passed."""

    def __init__(self, busy_s: float, idle_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.busy_s = busy_s
        self._idle_s = idle_s
        self._monotonic_s = monotonic_s
        self._last_s: dict[int, float] = {}
        self._with_arrivals: set[int] = set()

    def assign(self, partition: int) -> None:
        """The partition came to this worker: it is due at once, for all that fell due while nobody had it."""
        self._last_s.pop(partition, None)

    def notify_arrival(self, partition: int) -> None:
        """Something came in there."""
        self._with_arrivals.add(partition)

    def due(self, partitions: Iterable[int]) -> list[int]:
        """Those of `partitions` that are due; they count as ticked."""
        now_s = self._monotonic_s()
        due = [
            partition
            for partition in partitions
            if partition in self._with_arrivals or now_s - self._last_s.get(partition, -math.inf) >= self._idle_s
        ]
        for partition in due:
            self._last_s[partition] = now_s
            self._with_arrivals.discard(partition)
        return due
