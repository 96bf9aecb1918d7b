"""Faust on the embedded log: tables, timers, restarts, and a log that can't be written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import faust
import pytest
from faust.exceptions import ProducerSendError
from faust.types import TP
from structlog.testing import capture_logs

from star.errors import LogError
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.stream_app import StreamApp


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def counting_run(log: SqliteLog, values: list[bytes], ticks: list[float]) -> dict[bytes, bytes]:
    """Runs an app that counts in a table and forwards records; gives the table once all records were forwarded."""
    app = StreamApp(log, id="test")
    table = app.Table("counts", partitions=1, key_type=bytes, value_type=bytes)
    out = app.topic("out")
    passed: list[bytes] = []

    async def count(stream: faust.Stream[bytes]) -> None:
        async for value in stream:
            table[b"total"] = b"%d" % (int(table.get(b"total") or b"0") + 1)
            table[value] = b"seen"
            await out.send(value=value)

    async def collect(stream: faust.Stream[bytes]) -> None:
        async for value in stream:
            passed.append(value)

    async def on_timer() -> None:
        ticks.append(time.monotonic())

    app.agent(app.topic("input"))(count)
    app.agent(out)(collect)
    app.timer(interval=0.05)(on_timer)
    await app.start()
    await log.append_async("input", values)
    await until(lambda: len(passed) == len(values))
    await asyncio.sleep(0.2)
    await asyncio.wait_for(app.stop(), 30)
    return dict(table)


async def test_a_table_is_what_it_was_after_a_restart(tmp_path: Path) -> None:
    """Agents, a second topic, a table with changelog and recovery, and timers, over two runs."""
    ticks: list[float] = []
    with SqliteLog(tmp_path / "log.db") as log:
        first = await counting_run(log, [b"%d" % nth for nth in range(300)], ticks)
        assert (first[b"total"], len(first)) == (b"300", 301)
        assert log.committed("test", "input") == 300
    with SqliteLog(tmp_path / "log.db") as log:
        second = await counting_run(log, [b"%d" % nth for nth in range(300, 350)], ticks)
        assert (second[b"total"], len(second)) == (b"350", 351)
        assert [v for _, v in log.read("out", 0, 1_000)] == [b"%d" % nth for nth in range(350)]
    assert len(ticks) >= 4


async def test_a_full_disk_delays_what_the_stream_sends_and_loses_nothing(tmp_path: Path) -> None:
    """The producer waits for room, logs that, and continues in the same order."""
    with SqliteLog(tmp_path / "log.db", size_max_bytes=1 << 20) as log:
        log.create("ballast", retain_bytes=1)
        app = StreamApp(log, id="test")
        await app.start()
        topic = app.topic("out")
        while True:
            try:
                await log.append_async("ballast", [bytes(4_000)])
            except LogError:
                break
        with capture_logs() as logs:
            sent = [await topic.send(value=b"%d" % nth + bytes(9_000)) for nth in range(5)]
            await asyncio.sleep(0.3)
            assert not any(future.done() for future in sent)
            await asyncio.to_thread(log.enforce_retention)
            await app.producer.flush()
        assert [(await future).offset for future in sent] == list(range(5))
        assert [value[:1] for _, value in log.read("out", 0, 10)] == [b"0", b"1", b"2", b"3", b"4"]
        assert logs[0]["event"] == "wait_for_room"
        await app.stop()


async def test_a_log_that_fails_stops_the_app_with_its_reason(tmp_path: Path) -> None:
    """A failed write is raised to its sender and by `wait_for_failure`; nothing is reported as durable that is not."""
    log = SqliteLog(tmp_path / "log.db")
    app = StreamApp(log, id="test")
    await app.start()
    watching = asyncio.create_task(app.wait_for_failure())
    log.close()
    future = await app.topic("out").send(value=b"x")
    with pytest.raises(ProducerSendError, match="closed"):
        await future
    with pytest.raises(LogError, match="closed"):
        await asyncio.wait_for(watching, 5)
    with pytest.raises(ProducerSendError):
        await app.topic("out").send(value=b"y")
    await asyncio.wait_for(app.stop(), 30)


async def test_faust_sees_the_embedded_log_s_partitions_and_offsets(tmp_path: Path) -> None:
    """One partition of each topic; positions and offsets as the log has them; a record with headers is refused."""
    with SqliteLog(tmp_path / "log.db") as log:
        app = StreamApp(log, id="test")
        seen: list[bytes] = []

        async def agent(stream: faust.Stream[bytes]) -> None:
            async for value in stream:
                seen.append(value)

        app.agent(app.topic("words"))(agent)
        await app.start()
        await app.topic("words").send(key="k", value=b"a")
        await until(lambda: seen)
        with pytest.raises(ProducerSendError, match="headers"):
            await app.producer.send("words", None, b"1", None, None, {"h": b"1"})
        consumer, tp = app.consumer, TP("words", 0)
        assert consumer.topic_partitions("words") == 1
        assert not app.producer.supports_headers()
        assert consumer.highwater(tp) == 1
        assert await consumer.earliest_offsets(tp) == {tp: 0}
        assert await consumer.position(tp) == 1
        assert log.read_records("words", 0, 1)[0].key == b"k"
        await app.stop()
