"""A Faust transport on the embedded log: one process, one partition of every topic.

There is no broker: the consumer reads the log directly and is woken by its commits, the producer hands batches to its writing
thread, and the only assignment - every partition - is made when the topics are known. Corrections of Faust's own behaviour
are in corrected_consumer.py and corrected_producer.py. Records have no headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

import structlog
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport import base as faust_base
from faust.types import TP, AppT
from faust.types.transports import ConsumerT, ProducerT
from yarl import URL

from star.errors import DiskFull
from stream.transports.embedded_log.sqlite_log import LogRecord, SqliteLog
from stream.transports.faust_overrides.corrected_consumer import FETCH_RECORDS_MAX, CorrectedConsumer
from stream.transports.faust_overrides.embedded_producer import FaustEmbeddedProducer

SCHEME = "embedded"
"""Scheme of the broker's URL in Faust's settings. Faust cannot open it: the app overrides how a transport is made."""

_logger = structlog.get_logger(__name__)


class FaustEmbeddedConsumer(CorrectedConsumer):
    """Reads the log, which it shares with the producer and with every other writer of the process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sqlite_log = cast(EmbeddedTransport, self.transport).sqlite_log
        self._assigned: set[TP] = set()
        self._positions: dict[TP, int] = {}
        self._generation = 0

    async def on_start(self) -> None:
        """Listens to the log's commits until the consumer stops."""
        await super().on_start()
        self.exit_stack.callback(self.sqlite_log.wake_on_commit(self._capacity.set))

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Takes every partition of `topics`.

        The rebalance runs as a task: Faust's conductor waits for this call, and the rebalance for the conductor.
        """
        names = sorted(topics)
        for name in names:
            if name not in self.sqlite_log.topics():
                await asyncio.to_thread(self.sqlite_log.create, name)
        self.add_future(self._assign_partitions({TP(name, 0) for name in names}))

    async def _assign_partitions(self, assigned: set[TP]) -> None:
        self.app.on_rebalance_start()
        if self._assigned:
            await self.on_partitions_revoked(set(self._assigned))
        self._generation += 1
        self.app.consumer_generation_id = self._generation
        # On Kafka the group's leader computes this; without it tables never recover.
        assignment = ClientAssignment(actives={tp.topic: [tp.partition] for tp in assigned}, standbys={})
        assignor = cast(PartitionAssignor, self.app.assignor)
        assignor._assignment = assignment
        assignor._active_tps = assignment.active_tps
        self._assigned = set(assigned)
        for tp in assigned:
            self._positions.setdefault(tp, self._start_offset(tp))
        await self.on_partitions_assigned(set(assigned), self._generation)

    def _start_offset(self, tp: TP) -> int:
        committed = self.sqlite_log.committed(self.app.conf.id, tp.topic)
        return self.sqlite_log.begin(tp.topic) if committed is None else committed

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[LogRecord]]:  # noqa: ASYNC109 - as in Faust
        records = self._fetch(active_partitions)
        if not records:
            await self.wait_first(self._capacity.wait(), timeout=timeout)
            records = self._fetch(active_partitions)
        return records

    def _fetch(self, active_partitions: set[TP] | None) -> dict[TP, list[LogRecord]]:
        fetched: dict[TP, list[LogRecord]] = {}
        for tp in sorted(self._assigned if active_partitions is None else active_partitions):
            position = self._positions.get(tp, 0)
            if position < self.sqlite_log.end(tp.topic):
                records = self.sqlite_log.read_records(tp.topic, position, FETCH_RECORDS_MAX)
                if records:
                    fetched[tp] = records
                    self._positions[tp] = records[-1].offset + 1
        return fetched

    def _appended_ms(self, record: LogRecord) -> int:
        return record.at_ms

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        try:
            await self.sqlite_log.commit_async(self.app.conf.id, {tp.topic: offset for tp, offset in offsets.items()})
        except DiskFull as error:
            # Uncommitted records are handled again after a restart, which is safe; a later commit covers these offsets.
            _logger.warning("put_off_commit", error=str(error))
            return False
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Continues every partition at its committed offset, else at its beginning; gives the committed offsets."""
        committed: dict[TP, int] = {}
        for tp in self._assigned:
            self._positions[tp] = self._start_offset(tp)
            if self.sqlite_log.committed(self.app.conf.id, tp.topic) is not None:
                committed[tp] = self._positions[tp]
        return committed

    async def _seek(self, partition: TP, offset: int) -> None:
        self._positions[partition] = offset

    async def position(self, tp: TP) -> int | None:
        """The offset of the next record to fetch."""
        return self._positions.get(tp)

    def assignment(self) -> set[TP]:
        """Every partition of the subscribed topics."""
        return set(self._assigned)

    def highwater(self, tp: TP) -> int:
        """The offset that the next record of the partition will get."""
        return self.sqlite_log.end(tp.topic)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """`highwater` of each partition."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """The offset of each partition's oldest record."""
        return {tp: self.sqlite_log.begin(tp.topic) for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        """One."""
        return 1


class EmbeddedTransport(faust_base.Transport):
    """The transport on `log`, which its owner closes."""

    Consumer: ClassVar[type[ConsumerT]] = FaustEmbeddedConsumer
    Producer: ClassVar[type[ProducerT]] = FaustEmbeddedProducer
    driver_version = SCHEME

    def __init__(self, url: list[URL], app: AppT, log: SqliteLog) -> None:
        super().__init__(url, app)
        self.sqlite_log = log
