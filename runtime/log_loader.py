"""Loading a readings file into a log: each line becomes a record with the arrival time that the line names."""

from __future__ import annotations

from collections.abc import Iterable

from config.catalogue import Catalogue
from edge.adapters import installed_adapters
from edge.decoder import Decoder
from runtime.replay_protocol import LineDecoder, is_blank
from star.errors import BadPayload
from star.ports import MetricRegistry
from star.records import Quarantined, Record
from stream.partition.partitioner import Partitioner
from stream.transports.log_client import LogClient

BATCH_LINES = 2_000
"""Lines appended in one batch: larger costs memory, smaller a flush to disk more often."""


class LogLoader:
    """Appends lines of the replay protocol to a log. metrics: the store's registry; catalogue: in force at the first line.

    count: the lines taken in, those that went to quarantine included.
    """

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
        """Takes in one line. A line that can't be decoded goes to quarantine."""
        if is_blank(line):
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
        """Appends the records of the lines since the last call. Raises LogError."""
        self._lines_pending = 0
        records: list[Record] = []
        quarantined: list[Quarantined] = []
        for record in self._line_decoder.drain():
            if isinstance(record, Quarantined):
                quarantined.append(record)
            else:
                records.append(record)
        await self._log.append(self._partitioner.entries(records, quarantined))
