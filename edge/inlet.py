"""The inlet: the one way by which anything becomes a record of the input log. Messages and records in, acknowledgements out.

What comes from all connections is gathered, decoded, appended, flushed, and only then acknowledged (edge/gather.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from edge.gate.hub import Arrival
from edge.gather import RETRY_MAX_S, RETRY_MIN_S, Gather
from edge.intake import Intake
from star.errors import StoreDamaged, StoreError
from star.records import Quarantined, Record

Append = Callable[[list[Record], list[Quarantined]], Awaitable[None]]
"""Appends records to topic `input` and payloads to topic `quarantine`; done when both are on disk. Raises LogError."""


class Inlet(Gather[Record]):
    """An Ingest (edge.gate.hub) in front of the log; arguments as Gather's."""

    def __init__(
        self, intake: Intake, append: Append, clock_ms: Callable[[], int], say: Callable[..., None], start_ms: int = 0
    ) -> None:
        super().__init__(clock_ms, say, start_ms)
        self.intake = intake
        self._append = append

    async def keep(self, batch: Sequence[Arrival | Record]) -> None:
        """Decodes the batch once, and appends what it gave until the log has it. Raises LogDamaged."""
        intake = self.intake
        for one in batch:
            if isinstance(one, Arrival):
                await self._take(one)
            else:
                intake.put(one)
        records: list[Record] = []
        quarantined: list[Quarantined] = []
        for record in intake.drain():
            if isinstance(record, Quarantined):
                quarantined.append(record)
            else:
                records.append(record)
        if records or quarantined:
            await self.until_kept(lambda: self._append(records, quarantined), "log_not_written")

    async def _take(self, one: Arrival) -> None:
        """Takes a message. One with a name never seen needs the store for its number: while that is away, all wait."""
        retry_s = RETRY_MIN_S
        while True:
            try:
                self.intake.take(one.topic, one.payload, one.arrived_ms, may_accept=one.may_accept)
                return
            except StoreDamaged:
                raise
            except StoreError as error:
                self._say("name_not_numbered", topic=one.topic, error=str(error), retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
