"""Benchmark of one stream worker on Kafka: throughput and latency of `starloop run stream`.

Catch-up: the input is in the topics before the worker starts; throughput is measured from its first to its last facts, and the start
of the process separately. Live: a load process writes to the topics like a gate, at a given rate; the latency is the time from the
arrival of a reading to the facts of the next tick, by the timestamps of the log.
"""

from __future__ import annotations

import asyncio
import bisect
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from config.settings import Settings
from runtime.clock import WallClock
from star.errors import StarloopError
from star.records import decode
from star.sense import Readings
from starloop.bench.installation import POLL_S, WorkerProcess, temporary_installation
from starloop.bench.kafka_load import TankReadings, run_load, write_history
from starloop.bench.measurements import Measurement
from starloop.bench.replay import fleet_toml
from starloop.roles.context import RoleContext, open_context
from stream.topics import FACTS, INPUT
from stream.transports.log_client import FetchedRecord

CATCH_UP_S_MAX = 600.0
WARM_UP_S = 5.0
"""Start of a live run that is not measured, in seconds, so that the first evaluation of every item is done."""
DRAIN_S_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaLoad:
    """Load. rate_per_s: readings per second of event time, or of real time in a live run."""

    devices: int = 20_000
    readings: int = 4_000_000
    rate_per_s: int = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """One catch-up run. start_s: from the start of the process to its first facts."""

    readings: int
    wall_s: float
    cpu_s: float
    start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """One live run. behind_s: from the arrival of the last reading to its facts."""

    readings: int
    cpu_s: float
    wall_s: float
    latency_ms: tuple[float, float]
    behind_s: float


def run(folder: Path, settings: Settings, load: KafkaLoad, runs: int) -> list[Measurement]:
    """Measurements of catch-up, each run on topics of its own. Raises StarloopError."""
    done = [asyncio.run(_catch_up(folder / str(number), settings, load)) for number in range(runs)]
    return [
        Measurement(
            name="kafka, readings per second", unit="1/s", runs=tuple(one.readings / one.wall_s for one in done)
        ),
        Measurement(
            name="kafka, readings per CPU second", unit="1/s", runs=tuple(one.readings / one.cpu_s for one in done)
        ),
        Measurement(
            name="kafka, start of the process to first facts", unit="s", runs=tuple(one.start_s for one in done)
        ),
    ]


def run_live(folder: Path, settings: Settings, load: KafkaLoad, seconds: int, runs: int) -> list[Measurement]:
    """Measurements of live runs at a rate. Raises StarloopError."""
    name = f"kafka at {load.rate_per_s:,}/s"
    done = [
        asyncio.run(_live(folder / f"live-{load.rate_per_s}-{number}", settings, load, seconds))
        for number in range(runs)
    ]
    return [
        Measurement(
            name=f"{name}, readings per second", unit="1/s", runs=tuple(one.readings / one.wall_s for one in done)
        ),
        Measurement(
            name=f"{name}, CPU seconds per second", unit="", runs=tuple(one.cpu_s / one.wall_s for one in done)
        ),
        Measurement(name=f"{name}, arrival to facts, median", unit="ms", runs=tuple(one.latency_ms[0] for one in done)),
        Measurement(name=f"{name}, arrival to facts, 99 %", unit="ms", runs=tuple(one.latency_ms[1] for one in done)),
        Measurement(name=f"{name}, behind at the end", unit="s", runs=tuple(one.behind_s for one in done)),
    ]


async def _catch_up(folder: Path, settings: Settings, load: KafkaLoad) -> CatchUp:
    async with (
        temporary_installation(folder, settings, STARLOOP_TICKS="log") as installation,
        open_context(installation.settings, WallClock(), "bench", write_fleet_file(folder, load.devices)) as context,
    ):
        ticks = await write_history(context, TankReadings(load.devices, context), load.readings, load.rate_per_s)
        worker = await installation.run("stream")
        first = await _wait_for_facts(context, worker, 1)
        cpu_s, begun_s = worker.cpu_s(), time.monotonic()
        await _wait_for_facts(context, worker, ticks * context.log.partitions)
        cpu_s, wall_s = worker.cpu_s() - cpu_s, time.monotonic() - begun_s
    # Readings handled before the first poll are not counted: their share is that of the facts found then.
    counted = round(load.readings * (1.0 - first / (ticks * context.log.partitions)))
    return CatchUp(readings=counted, wall_s=wall_s, cpu_s=cpu_s, start_s=begun_s - worker.started_s)


