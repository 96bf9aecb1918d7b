"""`starloop up` as a process of its own, killed with -9 again and again while devices publish at QoS 1."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from reactor.store.sql import SqlStore
from starloop.data_dir import SERVICE
from starloop.running import find_running
from tests.system.mqtt_feeder import Feeder

READINGS = int(os.environ.get("STARLOOP_KILL_READINGS", "100000"))
KILLS = 21
DEVICES = 20
START_S_MAX = 30.0
EACH = READINGS // DEVICES
CAPACITY = EACH * 1.04
DAYS = 50.0


def fleet_text() -> str:
    """Twenty coffee corners that will have used 96 % of their beans."""
    head = '[[suppliers]]\nid = "acme"\nlead_time_days = [2.0, 5.0]\nprice = 20.0\n'
    return head + "".join(
        f'[[customers]]\nid = "c{n:02}"\nexperience = "auto"\nconsents = ["replenishment"]\n'
        f'[[devices]]\nid = "corner-{n:02}"\ncustomer = "c{n:02}"\nprofile = "usage-counter"\n'
        f'[devices.slots.beans]\ncapacity = {CAPACITY}\npack = {CAPACITY}\nsuppliers = ["acme"]\nstockout_cost = 100.0\n'
        for n in range(DEVICES)
    )


def messages(now_s: float) -> list[tuple[str, bytes]]:
    """One use a message, numbered, measured over the last fifty days."""
    made = []
    for number in range(READINGS):
        turn, device = divmod(number, DEVICES)
        at = now_s - DAYS * 86_400 * (1.0 - turn / EACH)
        payload = f'{{"at": {at:.3f}, "boot": 1, "seq": {turn}, "values": {{"beans_used": 1}}}}'
        made.append((f"starloop/v1/corner-{device:02}/telemetry", payload.encode()))
    return made


class Service:
    """The process, and its data."""

    def __init__(self, folder: Path, mqtt_port: int) -> None:
        self.data = folder / "data"
        self._fleet = folder / "fleet.toml"
        self._fleet.write_text(fleet_text())
        self._port = mqtt_port
        self._log = folder / "log"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Starts it, and waits until it is ready."""
        (self.data / SERVICE).unlink(missing_ok=True)
        command = [sys.executable, "-m", "starloop", "up", "--fleet", str(self._fleet), "--data", str(self.data)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--mqtt-port", str(self._port), "--http-port", "0"], stdout=log, stderr=log
            )
        until_s = time.monotonic() + START_S_MAX
        while find_running(self.data) is None:
            assert self.process.poll() is None, self._log.read_text()[-2_000:]
            assert time.monotonic() < until_s, "it never became ready"
            time.sleep(0.02)
        return self.process

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=30)

    def reactions(self) -> list[bytes]:
        """The reactions in the store, in order, as lines."""
        with SqlStore(f"sqlite:///{self.data / 'store.db'}") as store:
            rows = store.reactions(limit=1_000_000)
        return sorted(orjson.dumps(row.reaction.line()) for row in rows)


def starloop(*arguments: str) -> bytes:
    """What a command prints."""
    return subprocess.run([sys.executable, "-m", "starloop", *arguments], check=True, capture_output=True).stdout


def replayed(service: Service, folder: Path) -> list[dict[str, Any]]:
    """The output of a replay of the service's own exported log."""
    exported = folder / "exported.jsonl"
    starloop("log", "export", "--data", str(service.data), "--out", str(exported))
    fleet = str(service.data / "fleet.toml")
    out = starloop("replay", "--fleet", fleet, "--readings", str(exported), "--emit", "reactions,forecasts")
    return [json.loads(line) for line in out.splitlines()]


def test_no_acknowledged_reading_is_lost_or_counted_twice_over_twenty_kills(tmp_path: Path, free_port: Any) -> None:
    """Every acknowledged use is in the state exactly once; reactions are those of the replay of the exported log, byte for
    byte, and each corner got exactly the one order of an undisturbed run."""
    dice = random.Random(20)
    service = Service(tmp_path, free_port())
    sent = messages(time.time())
    feeder = Feeder(service._port, sent)
    feeder.start()
    for kill in range(1, KILLS + 1):
        feeder.allow(len(sent) * kill // KILLS)
        time.sleep(dice.uniform(0.05, 1.0))
        service.kill()
        service.start()
    feeder.allow(len(sent))
    until_s = time.monotonic() + 120
    while not feeder.done():
        assert time.monotonic() < until_s, f"{feeder.acknowledged} of {len(sent)} were acknowledged"
        time.sleep(0.05)
    feeder.stop()
    time.sleep(1.0)  # the ticks behind the last readings
    assert service.stop() == 0

    lines = replayed(service, tmp_path)
    levels = {line["device"]: line["level"] for line in lines if line.get("type") == "forecast"}
    assert levels == {f"corner-{n:02}": CAPACITY - EACH for n in range(DEVICES)}
    reactions = service.reactions()
    assert reactions == sorted(orjson.dumps(line) for line in lines if str(line.get("type")).startswith("starloop."))
    ids = {orjson.loads(line)["id"] for line in reactions}
    assert ids == {f"corner-{n:02}/beans/1/order/1" for n in range(DEVICES)}
