"""Benchmark of the service over MQTT: throughput and decision latency of `starloop up` under a load from another process.

There is one reading per message. A reading counts when the facts of a later tick are in the log; its latency is the time from its
arrival to the append of these facts, which is read from the log afterwards.
"""

from __future__ import annotations

import bisect
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime.data_dir import LOG_FILE, SERVICE_FILE
from simulators.load import load_fleet
from star.analyse import Facts
from star.errors import StarloopError
from star.records import decode
from star.sense import Readings
from starloop.bench.measurements import Measurement
from starloop.commands.service.simulate import fleet_toml
from stream.partition.partition_processor import facts_end_in_log
from stream.topics import FACTS, INPUT
from stream.transports.embedded_log.sqlite_log import LogRecord, SqliteLog

WARM_UP_ROUNDS = 10
"""Readings per device before the measurement, so that the first evaluation of every item is done."""
_FIRST_S = 1_764_000_000
START_S_MAX = 30.0
DRAIN_S_MAX = 120.0
STEP_S = 900
"""Event time between two readings of a device, in seconds: a tank then lasts some hundred days."""
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttLoad:
    """Load. rate_per_s: messages per second; None: as fast as the service acknowledges."""

    messages: int
    qos: int
    devices: int = 2_000
    connections: int = 4
    rate_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRun:
    """One run. cpu_s: of the service. latency_ms: median and 99 % quantile, from arrival of a reading to its facts."""

    readings: int
    wall_s: float
    cpu_s: float
    latency_ms: tuple[float, float]


def run(folder: Path, load: MqttLoad, runs: int, name: str) -> list[Measurement]:
    """Measurements of `runs` runs, each with a new service. Raises StarloopError if readings were lost."""
    done = [_run_once(folder / f"{name}-{number}", load) for number in range(runs)]
    lost = [load.messages - one.readings for one in done]
    if any(lost):
        raise StarloopError(f"{name}: readings lost, by run: {lost}")
    return [
        Measurement(
            name=f"{name}, readings per second", unit="1/s", runs=tuple(one.readings / one.wall_s for one in done)
        ),
        Measurement(
            name=f"{name}, readings per CPU second", unit="1/s", runs=tuple(one.readings / one.cpu_s for one in done)
        ),
        Measurement(
            name=f"{name}, arrival to decision, median", unit="ms", runs=tuple(one.latency_ms[0] for one in done)
        ),
        Measurement(
            name=f"{name}, arrival to decision, 99 %", unit="ms", runs=tuple(one.latency_ms[1] for one in done)
        ),
    ]


def _run_once(folder: Path, load: MqttLoad) -> IngestRun:
    folder.mkdir(parents=True)
    fleet = folder / "fleet.toml"
    fleet.write_text(fleet_toml(load_fleet(load.devices)))
    warm_up = replace(load, messages=WARM_UP_ROUNDS * load.devices, rate_per_s=None)
    with _service(folder, fleet) as (process, port), SqliteLog(folder / "data" / LOG_FILE, read_only=True) as log:
        _send(warm_up, port, 0)
        _wait_drained(log, 0, warm_up.messages)
        cpu_before, begin = _cpu_s(process.pid), log.end(INPUT)
        _send(load, port, WARM_UP_ROUNDS)
        _wait_drained(log, begin, load.messages)
        cpu_s = _cpu_s(process.pid) - cpu_before
        readings, wall_s, latency_ms = _latencies(log, begin)
    return IngestRun(readings=readings, wall_s=wall_s, cpu_s=cpu_s, latency_ms=latency_ms)


@contextmanager
def _service(folder: Path, fleet: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    data = folder / "data"
    command = [sys.executable, "-m", "starloop", "up", "--fleet", str(fleet), "--data", str(data)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--mqtt-port", "0", "--http-port", "0"], stdout=log, stderr=log)
    try:
        until_s = time.monotonic() + START_S_MAX
        while not (data / SERVICE_FILE).exists():
            if process.poll() is not None or time.monotonic() > until_s:
                raise StarloopError(f"the service did not start: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)
        yield process, json.loads((data / SERVICE_FILE).read_text())["mqtt_port"]
    finally:
        process.terminate()
        process.wait(timeout=40)


def _send(load: MqttLoad, port: int, rounds_before: int) -> None:
    arguments = ["--port", port, "--messages", load.messages, "--devices", load.devices, "--qos", load.qos]
    arguments += ["--connections", load.connections, "--step", STEP_S]
    arguments += ["--at", _FIRST_S + rounds_before * STEP_S]
    if load.rate_per_s is not None:
        arguments += ["--rate", load.rate_per_s]
    subprocess.run(
        [sys.executable, "-m", "simulators.load", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
    )


def _wait_drained(log: SqliteLog, begin: int, readings: int) -> None:
    """Waits until the input has this number of readings from offset `begin`, and the facts of all of them."""
    until_s, count, offset = time.monotonic() + DRAIN_S_MAX, 0, begin
    while time.monotonic() < until_s:
        for record in _records(log, INPUT, offset):
            count += _count(record)
            offset = record.offset + 1
        if count >= readings and facts_end_in_log(log) >= offset:
            return
        time.sleep(0.2)
    raise StarloopError(f"the analysis did not catch up with the input: {count} of {readings} readings are in the log")


def _count(record: LogRecord) -> int:
    found = decode(record.value or b"") if (record.value or b"")[:1] == b"R" else None
    return len(found) if isinstance(found, Readings) else 0


def _latencies(log: SqliteLog, begin: int) -> tuple[int, float, tuple[float, float]]:
    """Number of readings from offset `begin`; seconds from the first arrival to the last facts; latencies of IngestRun."""
    offsets, facts_ms = [], []
    for record in _records(log, FACTS):
        offsets.append(Facts.unpack(record.value or b"").offset)
        facts_ms.append(record.at_ms)
    count, parts, first_ms, last_ms = 0, [], math.inf, 0.0
    for record in _records(log, INPUT, begin):
        if (record.value or b"")[:1] != b"R":
            continue
        readings = decode(record.value or b"")
        if isinstance(readings, Readings):
            count += len(readings)
            index = bisect.bisect_left(offsets, record.offset)
            if index < len(facts_ms):
                parts.append(facts_ms[index] - readings.arrived_ms)
                first_ms, last_ms = min(first_ms, float(readings.arrived_ms[0])), facts_ms[index]
    latencies_ms = np.concatenate(parts)
    return count, (last_ms - first_ms) / 1000, (float(np.median(latencies_ms)), float(np.percentile(latencies_ms, 99)))


def _records(log: SqliteLog, topic: str, start: int = 0) -> Iterator[LogRecord]:
    while rows := log.read_records(topic, start, 1_000):
        yield from rows
        start = rows[-1].offset + 1


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
