"""The producer of the Kafka transport: an idempotent producer of aiokafka in the app's own event loop.

While brokers are away it keeps what it was given, in order and within a limit, and senders wait. A record that cannot be sent
at all stops the app with the reason: then nothing that depends on it is committed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from faust.exceptions import ProducerSendError

from star.errors import LogError
from stream.transports.faust_overrides.corrected_producer import CorrectedProducer
from stream.transports.kafka_log.options import STOP_S_MAX, KafkaOptions
from stream.transports.kafka_log.shutdown import abort_producer

_logger = structlog.get_logger(__name__)


class HasOptions(Protocol):
    """A transport to Kafka."""

    options: KafkaOptions


class CanStall(Protocol):
    """A consumer that knows for how long it was stalled, where that exceeds its group's session timeout."""

    stalled_s: float


class FaustKafkaProducer(CorrectedProducer):
    """Sends in the order of `send` within a partition, each record once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options = cast(HasOptions, self.transport).options
        self._kafka: Any = None
        self._unsent: set[asyncio.Future[Any]] = set()

    async def on_start(self) -> None:
        """Connects."""
        self._kafka = AIOKafkaProducer(**self._options.producer_config())
        with self._options.translate_errors("connect"):
            await self._kafka.start()
        await super().on_start()

    async def on_stop(self) -> None:
        """Sends what is left, in a limited time: brokers may be away, and what was not sent is not committed.

        After a failure nothing more is sent.
        """
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

    def stop_sending(self, error: LogError) -> None:
        """From now on nothing is sent, waiting records included: `send` raises the error instead."""
        if self._failure is None:
            self._failure = error

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None
    ) -> asyncio.Future[Any]:
        """See CorrectedProducer; waits while the client's own buffer is full."""
        while True:
            self._raise_failure()
            if self._kafka is None:
                raise ProducerSendError("the producer is not started")
            if cast(CanStall, self.app.consumer).stalled_s:
                raise ProducerSendError(
                    "this worker was stalled for longer than its session: another may have taken over"
                )
            try:
                future: asyncio.Future[Any] = await self._kafka.send(topic, value, key=key, partition=partition)
                break
            except KafkaTimeoutError as error:
                reason = str(self._options.to_log_error("send", error))
                _logger.warning("wait_for_log", waiting=len(self._unsent), error=reason)
                if self.should_stop:
                    raise ProducerSendError(reason) from error
            except KafkaError as error:
                self._fail(self._options.to_log_error("send", error))
                raise ProducerSendError(str(self._failure)) from error
        self._unsent.add(future)
        future.add_done_callback(self._on_sent)
        return future

    async def _wait_for_unsent(self) -> None:
        if self._unsent:
            await asyncio.wait(list(self._unsent))

    def _on_sent(self, future: asyncio.Future[Any]) -> None:
        self._unsent.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            self._fail(self._options.to_log_error("send", error))
