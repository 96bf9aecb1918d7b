"""`starloop run`: a role as a process - its ready line, its stop, and what it keeps when it is killed."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from click.testing import CliRunner
from paho.mqtt.enums import CallbackAPIVersion

from starloop.commands.service.run import command


def starloop(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "starloop", "run", *arguments]


class Role:
    """A process of a role, started and stopped as an operator does."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            starloop(*arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r":(\d+)", self.line)
        assert found is not None, self.line
        self.port = int(found[1])

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def roles() -> Iterator[list[Role]]:
    started: list[Role] = []
    yield started
    for role in started:
        if role.process.poll() is None:
            role.process.kill()
        role.process.wait()
        assert role.process.stdout is not None
        role.process.stdout.close()


def connected(port: int, client_id: str) -> tuple[mqtt.Client, list[Any], threading.Event]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False)
    got: list[Any] = []
    done, subscribed = threading.Event(), threading.Event()
    client.on_connect = lambda *a: done.set()
    client.on_message = lambda c, u, message: got.append(message)
    client.on_subscribe = lambda *a: subscribed.set()
    client.reconnect_delay_set(60, 60)
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert done.wait(10)
    return client, got, subscribed


def test_the_broker_logs_its_address_and_stops_cleanly(roles: list[Role]) -> None:
    """One line on standard output; exit 0 on SIGTERM."""
    role = Role("gate", "--open", "--port", "0")
    roles.append(role)
    assert role.line == f"starloop gate is ready: mqtt://127.0.0.1:{role.port}\n"
    client, _, _ = connected(role.port, "c")
    assert role.end(signal.SIGTERM) == 0
    client.disconnect()
    client.loop_stop()


def test_acknowledged_messages_survive_a_kill_of_the_broker(roles: list[Role], tmp_path: Path) -> None:
    """A subscription from its SUBACK on, a message for a client that is away from its PUBACK on: kill -9 each time."""
    arguments = ("gate", "--open", "--port", "0", "--data", str(tmp_path))
    role = Role(*arguments)
    roles.append(role)
    phone, _, subscribed = connected(role.port, "phone")
    phone.subscribe("order/#", 1)
    assert subscribed.wait(10)
    role.end(signal.SIGKILL)
    phone.loop_stop()
    role = Role(*arguments)
    roles.append(role)
    shop, _, _ = connected(role.port, "shop")
    for number in range(20):
        info = shop.publish("order/1", b"%d" % number, 1, retain=True)
    info.wait_for_publish(10)
    role.end(signal.SIGKILL)
    shop.loop_stop()
    role = Role(*arguments)
    roles.append(role)
    phone, got, _ = connected(role.port, "phone")
    for _ in range(500):
        if len(got) == 20:
            break
        threading.Event().wait(0.01)
    assert [int(message.payload) for message in got] == list(range(20))
    phone.disconnect()
    phone.loop_stop()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """With the remedy, exit 1, and no stack trace."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = subprocess.run(
            starloop("gate", "--open", "--port", str(port)), capture_output=True, text=True, check=False
        )
    assert found.returncode == 1
    assert f"port {port} at 127.0.0.1" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gate"], "STARLOOP_LOG is embedded, which only one process can use"),
        (["gate", "--open", "--host", "0.0.0.0"], "expected --credentials and --tls-cert, or --insecure"),
        (["edge", "--uplink", "mqtt://h", "--data", "x", "--broker", "mqtt://b"], "--broker and --topic together"),
        (["edge", "--uplink", "mqtt://h", "--data", "x", "--host", "0.0.0.0"], "expected --insecure"),
        (["edge", "--uplink", "h:1883", "--data", "x"], "no URL of a broker"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], said: str) -> None:
    """What was expected, before anything is started."""
    assert said in str(CliRunner().invoke(command, arguments).exception)


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    """By its path."""
    arguments = ["gate", "--open", "--port", "0", "--tls-cert", str(tmp_path / "no.pem")]
    assert "no.pem" in str(CliRunner().invoke(command, arguments).exception)
    arguments = ["edge", "--uplink", "mqtts://h", "--data", str(tmp_path), "--ca", str(tmp_path / "no.pem")]
    assert "no.pem" in str(CliRunner().invoke(command, arguments).exception)
