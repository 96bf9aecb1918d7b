"""What Faust and aiokafka do without Starloop's overrides. Where one of these fails, upstream has mended the behaviour.

Then the override that it names can go: docs/internals/faust.md lists them all. How Starloop behaves instead is tested in
test_faust_corrections.py, test_durable_table_store.py and test_faust_contract.py.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.fetcher import Fetcher
from faust.exceptions import ProducerSendError
from faust.stores import memory
from faust.transport.consumer import ThreadDelegateConsumer
from faust.transport.drivers import aiokafka as faust_aiokafka
from faust.transport.producer import ProducerBuffer
from faust.types import TP

from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.stream_app import StreamApp
from tests.stream.transports.faust_scenarios import (
    INPUT,
    PlainApp,
    consumer_of,
    deliver,
    flush_slow_sends,
    hold_a_record,
    recover_slowly,
    seek_while_delivering,
    wait_under_back_pressure,
)
from tests.stream.transports.rigs import until


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[PlainApp]:
    """An app with Faust's own consumer, not started."""
    with SqliteLog(tmp_path / "log.db") as log:
        app = PlainApp(log, id="test")
        yield app
        if app.started:
            await asyncio.wait_for(app.stop(), 20)


async def test_upstream_commits_past_a_record_that_is_not_handled(plain: PlainApp) -> None:
    """faust-streaming/faust#606: with 10 committed and unhandled, and 11 and 12 handled, it commits 13."""
    consumer = consumer_of(plain)
    consumer._committed_offset[INPUT] = 10
    consumer._acked_index[INPUT] = {11, 12}
    consumer._acked[INPUT] = [11, 12]
    assert consumer._new_offset(INPUT) == 13


async def test_upstream_flush_returns_with_messages_unsent(plain: PlainApp) -> None:
    """Not reported: a flush gives up after 0.1 s without progress, and the commit that follows it does not know."""
    assert await flush_slow_sends(ProducerBuffer, plain) == ([], 1)


async def test_upstream_waits_once_for_every_record_delivered(plain: PlainApp) -> None:
    """Not reported as a cost: 1,000 records are 1,000 waits, each with four tasks (faust-streaming/faust#229 is near)."""
    _, waits = await deliver(plain, 1_000)
    assert waits >= 1_000


async def test_upstream_sleeps_a_second_where_every_partition_is_under_back_pressure(plain: PlainApp) -> None:
    """Not reported: the buffer has room after 0.05 s, and the fetcher sleeps on."""
    assert await wait_under_back_pressure(plain) >= 0.9


async def test_upstream_loses_records_that_it_delivers_before_recovery_has_ended(tmp_path: Path) -> None:
    """faust-streaming/faust#596: the end of recovery empties the agents' queues and does not go back for what was in them.

    The pause is longer than the fetcher sleeps, so that it delivers records before the end.
    """
    seen = await recover_slowly(
        lambda log: PlainApp(log, id="test"), tmp_path / "log.db", count=150, pause_s=1.5, work_s=0.01
    )
    assert set(seen) < set(range(300))


async def test_upstream_delivers_what_it_fetched_before_a_seek(plain: PlainApp) -> None:
    """faust-streaming/faust#221, mended for a change of the group's generation only: after a seek to 2 comes offset 5, and then
    offsets 2 to 4 are taken for old ones and dropped."""
    seen = await seek_while_delivering(plain)
    assert seen[:10] == list(range(10))
    assert {2, 3, 4}.isdisjoint(seen[10:])


async def test_upstream_waits_without_a_limit_for_an_agent(plain: PlainApp) -> None:
    """robinhood/faust#402: a rebalance, and a stop with `stream_wait_empty`, lasts as long as the slowest agent."""
    await hold_a_record(plain)
    consumer = consumer_of(plain)
    waiting = asyncio.create_task(consumer.wait_empty())
    await asyncio.wait({waiting}, timeout=2.5)
    assert not waiting.done()
    consumer._unacked_messages.clear()  # it also ignores that its task is cancelled
    await waiting


