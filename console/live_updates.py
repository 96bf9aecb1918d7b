"""Live updates: server-sent events with the keys of what changed. Browsers then fetch the pages again, with authorization.

Events carry no data, so none has to be delivered reliably: a page that is fetched later is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from console.access.accounts import Account

STREAMS_MAX = 200
"""Most open streams; a further browser gets 503 and retries later."""
KEYS_MAX = 500
"""Most keys collected for a slow browser; beyond, they are replaced by "all"."""
MESSAGE_INTERVAL_S = 1.0
"""Shortest time between two messages of a stream."""
HEARTBEAT_S = 15.0
"""Interval of comments, which keep proxies from closing the connection; the session is checked again at each."""


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
    """Distributes changes to the streams that may see them. Used on the event loop only."""

    def __init__(self) -> None:
        self._streams: set[_Stream] = set()
        self._closed = False

    def notify_items(self, items: Iterable[tuple[str, str]]) -> None:
        """Announces changed items, each as (customer, `device/name`)."""
        if not self._streams:
            return
        for customer, item in items:
            for stream in self._streams:
                if stream.account.can_see(customer):
                    stream.add(f"item:{item}")

    def notify_all(self) -> None:
        """Announces a change of the fleet, which makes every page stale."""
        for stream in self._streams:
            stream.add("all")

    def close(self) -> None:
        """Ends every stream and accepts no further one."""
        self._closed = True
        for stream in self._streams:
            stream.wake.set()

    @property
    def full(self) -> bool:
        """Whether further streams are refused."""
        return self._closed or len(self._streams) >= STREAMS_MAX

    async def stream(self, account: Account, still_valid: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The bytes of one stream, until the session ends, the browser disconnects or the service stops."""
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
