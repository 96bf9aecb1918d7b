"""Stream role: the analysis of the partitions of this process, and the ticks that trigger its evaluations."""

from __future__ import annotations

import asyncio
import struct
import time

import numpy as np
import orjson
import structlog

from models.champion import champion_dir
from models.onnx_scorer import load_run_out
from operations.observability.probes import watch_stream
from star.errors import StoreDamaged, StoreError
from starloop.roles.context import RoleContext
from stream.analysis import Analysis
from stream.app import StreamHooks, StreamOptions, build_app
from stream.log_backend import EmbeddedLogBackend, KafkaLogBackend, LogBackend
from stream.partition.partition_hash import partition_of
from stream.partition.ticker import PartitionTickSchedule
from stream.state.checkpoint import CheckpointPolicy
from stream.topics import CALIBRATION, INPUT
from stream.transports.faust_overrides.stream_app import StreamApp
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.log_client import LogClient

NAMES_RETRY_S = 0.5
"""Interval between reads of the metric registry while a metric is unknown, in seconds."""
_HEAD = struct.Struct("<BI")
_log = structlog.get_logger("stream")


class StreamRole:
    """The Faust application over the log, with its metrics."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._scorer = load_run_out(champion_dir("run-out", context.settings.models_dir))
        self._oldest_ms: dict[int, int] = {}
        self._checkpoint_s: dict[int, float] = {}
        settings = context.settings
        tick_schedule = None
        if context.embedded is None and settings.ticks == "service":
            tick_schedule = PartitionTickSchedule(settings.tick_busy_ms / 1000, settings.tick_idle_ms / 1000)
        self.app: StreamApp = build_app(
            log_backend_of(context),
            context.log,
            self._analysis,
            StreamOptions(
                checkpoint=CheckpointPolicy(every_s=settings.checkpoint_s),
                tick_schedule=tick_schedule,
                clock=context.clock,
            ),
            StreamHooks(
                ready=self._names_known,
                wait=self._refresh_names,
                record_taken=self._record_arrived,
                facts_written=self._facts_written,
                checkpointed=self._checkpointed,
            ),
        )
        watch_stream(
            context.meters,
            lag=lambda: context.log.lag(self.app.backend.app_id, [INPUT]),
            checkpoint_age_s=self._checkpoint_ages,
        )

    def _analysis(self, partition: int) -> Analysis:
        context = self._context
        partitions = context.log.partitions
        self._checkpoint_s[partition] = time.monotonic()
        owns_customer = None if partitions == 1 else lambda customer: partition_of(customer, partitions) == partition
        return Analysis(
            context.fleet.initial,
            context.store.names,
            self._scorer,
            owns_customer=owns_customer,
            forget_detectors=frozenset(context.settings.forget_detectors),
        )

    def _names_known(self, wire: bytes) -> bool:
        """Whether all metrics of a record are known; another process may have registered one just now."""
        if wire[:1] != b"R":
            return True
        return _metrics_end(wire) <= len(self._context.store.names)

    async def _refresh_names(self, wire: bytes) -> None:
        while not self._names_known(wire):
            try:
                await asyncio.to_thread(self._context.store.names.refresh)
            except StoreDamaged:
                raise
            except StoreError as error:
                _log.warning("put_off_readings", error=str(error))
                await asyncio.sleep(NAMES_RETRY_S)
            else:
                if not self._names_known(wire):
                    await asyncio.sleep(NAMES_RETRY_S)

    def _record_arrived(self, partition: int, wire: bytes) -> None:
        if wire[:1] == b"R" and len(wire) > 1 + _HEAD.size and partition not in self._oldest_ms:
            self._oldest_ms[partition] = _first_arrival_ms(wire)

    def _facts_written(self, partition: int, wire: bytes) -> None:
        """Observes the decision latency when the facts of a tick are in the log."""
        oldest_ms = self._oldest_ms.pop(partition, None)
        if oldest_ms is not None:
            self._context.meters.decision_seconds.observe(max(0, self._context.clock.now_ms() - oldest_ms) / 1000)

    def _checkpointed(self, partition: int) -> None:
        self._checkpoint_s[partition] = time.monotonic()

    def _checkpoint_ages(self) -> dict[int, float]:
        now_s = time.monotonic()
        return {partition: now_s - at_s for partition, at_s in self._checkpoint_s.items()}


def log_backend_of(context: RoleContext) -> LogBackend:
    """The Faust backend for the log. Raises TypeError for an unknown log."""
    if context.embedded is not None:
        return EmbeddedLogBackend(context.embedded)
    if not isinstance(context.log, KafkaClient):
        raise TypeError(f"{type(context.log).__name__}: expected the embedded log or Kafka's client")
    return KafkaLogBackend(context.log.options, context.log.partitions, context.settings.standbys)


async def follow_calibration(log: LogClient, context: RoleContext) -> None:
    """Follows forecast calibration records for the metrics, until cancelled."""
    follower = log.subscribe(
        [CALIBRATION], start_offsets={(CALIBRATION, p): end for p, end in (await log.end_offsets(CALIBRATION)).items()}
    )
    await follower.start()
    try:
        while True:
            for row in await follower.fetch():
                context.meters.calibration.add(one["level"] for one in orjson.loads(row.value))
    finally:
        await follower.close()


def _metrics_end(wire: bytes) -> int:
    _, rows = _HEAD.unpack_from(wire, 1)
    return int(np.frombuffer(wire, "<i4", rows, 1 + _HEAD.size).max(initial=-1)) + 1


def _first_arrival_ms(wire: bytes) -> int:
    _, rows = _HEAD.unpack_from(wire, 1)
    (at_ms,) = struct.unpack_from("<q", wire, 1 + _HEAD.size + 12 * rows)
    return int(at_ms)
