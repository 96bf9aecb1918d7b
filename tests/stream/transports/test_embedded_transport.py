"""Faust on the embedded log: tables, timers, restarts, and what happens when the log can't be written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import faust
import pytest
from faust.exceptions import ImproperlyConfigured, ProducerSendError
from faust.types import TP
from structlog.testing import capture_logs

from star.errors import LogError
from stream.app import StreamApp
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides import embedded_transport
from stream.transports.faust_overrides.embedded_transport import EmbeddedTransport


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def counting_run(log: SqliteLog, values: list[bytes], ticks: list[float]) -> dict[bytes, bytes]:
    """One life of an app that counts in a table and passes on; gives the table when everything was passed on."""
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
    """Agents, a second topic, a table with changelog and recovery, and timers, inside a running loop, twice."""
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
    """The producer waits for room, says so, and goes on in the same order."""
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
    """What can't be written is reported to who sent it, and by `watch`; nothing is said to be durable that is not."""
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


async def test_a_transport_finds_its_log_by_url(tmp_path: Path) -> None:
    """`embedded:///path` works in any Faust app; its partitions are one, and it says so."""
    embedded_transport.register()
    app = faust.App(
        "plain",
        broker=f"embedded://{tmp_path}/log.db",
        autodiscover=False,
        web_enabled=False,
        store="memory://",
        datadir=str(tmp_path),
        topic_partitions=1,
        topic_disable_leader=True,
    )
    seen: list[object] = []

    async def agent(stream: faust.Stream[object]) -> None:
        async for value in stream:
            seen.append(value)

    app.agent(app.topic("words"))(agent)
    await app.start()
    await app.topic("words").send(key="k", value={"a": 1})
    await until(lambda: seen)
    assert seen == [{"a": 1}]
    with pytest.raises(ImproperlyConfigured, match="2 partitions"):
        await app.producer.create_topic("more", 2, 1)
    with pytest.raises(ProducerSendError, match="headers"):
        await app.producer.send("words", None, b"1", None, None, {"h": b"1"})
    consumer, tp = app.consumer, TP("words", 0)
    assert consumer.topic_partitions("words") == 1
    assert consumer.key_partition("words", b"k") == 0
    assert app.producer.key_partition("words", b"k") == tp
    assert not app.producer.supports_headers()
    assert consumer.highwater(tp) == 1
    assert await consumer.earliest_offsets(tp) == {tp: 0}
    assert await consumer.position(tp) == 1
    await consumer.seek_to_beginning(tp)
    assert await consumer.position(tp) == 0 or len(seen) == 2
    await app.stop()
    transport = app.transport
    assert isinstance(transport, EmbeddedTransport)
    transport.sqlite_log.close()
