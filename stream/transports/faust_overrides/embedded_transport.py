"""A Faust transport on the embedded log: `embedded:///path/to/log.db`, one process, one partition a topic.

There is no broker: a consumer reads the log where it lies and is woken by its commits, a producer hands batches to its
writing thread, and the one assignment - everything - is made when the topics are known. Corrections of Faust's own
behaviour are in base.py. Records carry no headers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast
from weakref import WeakKeyDictionary

import structlog
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport import base as faust_base
from faust.transport import drivers
from faust.types import TP, AppT, ConsumerMessage
from faust.types.transports import ConsumerT, ProducerT
from yarl import URL

from star.errors import DiskFull
from stream.transports.embedded_log.sqlite_log import LogRecord, SqliteLog
from stream.transports.faust_overrides.corrections import CorrectedConsumer
from stream.transports.faust_overrides.embedded_producer import TIMESTAMP_TYPE, FaustEmbeddedProducer

SCHEME = "embedded"
FETCH_RECORDS_MAX = 1_000
"""Records of one partition in one fetch; a fetch of large records ends earlier (log.READ_BYTES_MAX)."""

_logger = structlog.get_logger(__name__)


def register() -> None:
    """Makes `embedded://` known to Faust, as an entry point of the group `faust.transports` would."""
    drivers.TRANSPORTS.aliases[SCHEME] = "stream.transports.faust_overrides.embedded_transport:EmbeddedTransport"


def _no_op() -> None:
    """Of a log that is not listened to yet."""


class _FetchedRecord(NamedTuple):
    topic: str
    record: LogRecord

    @property
    def offset(self) -> int:
        return self.record.offset

    @property
    def value(self) -> bytes | None:
        return self.record.value


class FaustEmbeddedConsumer(CorrectedConsumer):
    """Reads the log. `log` is shared with the producer and with whoever else appends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sqlite_log = cast(EmbeddedTransport, self.transport).sqlite_log
        self._assigned: set[TP] = set()
        self._positions: dict[TP, int] = {}
        self._remove_listener: Callable[[], None] = _no_op
        self._generation = 0
        self._wake_scheduled = False

    async def on_start(self) -> None:
        """Listens to the log's commits from here on."""
        await super().on_start()
        loop = asyncio.get_running_loop()

        def on_commit() -> None:
            # In the writing thread. One wake-up is enough until the loop has seen it.
            if not self._wake_scheduled:
                self._wake_scheduled = True
                loop.call_soon_threadsafe(self._wake)

        self._remove_listener = self.sqlite_log.add_commit_listener(on_commit)

    async def on_stop(self) -> None:
        """Commits what is handled and stops listening."""
        await super().on_stop()
        self._remove_listener()

    def _wake(self) -> None:
        self._wake_scheduled = False
        self._capacity.set()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Takes every partition of `topics`. The rebalance runs as a task: the conductor waits for this call, and the
        rebalance for the conductor."""
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
        # Nobody else computes it, and without it tables never recover.
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

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[_FetchedRecord]]:  # noqa: ASYNC109 - as in Faust
        records = self._fetch(active_partitions)
        if not records:
            await self.wait_first(self._capacity.wait(), timeout=timeout)
            records = self._fetch(active_partitions)
        return records

    def _fetch(self, active_partitions: set[TP] | None) -> dict[TP, list[_FetchedRecord]]:
        fetched: dict[TP, list[_FetchedRecord]] = {}
        for tp in sorted(self._assigned if active_partitions is None else active_partitions):
            position = self._positions.get(tp, 0)
            if position < self.sqlite_log.end(tp.topic):
                records = self.sqlite_log.read_records(tp.topic, position, FETCH_RECORDS_MAX)
                if records:
                    fetched[tp] = [_FetchedRecord(tp.topic, record) for record in records]
                    self._positions[tp] = records[-1].offset + 1
        return fetched

    def _to_message(self, tp: TP, record: _FetchedRecord) -> ConsumerMessage:
        found = record.record
        return ConsumerMessage(
            record.topic,
            0,
            found.offset,
            found.at_ms / 1000,
            TIMESTAMP_TYPE,
            None,
            found.key,
            found.value,
            None,
            tp=tp,
            time_in=time.monotonic(),
            generation_id=self.app.consumer_generation_id,
        )

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        try:
            await self.sqlite_log.commit_async(self.app.conf.id, {tp.topic: offset for tp, offset in offsets.items()})
        except DiskFull as error:
            # Not committed means handled again after a restart, which is right; a later commit covers these offsets.
            _logger.warning("put_off_commit", error=str(error))
            return False
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Every partition to its committed offset, or its beginning; those that have one."""
        committed: dict[TP, int] = {}
        for tp in self._assigned:
            self._positions[tp] = self._start_offset(tp)
            if self.sqlite_log.committed(self.app.conf.id, tp.topic) is not None:
                committed[tp] = self._positions[tp]
        return committed

    async def _seek(self, partition: TP, offset: int) -> None:
        self._positions[partition] = offset

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Each partition to its offset."""
        for tp, offset in partitions.items():
            await self.seek(tp, offset)

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Each partition to its first kept record."""
        await self.seek_wait({tp: self.sqlite_log.begin(tp.topic) for tp in partitions})

    async def position(self, tp: TP) -> int | None:
        """The offset of the next record to fetch."""
        return self._positions.get(tp)

    def assignment(self) -> set[TP]:
        """Every partition of the topics subscribed to."""
        return set(self._assigned)

    def highwater(self, tp: TP) -> int:
        """The offset that the next record of the partition will get."""
        return self.sqlite_log.end(tp.topic)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """`highwater` of each."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """The first kept offset of each."""
        return {tp: self.sqlite_log.begin(tp.topic) for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        """One."""
        return 1

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """The one there is."""
        return 0

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """As the producer's."""
        await self.app.producer.create_topic(topic, partitions, replication, **kwargs)


_opened_logs: WeakKeyDictionary[Any, SqliteLog] = WeakKeyDictionary()


class EmbeddedTransport(faust_base.Transport):
    """The transport; `log` is given by the service, or opened from the URL, once an app and for its life."""

    Consumer: ClassVar[type[ConsumerT]] = FaustEmbeddedConsumer
    Producer: ClassVar[type[ProducerT]] = FaustEmbeddedProducer
    driver_version = "embedded"

    def __init__(
        self,
        url: list[URL],
        app: AppT,
        loop: asyncio.AbstractEventLoop | None = None,
        log: SqliteLog | None = None,
    ) -> None:
        super().__init__(url, app, loop)
        if log is None and app not in _opened_logs:
            _opened_logs[app] = SqliteLog(Path(url[0].path))
        self.sqlite_log: SqliteLog = _opened_logs[app] if log is None else log
