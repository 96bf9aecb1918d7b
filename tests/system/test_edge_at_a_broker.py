"""Bridge to an external broker: messages that it delivered, or queued during an outage, are not lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.role_cluster import Cluster, until
from tests.system.coffee_fleet import CoffeeFleet

CORNERS = CoffeeFleet(4_000)


@pytest.fixture
def cluster(tmp_path: Path, kafka: Any, postgres: Any) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, CORNERS.fleet(), kafka.bootstrap, kafka.prefix(), postgres.url)
    cluster.command("fleet", "apply", str(cluster.fleet))
    yield cluster
    cluster.stop()


@pytest.mark.parametrize(
    ("edges", "options", "restarts"),
    [
        pytest.param(1, [], True, id="one, and the broker restarts"),
        # Mosquitto forgets shared subscriptions when it restarts, until a member is back.
        pytest.param(2, ["--share", "site"], False, id="two that share"),
    ],
)
def test_an_edge_that_is_killed_at_a_broker_loses_no_reading_and_brings_every_order(
    cluster: Cluster, mosquitto: Any, edges: int, options: list[str], restarts: bool
) -> None:
    """One edge is killed twice while devices publish: each use counts once, and each order is published at the broker."""
    broker = f"mqtt://127.0.0.1:{mosquitto.port}"
    for number in range(1, edges + 1):
        cluster.run("edge", "--broker", broker, *options, name=f"edge-{number}")
    for role in (*cluster.roles.values(), cluster.run("stream"), cluster.run("reactor")):
        role.wait_ready()
    heard: set[str] = set()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "devices", clean_session=False)
    client.max_inflight_messages_set(200)
    client.on_message = lambda _, __, message: heard.add(orjson.loads(message.payload)["id"])
    client.on_connect = lambda *_: client.subscribe("starloop/v1/+/reactions", qos=1)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    taken = 0

    def count(*_: object) -> None:
        nonlocal taken
        taken += 1

    client.on_publish = count
    for number, (topic, payload) in enumerate(CORNERS.messages(time.time())):
        client.publish(topic, payload, qos=1)  # also while the broker is away: it is kept and sent then
        if number in (1_000, 2_500):
            cluster.roles["edge-1"].kill()
            cluster.roles["edge-1"].start_again()
        if restarts and number == 1_800:
            until(lambda: taken > 1_500, 30.0, lambda: f"{taken} taken by the broker")
            mosquitto.restart()
    until(lambda: taken >= CORNERS.readings, 60.0, lambda: f"{taken} taken by the broker")
    left = {f"{device}/beans": level for device, level in CORNERS.expected_levels().items()}
    until(
        lambda: {i: level for i, (_, level) in cluster.forecasts().items()} == left,
        90.0,
        lambda: f"{cluster.forecasts()}",
    )
    until(lambda: heard == CORNERS.orders(), 60.0, lambda: f"{heard}")
    client.loop_stop()
    for role in cluster.roles.values():
        role.wait_ready()
    assert cluster.stop() == dict.fromkeys(cluster.roles, 0)
