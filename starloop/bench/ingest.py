"""How fast the service takes readings over MQTT, and how soon a decision follows: `starloop up` and a load, two processes.

Readings come one a message. They count when the analysis has told the facts of a tick behind them; how long that took is
read off the log afterwards: from each reading's arrival to the append of those facts.
"""

from __future__ import annotations

import bisect
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulators.load import load_fleet
from star.analyse import Facts
from star.errors import StarloopError
from star.records import decode
from star.sense import Readings
from starloop.bench.figures import Figure
from starloop.commands.simulate import fleet_text
from starloop.data_dir import LOG, SERVICE
from stream.topics import FACTS, INPUT
from stream.transports.log import LogRecord, SqliteLog
from stream.worker import facts_end_of

START_S_MAX = 30.0
DRAIN_S_MAX = 120.0
STEP_S = 900
"""Measured time between two readings of a device, the last one now: a tank that lasts some hundred days."""
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent. rate_per_s None: as fast as it is taken."""

    messages: int
    qos: int
    devices: int = 2_000
    connections: int = 4
    rate_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. cpu_s: of the service. latency_ms: one for each reading, from its arrival to the facts behind it."""

    taken: int
    wall_s: float
    cpu_s: float
    latency_ms: tuple[float, float]


def run(folder: Path, load: Load, runs: int, name: str) -> list[Figure]:
    """The figures of `runs` runs, each with a fresh service."""
    done = [_one(folder / f"{name}-{number}", load) for number in range(runs)]
    lost = [load.messages - one.taken for one in done]
    if any(lost):
        raise StarloopError(f"{name}: the service took fewer readings than were sent, by run: {lost}")
    return [
        Figure(name=f"{name}, readings a second", unit="1/s", runs=tuple(one.taken / one.wall_s for one in done)),
        Figure(name=f"{name}, readings a CPU-second", unit="1/s", runs=tuple(one.taken / one.cpu_s for one in done)),
        Figure(name=f"{name}, arrival to decision, median", unit="ms", runs=tuple(one.latency_ms[0] for one in done)),
        Figure(name=f"{name}, arrival to decision, 99 %", unit="ms", runs=tuple(one.latency_ms[1] for one in done)),
    ]


def _one(folder: Path, load: Load) -> Run:
    folder.mkdir(parents=True)
    fleet = folder / "fleet.toml"
    fleet.write_text(fleet_text(load_fleet(load.devices)))
    with _service(folder, fleet) as (process, port):
        cpu_before = _cpu_s(process.pid)
        begun_s = time.perf_counter()
        _send(load, port)
        with SqliteLog(folder / "data" / LOG, read_only=True) as log:
            _drained(log)
            wall_s = time.perf_counter() - begun_s
            cpu_s = _cpu_s(process.pid) - cpu_before
            taken, latency_ms = _latencies(log)
    return Run(taken=taken, wall_s=wall_s, cpu_s=cpu_s, latency_ms=latency_ms)


@contextmanager
def _service(folder: Path, fleet: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    data = folder / "data"
    command = [sys.executable, "-m", "starloop", "up", "--fleet", str(fleet), "--data", str(data)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--mqtt-port", "0", "--http-port", "0"], stdout=log, stderr=log)
    try:
        until_s = time.monotonic() + START_S_MAX
        while not (data / SERVICE).exists():
            if process.poll() is not None or time.monotonic() > until_s:
                raise StarloopError(f"the service did not start: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)
        yield process, json.loads((data / SERVICE).read_text())["mqtt_port"]
    finally:
        process.terminate()
        process.wait(timeout=40)


def _send(load: Load, port: int) -> None:
    arguments = ["--port", port, "--messages", load.messages, "--devices", load.devices, "--qos", load.qos]
    arguments += ["--connections", load.connections, "--step", STEP_S]
    arguments += ["--at", int(time.time()) - (load.messages // load.devices + 1) * STEP_S]
    if load.rate_per_s is not None:
        arguments += ["--rate", load.rate_per_s]
    subprocess.run(
        [sys.executable, "-m", "simulators.load", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
    )


def _drained(log: SqliteLog) -> None:
    """Waits until the facts are behind the input."""
    until_s = time.monotonic() + DRAIN_S_MAX
    while time.monotonic() < until_s:
        end = log.end(INPUT)
        time.sleep(0.15)
        # A tick is the last record while nothing arrives, so the facts can catch up with the input.
        if facts_end_of(log) >= end and log.end(INPUT) <= end + 1:
            return
    raise StarloopError("the analysis did not catch up with the input")


def _latencies(log: SqliteLog) -> tuple[int, tuple[float, float]]:
    """Readings in the input, and the median and 99 % of the time from a reading's arrival to the facts behind it."""
    offsets, told_ms = [], []
    for record in _records(log, FACTS):
        offsets.append(Facts.unpack(record.value or b"").offset)
        told_ms.append(record.at_ms)
    taken, parts = 0, []
    for record in _records(log, INPUT):
        if (record.value or b"")[:1] != b"R":
            continue
        readings = decode(record.value or b"")
        if isinstance(readings, Readings):
            taken += len(readings)
            place = bisect.bisect_left(offsets, record.offset)
            if place < len(told_ms):
                parts.append(told_ms[place] - readings.arrived_ms)
    waits = np.concatenate(parts)
    return taken, (float(np.median(waits)), float(np.percentile(waits, 99)))


def _records(log: SqliteLog, topic: str) -> Iterator[LogRecord]:
    start = 0
    while rows := log.read_records(topic, start, 1_000):
        yield from rows
        start = rows[-1].offset + 1


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
