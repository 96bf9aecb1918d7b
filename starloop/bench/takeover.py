"""Benchmark of failover: time until all partitions resume after kill -9 of one of two workers under a constant load.

Stream: until every partition has facts of a tick after the kill. Reactor: until the store has progress of every partition after the
kill. A new worker replaces the killed one before the next kill.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import orjson

from config.settings import Settings
from runtime.clock import WallClock
from star.errors import StarloopError
from starloop.bench.installation import Installation, WorkerProcess, temporary_installation
from starloop.bench.kafka import write_fleet_file
from starloop.bench.kafka_load import run_load
from starloop.bench.measurements import Measurement
from starloop.roles.context import RoleContext, open_context
from stream.topics import FACTS

DEVICES = 2_000
RATE_PER_S = 5_000
TAKEOVER_S_MAX = 60.0
SETTLE_S = 6.0
"""Minimum time between takeover and the next kill, in seconds; a random time up to the same is added."""
POLL_S = 0.1


def run(folder: Path, settings: Settings, role: str, kills: int, standbys: int = 0) -> list[Measurement]:
    """Takeover times of `kills` kills of a worker of the role. Raises StarloopError."""
    shown = f"{role}, standbys: {standbys}" if role == "stream" else role
    times = asyncio.run(_run(folder / f"{role}-{standbys}", settings, role, kills, standbys))
    return [Measurement(name=f"kill to all partitions resumed ({shown})", unit="s", runs=tuple(times))]


async def _run(folder: Path, settings: Settings, role: str, kills: int, standbys: int) -> list[float]:
    async with (
        temporary_installation(folder, settings, STARLOOP_STANDBYS=str(standbys)) as installation,
        open_context(installation.settings, WallClock(), "bench", write_fleet_file(folder, DEVICES)) as context,
    ):
        workers = [await installation.run(role), await installation.run(role)]
        if role != "stream":
            await installation.run("stream")
        watermark = _FactsWatermark(context) if role == "stream" else _StoreWatermark(context)
        watching = asyncio.create_task(watermark.run())
        try:
            async with run_load(installation, DEVICES, RATE_PER_S, TAKEOVER_S_MAX * (kills + 2)):
                return await _time_kills(installation, context, role, workers, watermark, kills)
        finally:
            watching.cancel()
            await asyncio.wait([watching])


async def _time_kills(
    installation: Installation,
    context: RoleContext,
    role: str,
    workers: list[WorkerProcess],
    watermark: _FactsWatermark | _StoreWatermark,
    kills: int,
) -> list[float]:
    choice = random.Random(kills)
    times = []
    await _wait_until_past(context, watermark, context.clock.now_ms())
    for _ in range(kills):
        await asyncio.sleep(SETTLE_S * (1.0 + choice.random()))
        await _wait_until_past(context, watermark, context.clock.now_ms())
        killed = workers.pop(choice.randrange(2))
        killed_ms, killed_s = context.clock.now_ms(), time.monotonic()
        killed.kill()
        await _wait_until_past(context, watermark, killed_ms)
        times.append(time.monotonic() - killed_s)
        workers.append(await installation.run(role))
    return times


async def _wait_until_past(context: RoleContext, watermark: _FactsWatermark | _StoreWatermark, at_ms: int) -> None:
    """Waits until every partition has passed `at_ms`. Raises StarloopError on timeout."""
    until_s = time.monotonic() + TAKEOVER_S_MAX
    while len(watermark.at_ms) < context.log.partitions or min(watermark.at_ms.values()) <= at_ms:
        if time.monotonic() > until_s:
            behind = sorted(p for p in range(context.log.partitions) if watermark.at_ms.get(p, 0) <= at_ms)
            raise StarloopError(f"partitions {behind} did not resume within {TAKEOVER_S_MAX:g} s")
        await asyncio.sleep(POLL_S / 10)


class _FactsWatermark:
    """Event time of the latest facts per partition, from the log."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self.at_ms: dict[int, int] = {}

    async def run(self) -> None:
        """Follows until cancelled."""
        follower = self._context.log.subscribe([FACTS])
        await follower.start()
        try:
            while True:
                for row in await follower.fetch(10_000, wait_s=POLL_S):
                    self.at_ms[row.partition] = orjson.loads(row.value)["at_ms"]
        finally:
            await follower.close()


class _StoreWatermark:
    """Event time of the latest decided tick per partition, from the store."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self.at_ms: dict[int, int] = {}

    async def run(self) -> None:
        """Polls until cancelled."""
        while True:
            found = await asyncio.to_thread(self._context.store.progress)
            self.at_ms = {partition: at_ms for partition, (_, at_ms) in found.items()}
            await asyncio.sleep(POLL_S)
