"""`starloop up` as a process of its own, killed with -9 again and again while devices publish at QoS 1."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import orjson

from tests.support.service_process import ServiceUnderTest
from tests.system.coffee_fleet import CoffeeFleet
from tests.system.mqtt_feeder import Feeder

READINGS = int(os.environ.get("STARLOOP_KILL_READINGS", "100000"))
KILLS = 21
CORNERS = CoffeeFleet(READINGS)


def test_no_acknowledged_reading_is_lost_or_counted_twice_over_twenty_kills(tmp_path: Path, free_port: Any) -> None:
    """Every acknowledged use is in the state exactly once; reactions are those of the replay of the exported log, byte for
    byte, and each corner got exactly the one order of an undisturbed run."""
    dice = random.Random(20)
    service = ServiceUnderTest(tmp_path, free_port(), CORNERS.fleet())
    sent = CORNERS.messages(time.time())
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
    assert levels == CORNERS.expected_levels()
    reactions = service.reactions()
    assert reactions == sorted(orjson.dumps(line) for line in lines if str(line.get("type")).startswith("starloop."))
    ids = {orjson.loads(line)["id"] for line in reactions}
    assert ids == CORNERS.orders()
