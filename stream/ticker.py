"""The ticker: puts a Tick into the input while time passes, so that decisions are made soon after readings, and also for
devices that are silent.

Decisions are made at ticks and nowhere else. While something arrives there is a tick every `busy_s`, else every `idle_s`.
On start there is one at once: it stands for all that fell due while the machine was off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from star.ports import Clock
from star.records import Record, Tick

BUSY_S = 0.1
"""Between ticks while readings or events arrive."""
IDLE_S = 5.0
"""Between ticks while nothing arrives."""


class Ticker:
    """Ticks through `put`, which takes a record into the order of arrival at once (`edge.inlet.Inlet.put`).

    clock: the time of arrival, which never goes back (the same inlet's).

    Call `arrived` whenever something came in. `run` ticks until it is cancelled.
    """

    def __init__(
        self,
        put: Callable[[Record], object],
        clock: Clock,
        *,
        busy_s: float = BUSY_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self._put = put
        self._clock = clock
        self._busy_s = busy_s
        self._idle_s = idle_s
        self._arrived = asyncio.Event()

    def arrived(self) -> None:
        """Something came in: a tick follows within `busy_s`."""
        self._arrived.set()

    def tick(self) -> None:
        """One tick, now."""
        self._arrived.clear()
        self._put(Tick(at_ms=self._clock.now_ms()))

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
