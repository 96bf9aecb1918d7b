"""The whole service from a user's view: live against replay, bad input, damaged files."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.publish as publish
import pytest

from config.toml.writer import to_toml
from simulators.neighbourhood.simulation import Neighbourhood
from tests.support.service_process import ServiceUnderTest, starloop

FLEET = """
[[customers]]
id = "maria"
experience = "auto"
consents = ["replenishment"]
[[devices]]
id = "tank-7"
customer = "maria"
profile = "level-tank"
[devices.slots.oil]
capacity = 1500.0
pack = 500.0
suppliers = ["acme"]
[[suppliers]]
id = "acme"
lead_time_days = [2.0, 5.0]
price = 610.0
"""
TOPIC = "starloop/v1/tank-7/telemetry"
SEED, HOMES = 3, 8


def test_what_came_in_live_over_mqtt_gives_the_same_reactions_when_it_is_replayed(
    tmp_path: Path, free_port: Any
) -> None:
    """A neighbourhood lives a month over MQTT through Faust; the exported log, replayed, gives the same bytes."""
    fleet = to_toml(Neighbourhood(SEED, HOMES).fleet.model_dump(mode="json", exclude_defaults=True))
    service = ServiceUnderTest(tmp_path, free_port(), fleet)
    player = ("--broker", f"mqtt://127.0.0.1:{service.port}", "--seed", str(SEED), "--homes", str(HOMES))
    starloop("simulate", *player, "--speed", "172800", "--duration", "15")
    time.sleep(0.5)
    assert service.stop() == 0
    live = service.reactions()
    assert len(live) >= 5
    assert live == sorted(line for line in service.replayed(tmp_path, "reactions") if b'"starloop.' in line)


def test_a_reading_comes_back_as_an_order_and_its_reason_can_be_asked(tmp_path: Path, free_port: Any) -> None:
    """Within seconds of a low level there is an order; `why` and the HTTP API tell the same reason."""
    service = ServiceUnderTest(tmp_path, free_port(), FLEET)
    publish.single(TOPIC, b'{"values": {"oil": 60.0}}', qos=1, hostname="127.0.0.1", port=service.port)
    running = service.running()
    until_s = time.monotonic() + 20
    while not running.get_json("/api/v1/reactions")["reactions"]:
        assert time.monotonic() < until_s, "no reaction came"
        time.sleep(0.1)
    told = starloop("why", "tank-7/oil/1/order/1", "--data", str(service.data)).decode()
    assert "500 ordered from acme for 610.00" in told
    assert "run-out@" in told
    assert service.stop() == 0


def test_bad_input_is_quarantined_or_ends_its_own_connection_and_the_service_goes_on(
    tmp_path: Path, free_port: Any
) -> None:
    """Garbage, a 10 MB payload, NaN, an unknown device, malformed packets: each has its place, and a good reading follows."""
    service = ServiceUnderTest(tmp_path, free_port(), FLEET)
    bad = [
        (TOPIC, b"not json"),
        (TOPIC, b'{"values": {"oil": NaN}}'),
        (TOPIC, b"x" * 10_000_000),
        ("starloop/v1/nobody/telemetry", b'{"values": {"oil": 1}}'),
    ]
    for topic, payload in bad:
        publish.single(topic, payload, qos=1, hostname="127.0.0.1", port=service.port)
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\xff\xff", b"\x10\x00", b"\xf0" * 40):
        with socket.create_connection(("127.0.0.1", service.port)) as sock:
            sock.settimeout(15)  # a connection that never says CONNECT is ended after ten
            sock.sendall(garbage)
            assert sock.recv(100)[:1] in (b"", b"\x20")
    publish.single(TOPIC, b'{"values": {"oil": 900.0}}', qos=1, hostname="127.0.0.1", port=service.port)
    time.sleep(1.0)
    running = service.running()
    reasons = [row["reason"] for row in running.get_json("/api/v1/quarantine")["quarantine"]]
    assert len(reasons) == len(bad)
    assert any("10000000 bytes" in reason for reason in reasons)
    assert any("nobody" in reason for reason in reasons)
    assert running.get_json("/api/v1/items/tank-7/oil")["forecast"]["level"] == pytest.approx(900.0, rel=0.01)
    assert service.stop() == 0


def test_a_customers_choice_over_http_is_in_force_at_once_and_after_a_kill(tmp_path: Path, free_port: Any) -> None:
    """Less experience, said over the API: the next low level is offered and not ordered, also after kill -9."""
    service = ServiceUnderTest(tmp_path, free_port(), FLEET)
    running = service.running()
    headers = {"authorization": f"Bearer {running.token}"}
    base = f"http://127.0.0.1:{running.http_port}/api/v1"
    answer = httpx.patch(f"{base}/customers/maria", json={"experience": "offer"}, headers=headers, trust_env=False)
    assert answer.status_code < 300, answer.text
    service.kill()
    service.start()
    publish.single(TOPIC, b'{"values": {"oil": 60.0}}', qos=1, hostname="127.0.0.1", port=service.port)
    time.sleep(2.0)
    types = [row["type"] for row in service.running().get_json("/api/v1/reactions")["reactions"]]
    assert types == ["starloop.offer.made"]
    assert service.stop() == 0
    assert service.reactions() == sorted(
        line for line in service.replayed(tmp_path, "reactions") if b'"starloop.' in line
    )


@pytest.mark.parametrize(
    ("file", "said"), [("log.db", "not readable"), ("store.db", "damaged"), ("gate.db", "not a database")]
)
def test_a_damaged_file_is_named_in_one_line_with_what_to_do(
    tmp_path: Path, free_port: Any, file: str, said: str
) -> None:
    """The service says why it can't start, and exits 1 without a stack trace."""
    service = ServiceUnderTest(tmp_path, free_port(), FLEET)
    assert service.stop() == 0
    (service.data / file).write_bytes(b"\x00garbage" * 4096)
    for rest in service.data.glob(f"{file}-*"):
        rest.unlink()
    command = [sys.executable, "-m", "starloop", "up", "--fleet", str(tmp_path / "fleet.toml")]
    ended = subprocess.run(
        [*command, "--data", str(service.data), "--mqtt-port", "0", "--http-port", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert file in ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
