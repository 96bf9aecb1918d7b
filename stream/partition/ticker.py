"""Ticks: records of passing time in the input, at which decisions are made, soon after readings and for silent devices too.

While something arrives there is a tick every `busy_s`, else every `idle_s`. The first one comes at once, for what fell due while
nothing ran.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable

from star.ports import Clock
from star.records import Record, Tick

BUSY_S = 0.1
"""Between ticks while readings or events arrive: adds to the time from a reading to a decision; each tick costs an evaluation."""
IDLE_S = 5.0
"""Between ticks while nothing arrives: how late a timer may be."""


class Ticker:
    """Ticks of a service in one process. `run` ticks until it is cancelled; call `notify_arrival` for whatever arrives.

    append: puts a record into the order of arrival. clock: of arrival, which never goes back.
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
        """Something arrived: a tick follows within `busy_s`."""
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
                    # Not before busy_s have passed, so that many arrivals give ten ticks a second and not thousands.
                    await asyncio.sleep(min(self._busy_s, self._idle_s))
                    await self._arrived.wait()
            except TimeoutError:
                continue


class PartitionTickSchedule:
    """The partitions of a worker that are due for a tick: after arrivals at once, else every `idle_s`.

    busy_s: how often the worker asks. monotonic_s: a clock of passing time, in s.
    """

    def __init__(self, busy_s: float, idle_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.busy_s = busy_s
        self._idle_s = idle_s
        self._monotonic_s = monotonic_s
        self._last_s: dict[int, float] = {}
        self._with_arrivals: set[int] = set()

    def assign(self, partition: int) -> None:
        """The partition was assigned to this worker: it is due at once, for what fell due while no worker had it."""
        self._last_s.pop(partition, None)

    def notify_arrival(self, partition: int) -> None:
        """Something arrived in the partition."""
        self._with_arrivals.add(partition)

    def due(self, partitions: Iterable[int]) -> list[int]:
        """Those of `partitions` that are due; they count as ticked now."""
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
