"""The gate with real clients over real sockets: paho (3.1.1 and 5), mosquitto_pub and mosquitto_sub, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.mqtt_broker.authorization import Authenticator, Credential, hash_password, load_credentials
from edge.mqtt_broker.broker import Broker
from edge.mqtt_broker.protocol.packet_encoder import encode
from edge.mqtt_broker.protocol.packets import Connect, Disconnect, Publish, Will
from edge.mqtt_broker.server import BrokerServer, Limits
from edge.mqtt_broker.session_store import SqliteSessionStore
from star.errors import ConfigError

V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


def say(event: str, **fields: object) -> None:
    """Nobody listens."""


class Gate:
    """A server that may be stopped and started again on the same data."""

    def __init__(self, data: Path, access: Authenticator, limits: Limits) -> None:
        self.data = data
        self.access = access
        self.limits = limits
        self.port = 0

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self.store = SqliteSessionStore(self.data, say)
        self.broker = Broker(time.time, self.store)
        self.broker.restore(*self.store.load(time.time()))
        self.server = BrokerServer(self.broker, self.access, say, self.limits)
        self.port = await self.server.start("127.0.0.1", self.port, tls)

    async def stop(self) -> None:
        await self.server.stop()
        await self.store.close()


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    gate = Gate(tmp_path / "gate.db", Authenticator(None, lambda device: None), Limits(connect_s=1.0))
    await gate.start()
    yield gate
    await gate.stop()


class Paho:
    """A paho client in its own thread."""

    def __init__(self, port: int, client_id: str, version: MQTTProtocolVersion = V311, **fields: Any) -> None:
        self.messages: list[mqtt.MQTTMessage] = []
        self.connected = threading.Event()
        self.code: Any = None
        self.session_present = False
        self.subscribed = threading.Event()
        clean = {} if version == V5 else {"clean_session": fields.pop("clean", True)}
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version, **clean)
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda c, u, message: self.messages.append(message)
        self.client.on_subscribe = lambda *a: self.subscribed.set()
        if "user" in fields:
            self.client.username_pw_set(fields.pop("user"), fields.pop("password"))
        if "tls" in fields:
            self.client.tls_set_context(fields.pop("tls"))
        if "will" in fields:
            self.client.will_set(*fields.pop("will"))
        self.client.connect("127.0.0.1", port, **{"keepalive": 30, **fields})
        self.client.loop_start()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        self.code, self.session_present = code, flags.session_present
        self.connected.set()

    async def ready(self) -> Paho:
        assert await asyncio.to_thread(self.connected.wait, 5)
        return self

    async def subscribe(self, pattern: str, qos: int = 1) -> Paho:
        await self.ready()
        self.client.subscribe(pattern, qos)
        assert await asyncio.to_thread(self.subscribed.wait, 5)
        return self

    async def publish(self, topic: str, payload: bytes, qos: int = 1, **fields: Any) -> None:
        await self.ready()
        info = self.client.publish(topic, payload, qos, **fields)
        await asyncio.to_thread(info.wait_for_publish, 5)
        assert info.is_published()

    async def close(self) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)

    async def vanish(self) -> None:
        """The process dies: no DISCONNECT."""
        socket_ = self.client.socket()
        assert socket_ is not None
        self.client.on_disconnect = None
        await asyncio.to_thread(self.client.loop_stop)
        socket_.close()


async def until(holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s, "it did not come to hold"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_paho_publishes_and_receives_messages(gate: Gate, version: MQTTProtocolVersion, qos: int) -> None:
    """A thousand messages of every quality, in order."""
    listener = await Paho(gate.port, "listener", version).subscribe("a/#", qos)
    speaker = await Paho(gate.port, "speaker", version).ready()
    for number in range(1_000):
        speaker.client.publish("a/b", b"%d" % number, qos)
    await until(lambda: len(listener.messages) == 1_000, 20)
    assert [int(m.payload) for m in listener.messages] == list(range(1_000))
    assert {m.qos for m in listener.messages} == {qos}
    await speaker.close()
    await listener.close()


async def test_paho_sends_and_gets_properties(gate: Gate) -> None:
    """User properties, response topic and correlation of MQTT 5 pass through."""
    listener = await Paho(gate.port, "listener", V5).subscribe("ask")
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("k", "v"), ("k", "w")]
    properties.ResponseTopic = "answer"
    properties.CorrelationData = b"7"
    await (speaker := Paho(gate.port, "speaker", V5)).publish("ask", b"?", properties=properties)
    await until(lambda: len(listener.messages) == 1)
    got = listener.messages[0].properties
    assert got is not None
    assert got.UserProperty == [("k", "v"), ("k", "w")]
    assert (got.ResponseTopic, got.CorrelationData) == ("answer", b"7")
    await speaker.close()
    await listener.close()


async def test_a_large_message_passes_whole(gate: Gate) -> None:
    """10 MB, which is far more than a socket gives at once."""
    listener = await Paho(gate.port, "listener").subscribe("big")
    payload = os.urandom(10_000_000)
    await (speaker := Paho(gate.port, "speaker")).publish("big", payload)
    await until(lambda: len(listener.messages) == 1)
    assert listener.messages[0].payload == payload
    await speaker.close()
    await listener.close()


async def test_subscriptions_and_queued_messages_survive_a_restart_of_the_broker(gate: Gate) -> None:
    """Also retained ones; a message that waited is delivered once and then forgotten."""
    first = await Paho(gate.port, "phone", clean=False).subscribe("reactions/#")
    await first.vanish()
    await until(lambda: gate.broker.sessions["phone"].link is None)
    assert await gate.server.publish("reactions/1", b"order", retain=True) == 1
    await gate.stop()
    await gate.start()
    again = await Paho(gate.port, "phone", clean=False).ready()
    assert again.session_present
    await until(lambda: len(again.messages) == 1)
    assert await gate.server.publish("reactions/2", b"second") == 1
    await until(lambda: len(again.messages) == 2)
    await until(lambda: gate.broker.sessions["phone"].pending() == 0)
    await again.vanish()
    await gate.stop()
    await gate.start()
    last = await Paho(gate.port, "phone", clean=False).ready()
    other = await Paho(gate.port, "other").subscribe("reactions/+")
    await until(lambda: len(other.messages) == 1)
    assert (other.messages[0].payload, other.messages[0].retain) == (b"order", True)
    assert last.messages == []
    await other.close()
    await last.close()


async def test_a_silent_client_is_disconnected_and_its_will_published(gate: Gate) -> None:
    """After one and a half times the keep-alive it promised."""
    listener = await Paho(gate.port, "listener").subscribe("will")
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(encode(Connect("silent", 4, keep_alive_s=1, will=Will("will", b"gone")), 4))
    start_s = time.monotonic()
    assert await asyncio.wait_for(reader.read(), 30) == b"\x20\x02\x00\x00"
    assert time.monotonic() - start_s > 1.4
    await until(lambda: [m.payload for m in listener.messages] == [b"gone"])
    writer.close()
    await listener.close()


async def test_a_connection_without_a_connect_is_closed(gate: Gate) -> None:
    """After the connect timeout; garbage at once."""
    for sent in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    await until(lambda: gate.server.connections() == 0)


async def test_a_packet_that_is_too_large_is_answered_before_the_end(gate: Gate) -> None:
    """An MQTT 5 client that sends it all the same gets its reason, although it does not read while it writes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(encode(Connect("big", 5), 5))
    await reader.readexactly(2)
    writer.write(encode(Publish("a", b"x" * (16 * 1024 * 1024)), 5))
    await writer.drain()
    said = await asyncio.wait_for(reader.read(), 5)
    assert b"\xe0" in said
    assert said[said.index(b"\xe0") + 2] == 0x95
    writer.close()


