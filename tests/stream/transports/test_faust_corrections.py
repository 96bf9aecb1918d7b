"""What our transports correct in Faust: each test shows plain Faust's own code failing beside ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import MethodType
from typing import Any

import faust
import pytest
from faust.transport.consumer import Consumer as PlainConsumer
from faust.transport.producer import ProducerBuffer as PlainBuffer
from faust.types import TP

from stream.app import StreamApp
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.corrections import CorrectedBuffer, key_bytes
from stream.transports.faust_overrides.embedded_transport import FaustEmbeddedConsumer

INPUT = TP("input", 0)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[StreamApp]:
    with SqliteLog(tmp_path / "log.db") as log:
        app = StreamApp(log, id="test")
        yield app
        if app.started:
            await asyncio.wait_for(app.stop(), 20)


async def until(condition: Any, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def test_a_record_that_is_not_handled_is_not_skipped_by_a_commit(app: StreamApp) -> None:
    """Correction 1: with 10 in an agent's hands and 11, 12 done, nothing is committed; plain Faust commits 13."""
    consumer = app.consumer
    assert isinstance(consumer, FaustEmbeddedConsumer)
    consumer._committed_offset[INPUT] = 10
    for offset in (10, 11, 12, 13):
        consumer._delivered[INPUT].append(offset)
    consumer._acked_index[INPUT] = {11, 12}
    consumer._acked[INPUT] = [11, 12]
    assert PlainConsumer._new_offset(consumer, INPUT) == 13
    consumer._acked_index[INPUT] = {11, 12}
    assert consumer._new_offset(INPUT) is None
    consumer._acked_index[INPUT].add(10)
    assert consumer._new_offset(INPUT) == 13
    assert consumer._new_offset(INPUT) is None


async def test_offsets_that_the_log_does_not_have_do_not_hold_up_commits(app: StreamApp) -> None:
    """Gaps in a compacted topic or a transaction's markers are passed over: the order handed out counts."""
    consumer = app.consumer
    assert isinstance(consumer, FaustEmbeddedConsumer)
    consumer._delivered[INPUT].extend([3, 7, 20])
    consumer._acked_index[INPUT] = {3, 7}
    assert consumer._new_offset(INPUT) == 8


async def test_a_held_topic_is_committed_only_as_far_as_it_was_released(app: StreamApp) -> None:
    """The input's offset follows the checkpoint, not the acknowledgement."""
    consumer = app.consumer
    assert isinstance(consumer, FaustEmbeddedConsumer)
    consumer.hold_commits("input")
    consumer._delivered[INPUT].extend(range(5))
    consumer._acked_index[INPUT] = set(range(5))
    assert consumer._new_offset(INPUT) is None
    consumer.release_commits(INPUT, 3)
    consumer.release_commits(INPUT, 2)
    assert consumer._new_offset(INPUT) == 3
    consumer.release_commits(INPUT, 5)
    assert consumer._new_offset(INPUT) == 5


@pytest.mark.parametrize(("kind", "left"), [(PlainBuffer, 1), (CorrectedBuffer, 0)])
async def test_a_flush_returns_when_everything_was_sent(app: StreamApp, kind: type[PlainBuffer], left: int) -> None:
    """Correction 2: a send that takes 0.3 s makes plain Faust give up with messages unsent; ours waits."""
    sent: list[int] = []

    async def slow(self: PlainBuffer, message: Any) -> None:
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
        assert buffer.size == left
        if not left:
            assert sent == [0, 1]
        while not buffer.pending.empty():
            buffer.pending.get_nowait()


async def test_what_can_t_be_sent_fails_the_flush_and_so_the_commit(app: StreamApp) -> None:
    """A failing send is raised by flush: the offset of what rests on it is never committed."""

    async def broken(self: PlainBuffer, message: Any) -> None:
        raise OSError("the log is gone")

    buffer = CorrectedBuffer(loop=asyncio.get_running_loop())
    buffer.app = app
    buffer._send_pending = MethodType(broken, buffer)  # type: ignore[method-assign]
    buffer.put(1)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="the log is gone"):
        await buffer.flush()


@pytest.mark.parametrize(("plain", "fewest", "most"), [(True, 1_000, 10_000), (False, 0, 100)])
async def test_records_are_delivered_many_at_a_time(app: StreamApp, plain: bool, fewest: int, most: int) -> None:
    """Correction 3: plain Faust waits once (with three tasks) for each of 1,000 records; ours once a fetch."""
    waits = 0
    consumer = app.consumer
    wait_first = consumer.wait_first

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal waits
        waits += 1
        return await wait_first(*args, **kwargs)

    consumer.wait_first = counted  # type: ignore[method-assign]
    if plain:
        consumer._drain_messages = MethodType(PlainConsumer._drain_messages, consumer)  # type: ignore[method-assign]
    seen: list[bytes] = []

    async def agent(stream: faust.Stream[bytes]) -> None:
        async for value in stream:
            seen.append(value)

    app.agent(app.topic("input"))(agent)
    app.backend.log.append("input", [b"%d" % nth for nth in range(1_000)])
    await app.start()
    await until(lambda: len(seen) == 1_000)
    assert seen == [b"%d" % nth for nth in range(1_000)]
    assert fewest <= waits <= most


