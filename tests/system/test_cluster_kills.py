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

from tests.support.role_cluster import Cluster, until
from tests.support.service_process import ServiceUnderTest
from tests.system.coffee_fleet import CoffeeFleet
from tests.system.mqtt_feeder import Feeder

READINGS = int(os.environ.get("STARLOOP_CLUSTER_READINGS", "40000"))
KILLS = 30
CORNERS = CoffeeFleet(READINGS)
DONE_S_MAX = 240.0


@pytest.fixture
def cluster(tmp_path: Path, kafka: Any, postgres: Any, free_port: Callable[[], int]) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path,
        CORNERS.fleet(),
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
    sent = CORNERS.messages(time.time())
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
    ids = CORNERS.orders()
    until(lambda: _ids(cluster) == ids, DONE_S_MAX, lambda: f"{sorted(_ids(cluster))} after {killed}")
    levels = {f"{device}/beans": left for device, left in CORNERS.expected_levels().items()}
    until(lambda: _levels(cluster) == levels, DONE_S_MAX, lambda: f"{_levels(cluster)} after {killed}")
    for role in cluster.roles.values():
        role.wait_ready()
    assert cluster.stop() == dict.fromkeys(cluster.roles, 0)
    assert _ids(cluster) == ids

    undisturbed = ServiceUnderTest(tmp_path / "one", free_port(), CORNERS.fleet())
    feeder = Feeder(undisturbed.port, sent)
    feeder.allow(len(sent))
    feeder.start()
    until(feeder.done, DONE_S_MAX, lambda: f"{feeder.acknowledged} of {len(sent)} were acknowledged")
    feeder.stop()
    until(lambda: len(undisturbed.reactions()) == len(ids), 60.0, lambda: f"{undisturbed.reactions()}")
    assert undisturbed.stop() == 0
    assert {orjson.loads(line)["id"] for line in undisturbed.reactions()} == ids


def _ids(cluster: Cluster) -> set[str]:
    return {orjson.loads(line)["id"] for line in cluster.reactions()}


def _levels(cluster: Cluster) -> dict[str, float]:
    """The latest level said of each item, by the log."""
    return {item: level for item, (_, level) in cluster.forecasts().items()}
