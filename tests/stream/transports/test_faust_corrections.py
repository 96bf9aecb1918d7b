"""What the transports correct in Faust; what Faust does without them is tested in test_faust_upstream.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import MethodType
from typing import Any

import pytest

from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.corrected_producer import CorrectedBuffer
from stream.transports.faust_overrides.stream_app import StreamApp
from tests.stream.transports.faust_scenarios import (
    INPUT,
    consumer_of,
    deliver,
    flush_slow_sends,
    hold_a_record,
    recover_slowly,
    seek_while_delivering,
    wait_under_back_pressure,
)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[StreamApp]:
    with SqliteLog(tmp_path / "log.db") as log:
        app = StreamApp(log, id="test")
        yield app
        if app.started:
            await asyncio.wait_for(app.stop(), 20)


async def test_a_record_that_is_not_handled_is_not_skipped_by_a_commit(app: StreamApp) -> None:
    """With 10 delivered and unfinished, and 11 and 12 finished, nothing is committed; once 10 is finished, all are."""
    consumer = consumer_of(app)
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
    consumer = consumer_of(app)
    consumer._delivered[INPUT].extend([3, 7, 20])
    consumer._acked_index[INPUT] = {3, 7}
    assert consumer._new_offset(INPUT) == 8


async def test_a_held_topic_is_committed_only_as_far_as_it_was_released(app: StreamApp) -> None:
    """The input's offset follows the checkpoint, not the acknowledgement."""
    consumer = consumer_of(app)
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
    assert await flush_slow_sends(CorrectedBuffer, app) == ([0, 1], 0)


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
    seen, waits = await deliver(app, 1_000)
    assert seen == [b"%d" % nth for nth in range(1_000)]
    assert waits <= 100


async def test_a_stream_continues_as_soon_as_there_is_room(app: StreamApp) -> None:
    """With every partition under back-pressure the fetcher is woken by the first buffer with room."""
    assert await wait_under_back_pressure(app) < 0.9


async def test_records_are_not_lost_where_recovery_of_a_table_ends_slowly(tmp_path: Path) -> None:
    """However slow the end of recovery is, no record of the input is delivered into a queue that Faust then empties: each is
    delivered once, from the committed offset on. Found by killing the service."""
    seen = await recover_slowly(
        lambda log: StreamApp(log, id="test"), tmp_path / "log.db", count=300, pause_s=0.2, work_s=0.001
    )
    assert seen == list(range(600))


async def test_nothing_that_was_fetched_before_a_seek_is_delivered_after_it(app: StreamApp) -> None:
    """A seek while a fetch is being delivered drops the rest of that fetch; delivery continues at the new offset."""
    assert await seek_while_delivering(app) == [0, 1, 2, 3, 4, *range(2, 10)]


async def test_waiting_for_agents_has_a_limit(app: StreamApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebalance does not last as long as the slowest agent."""
    monkeypatch.setattr("stream.transports.faust_overrides.corrected_consumer.STOP_WAIT_S_MAX", 0.2)
    await hold_a_record(app)
    await asyncio.wait_for(app.consumer.wait_empty(), 5)


async def test_an_agent_that_hangs_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    """Stopping waits a limited time for an agent. Faust then counts the cancelled agent's record as handled; on a held topic
    it is not committed, so it is delivered again after the restart."""
    with SqliteLog(tmp_path / "log.db") as log:
        app = StreamApp(log, id="test", stream_wait_empty=True)
        consumer_of(app).hold_commits("input")
        await hold_a_record(app)
        await asyncio.wait_for(app.stop(), 60)
        assert log.committed("test", "input") is None
