"""The stream application: facts for every tick, state that survives, nothing skipped when the reactor fails."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from star.analyse import Facts, Forecast
from star.errors import StoreError
from star.records import Record, Request, Tick, decode, encode
from star.sense import Readings
from stream.analysis_consumer import CONSUMER_GROUP, AnalysisConsumer
from stream.app import StreamOptions, build_app
from stream.partition.partitioner import single_partition_entries
from stream.state.checkpoint import CheckpointPolicy
from stream.topics import FACTS, FORECASTS, INPUT, Retention, topic_specs
from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.stream_app import SWITCH_INTERVAL_S, StreamApp
from tests.stream.counting_analysis import CountingAnalysis

FREQUENT_CHECKPOINTS = StreamOptions(checkpoint=CheckpointPolicy(every_s=1.0, records=20), commit_s=0.05)


def readings(count: int, at_ms: int) -> Readings:
    times = np.full(count, at_ms, dtype=np.int64)
    return Readings(
        metric=np.arange(count, dtype=np.int32) % 40,
        at_ms=times,
        arrived_ms=times,
        value=np.arange(count) / 8 + at_ms,
        boot=np.full(count, -1, dtype=np.int64),
        seq=np.full(count, -1, dtype=np.int64),
    )


def fill(log: SqliteLog, ticks: int, start: int = 0) -> None:
    for nth in range(start, start + ticks):
        at_ms = nth * 100
        log.append_batch(
            single_partition_entries([readings(30, at_ms), Request(at_ms=at_ms, id=f"q{nth}", item="d/1")])
        )
        log.append(INPUT, [encode(Tick(at_ms=at_ms))])


def uninterrupted(log: SqliteLog) -> tuple[list[Facts], CountingAnalysis]:
    """What a plain loop over the log gives."""
    analysis = CountingAnalysis()
    found = [analysis.ingest(offset, decode(wire)) for offset, wire in log.read(INPUT, 0, 100_000)]
    return [facts for facts in found if facts is not None], analysis


async def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


class AppRun:
    """One life of the app and of the loop that hands its facts on, with what the reactor got."""

    def __init__(
        self,
        log: SqliteLog,
        make: Callable[[], CountingAnalysis] = CountingAnalysis,
        *,
        options: StreamOptions = FREQUENT_CHECKPOINTS,
        fail_at: int | None = None,
    ) -> None:
        self.facts: list[Facts] = []
        self.analyses: list[CountingAnalysis] = []
        self._make = make
        self._fail_at = fail_at
        self._client = EmbeddedClient(log, topic_specs())
        self.app: StreamApp = build_app(log, self._client, self.make, options)
        self.handing = asyncio.create_task(AnalysisConsumer(self._client, self.react, commit_s=0.05).run())

    async def start(self) -> None:
        await self._client.start()
        await self.app.start()

    async def stop(self) -> None:
        await self.app.stop()
        self.handing.cancel()
        await asyncio.wait([self.handing])

    def make(self, partition: int) -> CountingAnalysis:
        assert partition == 0
        self.analyses.append(self._make())
        return self.analyses[-1]

    async def react(self, partition: int, facts: Facts, written_ms: int) -> None:
        if len(self.facts) == self._fail_at:
            raise StoreError("the store has gone")
        await asyncio.sleep(0)
        self.facts.append(facts)


async def test_every_tick_gives_its_facts_once_and_in_order_over_restarts(tmp_path: Path) -> None:
    """Three lives of the app hand over the same facts, byte for byte, as one loop over the log."""
    got: list[Facts] = []
    for life in range(3):
        with SqliteLog(tmp_path / "log.db") as log:
            fill(log, 40, start=life * 40)
            run = AppRun(log)
            await run.start()
            await wait_until(lambda run=run: run.facts and run.facts[-1].offset == log.end(INPUT) - 1)
            await run.stop()
            new = [facts for facts in run.facts if not got or facts.offset > got[-1].offset]
            got += new
            expected, analysis = uninterrupted(log)
            assert [facts.pack() for facts in got] == [facts.pack() for facts in expected]
            assert [value for _, value in log.read(FACTS, 0, 10_000)] == [facts.pack() for facts in expected]
            assert run.analyses[-1].totals() == analysis.totals()
            assert run.analyses[-1].events == analysis.events
            assert len(run.analyses) == 1
            assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)


async def test_the_input_is_committed_only_after_its_checkpoint(tmp_path: Path) -> None:
    """Without a checkpoint nothing of the input is committed, however much was handled and acknowledged."""
    with SqliteLog(tmp_path / "log.db") as log:
        fill(log, 3)
        never = StreamOptions(checkpoint=CheckpointPolicy(every_s=1e9, records=10**9), commit_s=0.05)
        run = AppRun(log, options=never)
        await run.start()
        await wait_until(lambda: len(run.facts) == 3)
        await wait_until(lambda: log.committed(CONSUMER_GROUP, FACTS) == 3)
        await run.stop()
        assert log.committed("starloop", INPUT) is None
        assert log.end("starloop-blocks-changelog") == 0


async def test_facts_that_the_reactor_could_not_store_come_again(tmp_path: Path) -> None:
    """A reactor that fails ends the handing over with the reason; after the restart it gets the same facts, none skipped."""
    with SqliteLog(tmp_path / "log.db") as log:
        fill(log, 10)
        broken = AppRun(log, fail_at=4)
        await broken.start()
        with pytest.RaisesGroup(pytest.RaisesExc(StoreError, match="the store has gone")):
            await asyncio.wait_for(broken.handing, 10)
        await asyncio.wait_for(broken.stop(), 10)
        assert [facts.offset for facts in broken.facts] == [2, 5, 8, 11]
        assert (log.committed(CONSUMER_GROUP, FACTS) or 0) <= 4
    with SqliteLog(tmp_path / "log.db") as log:
        again = AppRun(log)
        await again.start()
        await wait_until(lambda: again.facts and again.facts[-1].offset == 29)
        await again.stop()
        seen = [facts.offset for facts in again.facts]
        assert seen == sorted(set(seen))
        assert set(range(14, 30, 3)) <= set(seen)


async def test_an_analysis_that_fails_stops_the_app_with_its_reason(tmp_path: Path) -> None:
    """A record that can't be handled is never passed over."""

    class Broken(CountingAnalysis):
        def _tick(self, offset: int, at_ms: int) -> Facts:
            raise ValueError("a bug")

    with SqliteLog(tmp_path / "log.db") as log:
        fill(log, 2)
        run = AppRun(log, Broken)
        await run.start()
        with pytest.raises(ValueError, match="a bug"):
            await asyncio.wait_for(run.app.wait_for_failure(), 10)
        await asyncio.wait_for(run.stop(), 10)
        assert log.committed("starloop", INPUT) is None
        assert log.end(FACTS) == 0


