"""Protocols of what the core needs from outside: clock, registry, log, models, channels. Tests implement them by fakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from star.react import Reaction


class Clock(Protocol):
    """A clock. Only entry points of the service have one; everything else takes the time from records."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...


class MetricRegistry(Protocol):
    """The append-only registry of metrics, `device/name` <-> number. A number never changes its metric."""

    def number(self, name: str) -> int:
        """The number of `name`. A new name gets the next number, which is on disk on return."""
        ...

    def name(self, number: int) -> str:
        """The name of a number. Raises KeyError for an unknown one."""
        ...


class Log(Protocol):
    """An append-only log of topics with numbered records, offsets from 0."""

    def append(self, topic: str, values: Sequence[bytes]) -> int:
        """Appends `values` atomically; on return they are on disk. Returns the first one's offset. Raises LogError."""
        ...

    def read(self, topic: str, start: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` records from offset `start` on, in order."""
        ...

    def end(self, topic: str) -> int:
        """The offset that the next record will get."""
        ...


class Scorer(Protocol):
    """A model that scores rows: features in, one row of outputs for each out."""

    @property
    def name(self) -> str:
        """`name@version:hash`, as in receipts."""
        ...

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """features: (n, k); result: (n, m). A row's result does not depend on the other rows or on n."""
        ...


class Channel(Protocol):
    """Delivers reactions to addresses of one or more schemes. One `send` is one attempt; the caller retries."""

    async def send(self, reaction: Reaction, address: str) -> None:
        """Returns when the receiver has the reaction. A retry has the same id and content.

        address: a supplier's endpoint or one of a customer's channels, as the fleet has it now. Raises Unavailable where a
        retry may succeed, InputError where it can't.
        """
        ...

    async def close(self) -> None:
        """Releases connections. Nothing is sent after it."""
        ...
