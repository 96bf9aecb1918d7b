"""The InfluxDB sink: a consumer group that writes the log's records as points, and commits only what InfluxDB has stored.

The log is the buffer: while the server is away, at most two batches are in memory, the group's offsets stay where they are,
and the records behind them wait on the log's disk. A second buffer would hold the same records again and would need crash
safety of its own. A crash between write and commit writes the same points again, with the same tags and times, which changes
nothing in InfluxDB.

Nothing depends on this sink, and it never delays the service.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import structlog

from config.catalogue import Catalogue
from star.errors import BadPayload, LogDamaged, LogError, StarloopError, UsageError
from star.ports import MetricRegistry
from star.records import Quarantined, decode, encode
from star.sense import Readings
from stream.partition.partitioner import encode_quarantined
from stream.sinks.influx_writer import InfluxWriter, WriteResponse, WriteStatus
from stream.sinks.measurement_lines import MeasurementLines
from stream.sinks.options import InfluxOptions, InfluxStatus
from stream.sinks.reading_lines import ReadingLines
from stream.sinks.retrying_writer import BatchResult, RetryingWriter
from stream.topics import CALIBRATION, DECISIONS, FORECASTS, INPUT, QUARANTINE, REACTIONS, SCORES, SERVICE
from stream.transports.embedded_log.sqlite_log import wall_clock_ms
from stream.transports.log_client import Entry, FetchedRecord, LogClient, LogConsumer, PartitionRef
from stream.transports.retries import retry_every

TOPICS = (INPUT, FORECASTS, SCORES, CALIBRATION, DECISIONS, REACTIONS, SERVICE)
"""The topics that the sink consumes."""
FETCH_RECORDS = 500
"""Records of one fetch; they become lines one by one, as long as the batch has room."""
FETCH_PAUSE_S = 0.2
"""Pause after a fetch of few records, so that a slow stream is not fetched record by record."""
YIELD_EVERY_S = 0.005
"""Longest time that conversion holds the event loop while the sink catches up."""
LOG_RETRY_S = 1.0
"""Pause before the next try while the log is away."""
LAG_EVERY_S = 10.0
"""Time between queries of the group's lag."""
LOG_POLL_S = 30.0
"""While a batch waits for the server, time between fetches: Kafka removes a member that stays silent."""
NAME_TRIES_MAX = 30
"""Reads of the registry for a metric without a name before its readings are quarantined. A name is durable before the metric's
first reading, so a missing one means that the registry is late."""
NAME_RETRY_S = 1.0
"""Pause between reads of the registry."""
REWIND_S = 60.0
"""How long `rewind` waits to become the group's only member."""

_log = structlog.get_logger("influx")


def _is_log_away(error: Exception) -> bool:
    """Whether the call should be tried again, which is logged."""
    if isinstance(error, LogDamaged) or not isinstance(error, LogError):
        return False
    _log.warning("influx_log_away", reason=str(error))
    return True


_retry_while_log_away = retry_every(LOG_RETRY_S, _is_log_away)


@dataclass(slots=True)
class _Batch:
    """Records to write: their lines, what of them cannot be written with the reason, and the offsets after them."""

    lines: list[bytes] = field(default_factory=list)
    points: int = 0
    size_bytes: int = 0
    rejected: list[tuple[bytes, str]] = field(default_factory=list)
    positions: dict[PartitionRef, int] = field(default_factory=dict)