@pytest.mark.parametrize(("plain", "quickest_s", "slowest_s"), [(True, 0.9, 30.0), (False, 0.0, 0.9)])
async def test_a_stream_goes_on_as_soon_as_there_is_room(
    app: StreamApp, plain: bool, quickest_s: float, slowest_s: float
) -> None:
    """Correction 4: with every partition under back-pressure plain Faust sleeps for a second whatever happens."""
    await app.start()
    consumer = app.consumer
    assert isinstance(consumer, FaustEmbeddedConsumer)
    consumer._set_active_tps(set())
    consumer._buffered_partitions.add(INPUT)
    asyncio.get_running_loop().call_later(0.05, consumer.on_buffer_drop, INPUT)
    start = time.monotonic()
    waiting = PlainConsumer._wait_next_records if plain else FaustEmbeddedConsumer._wait_next_records
    await waiting(consumer, 1.0)
    assert quickest_s <= time.monotonic() - start <= slowest_s


def test_a_key_that_is_a_number_is_sent_as_its_text() -> None:
    """Correction 5: bytes and text as they are, numbers as text; anything else is a mistake with a name."""
    assert [key_bytes(key) for key in (None, b"k", "ké", 7, 1.5)] == [None, b"k", "ké".encode(), b"7", b"1.5"]
    with pytest.raises(TypeError, match="key is list"):
        key_bytes([1])


async def test_grouping_by_a_number_works_and_the_app_stops(app: StreamApp) -> None:
    """Correction 5 in an app: plain Faust's agent crashes on it and then never stops."""
    seen: list[tuple[bytes, bytes]] = []

    async def agent(stream: faust.Stream[bytes]) -> None:
        async for event in stream.group_by(len, name="by-length").events():
            seen.append((event.message.key, event.value))

    app.agent(app.topic("input", value_type=bytes))(agent)
    await app.start()
    await app.backend.log.append_async("input", [b"a", b"bb"])
    await until(lambda: len(seen) == 2)
    assert seen == [(b"1", b"a"), (b"2", b"bb")]
    await asyncio.wait_for(app.stop(), 30)


async def test_an_agent_that_hangs_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    """Stopping waits a limited time for records in an agent's hands. Faust then takes what the cancelled agent held as
    handled; of a held topic it is not committed, so it comes again after the restart."""
    with SqliteLog(tmp_path / "log.db") as log:
        app = StreamApp(log, id="test", stream_wait_empty=True)
        held: list[bytes] = []

        async def agent(stream: faust.Stream[bytes]) -> None:
            async for value in stream:
                held.append(value)
                await asyncio.sleep(3600)

        app.agent(app.topic("input"))(agent)
        log.append("input", [b"a"])
        consumer = app.consumer
        assert isinstance(consumer, FaustEmbeddedConsumer)
        consumer.hold_commits("input")
        await app.start()
        await until(lambda: held)
        await asyncio.wait_for(app.stop(), 60)
        assert log.committed("test", "input") is None


async def test_records_are_not_lost_where_recovery_of_a_table_ends_slowly(tmp_path: Path) -> None:
    """Correction 6, found by kills: with the end of recovery drawn out, records of the input are not delivered into queues
    that Faust then empties, and each comes once, from the committed offset on."""
    seen: list[int] = []
    for life in range(2):
        with SqliteLog(tmp_path / "log.db") as log:
            app = StreamApp(log, id="test")
            table = app.Table("counts", partitions=1, key_type=bytes, value_type=bytes)
            consumer = app.consumer
            perform_seek = consumer.perform_seek

            async def slowly(perform_seek: Any = perform_seek) -> None:
                await asyncio.sleep(0.1)
                await perform_seek()
                await asyncio.sleep(0.1)

            consumer.perform_seek = slowly  # type: ignore[method-assign]

            async def agent(stream: faust.Stream[bytes], table: Any = table) -> None:
                async for event in stream.events():
                    await asyncio.sleep(0.001)  # slower than the fetcher, so that records wait in the queue
                    seen.append(event.message.offset)
                    table[b"last"] = event.value

            app.agent(app.topic("input"))(agent)
            log.append("input", [b"%d" % nth for nth in range(300)])
            await app.start()
            await until(lambda life=life: seen and seen[-1] == 300 * (life + 1) - 1)
            await asyncio.sleep(0.3)
            await app.stop()
    assert seen == list(range(600))