async def test_observers_get_the_forecasts_of_evaluated_items(tmp_path: Path) -> None:
    """One JSON record for each tick that evaluated an item."""

    class Evaluating(CountingAnalysis):
        def telemetry(self) -> dict[str, list[Forecast]]:
            return {FORECASTS: [self._need(0, 7).forecast]}

    with SqliteLog(tmp_path / "log.db") as log:
        fill(log, 2)
        run = AppRun(log, Evaluating)
        await run.start()
        await wait_until(lambda: log.end(FORECASTS) == 2)
        await run.stop()
        body = json.loads(log.read(FORECASTS, 1, 1)[0][1])
        assert body[0]["item"] == "d/0"
        assert len(body[0]["days"]) == 9


async def test_how_much_is_kept_can_be_changed_between_runs(tmp_path: Path) -> None:
    """Retention is a setting: the topics exist already and take it over."""
    with SqliteLog(tmp_path / "log.db") as log:
        await EmbeddedClient(log, topic_specs()).start()
        await EmbeddedClient(log, topic_specs(Retention(facts_bytes=1))).start()
        log.append(FACTS, [b"1", b"2"])
        assert log.enforce_retention() == 1


async def test_devices_are_answered_while_the_stream_catches_up(tmp_path: Path) -> None:
    """With many records waiting, each of them slow, the event loop turns every few milliseconds: nothing else waits for the queue."""

    turn, turns = 0, []

    class Slow(CountingAnalysis):
        def ingest(self, offset: int, record: Record) -> Facts | None:
            turns.append(turn)
            time.sleep(0.005)
            return super().ingest(offset, record)

    with SqliteLog(tmp_path / "log.db") as log:
        fill(log, 60)
        run = AppRun(log, Slow)
        await run.start()
        while log.end(FACTS) < 60:
            await asyncio.sleep(0)
            turn += 1
        await run.stop()
    assert len(turns) >= 60
    assert max(Counter(turns).values()) <= 2
