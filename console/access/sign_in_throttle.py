"""Limits attempts to sign in, by address: so many in a while, then none until it has passed."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

ATTEMPTS_MAX = 10
WINDOW_S = 300.0
ADDRESSES_MAX = 10_000
"""The address that was longest quiet is forgotten beyond this many."""


class SignInThrottle:
    """Counts attempts; used on the event loop only."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Counts one attempt from `address`: 0 when it may be made, else the seconds until the next may."""
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
        """After a success: its attempts no longer count."""
        self._by_address.pop(address, None)
