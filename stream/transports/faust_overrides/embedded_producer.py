"""The producer of the embedded transport: hands what Faust sends to the log's writing thread, in batches and in order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, cast

import structlog
from faust.exceptions import ImproperlyConfigured, ProducerSendError
from faust.types import TP, HeadersArg, RecordMetadata
from mode import Seconds, Service, want_seconds

from star.errors import DiskFull, LogError
from stream.transports.embedded_log.log_writer import KeyedEntry
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.corrections import CorrectedProducer, key_bytes

SEND_RECORDS_MAX = 10_000
"""Records the producer hands to the log at once."""
UNSENT_BYTES_MAX = 32 << 20
"""Senders wait while this much is not on disk."""
DISK_FULL_WAIT_S = 0.5
"""How long the producer waits before it tries a full disk again."""
TIMESTAMP_TYPE = 1
"""Kafka's number for a time given by the log."""

_logger = structlog.get_logger(__name__)


class HasLog(Protocol):
    """A transport on an embedded log."""

    sqlite_log: SqliteLog


class FaustEmbeddedProducer(CorrectedProducer):
    """Appends to the log in the order of `send`. A full disk makes it wait and try again: nothing is skipped."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sqlite_log = cast(HasLog, self.transport).sqlite_log
        self._unsent: deque[tuple[KeyedEntry, asyncio.Future[RecordMetadata]]] = deque()
        self._unsent_bytes = 0
        self._write_lock: asyncio.Lock = asyncio.Lock()
        self._filled = asyncio.Event()
        self._failure: LogError | None = None

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """A future of where the record lies, done when it is on disk. Waits while too much is on its way.

        Raises ProducerSendError once the log has failed, or for headers, which it can't hold.
        """
        if headers:
            raise ProducerSendError(f"a record for {topic!r} has headers: the embedded log keeps none")
        if self._unsent_bytes >= UNSENT_BYTES_MAX:
            await self._write()
        if self._failure is not None:
            raise ProducerSendError(str(self._failure)) from self._failure
        future: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        self._unsent.append(((topic, key_bytes(key), value), future))
        self._unsent_bytes += len(value or b"")
        self._filled.set()
        return future

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Where the record lies, once it is on disk."""
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def flush(self) -> None:
        """Returns when everything sent before is on disk. Raises ProducerSendError where the log failed."""
        await self.buffer.flush()
        await self._write()
        if self._failure is not None:
            raise ProducerSendError(str(self._failure)) from self._failure

    async def on_stop(self) -> None:
        """What is left goes to disk."""
        await super().on_stop()
        if self._failure is None:
            await self.flush()

    @Service.task
    async def _serve(self) -> None:
        while not self.should_stop:
            await self._filled.wait()
            self._filled.clear()
            await self._write()
            if self._failure is not None:
                await self.crash(self._failure)
                return

    async def _write(self) -> None:
        """Hands everything unsent to the log, batch after batch, one caller at a time so that order is kept."""
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
            self._failure = error
            while self._unsent:
                _, future = self._unsent.popleft()
                if not future.done():
                    future.set_exception(ProducerSendError(str(error)))
            return
        now_s = time.time()
        for ((topic, _, value), future), offset in zip(batch, offsets, strict=True):
            self._unsent.popleft()
            self._unsent_bytes -= len(value or b"")
            if not future.done():
                future.set_result(
                    RecordMetadata(
                        topic=topic,
                        partition=0,
                        topic_partition=TP(topic, 0),
                        offset=offset,
                        timestamp=now_s,
                        timestamp_type=TIMESTAMP_TYPE,
                    )
                )

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
        """Makes the topic where there is none. Raises ImproperlyConfigured for more than one partition."""
        if partitions not in (None, 0, 1):
            raise ImproperlyConfigured(
                f"topic {topic!r} with {partitions} partitions: the embedded log has one of each, fixed when it is made"
            )
        if topic not in self.sqlite_log.topics():
            retain_ms = None if retention is None else round(want_seconds(retention) * 1000)
            await asyncio.to_thread(self.sqlite_log.create, topic, compacted=bool(compacting), retain_ms=retain_ms)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """The one there is."""
        return TP(topic, 0)

    def supports_headers(self) -> bool:
        """No."""
        return False
