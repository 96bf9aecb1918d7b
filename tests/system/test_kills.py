"""Kills and power cuts at random times: no acknowledged reading is lost or counted twice."""

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
from tests.system.victim_process import LENGTH, OFFSET, join_records

KILLS = 25
IN_FLIGHT = 8
"""Requests that the feeder has on their way at a time."""


@pytest.fixture(scope="module")
def forker() -> Iterator[subprocess.Popen[str]]:
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
    """Sends readings with unique values, and records which were acknowledged."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._at_ms = 1_000_000
        self._next_value = 0
        self.acknowledged: list[float] = []
        self.last_offset = -1

    def batch(self) -> tuple[bytes, list[float]]:
        """Body of a request, and its values."""
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
        return b"A" + join_records(wires), values

    def feed(self, directory: Path) -> None:
        """Sends requests until the victim dies, with IN_FLIGHT unacknowledged."""
        with connect(directory) as channel, contextlib.suppress(ConnectionError):
            waiting: list[list[float]] = []
            while True:
                while len(waiting) < IN_FLIGHT:
                    body, values = self.batch()
                    channel.sendall(LENGTH.pack(len(body)) + body)
                    waiting.append(values)
                answer = receive_exactly(channel, OFFSET.size)
                self.acknowledged += waiting.pop(0)
                self.last_offset = OFFSET.unpack(answer)[0]


def connect(directory: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(directory)  # a socket's path may be 107 bytes long
        channel.connect("socket")
    finally:
        os.fchdir(here)
        os.close(here)
    return channel


def receive_exactly(channel: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = channel.recv(size - len(found))
        if not more:
            raise ConnectionResetError
        found += more
    return found


def start_victim(forker: subprocess.Popen[str], directory: Path) -> int:
    assert forker.stdin is not None
    assert forker.stdout is not None
    forker.stdin.write(f"{directory}\n")
    forker.stdin.flush()
    return int(forker.stdout.readline())


def kill_and_wait(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.002)


def final_state(directory: Path, feeder: Feeder) -> dict[str, object]:
    """State after a last batch, whose tick shows that everything before it was processed."""
    with connect(directory) as channel:
        channel.settimeout(60)
        body, values = feeder.batch()
        channel.sendall(LENGTH.pack(len(body)) + body)
        receive_exactly(channel, OFFSET.size)
        feeder.acknowledged += values
        channel.sendall(LENGTH.pack(1) + b"D")
        (length,) = LENGTH.unpack(receive_exactly(channel, LENGTH.size))
        state: dict[str, object] = json.loads(receive_exactly(channel, length))
        return state


def stored_facts(directory: Path) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(directory / "store.db")) as conn:
        rows = conn.execute("SELECT wire FROM facts ORDER BY place").fetchall()
    return [bytes(wire) for (wire,) in rows]


def last_reaction_offset(directory: Path) -> int:
    if not (directory / "store.db").exists():
        return -1
    facts = stored_facts(directory)
    return Facts.unpack(facts[-1]).offset if facts else -1


def check_against_undisturbed(directory: Path, feeder: Feeder, state: dict[str, object]) -> None:
    """Compares state and facts with an undisturbed run over the same log, and the log with the acknowledged readings."""
    with SqliteLog(directory / "log.db") as log:
        log.check_integrity()
        records = [(offset, decode(wire)) for offset, wire in read_topic(log, INPUT)]
        facts = [wire for _, wire in read_topic(log, FACTS)]
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


def read_topic(log: SqliteLog, topic: str) -> Iterator[tuple[int, bytes]]:
    start = 0
    while rows := log.read(topic, start, 10_000):
        yield from rows
        start = rows[-1][0] + 1


def kill_repeatedly(forker: subprocess.Popen[str], directory: Path, seed: int, power: bool) -> None:
    """Starts and kills the victim repeatedly, also during start and recovery. power: also truncates the log after its last flush."""
    rng = random.Random(seed)
    feeder = Feeder(seed)
    cut_bytes = 0
    for _ in range(KILLS):
        pid = start_victim(forker, directory)
        feeding = threading.Thread(target=feeder.feed, args=(directory,))
        feeding.start()
        time.sleep(rng.uniform(0.0, 0.7) ** 2)
        kill_and_wait(pid)
        feeding.join()
        if power:
            cut_bytes += cut_power(directory, rng, holds_acknowledged(feeder, last_reaction_offset(directory)))
    pid = start_victim(forker, directory)
    state = final_state(directory, feeder)
    kill_and_wait(pid)
    assert len(feeder.acknowledged) > 1_000
    assert not power or cut_bytes > 0
    check_against_undisturbed(directory, feeder, state)


def holds_acknowledged(feeder: Feeder, reacted: int) -> Callable[[SqliteLog], bool]:
    """Whether a log has everything that others know of: acknowledged input, and facts with stored reactions."""

    def holds(log: SqliteLog) -> bool:
        last = log.read(FACTS, log.end(FACTS) - 1, 1) if log.end(FACTS) else []
        known = Facts.unpack(last[0][1]).offset if last else -1
        return log.end(INPUT) > feeder.last_offset and known >= reacted

    return holds


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_no_acknowledged_reading_is_lost_or_counted_twice_over_kills(
    forker: subprocess.Popen[str], tmp_path: Path, power: bool
) -> None:
    """After 25 kills at random times, state and facts equal those of an undisturbed run, byte for byte."""
    kill_repeatedly(forker, tmp_path, 5 + power, power)


@pytest.mark.soak
@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("seed", range(20))
def test_the_same_over_five_hundred_kills(
    forker: subprocess.Popen[str], tmp_path: Path, seed: int, power: bool
) -> None:
    """Other seeds: other times and readings."""
    kill_repeatedly(forker, tmp_path, 100 + seed, power)
