"""`starloop up` as a process of its own, killed with -9 again and again while devices publish at QoS 1."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import orjson

from tests.system.mqtt_feeder import Feeder
from tests.system.service import Service

READINGS = int(os.environ.get("STARLOOP_KILL_READINGS", "100000"))
KILLS = 21
DEVICES = 20
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


def test_no_acknowledged_reading_is_lost_or_counted_twice_over_twenty_kills(tmp_path: Path, free_port: Any) -> None:
    """Every acknowledged use is in the state exactly once; reactions are those of the replay of the exported log, byte for
    byte, and each corner got exactly the one order of an undisturbed run."""
    dice = random.Random(20)
    service = Service(tmp_path, free_port(), fleet_text())
    sent = messages(time.time())
    feeder = Feeder(service.port, sent)
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

    lines = [json.loads(line) for line in service.replayed(tmp_path)]
    levels = {line["device"]: line["level"] for line in lines if line.get("type") == "forecast"}
    assert levels == {f"corner-{n:02}": CAPACITY - EACH for n in range(DEVICES)}
    reactions = service.reactions()
    assert reactions == sorted(orjson.dumps(line) for line in lines if str(line.get("type")).startswith("starloop."))
    ids = {orjson.loads(line)["id"] for line in reactions}
    assert ids == {f"corner-{n:02}/beans/1/order/1" for n in range(DEVICES)}
