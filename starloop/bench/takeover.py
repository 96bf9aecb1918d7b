"""How soon the partitions of a killed worker go on: two workers share them under a steady load, and one is killed (kill -9).

Stream: until every partition has facts of a tick that was made after the kill. Reactor: until the store holds every partition's
progress beyond it. A fresh worker takes the place of the killed one before the next kill.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
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
"""Of undisturbed work before a kill, and up to so much more."""
POLL_S = 0.1

Reached = Callable[[], Awaitable[dict[int, int]]]
"""Of each partition, of what event time its newest result is, in ms."""


def run(folder: Path, settings: Settings, role: str, kills: int, standbys: int = 0) -> list[Measurement]:
    """The times of so many kills of a worker of the role. Raises StarloopError."""
    shown = f"{role}, standbys: {standbys}" if role == "stream" else role
    times = asyncio.run(_run(folder / f"{role}-{standbys}", settings, role, kills, standbys))
    return [Measurement(name=f"killed, all partitions go on ({shown})", unit="s", runs=tuple(times))]


async def _run(folder: Path, settings: Settings, role: str, kills: int, standbys: int) -> list[float]:
    async with (
        temporary_installation(folder, settings, STARLOOP_STANDBYS=str(standbys)) as installation,
        open_context(installation.settings, WallClock(), "bench", write_fleet_file(folder, DEVICES)) as context,
    ):
        workers = [await installation.run(role), await installation.run(role)]
        if role != "stream":
            await installation.run("stream")
        reached = _FactsWatermark(context) if role == "stream" else _StoreWatermark(context)
        watching = asyncio.create_task(reached.run())
        try:
            async with run_load(installation, DEVICES, RATE_PER_S, TAKEOVER_S_MAX * (kills + 2)):
                return await _time_kills(installation, context, role, workers, reached, kills)
        finally:
            watching.cancel()
            await asyncio.wait([watching])


async def _time_kills(
    installation: Installation,
    context: RoleContext,
    role: str,
    workers: list[WorkerProcess],
    reached: _FactsWatermark | _StoreWatermark,
    kills: int,
) -> list[float]:
    choice = random.Random(kills)
    times = []
    await _wait_until_past(context, reached, context.clock.now_ms())
    for _ in range(kills):
        await asyncio.sleep(SETTLE_S * (1.0 + choice.random()))
        await _wait_until_past(context, reached, context.clock.now_ms())
        killed = workers.pop(choice.randrange(2))
        killed_ms, killed_s = context.clock.now_ms(), time.monotonic()
        killed.kill()
        await _wait_until_past(context, reached, killed_ms)
        times.append(time.monotonic() - killed_s)
        workers.append(await installation.run(role))
    return times


async def _wait_until_past(context: RoleContext, reached: _FactsWatermark | _StoreWatermark, at_ms: int) -> None:
    """Waits until every partition has come beyond that moment."""
    until_s = time.monotonic() + TAKEOVER_S_MAX
    while len(reached.at_ms) < context.log.partitions or min(reached.at_ms.values()) <= at_ms:
        if time.monotonic() > until_s:
            behind = sorted(p for p in range(context.log.partitions) if reached.at_ms.get(p, 0) <= at_ms)
            raise StarloopError(f"partitions {behind} did not go on within {TAKEOVER_S_MAX:g} s")
        await asyncio.sleep(POLL_S / 10)


class _FactsWatermark:
    """The time of each partition's newest facts, as the log has them."""

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
    """The time up to which each partition is decided, as the store has it."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self.at_ms: dict[int, int] = {}

    async def run(self) -> None:
        """Asks until cancelled."""
        while True:
            found = await asyncio.to_thread(self._context.store.progress)
            self.at_ms = {partition: at_ms for partition, (_, at_ms) in found.items()}
            await asyncio.sleep(POLL_S)
