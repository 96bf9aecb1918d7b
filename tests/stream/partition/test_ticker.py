"""Time in the log: it never goes back, and it moves also where nothing arrives."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from star.errors import LogDamaged
from star.records import Quarantined, Record, Request, Tick, decode
from star.repeat import Outcome
from star.sense import Readings
from stream.arrival import arrival_ms
from stream.partition.partitioner import (
    decode_quarantined,
    encode_quarantined,
    last_arrival_ms,
    single_partition_entries,
)
from stream.partition.ticker import Ticker
from stream.topics import INPUT, QUARANTINE
from stream.transports.embedded_log.sqlite_log import SqliteLog


class FixedClock:
    """A clock that says what it is set to."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms


def test_the_log_knows_when_its_last_record_arrived(tmp_path: Path) -> None:
    """From there the time of arrival goes on after a restart, also where the machine's clock was set back."""
    with SqliteLog(tmp_path / "log.db") as log:
        assert last_arrival_ms(log) == 0
        log.append_batch(single_partition_entries([Tick(at_ms=5_000)]))
        assert last_arrival_ms(log) == 5_000


@pytest.mark.parametrize(
    ("record", "at_ms"),
    [
        (Readings.from_rows([(1, 5, 70, 1.0, -1, -1), (1, 6, 80, 1.0, -1, -1)]), 80),
        (Outcome(at_ms=5, arrived_ms=90, id="o", result="refilled", item="d/i"), 90),
        (Request(at_ms=60, id="q", item="d/i"), 60),
        (Quarantined(at_ms=50, topic=None, payload=b"", reason="r"), 50),
    ],
)
def test_a_record_tells_when_it_arrived(record: Record, at_ms: int) -> None:
    """Of readings the last one's; of an outcome its arrival, not when it happened."""
    assert arrival_ms(record) == at_ms


def test_what_was_quarantined_comes_back_whole(tmp_path: Path) -> None:
    """Raw bytes, topic and reason, in a topic of its own, in one batch with the records around it."""
    bad = Quarantined(at_ms=7, topic="a/\N{SNOWMAN}", payload=bytes(range(256)), reason="not JSON")
    assert decode_quarantined(encode_quarantined(bad)) == bad
    with pytest.raises(LogDamaged):
        decode_quarantined(b"{}")
    with SqliteLog(tmp_path / "log.db") as log:
        log.append_batch(single_partition_entries([Tick(at_ms=1), bad, Tick(at_ms=2)]))
        assert [decode(wire) for _, wire in log.read(INPUT, 0, 9)] == [Tick(at_ms=1), Tick(at_ms=2)]
        assert decode_quarantined(log.read(QUARANTINE, 0, 1)[0][1]) == bad


async def ticks_of(busy_s: float, idle_s: float, for_s: float, arrivals_s: list[float]) -> int:
    """How many ticks come in `for_s` where something arrives at these moments."""
    put: list[Record] = []
    ticker = Ticker(put.append, FixedClock(1), busy_s=busy_s, idle_s=idle_s)
    running = asyncio.create_task(ticker.run())
    for moment in arrivals_s:
        asyncio.get_running_loop().call_later(moment, ticker.notify_arrival)
    await asyncio.sleep(for_s)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return len(put)


async def test_a_silent_house_is_still_served() -> None:
    """One tick at the start for what fell due while the machine was off, then one every idle period."""
    assert await ticks_of(0.01, 10.0, 0.1, []) == 1
    assert 2 <= await ticks_of(0.01, 0.1, 0.45, []) <= 5


async def test_a_reading_is_looked_at_soon_and_a_flood_does_not_make_a_flood_of_ticks() -> None:
    """A tick follows an arrival within the busy period, and there are never more than one in it."""
    assert await ticks_of(0.05, 10.0, 0.2, [0.1]) == 2
    assert 3 <= await ticks_of(0.05, 10.0, 0.42, [nth / 1_000 for nth in range(420)]) <= 10
