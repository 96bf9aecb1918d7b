"""Clocks of the rims: the wall's, and one that runs faster, for the demo. Time given out never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_ms() -> int:
    """Milliseconds since the epoch, by the machine's clock."""
    return time.time_ns() // 1_000_000


class SpedUpClock:
    """Starts at `start_ms` and runs `speed` times as fast as the machine's monotonic clock. Implements star.ports.Clock."""

    def __init__(self, start_ms: int, speed: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._start_ms = start_ms
        self._speed = speed
        self._monotonic_s = monotonic_s
        self._from_s = monotonic_s()

    def now_ms(self) -> int:
        return self._start_ms + round((self._monotonic_s() - self._from_s) * self._speed * 1000)


class SteadyClock:
    """The machine's clock, held where it would go back (it is set, or a log holds later times). Implements star.ports.Clock."""

    def __init__(self, not_before_ms: int = 0, source_ms: Callable[[], int] = wall_ms) -> None:
        self._last_ms = not_before_ms
        self._source_ms = source_ms

    def now_ms(self) -> int:
        self._last_ms = max(self._last_ms, self._source_ms())
        return self._last_ms
