"""The service as processes of their own on Kafka and PostgreSQL, any of which is killed again and again while devices publish."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.system.cluster import Cluster, until
from tests.system.mqtt_feeder import Feeder
from tests.system.service import Service

READINGS = int(os.environ.get("STARLOOP_CLUSTER_READINGS", "40000"))
KILLS = 30
DEVICES = 20
EACH = READINGS // DEVICES
CAPACITY = EACH * 1.04
DAYS = 50.0
DONE_S_MAX = 240.0


def fleet_text() -> str:
    """Twenty coffee corners that will have used 96 % of their beans, of twenty customers."""
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


@pytest.fixture
def cluster(tmp_path: Path, kafka: Any, postgres: Any, free_port: Callable[[], int]) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path,
        fleet_text(),
        kafka.bootstrap,
        kafka.prefix(),
        postgres.url,
        STARLOOP_CHECKPOINT_S="1",
        STARLOOP_MQTT_PORT=str(free_port()),
    )
    yield cluster
    cluster.stop()


def test_any_role_kafka_and_postgres_are_killed_and_nothing_is_lost_or_done_twice(
    cluster: Cluster, tmp_path: Path, kafka: Any, postgres: Any, free_port: Any
) -> None:
    """Thirty kills of any process, and restarts of Kafka and PostgreSQL under load: every acknowledged use is in the state
    exactly once, by ground truth, and the reactions are those of the undisturbed run in one process on the same messages."""
    dice = random.Random(7)
    sent = messages(time.time())
    cluster.command("fleet", "apply", str(cluster.fleet))
    for role, name in (("gate", "gate"), *((r, f"{r}-{n}") for r in ("stream", "reactor") for n in (1, 2))):
        cluster.run(role, name=name)
    for role in cluster.roles.values():
        role.wait_ready()
    feeder = Feeder(int(cluster.environment["STARLOOP_MQTT_PORT"]), sent)
    feeder.start()
    killed: list[str] = []
    for kill in range(1, KILLS + 1):
        feeder.allow(len(sent) * kill // KILLS)
        time.sleep(dice.uniform(0.1, 2.0))
        # Servers are slower to come back, and each of them is killed three times.
        name = "kafka" if kill % 10 == 3 else "postgres" if kill % 10 == 7 else dice.choice(sorted(cluster.roles))
        killed.append(name)
        if name == "kafka":
            kafka.stop("kill")
            kafka.start()
        elif name == "postgres":
            postgres.stop("immediate")
            time.sleep(dice.uniform(0.1, 1.0))
            postgres.start()
        else:
            cluster.roles[name].kill()
            cluster.roles[name].start_again()
    feeder.allow(len(sent))
    until(feeder.done, DONE_S_MAX, lambda: f"{feeder.acknowledged} of {len(sent)} were acknowledged after {killed}")
    feeder.stop()
    ids = {f"corner-{n:02}/beans/1/order/1" for n in range(DEVICES)}
    until(lambda: _ids(cluster) == ids, DONE_S_MAX, lambda: f"{sorted(_ids(cluster))} after {killed}")
    levels = {f"corner-{n:02}/beans": CAPACITY - EACH for n in range(DEVICES)}
    until(lambda: _levels(cluster) == levels, DONE_S_MAX, lambda: f"{_levels(cluster)} after {killed}")
    for role in cluster.roles.values():
        role.wait_ready()
    assert cluster.stop() == dict.fromkeys(cluster.roles, 0)
    assert _ids(cluster) == ids

    undisturbed = Service(tmp_path / "one", free_port(), fleet_text())
    feeder = Feeder(undisturbed.port, sent)
    feeder.allow(len(sent))
    feeder.start()
    until(feeder.done, DONE_S_MAX, lambda: f"{feeder.acknowledged} of {len(sent)} were acknowledged")
    feeder.stop()
    until(lambda: len(undisturbed.reactions()) == DEVICES, 60.0, lambda: f"{undisturbed.reactions()}")
    assert undisturbed.stop() == 0
    assert {orjson.loads(line)["id"] for line in undisturbed.reactions()} == ids


def _ids(cluster: Cluster) -> set[str]:
    return {orjson.loads(line)["id"] for line in cluster.reactions()}


def _levels(cluster: Cluster) -> dict[str, float]:
    """The latest level said of each item, by the log."""
    return {item: level for item, (_, level) in cluster.forecasts().items()}
