"""Faust's producer, corrected for both logs; docs/internals/faust.md lists each correction with its upstream issue.

What it corrects: a flush returns when everything handed in before it was sent, and raises what sending raised. What both
transports share is here too: back-pressure by bytes, and the first failure, after which nothing is sent.

Not here: sending itself (embedded_producer.py, kafka_producer.py).
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.exceptions import ProducerSendError
from faust.transport.producer import Producer, ProducerBuffer
from faust.types import HeadersArg
from faust.types.tuples import FutureMessage
from mode import Service

from star.errors import LogError

BUFFERED_MESSAGES_MAX = 1_000
"""Messages that tables may put in the producer's buffer before streams wait for it."""
UNSENT_BYTES_MAX = 32 << 20
"""Senders wait while values of this size are not durable: it bounds the producer's memory while the log is away."""


class CorrectedBuffer(ProducerBuffer):
    """Faust's buffer of the messages that tables send; its flush returns when the producer has taken all of them."""

    max_messages = BUFFERED_MESSAGES_MAX

    def __post_init__(self) -> None:
        super().__post_init__()
        self._filled = asyncio.Event()
        self._sending = asyncio.Lock()

    def put(self, fut: FutureMessage) -> None:
        """Adds a message, to be sent soon and in the order of calls."""
        self.pending.put_nowait(fut)
        self._filled.set()

    async def flush(self) -> None:
        """Hands everything put before this call to the producer.

        Raises what sending raised: then nothing that depends on these messages may be committed.
        """
        async with self._sending:
            while not self.pending.empty():
                await self._send_pending(self.pending.get_nowait())
                self.message_sent.set()

    async def flush_atmost(self, max_messages: int | None) -> int:
        """As `flush`; the number of messages sent is not counted."""
        await self.flush()
        return 0

    async def wait_until_ebb(self) -> None:
        """Makes streams wait where the buffer is too full."""
        if self.size > self.max_messages:
            await self.flush()

    async def on_stop(self) -> None:
        """Sends what is left before the producer stops."""
        await self.flush()

    @Service.task
    async def _handle_pending(self) -> None:
        while not self.should_stop:
            await self._filled.wait()
            self._filled.clear()
            await self.flush()


class CorrectedProducer(Producer):
    """The base of both transports' producers: a transport implements `_send` and `_wait_for_unsent`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer = CorrectedBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app
        self._unsent_bytes = 0
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
    ) -> asyncio.Future[Any]:
        """A future of the record's place in the log, done when the record is durable. Waits while too much is unsent.

        Raises ProducerSendError after a failure, and for headers, which the embedded log cannot keep.
        """
        if headers:
            raise ProducerSendError(f"a record for {topic!r} has headers: expected none, as the log does not keep them")
        if self._unsent_bytes >= UNSENT_BYTES_MAX:
            await self._wait_for_unsent()
        self._raise_failure()
        size_bytes = len(value or b"")
        future = await self._send(topic, key, value, partition)
        self._unsent_bytes += size_bytes

        def on_done(_: asyncio.Future[Any]) -> None:
            self._unsent_bytes -= size_bytes

        future.add_done_callback(on_done)
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
        """The record's place in the log, once the record is durable."""
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def flush(self) -> None:
        """Returns when everything sent before is durable. Raises ProducerSendError after a failure."""
        await self.buffer.flush()
        await self._wait_for_unsent()
        self._raise_failure()

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None
    ) -> asyncio.Future[Any]:
        """Hands one record to the log's client, in the order of calls; gives its future."""
        raise NotImplementedError

    async def _wait_for_unsent(self) -> None:
        """Returns when everything sent before is durable, or has failed."""
        raise NotImplementedError

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise ProducerSendError(str(self._failure)) from self._failure

    def _fail(self, error: LogError) -> None:
        """Keeps the first failure, after which nothing is sent, and stops the app with it."""
        if self._failure is None:
            self._failure = error
            self.add_future(self.crash(error))