async def test_more_connections_than_allowed_are_refused(tmp_path: Path) -> None:
    """The others are not disturbed."""
    gate = Gate(tmp_path / "gate.db", Authenticator(None, lambda device: None), Limits(connections_max=1))
    await gate.start()
    first = await Paho(gate.port, "first").subscribe("a")
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await first.publish("a", b"still here")
    await until(lambda: len(first.messages) == 1)
    await first.close()
    await gate.stop()


async def test_passwords_are_verified_and_roles_enforced(tmp_path: Path) -> None:
    """A wrong password is refused; a device hears and speaks under its own topics; a reconnect is cheap."""
    users = {
        "ops": Credential(user="ops", password=hash_password("secret"), role="operator"),
        "tank": Credential(user="tank", password=hash_password("wet"), role="device", device="tank-7"),
        "maria": Credential(user="maria", password=hash_password("m"), role="customer", customer="maria"),
    }
    access = Authenticator(users, {"tank-7": "maria"}.get)
    gate = Gate(tmp_path / "gate.db", access, Limits())
    await gate.start()
    wrong = await Paho(gate.port, "x", user="tank", password="dry").ready()
    assert wrong.code.is_failure
    nobody = await Paho(gate.port, "y").ready()
    assert nobody.code.is_failure
    ops = await Paho(gate.port, "ops", user="ops", password="secret").subscribe("#")
    tank = await Paho(gate.port, "tank", user="tank", password="wet").ready()
    maria = await Paho(gate.port, "maria", user="maria", password="m").subscribe("starloop/v1/tank-7/reactions")
    await tank.publish("starloop/v1/tank-7/telemetry", b"1")
    await until(lambda: [m.payload for m in ops.messages] == [b"1"])
    await ops.publish("starloop/v1/tank-7/reactions", b"2")
    await until(lambda: [m.payload for m in maria.messages] == [b"2"])
    assert access.authenticate_cached("tank", b"wet") is not None
    assert access.authenticate_cached("tank", b"dry") is None
    customer, device_ = access.authenticate_cached("maria", b"m"), access.authenticate_cached("tank", b"wet")
    assert customer is not None
    assert device_ is not None
    assert (customer.may_accept, device_.may_accept) == (True, False)
    for client in (wrong, nobody, ops, tank, maria):
        await client.close()
    await gate.stop()


