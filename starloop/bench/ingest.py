"""How fast the service takes readings over MQTT, and how soon a decision follows: `starloop up` and a load, two processes.

Readings come one a message. They count when the analysis has told the facts of a tick behind them; how long that took is
read off the log afterwards: from each reading's arrival to the append of those facts.
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
"""Readings of each device before those that count: every item has been seen, and its first look is behind it."""
_FIRST_S = 1_764_000_000
START_S_MAX = 30.0
DRAIN_S_MAX = 120.0
STEP_S = 900
"""Measured time between two readings of a device: a tank that lasts some hundred days."""
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttLoad:
    """What is sent. rate_per_s None: as fast as it is taken."""

    messages: int
    qos: int
    devices: int = 2_000
    connections: int = 4
    rate_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRun:
    """One run. cpu_s: of the service. latency_ms: one for each reading, from its arrival to the facts behind it."""

    readings: int
    wall_s: float
    cpu_s: float
    latency_ms: tuple[float, float]


def run(folder: Path, load: MqttLoad, runs: int, name: str) -> list[Measurement]:
    """The figures of `runs` runs, each with a fresh service."""
    done = [_run_once(folder / f"{name}-{number}", load) for number in range(runs)]
    lost = [load.messages - one.readings for one in done]
    if any(lost):
        raise StarloopError(f"{name}: the service took fewer readings than were sent, by run: {lost}")
    return [
        Measurement(
            name=f"{name}, readings a second", unit="1/s", runs=tuple(one.readings / one.wall_s for one in done)
        ),
        Measurement(
            name=f"{name}, readings a CPU-second", unit="1/s", runs=tuple(one.readings / one.cpu_s for one in done)
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
        taken, wall_s, latency_ms = _latencies(log, begin)
    return IngestRun(readings=taken, wall_s=wall_s, cpu_s=cpu_s, latency_ms=latency_ms)


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
    """Waits until the input holds so many readings from `begin` on, and the facts are behind them all."""
    until_s, taken, place = time.monotonic() + DRAIN_S_MAX, 0, begin
    while time.monotonic() < until_s:
        for record in _records(log, INPUT, place):
            taken += _count(record)
            place = record.offset + 1
        if taken >= readings and facts_end_in_log(log) >= place:
            return
        time.sleep(0.2)
    raise StarloopError(f"the analysis did not catch up with the input: {taken} of {readings} readings are there")


def _count(record: LogRecord) -> int:
    found = decode(record.value or b"") if (record.value or b"")[:1] == b"R" else None
    return len(found) if isinstance(found, Readings) else 0


def _latencies(log: SqliteLog, begin: int) -> tuple[int, float, tuple[float, float]]:
    """Readings in the input from offset `begin` on; seconds from the first one's arrival to the facts behind the last; and
    the median and 99 % of the time from a reading's arrival to the facts behind it, in milliseconds."""
    offsets, told_ms = [], []
    for record in _records(log, FACTS):
        offsets.append(Facts.unpack(record.value or b"").offset)
        told_ms.append(record.at_ms)
    taken, parts, first_ms, last_ms = 0, [], math.inf, 0.0
    for record in _records(log, INPUT, begin):
        if (record.value or b"")[:1] != b"R":
            continue
        readings = decode(record.value or b"")
        if isinstance(readings, Readings):
            taken += len(readings)
            place = bisect.bisect_left(offsets, record.offset)
            if place < len(told_ms):
                parts.append(told_ms[place] - readings.arrived_ms)
                first_ms, last_ms = min(first_ms, float(readings.arrived_ms[0])), told_ms[place]
    waits = np.concatenate(parts)
    return taken, (last_ms - first_ms) / 1000, (float(np.median(waits)), float(np.percentile(waits, 99)))


def _records(log: SqliteLog, topic: str, start: int = 0) -> Iterator[LogRecord]:
    while rows := log.read_records(topic, start, 1_000):
        yield from rows
        start = rows[-1].offset + 1


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