async def test_upstream_commits_a_record_whose_agent_failed(plain: PlainApp) -> None:
    """faust-streaming/faust#315: the record counts as handled, so it is never delivered again."""
    failed: list[bytes] = []

    async def agent(stream: faust.Stream[bytes]) -> None:
        async for value in stream:
            failed.append(value)
            raise ValueError("the agent failed")

    plain.agent(plain.topic("input"))(agent)
    plain.backend.log.append("input", [b"a"])
    await plain.start()
    await until(lambda: failed)
    await plain.stop()
    assert plain.backend.log.committed("test", "input") == 1


class StoreWithoutApp(memory.Store[Any, Any]):
    """Faust's memory store, of a table without an app."""

    def __init__(self) -> None:
        self.data = {}
        self._key_partition = {}


def recovered(partition: int, key: bytes) -> Any:
    """A record of the changelog."""
    message = SimpleNamespace(tp=TP("counts", partition), offset=7, partition=partition, value=b"1")
    return SimpleNamespace(key=key, value=b"1", message=message)


async def test_upstream_memory_store_drops_standby_replicas() -> None:
    """Not reported: the end of a recovery deletes what a standby partition holds, and no position is kept for any."""
    store = StoreWithoutApp()
    store.apply_changelog_batch(
        [recovered(0, b"active"), recovered(1, b"standby")], lambda key: key, lambda value: value
    )
    await store.on_recovery_completed({TP("counts", 0)}, {TP("counts", 1)})
    assert set(store.data) == {b"active"}
    assert store.persisted_offset(TP("counts", 0)) is None


async def test_upstream_memory_store_keeps_written_keys_of_revoked_partitions() -> None:
    """Not reported: only recovered keys have a partition, so a key written here stays when its partition has gone."""
    store = StoreWithoutApp()
    store[b"written"] = b"1"
    await store.on_recovery_completed(set(), set())
    assert set(store.data) == {b"written"}


async def test_upstream_table_manager_sleeps_a_second_before_recovery(plain: PlainApp) -> None:
    """Not reported: tables may be defined while the app starts, so it waits for them."""
    start = time.monotonic()
    await plain.start()
    await until(lambda: plain.tables.recovery.started)
    assert time.monotonic() - start >= 0.9


async def test_upstream_makes_directories_that_a_memory_store_never_uses(tmp_path: Path) -> None:
    """robinhood/faust#380: a directory that can't be written to stops the app."""
    with SqliteLog(tmp_path / "log.db") as log:
        app = StreamApp(log, id="test", datadir=str(tmp_path / "faust"))
        app._create_directories()
        assert not (tmp_path / "faust").exists()
        faust.App._create_directories(app)
        assert (tmp_path / "faust").is_dir()


async def test_upstream_flushes_the_producer_of_a_failed_app(tmp_path: Path) -> None:
    """Not reported: the flush at the end of `stop` raises what the app failed of, in place of the first reason."""
    log = SqliteLog(tmp_path / "log.db")
    app = StreamApp(log, id="test")
    await app.start()
    log.close()
    with pytest.raises(ProducerSendError):
        await (await app.producer.send("out", None, b"x", 0, None, None))
    await until(lambda: app.crash_reason is not None)
    with pytest.raises(ProducerSendError):
        await faust.App._producer_flush(app, app.log)
    await app._producer_flush(app.log)
    await asyncio.wait_for(app.stop(), 30)


def test_upstream_kafka_driver_runs_its_consumer_in_a_thread() -> None:
    """robinhood/faust#231 moved it there; faust-streaming/faust#175 is what races between the threads look like."""
    assert issubclass(faust_aiokafka.Consumer, ThreadDelegateConsumer)


def test_aiokafka_pauses_fetching_while_fetched_records_wait() -> None:
    """aio-libs/aiokafka#534 added the pause of 0.1 s; a consumer has no option for it."""
    assert inspect.signature(Fetcher.__init__).parameters["prefetch_backoff"].default == 0.1
    assert "prefetch_backoff" not in " ".join(inspect.signature(AIOKafkaConsumer.__init__).parameters)


async def test_aiokafka_describes_topics_with_a_request_that_may_create_them() -> None:
    """Not reported: the admin client cannot ask brokers to leave missing topics alone."""
    sent: list[Any] = []

    async def record(request: Any) -> Any:
        sent.append(request)
        raise ConnectionError("no broker")

    admin = AIOKafkaAdminClient()
    admin._send_request = record  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await admin.describe_topics(["missing"])
    assert sent[0]._allow_auto_topic_creation is not False
