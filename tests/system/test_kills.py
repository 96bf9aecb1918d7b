"""The service killed at random moments, and the power cut under it: no acknowledged reading is lost, none counts twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from star.analyse import Facts
from star.records import Request, Tick, decode, encode
from star.sense import Readings
from stream.topics import FACTS, INPUT
from stream.transports.embedded_log.sqlite_log import SqliteLog
from tests.stream.counting_analysis import CountingAnalysis
from tests.system.power_loss import cut_power
from tests.system.victim_process import LENGTH, OFFSET, joined

KILLS = 25
IN_FLIGHT = 8
"""Requests that the feeder has on their way at a time."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.system.victim_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


class Feeder:
    """Sends readings with values that come once in the whole test, and remembers which were acknowledged."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._at_ms = 1_000_000
        self._next_value = 0
        self.acknowledged: list[float] = []
        self.last_offset = -1

    def batch(self) -> tuple[bytes, list[float]]:
        """A request's body, and the values in it."""
        values: list[float] = []
        wires = []
        for _ in range(self._rng.randrange(1, 4)):
            self._at_ms += self._rng.randrange(120)
            rows = []
            for _ in range(self._rng.randrange(1, 60)):
                self._next_value += 1
                values.append(float(self._next_value))
                rows.append((self._rng.randrange(200), self._at_ms, self._at_ms, values[-1], -1, -1))
            wires.append(encode(Readings.from_rows(rows)))
            if self._rng.random() < 0.2:
                wires.append(encode(Request(at_ms=self._at_ms, id=f"q{self._next_value}", item="d/1")))
        wires.append(encode(Tick(at_ms=self._at_ms)))
        return b"A" + joined(wires), values

    def feed(self, directory: Path) -> None:
        """Feeds until the other side dies, several requests ahead of the answers."""
        with connected(directory) as channel, contextlib.suppress(ConnectionError):
            waiting: list[list[float]] = []
            while True:
                while len(waiting) < IN_FLIGHT:
                    body, values = self.batch()
                    channel.sendall(LENGTH.pack(len(body)) + body)
                    waiting.append(values)
                answer = received(channel, OFFSET.size)
                self.acknowledged += waiting.pop(0)
                self.last_offset = OFFSET.unpack(answer)[0]


def connected(directory: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(directory)  # a socket's path may be 107 bytes long
        channel.connect("socket")
    finally:
        os.fchdir(here)
        os.close(here)
    return channel


def received(channel: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = channel.recv(size - len(found))
        if not more:
            raise ConnectionResetError
        found += more
    return found


def born(nursery: subprocess.Popen[str], directory: Path) -> int:
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(f"{directory}\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


def killed(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.002)


def final_state(directory: Path, feeder: Feeder) -> dict[str, object]:
    """The state once everything is handled, and a last batch with its tick, by which that is known."""
    with connected(directory) as channel:
        channel.settimeout(60)
        body, values = feeder.batch()
        channel.sendall(LENGTH.pack(len(body)) + body)
        received(channel, OFFSET.size)
        feeder.acknowledged += values
        channel.sendall(LENGTH.pack(1) + b"D")
        (length,) = LENGTH.unpack(received(channel, LENGTH.size))
        state: dict[str, object] = json.loads(received(channel, length))
        return state


def stored_facts(directory: Path) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(directory / "store.db")) as conn:
        rows = conn.execute("SELECT wire FROM facts ORDER BY place").fetchall()
    return [bytes(wire) for (wire,) in rows]


def reacted_to(directory: Path) -> int:
    if not (directory / "store.db").exists():
        return -1
    facts = stored_facts(directory)
    return Facts.unpack(facts[-1]).offset if facts else -1


def check(directory: Path, feeder: Feeder, state: dict[str, object]) -> None:
    """The state and the facts against an undisturbed run over the same log, and the log against what was acknowledged."""
    with SqliteLog(directory / "log.db") as log:
        log.check_integrity()
        records = [(offset, decode(wire)) for offset, wire in everything(log, INPUT)]
        facts = [wire for _, wire in everything(log, FACTS)]
    values = [value for _, record in records if isinstance(record, Readings) for value in record.value.tolist()]
    assert len(values) == len(set(values))
    assert set(feeder.acknowledged) <= set(values)
    undisturbed = CountingAnalysis()
    expected = [found.pack() for offset, record in records if (found := undisturbed.ingest(offset, record))]
    assert state["totals"] == [[metric, list(total)] for metric, total in sorted(undisturbed.totals().items())]
    assert state["events"] == undisturbed.events
    once: dict[int, bytes] = {}
    for wire in facts:
        once.setdefault(Facts.unpack(wire).offset, wire)
    assert list(once.values()) == expected
    assert stored_facts(directory) == expected


def everything(log: SqliteLog, topic: str) -> Iterator[tuple[int, bytes]]:
    start = 0
    while rows := log.read(topic, start, 10_000):
        yield from rows
        start = rows[-1][0] + 1


def ordeal(nursery: subprocess.Popen[str], directory: Path, seed: int, power: bool) -> None:
    """Lives and kills, in start and recovery too; `power`: the log is also cut at a random byte after its last flush."""
    rng = random.Random(seed)
    feeder = Feeder(seed)
    cut_bytes = 0
    for _ in range(KILLS):
        pid = born(nursery, directory)
        feeding = threading.Thread(target=feeder.feed, args=(directory,))
        feeding.start()
        time.sleep(rng.uniform(0.0, 0.7) ** 2)
        killed(pid)
        feeding.join()
        if power:
            cut_bytes += cut_power(directory, rng, acknowledged_in(feeder, reacted_to(directory)))
    pid = born(nursery, directory)
    state = final_state(directory, feeder)
    killed(pid)
    assert len(feeder.acknowledged) > 1_000
    assert not power or cut_bytes > 0
    check(directory, feeder, state)


def acknowledged_in(feeder: Feeder, reacted: int) -> Callable[[SqliteLog], bool]:
    """Whether a log holds everything that someone outside of it knows of: what was acknowledged, what was reacted to."""

    def holds(log: SqliteLog) -> bool:
        last = log.read(FACTS, log.end(FACTS) - 1, 1) if log.end(FACTS) else []
        known = Facts.unpack(last[0][1]).offset if last else -1
        return log.end(INPUT) > feeder.last_offset and known >= reacted

    return holds


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_no_acknowledged_reading_is_lost_or_counted_twice_over_kills(
    nursery: subprocess.Popen[str], tmp_path: Path, power: bool
) -> None:
    """After 25 kills at random moments, state and facts are, byte for byte, those of an undisturbed run."""
    ordeal(nursery, tmp_path, 5 + power, power)


@pytest.mark.soak
@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("seed", range(20))
def test_the_same_over_five_hundred_kills(
    nursery: subprocess.Popen[str], tmp_path: Path, seed: int, power: bool
) -> None:
    """Other moments, other readings."""
    ordeal(nursery, tmp_path, 100 + seed, power)