def test_every_mistake_of_a_credentials_file_is_reported(tmp_path: Path) -> None:
    """Every problem is named with its table and field."""
    path = tmp_path / "users.toml"
    path.write_text(
        f'[[users]]\nuser = "a"\npassword = "{hash_password("x")}"\nrole = "device"\n'
        f'[[users]]\nuser = "b"\npassword = "clear"\nrole = "boss"\n'
        f'[[users]]\nuser = "ops"\npassword = "{hash_password("x")}"\nrole = "operator"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_credentials(path)
    assert [problem.field for problem in caught.value.problems] == [
        "users[0].device",
        "users[1].password",
        "users[1].role",
    ]
    path.write_text(f'[[users]]\nuser = "ops"\npassword = "{hash_password("x")}"\nrole = "operator"\n')
    assert list(load_credentials(path)) == ["ops"]
    path.write_text("[users")
    with pytest.raises(ConfigError):
        load_credentials(path)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("openssl is not installed: expected it in CI")
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


async def test_a_client_connects_over_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """The same, encrypted."""
    cert, key = certificate
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(cert, key)
    gate = Gate(tmp_path / "gate.db", Authenticator(None, lambda device: None), Limits())
    await gate.start(server_side)
    context = ssl.create_default_context(cafile=str(cert))
    client = await asyncio.to_thread(lambda: Paho(gate.port, "c", tls=context))
    await client.subscribe("a")
    await client.publish("a", b"x" * 100_000)
    await until(lambda: len(client.messages) == 1)
    await client.close()
    await gate.stop()


def _mosquitto() -> None:
    if shutil.which("mosquitto_pub") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("mosquitto-clients is not installed: expected it in CI")
        pytest.skip("mosquitto-clients is not installed")


@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mosquittos_clients_publish_and_receive_messages(gate: Gate, version: str, qos: str) -> None:
    """As the README tells a newcomer to try."""
    _mosquitto()
    common = ["-p", str(gate.port), "-V", version, "-q", qos, "-t"]
    listener = await asyncio.create_subprocess_exec(
        "mosquitto_sub", *common, "starloop/#", "-v", "-C", "3", "-W", "10", stdout=subprocess.PIPE
    )
    await until(lambda: any(s.subscriptions for s in gate.broker.sessions.values()))
    speaker = await asyncio.create_subprocess_exec(
        "mosquitto_pub", *common, "starloop/v1/tank-7/telemetry", "-l", stdin=subprocess.PIPE
    )
    await speaker.communicate(b"one\ntwo\nthree\n")
    said, _ = await listener.communicate()
    assert said.decode().splitlines() == [f"starloop/v1/tank-7/telemetry {word}" for word in ("one", "two", "three")]
    assert (speaker.returncode, listener.returncode) == (0, 0)


async def test_a_stop_disconnects_clients_and_is_bounded_in_time(gate: Gate) -> None:
    """Clients hear that the server stops; the port is free again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(encode(Connect("c", 5), 5))
    await reader.readexactly(2)
    await asyncio.wait_for(gate.server.stop(), 20)
    said = await asyncio.wait_for(reader.read(), 5)
    assert encode(Disconnect(0x8B), 5)[2] in said
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", gate.port))
    writer.close()
