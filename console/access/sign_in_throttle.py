"""Rate limit of sign-in attempts by address: ATTEMPTS_MAX in any WINDOW_S."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

ATTEMPTS_MAX = 10
WINDOW_S = 300.0
ADDRESSES_MAX = 10_000
"""Most addresses in memory; beyond it the one with the oldest attempt is dropped."""


class SignInThrottle:
    """Attempts by address. Used on the event loop only."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Registers an attempt from `address`: 0 where it is allowed, else the seconds until the next one is."""
        now_s = self._now_s()
        made = self._by_address.setdefault(address, deque())
        self._by_address.move_to_end(address)
        if len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)
        while made and made[0] <= now_s - WINDOW_S:
            made.popleft()
        if len(made) >= ATTEMPTS_MAX:
            return made[0] + WINDOW_S - now_s
        made.append(now_s)
        return 0.0

    def reset(self, address: str) -> None:
        """Drops the attempts of an address, after a success."""
        self._by_address.pop(address, None)
