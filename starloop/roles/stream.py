"""The stream: the analysis of this process's partitions, and the ticks that make it look."""

from __future__ import annotations

import asyncio
import struct
import time

import numpy as np
import orjson
import structlog

from models.champion import in_force
from models.runtime import load_run_out
from star.errors import StoreDamaged, StoreError
from starloop.roles.base import Base
from starloop.watching.probes import watch_stream
from stream.analysis import Analysis
from stream.app import StreamApp, StreamHooks, StreamOptions, build_app
from stream.checkpoint import Policy
from stream.media import EmbeddedMedium, KafkaMedium, Medium
from stream.partitions import partition_of
from stream.ticker import Rhythm
from stream.topics import HONESTY, INPUT
from stream.transports.client import LogClient
from stream.transports.kafka_client import KafkaClient

NAMES_RETRY_S = 0.5
_HEAD = struct.Struct("<BI")
_log = structlog.get_logger("stream")


class Stream:
    """The Faust application over the base's log, and what is told of it."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._scorer = load_run_out(in_force("run-out", base.settings.models_dir))
        self._oldest_ms: dict[int, int] = {}
        self._checkpoint_s: dict[int, float] = {}
        settings = base.settings
        rhythm = None
        if base.embedded is None and settings.ticks == "service":
            rhythm = Rhythm(settings.tick_busy_ms / 1000, settings.tick_idle_ms / 1000)
        self.app: StreamApp = build_app(
            medium_of(base),
            base.log,
            self._analysis,
            StreamOptions(
                checkpoint=Policy(every_s=settings.checkpoint_s),
                rhythm=rhythm,
                clock=base.clock,
            ),
            StreamHooks(
                ready=self._names_known,
                wait=self._learn_names,
                took=self._took,
                facts_written=self._facts_written,
                checkpointed=self._checkpointed,
            ),
        )
        watch_stream(
            base.meters,
            lag=lambda: base.log.lag(self.app.medium.app_id, [INPUT]),
            checkpoint_age_s=self._checkpoint_ages,
        )

    def _analysis(self, partition: int) -> Analysis:
        base = self._base
        partitions = base.log.partitions
        self._checkpoint_s[partition] = time.monotonic()
        mine = None if partitions == 1 else lambda customer: partition_of(customer, partitions) == partition
        return Analysis(base.fleet.base, base.store.names, self._scorer, mine=mine)

    def _names_known(self, wire: bytes) -> bool:
        """Whether every metric of a record of readings has a name here: another process may have numbered it just now."""
        if wire[:1] != b"R":
            return True
        return _metrics_end(wire) <= len(self._base.store.names)

    async def _learn_names(self, wire: bytes) -> None:
        while not self._names_known(wire):
            try:
                await asyncio.to_thread(self._base.store.names.refresh)
            except StoreDamaged:
                raise
            except StoreError as error:
                _log.warning("put_off_readings", error=str(error))
                await asyncio.sleep(NAMES_RETRY_S)
            else:
                if not self._names_known(wire):
                    await asyncio.sleep(NAMES_RETRY_S)

    def _took(self, partition: int, wire: bytes) -> None:
        if wire[:1] == b"R" and len(wire) > 1 + _HEAD.size and partition not in self._oldest_ms:
            self._oldest_ms[partition] = _first_arrival_ms(wire)

    def _facts_written(self, partition: int, wire: bytes) -> None:
        """A tick's facts are in the log."""
        oldest_ms = self._oldest_ms.pop(partition, None)
        if oldest_ms is not None:
            self._base.meters.decision_seconds.observe(max(0, self._base.clock.now_ms() - oldest_ms) / 1000)

    def _checkpointed(self, partition: int) -> None:
        self._checkpoint_s[partition] = time.monotonic()

    def _checkpoint_ages(self) -> dict[int, float]:
        now_s = time.monotonic()
        return {partition: now_s - at_s for partition, at_s in self._checkpoint_s.items()}


def medium_of(base: Base) -> Medium:
    """The base's log as Faust sees it."""
    if base.embedded is not None:
        return EmbeddedMedium(base.embedded)
    if not isinstance(base.log, KafkaClient):
        raise TypeError(f"{type(base.log).__name__}: expected the embedded log or Kafka's client")
    return KafkaMedium(base.log.options, base.log.partitions, base.settings.standbys)


async def judged(log: LogClient, base: Base) -> None:
    """Follows what became of forecasts, for the figures of their honesty; until cancelled."""
    follower = log.follow([HONESTY], start={(HONESTY, p): end for p, end in (await log.ends(HONESTY)).items()})
    await follower.start()
    try:
        while True:
            for row in await follower.fetch():
                base.meters.honesty.judged(one["level"] for one in orjson.loads(row.value))
    finally:
        await follower.close()


def _metrics_end(wire: bytes) -> int:
    _, rows = _HEAD.unpack_from(wire, 1)
    return int(np.frombuffer(wire, "<i4", rows, 1 + _HEAD.size).max(initial=-1)) + 1


def _first_arrival_ms(wire: bytes) -> int:
    _, rows = _HEAD.unpack_from(wire, 1)
    (at_ms,) = struct.unpack_from("<q", wire, 1 + _HEAD.size + 12 * rows)
    return int(at_ms)
