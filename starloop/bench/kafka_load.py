"""Load of the Kafka benchmarks: levels of many tanks, batched and partitioned as by a gate.

It is either a history with ticks that is written beforehand, or readings at a constant rate from a process of its own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from config.settings import Settings
from runtime.clock import WallClock
from star.errors import StarloopError
from star.records import Record, Tick
from star.sense import Readings
from star.times import DAY_MS
from starloop.bench.installation import Installation
from starloop.roles.context import RoleContext, open_context
from stream.partition.partitioner import Partitioner

STEP_MS = 100
"""Interval between ticks of the history in milliseconds: that of a worker under load."""
FIRST_MS = 1_764_000_000_000
READINGS_A_RECORD_MAX = 2_000
BATCH_S = 0.003
"""Time for which a gate collects readings before it writes them, in seconds."""


class TankReadings:
    """Falling levels with sensor noise; reading k belongs to tank k modulo `devices`. Registers its metrics in the store."""

    def __init__(self, devices: int, context: RoleContext) -> None:
        self.devices = devices
        self._context = context
        self._metric = np.array(context.store.names.add(f"tank-{n}/oil" for n in range(devices)), dtype=np.int32)
        self._partitioner = Partitioner(context.log.partitions, context.store.names, lambda: context.fleet.current)
        number = np.arange(devices)
        self._full = 200.0 + number * 7 % 750
        self._use_per_ms = (2.0 + number % 29) / DAY_MS

    def readings(self, first: int, at_ms: NDArray[np.int64], since_ms: int) -> Readings:
        """Readings from number `first`, measured and arrived at `at_ms`; the tanks were full at `since_ms`."""
        number = first + np.arange(at_ms.size)
        turn, device = np.divmod(number, self.devices)
        noise = (number * 7919 % 101 - 50) / 50.0
        value = np.round(self._full[device] - self._use_per_ms[device] * (at_ms - since_ms) + noise, 2)
        return Readings(
            metric=self._metric[device],
            at_ms=at_ms,
            arrived_ms=at_ms,
            value=np.maximum(value, 0.0),
            boot=np.ones(at_ms.size, dtype=np.int64),
            seq=turn,
        )

    async def append(self, records: list[Record]) -> None:
        """Appends to the log, durable on return."""
        await self._context.log.append(self._partitioner.entries(records))


async def write_history(context: RoleContext, tanks: TankReadings, readings: int, rate_per_s: int) -> int:
    """Writes a history with `rate_per_s` readings per second of event time; returns the number of ticks per partition."""
    each = max(1, rate_per_s * STEP_MS // 1000)
    steps = -(-readings // each)
    for step in range(steps):
        count = min(each, readings - step * each)
        start_ms = FIRST_MS + step * STEP_MS
        at_ms = start_ms + np.arange(count, dtype=np.int64) * STEP_MS // each
        batch = tanks.readings(step * each, at_ms, FIRST_MS)
        # A batch is partitioned as a whole, so that the share of each partition must fit in one record.
        pieces = max(1, count // (READINGS_A_RECORD_MAX * context.log.partitions // 2))
        places = np.array_split(np.arange(count), pieces)
        await tanks.append([*(batch.select(rows) for rows in places), Tick(at_ms=start_ms + STEP_MS)])
    return steps


@asynccontextmanager
async def run_load(
    installation: Installation, devices: int, rate_per_s: int, seconds: float
) -> AsyncIterator[LoadProcess]:
    """A load process, which is running when the block starts and ends with it. Raises StarloopError."""
    numbers = (str(devices), str(rate_per_s), str(seconds))
    settings = installation.settings.model_dump_json(include={"log", "log_prefix", "store", "partitions"})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starloop.bench.kafka_load", settings, str(installation.folder / "load"), *numbers),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    load = LoadProcess(process)
    try:
        assert process.stdout is not None
        if not await process.stdout.readline():
            await load.wait()
        yield load
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass(frozen=True, slots=True)
class LoadProcess:
    """A running load process."""

    process: asyncio.subprocess.Process

    async def wait(self) -> None:
        """Waits until it has written everything. Raises StarloopError if it failed."""
        _, stderr = await self.process.communicate()
        if self.process.returncode != 0:
            raise StarloopError(f"the load failed: {stderr.decode()[-500:]}")


async def _load(settings: Settings, devices: int, rate_per_s: int, seconds: float) -> None:
    """Appends at the rate for `seconds`: readings due since the last append are written with the next one."""
    async with open_context(settings, WallClock(), "load") as context:
        tanks = TankReadings(devices, context)
        loop = asyncio.get_running_loop()
        sys.stdout.write("begins\n")
        sys.stdout.flush()
        begun_s, begun_ms, sent = loop.time(), context.clock.now_ms(), 0
        while loop.time() - begun_s < seconds:
            await asyncio.sleep(BATCH_S)
            due = int((loop.time() - begun_s) * rate_per_s)
            if due <= sent:
                continue
            number = np.arange(sent, due, dtype=np.int64)
            at_ms = begun_ms + number * 1000 // rate_per_s
            await tanks.append([tanks.readings(sent, at_ms, begun_ms)])
            sent = due


def main(arguments: list[str]) -> None:
    """Settings as JSON, a folder, devices, readings a second, seconds."""
    settings, folder, devices, rate_per_s, seconds = arguments
    installation = Settings.model_validate_json(settings).model_copy(update={"data_dir": Path(folder)})
    asyncio.run(_load(installation, int(devices), int(rate_per_s), float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
