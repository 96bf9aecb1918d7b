"""Benchmark of the InfluxDB sink: throughput of raw readings from the log to a real server, with the sink alone.

The log is filled before. Each run writes to a temporary bucket, so that runs do not overwrite each other's points and nothing is left.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from config.catalogue import resolve_catalogue
from config.profile_file import load_profiles
from config.profile_schema import RawReadingsMode
from simulators.load import SLOT, device_name, load_fleet
from star.errors import StarloopError
from star.records import encode
from star.sense import NO_BOOT, NO_SEQ, Readings
from starloop.bench.measurements import Measurement
from stream.sinks.influx_sink import TOPICS, InfluxSink
from stream.sinks.options import GROUP, InfluxOptions
from stream.topics import INPUT, topic_specs
from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.sqlite_log import SqliteLog

DEVICES = 2_000
READINGS_A_RECORD = 1_000
STEP_MS = 60_000
FIRST_MS = 1_764_000_000_000
RUN_S_MAX = 600.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRun:
    """One run: points written, seconds from the first read of the log to the last commit, CPU seconds of the sink."""

    points: int
    wall_s: float
    cpu_s: float


class _Names:
    """Metric registry in which metric N belongs to device N."""

    def number(self, name: str) -> int:
        return int(name.partition("/")[0].rpartition("-")[2])

    def name(self, number: int) -> str:
        return f"{device_name(number)}/{SLOT}"


def run(folder: Path, options: InfluxOptions, readings: int, runs: int) -> list[Measurement]:
    """Measurements of `runs` runs. Raises StarloopError if the server rejects the points."""
    results: list[SinkRun] = []
    spawning = multiprocessing.get_context("spawn")
    for number in range(runs):
        with (
            _bucket(options, f"starloop-bench-{time.time_ns()}") as bucket,
            ProcessPoolExecutor(1, mp_context=spawning) as process,
        ):
            run_options = replace(options, bucket=bucket, readings=RawReadingsMode.ALL)
            results.append(process.submit(_run_once, folder / str(number), run_options, readings).result())
    return [
        Measurement(
            name="influx, points per second", unit="1/s", runs=tuple(one.points / one.wall_s for one in results)
        ),
        Measurement(
            name="influx, points per CPU second of the sink",
            unit="1/s",
            runs=tuple(one.points / one.cpu_s for one in results),
        ),
    ]


@contextmanager
def _bucket(options: InfluxOptions, name: str) -> Iterator[str]:
    with InfluxDBClient(options.url, options.read_token(), org=options.org, timeout=60_000) as client:
        buckets = client.buckets_api()
        try:
            made = buckets.create_bucket(bucket_name=name, org=options.org)
        except (ApiException, HTTPError) as error:
            said = str(error).splitlines()[0]
            raise StarloopError(f"can't create a bucket at {options.url} for the benchmark: {said}") from error
        try:
            yield name
        finally:
            buckets.delete_bucket(made)


def _run_once(folder: Path, options: InfluxOptions, readings: int) -> SinkRun:
    folder.mkdir(parents=True)
    with SqliteLog(folder / "log.db") as log:
        client = EmbeddedClient(log, topic_specs())
        for first in range(0, readings, READINGS_A_RECORD):
            log.append(INPUT, [encode(_record(first, min(READINGS_A_RECORD, readings - first)))])
        catalogue = resolve_catalogue(load_fleet(DEVICES), load_profiles())
        sink = InfluxSink(client, options, names=_Names(), catalogue=lambda: catalogue)
        return asyncio.run(_timed(client, sink, readings))


async def _timed(client: EmbeddedClient, sink: InfluxSink, readings: int) -> SinkRun:
    await client.start()
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    task = asyncio.create_task(sink.run())
    try:
        async with asyncio.timeout(RUN_S_MAX):
            while not task.done() and any((await client.lag(GROUP, TOPICS)).values()):
                if sink.status().reachable is False:
                    raise StarloopError(f"the server rejects points: {sink.status().last_error}")
                await asyncio.sleep(_POLL_S)
        wall_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    finally:
        task.cancel()
        await asyncio.wait({task})
    points = sink.status().written_points
    if points != readings:
        raise StarloopError(f"{points} of {readings} points were written: {sink.status().last_error}")
    return SinkRun(points=points, wall_s=wall_s, cpu_s=cpu_s)


def _record(first: int, count: int) -> Readings:
    """Falling levels, of the devices in turn."""
    number = np.arange(first, first + count, dtype=np.int64)
    turn, device = number // DEVICES, number % DEVICES
    at_ms = FIRST_MS + turn * STEP_MS + device * 17
    return Readings(
        metric=device.astype(np.int32),
        at_ms=at_ms,
        arrived_ms=at_ms,
        value=np.round(1000.0 - (37.0 * turn.astype(np.float64) + device.astype(np.float64)) / 100.0, 2),
        boot=np.full(count, NO_BOOT, dtype=np.int64),
        seq=np.full(count, NO_SEQ, dtype=np.int64),
    )
