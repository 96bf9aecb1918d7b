"""Batching of ingest: messages of all connections in one order, stored by one task a few milliseconds later, then acknowledged.

How a batch is stored is the subclass's: ingest_service.py decodes it and appends to the log, site_agent.py writes to the
outbox. While storing fails, nothing is acknowledged and, beyond a limit, connections are no longer read (back-pressure).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from edge.mqtt_broker.broker import Arrival
from star.errors import LogDamaged, LogError

LINGER_S = 0.003
"""How long a message waits for others, so that one flush to disk serves many: the delay that it adds to an
acknowledgement, against flushes a second."""
BATCH_MESSAGES = 4_000
"""Most messages of a batch. A full batch does not wait."""
WAITING_MESSAGES_MAX = 40_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Most bytes of payload, and messages, in memory before connections are no longer read. Reading resumes at half of both."""
RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0
"""Shortest and longest pause between attempts to store, doubled after each failure."""

_Record = TypeVar("_Record")


class IngestBatcher(ABC, Generic[_Record]):
    """An Ingest (edge.mqtt_broker.broker) that also takes records of type _Record, in the same order.

    clock_ms: milliseconds since the epoch. start_ms: the latest time of arrival that is stored already; later times are
    never before it. linger_s, batch_messages, waiting_bytes_max: may be set before `run`.
    """

    linger_s = LINGER_S
    batch_messages = BATCH_MESSAGES
    waiting_bytes_max = WAITING_BYTES_MAX

    def __init__(self, clock_ms: Callable[[], int], log_event: Callable[..., None], start_ms: int = 0) -> None:
        self._clock_ms = clock_ms
        self._log_event = log_event
        self._last_ms = start_ms
        self._waiting: list[Arrival | _Record] = []
        self._waiting_bytes = 0
        self._callbacks: list[
            tuple[int, Callable[[], None]]
        ] = []  # (number of stored messages at which it is due, what to call)
        self._ready_callbacks: list[Callable[[], None]] = []
        self._offered = 0
        self._stored = 0
        self._wakeup = asyncio.Event()
        self._stopping = False

    @abstractmethod
    async def store_batch(self, batch: Sequence[Arrival | _Record]) -> None:
        """Stores a batch; it is on disk on return. `retry_until_stored` repeats what may succeed later."""

    def now_ms(self) -> int:
        """Time of arrival for what arrives now, in milliseconds since the epoch; monotonic."""
        self._last_ms = max(self._last_ms, self._clock_ms())
        return self._last_ms

    def offer(self, arrivals: Sequence[Arrival], done: Callable[[], None] | None) -> bool:
        """See edge.mqtt_broker.broker.Ingest."""
        self._waiting.extend(arrivals)
        self._offered += len(arrivals)
        self._waiting_bytes += sum(len(one.payload) for one in arrivals)
        if done is not None:
            self._callbacks.append((self._offered, done))
        self._wakeup.set()
        return len(self._waiting) < WAITING_MESSAGES_MAX and self._waiting_bytes < self.waiting_bytes_max

    def when_ready(self, resume: Callable[[], None]) -> None:
        """See edge.mqtt_broker.broker.Ingest."""
        self._ready_callbacks.append(resume)
        self._wakeup.set()

    def enqueue(self, record: _Record) -> asyncio.Future[None]:
        """Appends a record (a tick, an outcome over HTTP); the future is done when it is on disk.

        Its time must be from a call of `now_ms` in the same iteration of the event loop.
        """
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(record)
        self._offered += 1
        self._callbacks.append((self._offered, lambda: None if stored.done() else stored.set_result(None)))
        self._wakeup.set()
        return stored

    def waiting(self) -> int:
        """Number of messages and records that are not stored yet."""
        return self._offered - self._stored

    def waiting_bytes(self) -> int:
        """Bytes of payload in memory that are not stored yet."""
        return self._waiting_bytes

    async def run(self) -> None:
        """Stores what arrives until `stop`. Raises what `store_batch` raises: errors that no retry can mend."""
        while self._waiting or self._callbacks or not self._stopping:
            await self._wakeup.wait()
            if len(self._waiting) < self.batch_messages and not self._stopping:
                await asyncio.sleep(self.linger_s)
            self._wakeup.clear()
            while self._waiting or self._callbacks:
                batch = self._next_batch()
                if batch:
                    await self.store_batch(batch)
                self._stored += len(batch)
                self._acknowledge()
            self._resume_senders()

    def stop(self) -> None:
        """Makes `run` return once everything offered is stored."""
        self._stopping = True
        self._wakeup.set()

    async def retry_until_stored(self, store: Callable[[], Awaitable[None]], event: str) -> None:
        """Calls `store` until it succeeds, with pauses; logs `event` for each failure. Raises LogDamaged at once."""
        retry_s = RETRY_MIN_S
        while True:
            try:
                await store()
                return
            except LogDamaged:
                raise
            except LogError as error:
                self._log_event(event, error=str(error), retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)

    def _next_batch(self) -> list[Arrival | _Record]:
        batch = self._waiting[: self.batch_messages]
        del self._waiting[: self.batch_messages]
        self._waiting_bytes -= sum(len(one.payload) for one in batch if isinstance(one, Arrival))
        return batch

    def _acknowledge(self) -> None:
        due = 0
        while due < len(self._callbacks) and self._callbacks[due][0] <= self._stored:
            due += 1
        callbacks = self._callbacks[:due]
        del self._callbacks[:due]
        for _, done in callbacks:
            done()
        self._resume_senders()

    def _resume_senders(self) -> None:
        few = len(self._waiting) * 2 < WAITING_MESSAGES_MAX and self._waiting_bytes * 2 < self.waiting_bytes_max
        if self._ready_callbacks and few:
            resumes, self._ready_callbacks = self._ready_callbacks, []
            for resume in resumes:
                resume()
