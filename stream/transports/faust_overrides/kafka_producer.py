"""The producer of the Kafka transport: what Faust sends, on an idempotent producer of aiokafka in the app's own loop.

While brokers are away it keeps what it was given, in order and bounded, and senders wait. What can't be sent at all stops
the app with its reason: then nothing that rests on it is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol, cast

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from faust.exceptions import ProducerSendError
from faust.types import TP, HeadersArg
from mode import Seconds, want_seconds

from star.errors import LogError
from stream.partition.partition_hash import murmur2
from stream.transports.faust_overrides.corrections import CorrectedProducer, key_bytes
from stream.transports.kafka_log.client import abort_producer
from stream.transports.kafka_log.options import STOP_S_MAX, KafkaOptions
from stream.transports.kafka_log.topics import ensure_topic
from stream.transports.log_client import TopicSpec

UNSENT_BYTES_MAX = 32 << 20
"""Senders wait while this much is not acknowledged."""

_logger = structlog.get_logger(__name__)


class HasOptions(Protocol):
    """A transport to Kafka."""

    options: KafkaOptions


class CanStall(Protocol):
    """A consumer that knows whether it was held for longer than its group waits."""

    stalled_s: float


class FaustKafkaProducer(CorrectedProducer):
    """Sends in the order of `send` within a partition, each record once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options = cast(HasOptions, self.transport).options
        self._kafka: Any = None
        self._unsent: dict[asyncio.Future[Any], int] = {}
        self._unsent_bytes = 0
        self._failure: LogError | None = None

    async def on_start(self) -> None:
        """Connects."""
        self._kafka = AIOKafkaProducer(**self._options.producer_config())
        with self._options.translate_errors("connect"):
            await self._kafka.start()
        await super().on_start()

    async def on_stop(self) -> None:
        """What is left is sent, in a limited time: brokers may be away, and what was not sent is not committed. After a
        failure nothing more is sent."""
        if self._failure is not None:
            await abort_producer(self._kafka)
            return
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self.flush()
                await self._kafka.stop()
        except (KafkaError, TimeoutError, ProducerSendError) as error:
            _logger.warning("stop_with_unsent", records=len(self._unsent), error=str(error))
        await super().on_stop()

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
    ) -> asyncio.Future[Any]:
        """A future of where the record lies, done when every copy that is in sync has it. Waits while too much is on its
        way. Raises ProducerSendError once sending has failed."""
        if self._unsent_bytes >= UNSENT_BYTES_MAX:
            await self._wait_for_sent()
        sent_headers = list(headers.items()) if isinstance(headers, Mapping) else headers
        while True:
            if self._failure is not None or self._kafka is None:
                raise ProducerSendError(str(self._failure or "the producer is not started"))
            if cast(CanStall, self.app.consumer).stalled_s:
                raise ProducerSendError("this worker was held for longer than its session: another may have taken over")
            try:
                future: asyncio.Future[Any] = await self._kafka.send(
                    topic, value, key=key_bytes(key), partition=partition, headers=sent_headers
                )
                break
            except KafkaTimeoutError as error:
                _logger.warning(
                    "wait_for_log", waiting=len(self._unsent), error=str(self._options.to_log_error("send", error))
                )
                if self.should_stop:
                    raise ProducerSendError(str(self._options.to_log_error("send", error))) from error
            except KafkaError as error:
                raise self._failed(error) from error
        self._unsent[future] = len(value or b"")
        self._unsent_bytes += len(value or b"")
        future.add_done_callback(self._done)
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
    ) -> Any:
        """Where the record lies, once it is acknowledged."""
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def flush(self) -> None:
        """Returns when everything sent before is acknowledged. Raises ProducerSendError where something was not."""
        await self.buffer.flush()
        await self._wait_for_sent()
        if self._failure is not None:
            raise ProducerSendError(str(self._failure)) from self._failure

    def stop_sending(self, error: LogError) -> None:
        """From now on nothing is sent, and what waits is not: the error is raised instead."""
        if self._failure is None:
            self._failure = error

    async def _wait_for_sent(self) -> None:
        if pending := list(self._unsent):
            await asyncio.wait(pending)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._unsent_bytes -= self._unsent.pop(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> ProducerSendError:
        """Remembers the first failure, which stops the app; gives it as Faust has it."""
        if self._failure is None:
            self._failure = self._options.to_log_error("send", error)
            self.add_future(self.crash(self._failure))
        return ProducerSendError(str(self._failure))

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
        """Makes the topic, named in full, where there is none. Raises InputError where it has another number of
        partitions."""
        retain_ms = None if retention is None else round(want_seconds(retention) * 1000)
        spec = TopicSpec(name=topic, per_customer=True, retain_ms=retain_ms, compacted=bool(compacting))
        await ensure_topic(self._options, spec, partitions or self.app.conf.topic_partitions)
        await self._kafka.client.force_metadata_update()

    def key_partition(self, topic: str, key: bytes) -> TP:
        """As Kafka's default partitioner."""
        count = len(self._kafka._metadata.partitions_for_topic(topic) or (0,))
        return TP(topic, (murmur2(key) & 0x7FFFFFFF) % count)

    def supports_headers(self) -> bool:
        """Yes."""
        return True