async def _wait_for_facts(context: RoleContext, worker: WorkerProcess, count: int) -> int:
    """Waits until the facts of `count` ticks are in the log, and returns their number."""
    until_s = time.monotonic() + CATCH_UP_S_MAX
    while (found := sum((await context.log.end_offsets(FACTS)).values())) < count:
        worker.raise_if_ended()
        if time.monotonic() > until_s:
            raise StarloopError(f"facts of {found} of {count} ticks within {CATCH_UP_S_MAX:g} s")
        await asyncio.sleep(POLL_S)
    return found


async def _live(folder: Path, settings: Settings, load: KafkaLoad, seconds: int) -> Live:
    async with (
        temporary_installation(folder, settings) as installation,
        open_context(installation.settings, WallClock(), "bench", write_fleet_file(folder, load.devices)) as context,
    ):
        TankReadings(load.devices, context)
        worker = await installation.run("stream")
        await _wait_for_facts(context, worker, context.log.partitions)
        async with run_load(installation, load.devices, load.rate_per_s, WARM_UP_S + seconds) as load_process:
            first_ms = context.clock.now_ms() + round(WARM_UP_S * 1000)
            await asyncio.sleep(WARM_UP_S)
            cpu_s, begun_s = worker.cpu_s(), time.monotonic()
            await load_process.wait()
            cpu_a_second = (worker.cpu_s() - cpu_s) / (time.monotonic() - begun_s)
        rows = await _read_when_drained(context)
    readings, wall_s, latency_ms, behind_s = _latencies(rows, first_ms)
    return Live(readings=readings, cpu_s=cpu_a_second * wall_s, wall_s=wall_s, latency_ms=latency_ms, behind_s=behind_s)


async def _read_when_drained(context: RoleContext) -> list[FetchedRecord]:
    """All input and facts, once every partition has the facts of its last reading."""
    ends = await context.log.end_offsets(INPUT)
    follower = context.log.subscribe([INPUT, FACTS])
    await follower.start()
    rows: list[FetchedRecord] = []
    wanted = dict.fromkeys(ends, -1)
    facts_offsets = dict.fromkeys(ends, -1)
    unread = {partition for partition, end in ends.items() if end}
    until_s = time.monotonic() + DRAIN_S_MAX
    try:
        while True:
            for row in await follower.fetch(10_000, wait_s=0.5):
                if row.topic == FACTS:
                    facts_offsets[row.partition] = orjson.loads(row.value)["offset"]
                    rows.append(row)
                    continue
                if row.value[:1] == b"R":
                    wanted[row.partition] = row.offset
                    rows.append(row)
                if row.offset >= ends[row.partition] - 1:
                    unread.discard(row.partition)
            if not unread and all(facts_offsets[partition] >= offset for partition, offset in wanted.items()):
                return rows
            if time.monotonic() > until_s:
                raise StarloopError(f"the worker did not catch up with the load within {DRAIN_S_MAX:g} s")
    finally:
        await follower.close()


def _latencies(rows: list[FetchedRecord], first_ms: int) -> tuple[int, float, tuple[float, float], float]:
    """Of readings that arrived from `first_ms`: number, seconds from first to last arrival, median and 99 % latency in ms, and the
    latency of the last one in s."""
    facts: dict[int, tuple[list[int], list[int]]] = {}
    for row in rows:
        if row.topic == FACTS:
            offsets, at_ms = facts.setdefault(row.partition, ([], []))
            offsets.append(orjson.loads(row.value)["offset"])
            at_ms.append(row.at_ms)
    waits, arrivals, last = [], [], (0, 0)
    for row in rows:
        if row.topic != INPUT:
            continue
        readings = decode(row.value)
        assert isinstance(readings, Readings)
        offsets, at_ms = facts[row.partition]
        facts_ms = at_ms[bisect.bisect_left(offsets, row.offset)]
        arrived_ms = readings.arrived_ms[readings.arrived_ms >= first_ms]
        if arrived_ms.size:
            arrivals.append(arrived_ms)
            waits.append(facts_ms - arrived_ms)
            last = max(last, (int(arrived_ms[-1]), facts_ms))
    all_ms, arrived_ms = np.concatenate(waits), np.concatenate(arrivals)
    span_s = (arrived_ms.max() - arrived_ms.min()) / 1000
    p50_ms, p99_ms = np.percentile(all_ms, (50, 99))
    return all_ms.size, float(span_s), (float(p50_ms), float(p99_ms)), (last[1] - last[0]) / 1000


def write_fleet_file(folder: Path, devices: int) -> Path:
    """Writes a fleet file of tanks, each with its own customer."""
    file = folder / "fleet.toml"
    file.write_text(fleet_toml(devices))
    return file
