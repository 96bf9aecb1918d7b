"""The inlet: the one way by which anything becomes a record of the input log. Messages and records in, acknowledgements out.

What comes from all connections is gathered for a few milliseconds, decoded, appended, flushed, and only then acknowledged,
by one task and in one order. When the log can't take it, nothing is acknowledged, nothing is lost, and reading stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from edge.gate.hub import Arrival
from edge.intake import Intake
from star.errors import LogDamaged, LogError
from star.records import Quarantined, Record, encode

GATHER_S = 0.003
"""How long messages wait for others before they are written."""
BATCH_MESSAGES = 4_000
"""Messages that are decoded in one go; so many do not wait for others."""
WAITING_MESSAGES_MAX = 40_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
"""What may wait to be written before reading stops. It starts again at half of it."""
RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0
"""Between tries to append while the log can't take records."""

Append = Callable[[list[bytes], list[Quarantined]], Awaitable[None]]
"""Appends encoded records to topic `input` and payloads to topic `quarantine`; done when both are on disk. Raises LogError."""


class Inlet:
    """An Ingest (edge.gate.hub) in front of the log.

    clock_ms: milliseconds since the epoch. start_ms: the latest time of arrival in the log; times never go back behind it.
    say: logs an event.
    """

    def __init__(
        self, intake: Intake, append: Append, clock_ms: Callable[[], int], say: Callable[..., None], start_ms: int = 0
    ) -> None:
        self.intake = intake
        self._append = append
        self._clock_ms = clock_ms
        self._say = say
        self._last_ms = start_ms
        self._waiting: list[Arrival | Record] = []
        self._waiting_bytes = 0
        self._dones: list[tuple[int, Callable[[], None]]] = []  # (messages taken when it is due, what to call)
        self._resumes: list[Callable[[], None]] = []
        self._offered = 0
        self._written = 0
        self._woken = asyncio.Event()
        self._stopping = False

    def now_ms(self) -> int:
        """The time of arrival of what comes in now; it never goes back."""
        self._last_ms = max(self._last_ms, self._clock_ms())
        return self._last_ms

    def offer(self, arrivals: Sequence[Arrival], done: Callable[[], None] | None) -> bool:
        """See edge.gate.hub.Ingest."""
        self._waiting.extend(arrivals)
        self._offered += len(arrivals)
        self._waiting_bytes += sum(len(one.payload) for one in arrivals)
        if done is not None:
            self._dones.append((self._offered, done))
        self._woken.set()
        return len(self._waiting) < WAITING_MESSAGES_MAX and self._waiting_bytes < WAITING_BYTES_MAX

    def when_room(self, resume: Callable[[], None]) -> None:
        """See edge.gate.hub.Ingest."""
        self._resumes.append(resume)

    def put(self, record: Record) -> asyncio.Future[None]:
        """Puts a record (a tick, an outcome over HTTP) in its place in the order; the future is done when it is on disk.

        Its time must be one that `now_ms` gave, asked for in the same turn of the event loop.
        """
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(record)
        self._offered += 1
        self._dones.append((self._offered, lambda: None if kept.done() else kept.set_result(None)))
        self._woken.set()
        return kept

    def waiting(self) -> int:
        """How many messages and records wait to be written."""
        return self._offered - self._written

    async def run(self) -> None:
        """Writes until `stop`. Raises LogDamaged, which no retry can mend."""
        while self._waiting or self._dones or not self._stopping:
            await self._woken.wait()
            if len(self._waiting) < BATCH_MESSAGES and not self._stopping:
                await asyncio.sleep(GATHER_S)
            self._woken.clear()
            while self._waiting or self._dones:
                await self._write(self._taken())

    def stop(self) -> None:
        """Makes `run` return when all that was offered is written."""
        self._stopping = True
        self._woken.set()

    def _taken(self) -> list[Arrival | Record]:
        batch = self._waiting[:BATCH_MESSAGES]
        del self._waiting[:BATCH_MESSAGES]
        self._waiting_bytes -= sum(len(one.payload) for one in batch if isinstance(one, Arrival))
        return batch

    async def _write(self, batch: list[Arrival | Record]) -> None:
        intake = self.intake
        for one in batch:
            if type(one) is Arrival:
                intake.take(one.topic, one.payload, one.arrived_ms, may_accept=one.may_accept)
            elif not isinstance(one, Arrival):
                intake.put(one)
        records: list[bytes] = []
        quarantined: list[Quarantined] = []
        for record in intake.drain():
            if isinstance(record, Quarantined):
                quarantined.append(record)
            else:
                records.append(encode(record))
        if records or quarantined:
            await self._until_appended(records, quarantined)
        self._written += len(batch)
        self._acknowledge()

    async def _until_appended(self, records: list[bytes], quarantined: list[Quarantined]) -> None:
        retry_s = RETRY_MIN_S
        while True:
            try:
                await self._append(records, quarantined)
                return
            except LogDamaged:
                raise
            except LogError as error:
                self._say("log_not_written", error=str(error), records=len(records), retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)

    def _acknowledge(self) -> None:
        due = 0
        while due < len(self._dones) and self._dones[due][0] <= self._written:
            due += 1
        dones = self._dones[:due]
        del self._dones[:due]
        for _, done in dones:
            done()
        if (
            self._resumes
            and len(self._waiting) * 2 < WAITING_MESSAGES_MAX
            and self._waiting_bytes * 2 < WAITING_BYTES_MAX
        ):
            resumes, self._resumes = self._resumes, []
            for resume in resumes:
                resume()
