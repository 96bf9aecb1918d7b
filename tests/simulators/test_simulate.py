"""`starloop simulate` against a real broker, its arguments, and the reactions that it receives."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from click.testing import CliRunner
from paho.mqtt.enums import CallbackAPIVersion

from config.fleet_file import load_catalogue
from simulators.mqtt_player import SimulatedTime, parse_reaction
from star.errors import BadPayload, UsageError
from starloop.cli import cli
from starloop.commands.service.simulate import parse_broker
from tests.support.servers import Mosquitto


def _listen(port: int, got: list[mqtt.MQTTMessage]) -> mqtt.Client:
    ready = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda c, *_: c.subscribe("starloop/v1/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _c, _u, message: got.append(message)
    for _ in range(100):
        try:
            client.connect("127.0.0.1", port)
            break
        except OSError:
            threading.Event().wait(0.05)
    client.loop_start()
    assert ready.wait(5.0)
    return client


def test_a_neighbourhood_plays_to_any_broker_and_receives_reactions(mosquitto: Mosquitto) -> None:
    """Every message published arrives on the topics of the contract; a reaction on the broker is received."""
    got: list[mqtt.MQTTMessage] = []
    client = _listen(mosquitto.port, got)
    data = {"device": "maria-coffee", "item": "beans", "supplier": "bean-house", "quantity": 100.0}
    event = {"type": "starloop.order.requested", "id": "maria-coffee/beans/1/order/1", "time": "2026-01-01T00:00:00Z"}
    for payload in (json.dumps(event | {"data": data}), "no event"):
        client.publish("starloop/v1/maria-coffee/reactions", payload, qos=1, retain=True).wait_for_publish(5.0)
        client.loop_misc()
    options = ["--homes", "6", "--speed", "1000000", "--duration", "1.5", "--json"]
    done = CliRunner().invoke(cli, ["simulate", "--broker", f"mqtt://127.0.0.1:{mosquitto.port}", *options])
    assert done.exit_code == 0, done.output
    sums = json.loads(done.stdout)
    telemetry = [m for m in got if not m.topic.endswith("/reactions")]
    for _ in range(100):
        if len(telemetry) >= sums["published"]:
            break
        threading.Event().wait(0.05)
        telemetry = [m for m in got if not m.topic.endswith("/reactions")]
    client.loop_stop()
    assert len(telemetry) == sums["published"] > 100
    assert sums["reactions"] + sums["unreadable"] == 1
    assert all(isinstance(json.loads(m.payload), dict) for m in telemetry)


def test_an_unreachable_broker_is_named_in_the_error(free_port: Callable[[], int]) -> None:
    """With its address."""
    port = free_port()
    done = CliRunner().invoke(cli, ["simulate", "--broker", f"mqtt://127.0.0.1:{port}", "--homes", "1"])
    assert done.exit_code != 0
    assert f"127.0.0.1:{port} can't be reached" in str(done.exception)


def test_the_fleet_file_of_a_neighbourhood_is_valid(tmp_path: Path) -> None:
    """`--write-fleet` writes it without playing."""
    file = tmp_path / "fleet.toml"
    assert CliRunner().invoke(cli, ["simulate", "--write-fleet", str(file), "--homes", "9"]).exit_code == 0
    assert len(load_catalogue(file).customers) == 9


def test_a_brokers_address_is_parsed_or_rejected() -> None:
    """Ports by scheme, credentials, and what is expected in place of others."""
    broker = parse_broker("mqtts://u%40x:p@example.org")
    assert (broker.host, broker.port, broker.user, broker.password, broker.tls) == (
        "example.org",
        8883,
        "u@x",
        "p",
        True,
    )
    assert parse_broker("localhost").port == 1883
    for wrong in ("http://x", "mqtt://", "mqtt://x:99999"):
        with pytest.raises(UsageError, match="expected"):
            parse_broker(wrong)


def test_simulated_time_is_accelerated_until_the_present() -> None:
    """Then it follows the clock."""

    class Clock:
        now = 1_000_000

        def now_ms(self) -> int:
            return self.now

    clock = Clock()
    time = SimulatedTime(clock, 0, 100.0)
    clock.now += 5_000
    assert time.now_ms() == 500_000
    clock.now += 50_000
    assert time.now_ms() == clock.now


def test_a_message_that_is_no_reaction_is_rejected_with_the_reason() -> None:
    """Not JSON, without its members, or without a device."""
    for wrong in (b"\xff", b"[]", b"{}", b'{"type":"a","id":"b","time":"2026-01-01T00:00:00Z","data":{}}'):
        with pytest.raises(BadPayload):
            parse_reaction(wrong)
