"""Benchmark of `starloop replay`: throughput of the command on a generated readings file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from starloop.bench.measurements import Measurement

DEVICES = 2_000
TICK_EVERY_READINGS = 48_000
_START_S = 1_767_225_600


def run(folder: Path, readings: int, runs: int) -> list[Measurement]:
    """Readings per second of `starloop replay`, including the start of the process.

    Load: 2,000 tanks, one level per line every 15 minutes, a tick every six hours of event time.
    """
    fleet, lines = folder / "fleet.toml", folder / "readings.jsonl"
    fleet.write_text(fleet_toml(DEVICES))
    _write(lines, readings)
    walls, cpus = [], []
    for _ in range(runs):
        before = os.times()
        begun_s = time.perf_counter()
        with (folder / "out.jsonl").open("wb") as out:
            subprocess.run(
                [sys.executable, "-m", "starloop", "replay", "--fleet", str(fleet), "--readings", str(lines)],
                stdout=out,
                check=True,
            )
        walls.append(readings / (time.perf_counter() - begun_s))
        after = os.times()
        used_s = after.children_user + after.children_system - before.children_user - before.children_system
        cpus.append(readings / used_s)
    return [
        Measurement(name="replay, readings per second", unit="1/s", runs=tuple(walls)),
        Measurement(name="replay, readings per CPU second", unit="1/s", runs=tuple(cpus)),
    ]


def fleet_toml(devices: int, supplier_days: tuple[float, float] = (2.0, 5.0)) -> str:
    """Fleet file with `devices` tanks, each with its own customer."""
    head = f'[[suppliers]]\nid = "acme"\nlead_time_days = [{supplier_days[0]}, {supplier_days[1]}]\nprice = 100.0\n'
    return head + "".join(
        f'[[customers]]\nid = "c{n}"\nexperience = "auto"\nconsents = ["replenishment"]\n'
        f'[[devices]]\nid = "tank-{n}"\ncustomer = "c{n}"\nprofile = "level-tank"\n'
        f'[devices.slots.oil]\ncapacity = 1000.0\npack = 800.0\nsuppliers = ["acme"]\n'
        for n in range(devices)
    )


def _write(path: Path, readings: int) -> None:
    """Writes one level per line; usage differs between tanks, and a low tank is refilled."""
    levels = [1000.0 - n % 700 for n in range(DEVICES)]
    with path.open("w") as file:
        for number in range(readings):
            device = number % DEVICES
            at = _START_S + number * 900 // DEVICES
            levels[device] -= 0.05 + device % 7 * 0.02
            if levels[device] < 20.0:
                levels[device] += 800.0
            file.write(
                f'{{"at": {at}, "topic": "starloop/v1/tank-{device}/telemetry",'
                f' "payload": {{"values": {{"oil": {levels[device]:.2f}}}}}}}\n'
            )
            if number % TICK_EVERY_READINGS == TICK_EVERY_READINGS - 1:
                file.write(f'{{"at": {at}, "tick": true}}\n')
