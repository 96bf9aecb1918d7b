"""Situations in which Faust needs correction, and an app without the corrections: each is run with and without them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any, cast

import faust
from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer
from faust.transport.producer import ProducerBuffer
from faust.types import TP, TransportT

from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.embedded_producer import FaustEmbeddedProducer
from stream.transports.faust_overrides.embedded_transport import EmbeddedTransport, FaustEmbeddedConsumer
from stream.transports.faust_overrides.stream_app import StreamApp
from tests.stream.transports.rigs import until

INPUT = TP("input", 0)


class PlainConsumer(FaustEmbeddedConsumer):
    """The embedded log's consumer with every corrected method taken back to Faust's own."""

    _new_offset = Consumer._new_offset
    perform_seek = Consumer.perform_seek
    seek = Consumer.seek
    on_partitions_revoked = Consumer.on_partitions_revoked
    on_buffer_drop = Consumer.on_buffer_drop
    resume_partitions = Consumer.resume_partitions
    _wait_next_records = Consumer._wait_next_records
    _drain_messages = Consumer._drain_messages
    wait_empty = Consumer.wait_empty


class PlainProducer(FaustEmbeddedProducer):
    """The embedded log's producer with Faust's own buffer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer = ProducerBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app


class PlainTransport(EmbeddedTransport):
    """Both."""

    Consumer = PlainConsumer
    Producer = PlainProducer


class PlainApp(StreamApp):
    """An app on the embedded log with Faust's own consumer, buffer and table manager."""

    def __init__(self, log: SqliteLog, **settings: Any) -> None:
        self._log_file = log
        super().__init__(log, **{"TableManager": TableManager, **settings})

    def _new_transport(self) -> TransportT:
        return PlainTransport(self.conf.broker_consumer, self, self._log_file)

    def _new_producer_transport(self) -> TransportT:
        return PlainTransport(self.conf.broker_producer, self, self._log_file)


def consumer_of(app: StreamApp) -> FaustEmbeddedConsumer:
    """The app's consumer."""
    return cast(FaustEmbeddedConsumer, app.consumer)


async def flush_slow_sends(kind: type[ProducerBuffer], app: StreamApp) -> tuple[list[int], int]:
    """Flushes two messages, each of which takes 0.3 s to send; gives what was sent, and how many were not."""
    sent: list[int] = []

    async def slow(self: ProducerBuffer, message: Any) -> None:
        await asyncio.sleep(0.3)
        sent.append(message)

    buffer = kind(loop=asyncio.get_running_loop())
    buffer.app = app
    buffer._send_pending = MethodType(slow, buffer)  # type: ignore[method-assign]
    async with buffer:
        for nth in range(2):
            buffer.put(nth)  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        await buffer.flush()
        result = list(sent), buffer.size
        while not buffer.pending.empty():
            buffer.pending.get_nowait()
    return result


async def deliver(app: StreamApp, count: int) -> tuple[list[bytes], int]:
    """Delivers records to an agent; gives their values, and how often the consumer waited for one of several events."""
    waits = 0
    wait_first = app.consumer.wait_first

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal waits
        waits += 1
        return await wait_first(*args, **kwargs)

    app.consumer.wait_first = counted  # type: ignore[method-assign]
    seen: list[bytes] = []

    async def agent(stream: faust.Stream[bytes]) -> None:
        async for value in stream:
            seen.append(value)

    app.agent(app.topic("input"))(agent)
    app.backend.log.append("input", [b"%d" % nth for nth in range(count)])
    await app.start()
    await until(lambda: len(seen) == count)
    return seen, waits


async def wait_under_back_pressure(app: StreamApp) -> float:
    """How long, in seconds, the fetcher waits where the only partition has room after 0.05 s."""
    await app.start()
    consumer = consumer_of(app)
    consumer._set_active_tps(set())
    consumer._buffered_partitions.add(INPUT)
    asyncio.get_running_loop().call_later(0.05, consumer.on_buffer_drop, INPUT)
    start = time.monotonic()
    await consumer._wait_next_records(1.0)
    return time.monotonic() - start


async def recover_slowly(
    make_app: Callable[[SqliteLog], StreamApp], path: Path, *, count: int, pause_s: float, work_s: float
) -> list[int]:
    """Runs an app with a table twice, appending `count` records each time; gives the offsets that its agent handled.

    pause_s: between the seek at the end of recovery and the end itself. work_s: of the agent, for each record.
    """
    seen: list[int] = []
    for _ in range(2):
        with SqliteLog(path) as log:
            app = make_app(log)
            table = app.Table("counts", partitions=1, key_type=bytes, value_type=bytes)
            perform_seek = app.consumer.perform_seek

            async def slowly(perform_seek: Any = perform_seek) -> None:
                await perform_seek()
                await asyncio.sleep(pause_s)

            app.consumer.perform_seek = slowly  # type: ignore[method-assign]

            async def agent(stream: faust.Stream[bytes], table: Any = table) -> None:
                async for event in stream.events():
                    await asyncio.sleep(work_s)
                    seen.append(event.message.offset)
                    table[b"last"] = event.value

            app.agent(app.topic("input"))(agent)
            log.append("input", [b"%d" % nth for nth in range(count)])
            await app.start()
            handled = -1
            while handled != len(seen) or not app.tables.actives_ready:
                handled = len(seen)
                await asyncio.sleep(1.0)
            await app.stop()
    return seen


async def seek_while_delivering(app: StreamApp) -> list[int]:
    """Seeks to offset 2 after offsets 0 to 4 of a fetch of ten; gives the offsets delivered, before it and after."""
    app.backend.log.append("input", [b"%d" % nth for nth in range(10)])
    seen: list[int] = []

    async def callback(message: Any) -> None:
        seen.append(message.offset)
        if seen == [0, 1, 2, 3, 4]:
            await app.consumer.seek(INPUT, 2)

    app.agent(app.topic("input"))(lambda stream: stream)
    app.consumer.callback = callback
    await app.start()
    await until(lambda: len(seen) >= 10)
    await asyncio.sleep(0.5)
    return seen


async def hold_a_record(app: StreamApp) -> None:
    """Starts the app with an agent that never finishes its record."""
    held: list[bytes] = []

    async def agent(stream: faust.Stream[bytes]) -> None:
        async for value in stream:
            held.append(value)
            await asyncio.sleep(3600)

    app.agent(app.topic("input"))(agent)
    app.backend.log.append("input", [b"a"])
    await app.start()
    await until(lambda: held)
