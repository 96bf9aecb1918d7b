"""Clocks of the rims: the wall's, and one that runs faster, for the demo. Arrival is stream.partition.partitioner.ArrivalClock's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class WallClock:
    """The machine's clock. Implements star.ports.Clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class AcceleratedClock:
    """Starts at `start_ms` and runs at one speed after the other. Implements star.ports.Clock.

    phases: (real seconds, speed) in order; the last one's speed lasts for ever. Times never go back.
    """

    def __init__(
        self, start_ms: int, phases: Sequence[tuple[float, float]], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._start_ms = start_ms
        self._phases = tuple(phases)
        self._monotonic_s = monotonic_s
        self._from_s = monotonic_s()

    def now_ms(self) -> int:
        left_s = self._monotonic_s() - self._from_s
        passed_s = 0.0
        for length_s, speed in self._phases[:-1]:
            passed_s += min(left_s, length_s) * speed
            left_s = max(0.0, left_s - length_s)
        return self._start_ms + round((passed_s + left_s * self._phases[-1][1]) * 1000)
