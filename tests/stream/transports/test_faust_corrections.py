"""What the transports correct in Faust; what Faust does without them is tested in test_faust_upstream.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import MethodType
from typing import Any

import faust
import pytest
from faust.types import TP

from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.corrected_producer import CorrectedBuffer
from stream.transports.faust_overrides.embedded_transport import FaustEmbeddedConsumer
from stream.transports.faust_overrides.stream_app import StreamApp

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
    """With 10 delivered and unfinished, and 11 and 12 finished, nothing is committed; once 10 is finished, all are."""
    consumer = app.consumer
    assert isinstance(consumer, FaustEmbeddedConsumer)
    consumer._committed_offset[INPUT] = 10
    for offset in (10, 11, 12, 13):
        consumer._delivered[INPUT].append(offset)
    consumer._acked_index[INPUT] = {11, 12}
    assert consumer._new_offset(INPUT) is None
    consumer._acked_index[INPUT].add(10)
    assert consumer._new_offset(INPUT) == 13
    assert consumer._new_offset(INPUT) is None


async def test_offsets_that_the_log_does_not_have_do_not_hold_up_commits(app: StreamApp) -> None:
    """Gaps of a compacted topic, or of a transaction's markers, are skipped: the order of delivery counts."""
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


async def test_a_flush_returns_when_everything_was_sent(app: StreamApp) -> None:
    """Sends that take 0.3 s each are waited for."""
    sent: list[int] = []

    async def slow(self: CorrectedBuffer, message: Any) -> None:
        await asyncio.sleep(0.3)
        sent.append(message)

    buffer = CorrectedBuffer(loop=asyncio.get_running_loop())
    buffer.app = app
    buffer._send_pending = MethodType(slow, buffer)  # type: ignore[method-assign]
    async with buffer:
        for nth in range(2):
            buffer.put(nth)  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        await buffer.flush()
        assert buffer.size == 0
        assert sent == [0, 1]


async def test_what_can_t_be_sent_fails_the_flush_and_so_the_commit(app: StreamApp) -> None:
    """A failing send is raised by flush: no offset that depends on it is committed."""

    async def broken(self: CorrectedBuffer, message: Any) -> None:
        raise OSError("the log is gone")

    buffer = CorrectedBuffer(loop=asyncio.get_running_loop())
    buffer.app = app
    buffer._send_pending = MethodType(broken, buffer)  # type: ignore[method-assign]
    buffer.put(1)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="the log is gone"):
        await buffer.flush()


async def test_records_are_delivered_many_at_a_time(app: StreamApp) -> None:
    """1,000 records are delivered in order with one wait per fetch."""
    waits = 0
    consumer = app.consumer
    wait_first = consumer.wait_first

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal waits
        waits += 1
        return await wait_first(*args, **kwargs)

    consumer.wait_first = counted  # type: ignore[method-assign]
    seen: list[bytes] = []

    async def agent(stream: faust.Stream[bytes]) -> None:
        async for value in stream:
            seen.append(value)

    app.agent(app.topic("input"))(agent)
    app.backend.log.append("input", [b"%d" % nth for nth in range(1_000)])
    await app.start()
    await until(lambda: len(seen) == 1_000)
    assert seen == [b"%d" % nth for nth in range(1_000)]
    assert waits <= 100


async def test_a_stream_continues_as_soon_as_there_is_room(app: StreamApp) -> None:
    """With every partition under back-pressure the fetcher is woken by the first buffer with room."""
    await app.start()
    consumer = app.consumer
    assert isinstance(consumer, FaustEmbeddedConsumer)
    consumer._set_active_tps(set())
    consumer._buffered_partitions.add(INPUT)
    asyncio.get_running_loop().call_later(0.05, consumer.on_buffer_drop, INPUT)
    start = time.monotonic()
    await consumer._wait_next_records(1.0)
    assert time.monotonic() - start <= 0.9


async def test_an_agent_that_hangs_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    """Stopping waits a limited time for an agent. Faust then counts the cancelled agent's record as handled; on a held topic
    it is not committed, so it is delivered again after the restart."""
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
    """However slow the end of recovery is, no record of the input is delivered into a queue that Faust then empties: each is
    delivered once, from the committed offset on. Found by killing the service."""
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


async def test_nothing_that_was_fetched_before_a_seek_is_delivered_after_it(app: StreamApp) -> None:
    """A seek while a fetch is being delivered drops the rest of that fetch; delivery continues at the new offset."""
    consumer = app.consumer
    app.backend.log.append("input", [b"%d" % nth for nth in range(10)])
    seen: list[int] = []

    async def callback(message: Any) -> None:
        seen.append(message.offset)
        if seen == [0, 1, 2, 3, 4]:
            await consumer.seek(INPUT, 2)

    app.agent(app.topic("input"))(lambda stream: stream)
    consumer.callback = callback
    await app.start()
    await until(lambda: len(seen) >= 13)
    assert seen == [0, 1, 2, 3, 4, *range(2, 10)]


async def test_waiting_for_agents_has_a_limit(app: StreamApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebalance does not last as long as the slowest agent."""
    monkeypatch.setattr("stream.transports.faust_overrides.corrected_consumer.STOP_WAIT_S_MAX", 0.2)
    held: list[bytes] = []

    async def agent(stream: faust.Stream[bytes]) -> None:
        async for value in stream:
            held.append(value)
            await asyncio.sleep(3600)

    app.agent(app.topic("input"))(agent)
    app.backend.log.append("input", [b"a"])
    await app.start()
    await until(lambda: held)
    await asyncio.wait_for(app.consumer.wait_empty(), 5)
