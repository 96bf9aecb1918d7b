"""Tells browsers which things changed, by server-sent events: keys only, so that what is shown is fetched with its
authorisation each time. It carries no data and loses nothing that matters: a page fetched anew is always whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from console.access.accounts import Account

STREAMS_MAX = 200
"""Open streams in all; another gets 503 and tries again later."""
KEYS_MAX = 500
"""Keys kept for a slow browser; beyond, it is told "all"."""
MESSAGE_INTERVAL_S = 1.0
"""At most one message a stream in so long."""
HEARTBEAT_S = 15.0
"""A comment after so much silence keeps proxies from closing; the session is looked at again then."""


@dataclass(eq=False)
class _Stream:
    account: Account
    keys: set[str] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: str) -> None:
        if len(self.keys) >= KEYS_MAX:
            self.keys = {"all"}
        elif "all" not in self.keys:
            self.keys.add(key)
        self.wake.set()


class ChangeNotifier:
    """Where changes are said, and streams hear of those they may see. Used on the event loop only."""

    def __init__(self) -> None:
        self._streams: set[_Stream] = set()
        self._closed = False

    def notify_items(self, items: Iterable[tuple[str, str]]) -> None:
        """Items changed, each as (customer, `device/name`)."""
        if not self._streams:
            return
        for customer, item in items:
            for stream in self._streams:
                if stream.account.can_see(customer):
                    stream.add(f"item:{item}")

    def notify_all(self) -> None:
        """The fleet changed: every page that shows it is stale."""
        for stream in self._streams:
            stream.add("all")

    def close(self) -> None:
        """Ends every stream, now and later: the service stops."""
        self._closed = True
        for stream in self._streams:
            stream.wake.set()

    @property
    def full(self) -> bool:
        """Whether no more streams are taken."""
        return self._closed or len(self._streams) >= STREAMS_MAX

    async def stream(self, account: Account, still_valid: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The bytes of one stream, until the session ends, the browser goes or the service stops."""
        stream = _Stream(account)
        self._streams.add(stream)
        try:
            yield b"retry: 3000\n\n"
            while not self._closed:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await stream.wake.wait()
                except TimeoutError:
                    yield b": quiet\n\n"
                if self._closed or not still_valid():
                    return
                if stream.keys:
                    keys, stream.keys = sorted(stream.keys), set()
                    yield b"".join((b"event: changed\n", *(f"data: {key}\n".encode() for key in keys), b"\n"))
                stream.wake.clear()
                await asyncio.sleep(MESSAGE_INTERVAL_S)
                if stream.keys:
                    stream.wake.set()
        finally:
            self._streams.discard(stream)
