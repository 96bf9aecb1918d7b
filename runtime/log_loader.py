"""A history into a log: the lines of a readings file become records with the times they tell."""

from __future__ import annotations

from collections.abc import Iterable

from config.catalogue import Catalogue
from edge.adapters import installed_adapters
from edge.decoder import Decoder
from runtime.replay_protocol import LINE_BYTES_MIN, LineDecoder
from star.errors import BadPayload
from star.ports import MetricRegistry
from star.records import Quarantined, Record
from stream.partition.partitioner import Partitioner
from stream.transports.log_client import LogClient

BATCH_LINES = 2_000
"""Lines that are written together."""


class LogLoader:
    """Lines into the log. metrics: the store's registry; catalogue: the fleet in force at the first line."""

    def __init__(
        self, log: LogClient, metrics: MetricRegistry, known_metrics: Iterable[str], catalogue: Catalogue
    ) -> None:
        decoder = Decoder(catalogue, metrics, adapters=installed_adapters(), known_names=known_metrics)
        self._line_decoder = LineDecoder(decoder)
        self._partitioner = Partitioner(log.partitions, metrics, lambda: decoder.catalogue)
        self._log = log
        self._lines_pending = 0
        self.count = 0

    async def ingest(self, line: bytes) -> None:
        """Takes one line."""
        if len(line) < LINE_BYTES_MIN and not line.strip():
            return
        try:
            self._line_decoder.ingest(line)
        except BadPayload as error:
            self._line_decoder.quarantine(line, str(error))
        self.count += 1
        self._lines_pending += 1
        if self._lines_pending >= BATCH_LINES:
            await self.flush()

    async def flush(self) -> None:
        """Appends what was taken."""
        self._lines_pending = 0
        records: list[Record] = []
        quarantined: list[Quarantined] = []
        for record in self._line_decoder.drain():
            if isinstance(record, Quarantined):
                quarantined.append(record)
            else:
                records.append(record)
        await self._log.append(self._partitioner.entries(records, quarantined))
