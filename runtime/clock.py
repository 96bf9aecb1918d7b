"""Clocks of running services: the machine's, and an accelerated one for the demo.

The order of arrival is not kept here: stream.partition.partitioner.ArrivalClock makes arrival times monotonic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class WallClock:
    """The machine's clock. Implements star.ports.Clock."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


class AcceleratedClock:
    """A clock that starts at `start_ms` and runs at a sequence of speeds. Implements star.ports.Clock.

    phases: (real seconds, speed) in order; the last phase never ends. monotonic_s: the real clock, so times never go back.
    """

    def __init__(
        self, start_ms: int, phases: Sequence[tuple[float, float]], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._start_ms = start_ms
        self._phases = tuple(phases)
        self._monotonic_s = monotonic_s
        self._from_s = monotonic_s()

    def now_ms(self) -> int:
        """Simulated milliseconds since the epoch."""
        remaining_s = self._monotonic_s() - self._from_s
        passed_s = 0.0
        for length_s, speed in self._phases[:-1]:
            passed_s += min(remaining_s, length_s) * speed
            remaining_s = max(0.0, remaining_s - length_s)
        return self._start_ms + round((passed_s + remaining_s * self._phases[-1][1]) * 1000)
