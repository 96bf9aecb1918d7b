"""The producer of the embedded transport: hands records to the log's writing thread, in batches and in order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, cast

import structlog
from faust.exceptions import ProducerSendError
from faust.types import TP, RecordMetadata
from mode import Seconds, Service, want_seconds

from star.errors import DiskFull, LogError
from stream.transports.embedded_log.log_writer import KeyedEntry
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.corrected_consumer import LOG_APPEND_TIME
from stream.transports.faust_overrides.corrected_producer import CorrectedProducer

SEND_RECORDS_MAX = 10_000
"""Records handed to the log in one transaction; more would delay other writers."""
DISK_FULL_WAIT_S = 0.5
"""Pause before a write to a full disk is tried again."""

_logger = structlog.get_logger(__name__)


class HasLog(Protocol):
    """A transport on an embedded log."""

    sqlite_log: SqliteLog


class FaustEmbeddedProducer(CorrectedProducer):
    """Appends in the order of `send`. On a full disk it waits and tries again, and skips nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sqlite_log = cast(HasLog, self.transport).sqlite_log
        self._unsent: deque[tuple[KeyedEntry, asyncio.Future[RecordMetadata]]] = deque()
        self._write_lock = asyncio.Lock()
        self._filled = asyncio.Event()

    async def on_stop(self) -> None:
        """Writes what is left."""
        await super().on_stop()
        if self._failure is None:
            await self.flush()

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None
    ) -> asyncio.Future[RecordMetadata]:
        future: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        self._unsent.append(((topic, key, value), future))
        self._filled.set()
        return future

    @Service.task
    async def _serve(self) -> None:
        while not self.should_stop:
            await self._filled.wait()
            self._filled.clear()
            await self._wait_for_unsent()

    async def _wait_for_unsent(self) -> None:
        """Writes everything unsent, batch after batch; one caller at a time, so that the order is kept."""
        async with self._write_lock:
            while self._unsent and self._failure is None:
                batch = [self._unsent[nth] for nth in range(min(SEND_RECORDS_MAX, len(self._unsent)))]
                await self._write_batch(batch)

    async def _write_batch(self, batch: list[tuple[KeyedEntry, asyncio.Future[RecordMetadata]]]) -> None:
        try:
            offsets = await self.sqlite_log.append_batch_async([entry for entry, _ in batch])
        except DiskFull as error:
            _logger.warning("wait_for_room", error=str(error), waiting=len(self._unsent))
            await asyncio.sleep(DISK_FULL_WAIT_S)
            return
        except LogError as error:
            self._fail(error)
            while self._unsent:
                _, future = self._unsent.popleft()
                if not future.done():
                    future.set_exception(ProducerSendError(str(error)))
            return
        now_s = time.time()
        for ((topic, _, _), future), offset in zip(batch, offsets, strict=True):
            self._unsent.popleft()
            if not future.done():
                future.set_result(RecordMetadata(topic, 0, TP(topic, 0), offset, now_s, LOG_APPEND_TIME))

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        timeout: Seconds = 30.0,  # noqa: ASYNC109 - as in Faust
        retention: Seconds | None = None,
        compacting: bool | None = None,
        deleting: bool | None = None,
        ensure_created: bool = False,
    ) -> None:
        """Makes a topic that does not exist, with its one partition: Faust asks for it before it reads a topic."""
        if topic not in self.sqlite_log.topics():
            retain_ms = None if retention is None else round(want_seconds(retention) * 1000)
            await asyncio.to_thread(self.sqlite_log.create, topic, compacted=bool(compacting), retain_ms=retain_ms)