class InfluxSink:
    """Writes to one bucket as a member of the group: one per process, and at most as many processes as there are partitions.

    names: its method `refresh`, where it has one, is called for unknown metrics. catalogue: gives the fleet in force.
    jitter: gives 0 to 1, for the pauses between tries.
    """

    def __init__(
        self,
        client: LogClient,
        options: InfluxOptions,
        *,
        names: MetricRegistry,
        catalogue: Callable[[], Catalogue],
        now_ms: Callable[[], int] = wall_clock_ms,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._options = options
        self._refresh_registry: Callable[[], object] | None = getattr(names, "refresh", None)
        self._catalogue = catalogue
        self._now_ms = now_ms
        self._writer = InfluxWriter(options)
        self._retrying_writer = RetryingWriter(options, self._writer, on_response=self._on_response, jitter=jitter)
        self._readings = ReadingLines(names, options.readings)
        self._measurements = MeasurementLines()
        self._fetched: deque[FetchedRecord] = deque()
        self._unnamed_metrics: set[int] = set()
        self._status = InfluxStatus()
        self._lag_read_at_s = -LAG_EVERY_S
        self._probed_at_s = 0.0

    def status(self) -> InfluxStatus:
        """The state as of the last request and the last query of the log."""
        return self._status

    async def run(self) -> None:
        """Consumes and writes until cancelled. Raises LogDamaged; waits while the log or InfluxDB is away."""
        consumer = self._client.subscribe(TOPICS, group=self._options.group)
        consumer.on_revoked(self._on_revoked)
        writing: asyncio.Task[None] | None = None
        try:
            await _retry_while_log_away(consumer.start)
            await self._probe()
            while True:
                batch = await self._collect_batch(consumer)
                if writing is not None:
                    await self._wait_for_write(consumer, writing)
                    writing = None
                if batch.positions:
                    writing = asyncio.create_task(self._write_and_commit(consumer, batch))
                if not batch.points and self._now_s() - self._probed_at_s >= self._options.probe_s:
                    await self._probe()
        finally:
            if writing is not None:
                writing.cancel()
                await asyncio.wait({writing})
            self._fetched.clear()
            self._writer.close()
            await consumer.close()

    async def rewind(self) -> None:
        """Commits the oldest offsets for the group, so that the next `run` writes every kept record again, over what is stored.

        Raises UsageError where another member of the group runs, LogError while the log is away.
        """
        begins = {
            (topic, n): begin for topic in TOPICS for n, begin in (await self._client.beginning_offsets(topic)).items()
        }
        consumer = self._client.subscribe(TOPICS, group=self._options.group)
        try:
            await consumer.start()
            until_s = self._now_s() + REWIND_S
            while consumer.assignment() != begins.keys():
                if self._now_s() > until_s:
                    raise UsageError(
                        f"{len(begins.keys() - consumer.assignment())} of {len(begins)} partitions belong to another process: "
                        "stop every other one that writes to InfluxDB, then rewind"
                    )
                await consumer.fetch(1, 0.2)
            await consumer.commit(begins)
        finally:
            await consumer.close()
        _log.info("influx_rewound", partitions=len(begins))

    # From the log to lines

    def _on_revoked(self, revoked: frozenset[PartitionRef]) -> None:
        """Drops the partitions' fetched records that are in no batch yet: another member has them now."""
        self._fetched = deque(one for one in self._fetched if (one.topic, one.partition) not in revoked)

    async def _collect_batch(self, consumer: LogConsumer) -> _Batch:
        """The records that arrive within `flush_interval_s`, as many as a batch holds."""
        batch = _Batch()
        until_s = self._now_s() + self._options.flush_interval_s
        await self._update_lag()
        held_s = self._now_s()
        while batch.points < self._options.batch_points and batch.size_bytes < self._options.batch_bytes_max:
            if self._now_s() - held_s > YIELD_EVERY_S:
                await asyncio.sleep(0)
                held_s = self._now_s()
            if self._fetched:
                await self._add_record(batch, self._fetched.popleft())
                continue
            left_s = until_s - self._now_s()
            if left_s <= 0:
                break
            fetched = await self._fetch(consumer, FETCH_RECORDS, left_s)
            self._fetched += fetched
            if 0 < len(fetched) < FETCH_RECORDS // 10:
                await asyncio.sleep(min(left_s, FETCH_PAUSE_S))
        return batch

    async def _fetch(self, consumer: LogConsumer, records_max: int, wait_s: float) -> list[FetchedRecord]:
        try:
            return await consumer.fetch(records_max, wait_s)
        except LogDamaged:
            raise
        except LogError as error:
            _log.warning("influx_log_away", reason=str(error))
            await asyncio.sleep(LOG_RETRY_S)
            return []

    async def _add_record(self, batch: _Batch, record: FetchedRecord) -> None:
        batch.positions[record.topic, record.partition] = record.offset + 1
        catalogue = self._catalogue()
        try:
            if record.topic != INPUT:
                lines = self._measurements.lines(record.topic, record.value, catalogue)
                _add(batch, b"\n".join(lines), len(lines))
            elif record.value[:1] == b"R":
                readings = decode(record.value)
                if isinstance(readings, Readings):
                    readings = await self._resolve_names(batch, readings, catalogue)
                    _add(batch, *self._readings.lines(readings))
        except (BadPayload, LogDamaged) as error:
            batch.rejected.append((record.value, f"not written to InfluxDB: {error}"))

    async def _resolve_names(self, batch: _Batch, readings: Readings, catalogue: Catalogue) -> Readings:
        """The readings whose metrics have names; after a while the others are quarantined."""
        tries = 0
        while missing := self._readings.learn_metrics(readings, catalogue):
            if tries == NAME_TRIES_MAX or self._unnamed_metrics.issuperset(missing):
                break
            if tries:
                await asyncio.sleep(NAME_RETRY_S)
            tries += await self._refresh_names()
        if not missing:
            return readings
        self._unnamed_metrics.update(missing)
        lost = np.isin(readings.metric, list(self._unnamed_metrics))
        left_out = readings.select(lost)
        reason = f"not written to InfluxDB: the registry has no name for the metrics {missing[:10]}"
        batch.rejected.append((encode(left_out), reason))
        return readings.select(~lost)

    async def _refresh_names(self) -> bool:
        """Reads the registry again; False where it is away."""
        try:
            if self._refresh_registry is not None:
                await asyncio.to_thread(self._refresh_registry)
        except StarloopError as error:
            _log.warning("influx_names_away", reason=str(error))
            await asyncio.sleep(NAME_RETRY_S)
            return False
        return True

    # From lines to InfluxDB

    async def _write_and_commit(self, consumer: LogConsumer, batch: _Batch) -> None:
        """Writes the batch, quarantines what was rejected, and only then commits."""
        result = await self._retrying_writer.write(b"\n".join(batch.lines))
        await self._quarantine_rejected(batch, result)
        self._status = replace(
            self._status,
            written_points=self._status.written_points + result.written,
            too_old_points=self._status.too_old_points + result.too_old,
            last_written_ms=self._now_ms() if result.written else self._status.last_written_ms,
        )
        try:
            await consumer.commit(batch.positions)
        except LogDamaged:
            raise
        except LogError as error:
            # The next commit covers these records, or they are delivered again: writing them twice changes nothing.
            _log.warning("influx_not_committed", reason=str(error))

    async def _quarantine_rejected(self, batch: _Batch, result: BatchResult) -> None:
        rejected = batch.rejected + [(one.lines, f"InfluxDB rejected it: {one.reason}") for one in result.rejected]
        if not rejected:
            return
        now_ms = self._now_ms()
        entries = [
            Entry(
                QUARANTINE, 0, None, encode_quarantined(Quarantined(at_ms=now_ms, topic=None, payload=what, reason=why))
            )
            for what, why in rejected
        ]
        await _retry_while_log_away(self._client.append, entries)
        points = len(batch.rejected) + sum(one.lines.count(b"\n") + 1 for one in result.rejected)
        self._status = replace(self._status, rejected_points=self._status.rejected_points + points)
        _log.warning("influx_set_aside", points=points, reason=rejected[0][1], where=QUARANTINE)

    async def _wait_for_write(self, consumer: LogConsumer, writing: asyncio.Task[None]) -> None:
        """Waits until the batch is written. Meanwhile the partitions are paused, and fetches only keep the membership alive."""
        while True:
            await asyncio.wait({writing}, timeout=LOG_POLL_S)
            if writing.done():
                return writing.result()
            await self._update_lag()
            held = consumer.assignment()
            consumer.pause(held)
            try:
                # Partitions assigned just now are not paused yet and may return records.
                self._fetched += await self._fetch(consumer, 1, 0.0)
            finally:
                consumer.resume(held & consumer.assignment())

    # Status

    def _on_response(self, response: WriteResponse) -> None:
        reachable = response.status not in (WriteStatus.UNAVAILABLE, WriteStatus.MISCONFIGURED)
        if reachable and self._status.reachable is False:
            _log.info("influx_back", url=self._options.url)
        elif not reachable and response.message != self._status.last_error:
            _log.warning("influx_not_written", reason=response.message, lost="nothing: it waits in the log")
        self._probed_at_s = self._now_s()
        message = response.message or self._status.last_error
        self._status = replace(self._status, reachable=reachable, last_error=message)

    async def _probe(self) -> None:
        await self._retrying_writer.probe()

    async def _update_lag(self) -> None:
        if self._now_s() - self._lag_read_at_s < LAG_EVERY_S:
            return
        self._lag_read_at_s = self._now_s()
        with suppress(LogError):
            behind = await self._client.lag(self._options.group, TOPICS)
            self._status = replace(self._status, behind_records=sum(behind.values()))

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


def _add(batch: _Batch, lines: bytes, points: int) -> None:
    if points:
        batch.lines.append(lines)
        batch.points += points
        batch.size_bytes += len(lines)
