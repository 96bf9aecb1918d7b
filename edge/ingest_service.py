"""Ingest in front of the log: messages and records are batched, decoded, appended, flushed and only then acknowledged.

It is the only writer of the input log. Batching is edge/ingest_batcher.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from edge.decoder import Decoder
from edge.ingest_batcher import RETRY_MAX_S, RETRY_MIN_S, IngestBatcher
from edge.mqtt_broker.broker import Arrival
from star.errors import StoreDamaged, StoreError
from star.records import Quarantined, Record

Append = Callable[[list[Record], list[Quarantined]], Awaitable[None]]
"""Appends records to topic `input` and payloads to topic `quarantine`; returns when both are on disk. Raises LogError."""


class IngestService(IngestBatcher[Record]):
    """An Ingest (edge.mqtt_broker.broker) in front of the log. The other arguments are IngestBatcher's."""

    def __init__(
        self,
        decoder: Decoder,
        append: Append,
        clock_ms: Callable[[], int],
        log_event: Callable[..., None],
        start_ms: int = 0,
    ) -> None:
        super().__init__(clock_ms, log_event, start_ms)
        self.decoder = decoder
        self._append = append

    async def store_batch(self, batch: Sequence[Arrival | Record]) -> None:
        """Decodes the batch once and appends its records, repeatedly while the log fails. Raises LogDamaged."""
        decoder = self.decoder
        for one in batch:
            if isinstance(one, Arrival):
                await self._decode(one)
            else:
                decoder.append(one)
        records: list[Record] = []
        quarantined: list[Quarantined] = []
        for record in decoder.drain():
            if isinstance(record, Quarantined):
                quarantined.append(record)
            else:
                records.append(record)
        if records or quarantined:
            await self.retry_until_stored(lambda: self._append(records, quarantined), "log_not_written")

    async def _decode(self, arrival: Arrival) -> None:
        """Decodes a message. A new metric needs a number from the store: while that is unavailable, everything waits."""
        retry_s = RETRY_MIN_S
        while True:
            try:
                self.decoder.ingest(arrival.topic, arrival.payload, arrival.arrived_ms, may_accept=arrival.may_accept)
                return
            except StoreDamaged:
                raise
            except StoreError as error:
                self._log_event("name_not_numbered", topic=arrival.topic, error=str(error), retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
