"""The one way into the log: gathered, in order, acknowledged only when on disk, and nothing lost when the disk is full."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from edge import ingest_batcher
from edge.decoder import Decoder
from edge.ingest_batcher import WAITING_BYTES_MAX
from edge.ingest_service import IngestService
from edge.mqtt_broker.broker import Arrival
from star.errors import DiskFull, LogDamaged
from star.records import Quarantined, Record, Tick
from star.sense import Readings

TOPIC = "starloop/v1/tank-7/telemetry"


class FakeLog:
    """A log in memory that may be full, slow or damaged."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.quarantined: list[Quarantined] = []
        self.batches = 0
        self.open = asyncio.Event()
        self.open.set()
        self.fails: list[Exception] = []

    async def append(self, records: list[Record], quarantined: list[Quarantined]) -> None:
        await self.open.wait()
        if self.fails:
            raise self.fails.pop(0)
        self.batches += 1
        self.records += records
        self.quarantined += quarantined

    def values(self) -> list[float]:
        return [value for one in self.records if isinstance(one, Readings) for value in one.value.tolist()]


class Rig:
    """An inlet that runs, with its log, a clock to move and what it said."""

    def __init__(self, decoder: Decoder) -> None:
        self.log = FakeLog()
        self.clock_ms = 1_000
        self.said: list[str] = []
        self.inlet = IngestService(decoder, self.log.append, lambda: self.clock_ms, self.say)
        self.acknowledged: list[int] = []

    def say(self, event: str, **fields: object) -> None:
        self.said.append(event)

    def offer(self, values: Sequence[float]) -> bool:
        arrivals = [Arrival(TOPIC, b'{"values": {"oil": %r}}' % v, self.inlet.now_ms(), True) for v in values]
        count = len(values)
        return self.inlet.offer(arrivals, lambda: self.acknowledged.append(count))

    async def settle(self) -> None:
        done = asyncio.Event()
        self.inlet.offer([], done.set)
        await done.wait()


@pytest.fixture
async def rig(decoder: Decoder) -> AsyncIterator[Rig]:
    rig = Rig(decoder)
    running = asyncio.create_task(rig.inlet.run())
    yield rig
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, LogDamaged):
        await running


async def test_messages_of_many_connections_are_one_batch_and_then_acknowledged(rig: Rig) -> None:
    """In order of arrival, with one flush for what came within a few milliseconds."""
    for value in range(100):
        rig.offer([value, value + 0.5])
    await rig.settle()
    assert rig.log.values() == [v for n in range(100) for v in (n, n + 0.5)]
    assert rig.log.batches == 1
    assert rig.acknowledged == [2] * 100


async def test_nothing_is_acknowledged_before_it_is_on_disk(rig: Rig) -> None:
    """However long the flush takes; what comes meanwhile waits for the next one."""
    rig.log.open.clear()
    rig.offer([1.0])
    await asyncio.sleep(0.02)
    rig.offer([2.0])
    await asyncio.sleep(0.02)
    assert rig.acknowledged == []
    rig.log.open.set()
    await rig.settle()
    assert rig.acknowledged == [1, 1]
    assert rig.log.values() == [1.0, 2.0]


async def test_a_full_disk_loses_nothing_and_is_logged(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is tried again until there is room; only then is it acknowledged, once."""
    monkeypatch.setattr(ingest_batcher, "RETRY_MIN_S", 0.001)
    rig.log.fails = [DiskFull("no room"), DiskFull("no room")]
    rig.offer([1.0, 2.0])
    await rig.settle()
    assert rig.log.values() == [1.0, 2.0]
    assert rig.acknowledged == [2]
    assert rig.said == ["log_not_written", "log_not_written"]


async def test_a_damaged_log_ends_the_ingest_service(decoder: Decoder) -> None:
    """No retry mends it: a supervisor has to know."""
    rig = Rig(decoder)
    rig.log.fails = [LogDamaged("page 7")]
    rig.offer([1.0])
    with pytest.raises(LogDamaged):
        await rig.inlet.run()
    assert rig.acknowledged == []


async def test_reading_pauses_beyond_a_limit_and_resumes_below_it(rig: Rig) -> None:
    """Messages and bytes are both bounded."""
    rig.log.open.clear()
    big = Arrival("home/x", b"x" * (WAITING_BYTES_MAX // 4), 1, True)
    room = [rig.inlet.offer([big], None) for _ in range(5)]
    resumed = asyncio.Event()
    rig.inlet.when_ready(resumed.set)
    assert room == [True, True, True, False, False]
    await asyncio.sleep(0.02)
    rig.log.open.set()
    await asyncio.wait_for(resumed.wait(), 5)
    await rig.settle()
    assert len(rig.log.quarantined) == 5


async def test_a_tick_and_messages_keep_their_order_and_times_never_go_back(rig: Rig) -> None:
    """The clock may be set back; the time of arrival is not."""
    rig.offer([1.0])
    rig.clock_ms = 500
    kept = rig.inlet.enqueue(Tick(at_ms=rig.inlet.now_ms()))
    rig.offer([2.0])
    await kept
    await rig.settle()
    first, tick, second = rig.log.records
    assert isinstance(first, Readings)
    assert isinstance(second, Readings)
    assert (first.arrived_ms[0], tick.at_ms, second.arrived_ms[0]) == (1_000, 1_000, 1_000)


async def test_what_was_offered_before_a_stop_is_written(decoder: Decoder) -> None:
    """A stop is clean: everything is on disk and acknowledged when it returns."""
    rig = Rig(decoder)
    rig.offer([1.0])
    rig.inlet.stop()
    await rig.inlet.run()
    assert rig.acknowledged == [1]
