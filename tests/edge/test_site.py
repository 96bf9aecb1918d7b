"""A site: other people's brokers, an outbox on disk, an uplink that comes and goes - and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge import ingest_batcher
from edge.adapters import installed_adapters
from edge.mqtt_broker.authorization import Authenticator
from edge.mqtt_broker.broker import Arrival, Broker
from edge.mqtt_broker.server import BrokerServer
from edge.mqtt_client import Subscriber, Uplink, parse_url
from edge.outbox import Outbox, UplinkMessage
from edge.site_agent import SiteAgent, to_uplink_messages
from star.errors import BadPayload, DiskFull, LogDamaged, UsageError
from tests.support.servers import Mosquitto

TOPIC = "starloop/v1/tank-7/telemetry"


def say(event: str, **fields: object) -> None:
    """Nobody listens."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s, "it did not come to hold"
        await asyncio.sleep(0.01)


class Centre:
    """Where readings arrive: a real gate, whose log is a list."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.arrived: list[Arrival] = []
        self.delay_s = 0.0
        self.resumes: list[Callable[[], None]] = []

    async def start(self) -> None:
        hub = Broker(time.time)
        hub.ingest = self
        self.server = BrokerServer(hub, Authenticator(None, lambda device: None), say)
        self.port = await self.server.start("127.0.0.1", self.port)

    async def stop(self) -> None:
        await self.server.stop()

    def offer(self, arrivals: Any, done: Any) -> bool:
        self.arrived += arrivals
        if done is not None:
            asyncio.get_running_loop().call_later(self.delay_s, done)
        return True

    def when_ready(self, resume: Callable[[], None]) -> None:
        self.resumes.append(resume)

    def now_ms(self) -> int:
        return 5

    def values(self) -> list[float]:
        return [json.loads(one.payload)["values"]["oil"] for one in self.arrived]


@pytest.fixture
async def centre() -> AsyncIterator[Centre]:
    centre = Centre()
    await centre.start()
    yield centre
    await centre.stop()


def publisher(port: int) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "publisher", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.max_inflight_messages_set(100)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


async def test_messages_of_another_broker_are_acknowledged_once_stored(mosquitto: Mosquitto) -> None:
    """A client that dies before that is sent everything again; one that does not is sent nothing twice."""
    url = parse_url(f"mqtt://127.0.0.1:{mosquitto.port}")
    never, kept = Centre(), Centre()
    never.delay_s = 3_600.0
    first = Subscriber(url, [TOPIC], never, say, client_id="centre")
    first.start()
    client = publisher(mosquitto.port)
    await until(lambda: client.is_connected() and first._client.is_connected())
    await asyncio.sleep(0.2)
    for number in range(50):
        client.publish(TOPIC, json.dumps({"values": {"oil": number}}), 1)
    await until(lambda: len(never.arrived) == 50)
    first._client._sock_close()
    first._client.disconnect()
    second = Subscriber(url, [TOPIC], kept, say, client_id="centre")
    second.start()
    await until(lambda: len(kept.arrived) == 50)
    assert kept.values() == list(range(50))
    await asyncio.sleep(0.3)
    await second.stop()
    third_ingest = Centre()
    third = Subscriber(url, [TOPIC], third_ingest, say, client_id="centre")
    third.start()
    client.publish(TOPIC, json.dumps({"values": {"oil": 99}}), 1)
    await until(lambda: len(third_ingest.arrived) >= 1)
    await asyncio.sleep(0.2)
    assert third_ingest.values() == [99]
    await third.stop()
    await first.stop()
    client.disconnect()
    client.loop_stop()


async def test_a_restart_of_the_broker_loses_nothing(mosquitto: Mosquitto) -> None:
    """Both sides connect again by themselves; the broker's own session bridges the gap."""
    kept = Centre()
    heard = Subscriber(parse_url(f"mqtt://127.0.0.1:{mosquitto.port}"), [TOPIC], kept, say, client_id="centre")
    heard.start()
    client = publisher(mosquitto.port)
    await until(lambda: client.is_connected() and heard._client.is_connected())
    await asyncio.sleep(0.2)
    for number in range(300):
        if number == 150:
            await asyncio.to_thread(mosquitto.stop)
            await asyncio.to_thread(mosquitto.start)
        client.publish(TOPIC, json.dumps({"values": {"oil": number}}), 1)
        await asyncio.sleep(0.002)
    await until(lambda: set(kept.values()) == set(range(300)))
    await heard.stop()
    client.disconnect()
    client.loop_stop()


def edge_command(data: Path, uplink_port: int, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "starloop",
        "run",
        "edge",
        "--uplink",
        f"mqtt://127.0.0.1:{uplink_port}",
        "--data",
        str(data),
        *more,
    ]


async def ready(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    assert "starloop edge is ready" in line
    return line


async def start_edge(*command: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    await ready(process)
    return process


async def test_an_agent_killed_in_mid_stream_loses_nothing(
    mosquitto: Mosquitto, centre: Centre, tmp_path: Path
) -> None:
    """kill -9, four times: all that devices said at QoS 1 reaches the centre."""
    broker = ["--broker", f"mqtt://127.0.0.1:{mosquitto.port}", "--topic", "starloop/v1/+/telemetry"]
    command = edge_command(tmp_path / "site", centre.port, *broker)
    process = await start_edge(*command)
    client = publisher(mosquitto.port)
    await asyncio.sleep(0.5)
    sent = 0
    for _ in range(4):
        for _ in range(250):
            client.publish(TOPIC, json.dumps({"values": {"oil": sent}}), 1)
            sent += 1
            await asyncio.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        process = await start_edge(*command)
    await until(lambda: set(centre.values()) == set(range(sent)), 30)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 20) == 0
    client.disconnect()
    client.loop_stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "site" / "outbox.db")) as outbox:
        assert outbox.execute("SELECT COUNT(*) FROM waiting").fetchone() == (0,)


async def test_a_site_goes_on_while_the_centre_is_away(tmp_path: Path) -> None:
    """Its devices are acknowledged from the disk; when the centre is back it gets all, in order, with the times of then."""
    port = free_port()
    process = await start_edge(*edge_command(tmp_path / "site", port, "--port", str(gate_port := free_port())))
    client = publisher(gate_port)
    infos = [client.publish(TOPIC, json.dumps({"values": {"oil": number}}), 1) for number in range(200)]
    await until(lambda: all(info.is_published() for info in infos))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    centre = Centre(port)
    await centre.start()
    process = await start_edge(*edge_command(tmp_path / "site", port, "--port", str(gate_port)))
    await until(lambda: len(centre.arrived) == 200)
    assert centre.values() == list(range(200))
    times = [json.loads(one.payload)["at"] for one in centre.arrived]
    assert times == sorted(times)
    assert abs(times[0] - time.time()) < 60
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 20) == 0
    client.disconnect()
    client.loop_stop()
    await centre.stop()


async def test_a_full_outbox_acknowledges_nothing_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then everything, in order."""
    monkeypatch.setattr(ingest_batcher, "RETRY_MIN_S", 0.001)
    monkeypatch.setattr(ingest_batcher, "RETRY_MAX_S", 0.01)
    outbox = Outbox(tmp_path / "outbox.db", bytes_max=700)
    said: list[str] = []
    with ThreadPoolExecutor(1) as disk:
        agent = SiteAgent(outbox, disk, lambda: None, lambda: 1_000, lambda event, **fields: said.append(event))
        running = asyncio.create_task(agent.run())
        acknowledged: list[int] = []
        for number in range(6):
            arrival = Arrival(TOPIC, b'{"at": 1, "values": {"oil": %d}}' % number, 1_000, True)
            agent.offer([arrival], lambda number=number: acknowledged.append(number))  # type: ignore[misc]
            await asyncio.sleep(0.02)
        await until(lambda: "outbox_not_written" in said)
        assert 0 < len(acknowledged) < 6
        outbox.delete([number for number, _ in outbox.read(0, 100)])
        await until(lambda: len(acknowledged) == 6)
        agent.stop()
        await running
    outbox.close()


def test_an_outbox_stores_messages_and_counts_their_bytes(tmp_path: Path) -> None:
    """Over a restart; all or none of a batch; the number of refused payloads is bounded."""
    outbox = Outbox(tmp_path / "outbox.db", bytes_max=1_000)
    parcels = [UplinkMessage("t", b"x" * 100, number == 1) for number in range(5)]
    outbox.append(parcels)
    with pytest.raises(DiskFull):
        outbox.append(parcels)
    outbox.close()
    again = Outbox(tmp_path / "outbox.db", bytes_max=1_000)
    assert [parcel for _, parcel in again.read(0, 10)] == parcels
    assert len(again) == 5
    again.delete([1, 2, 3, 77])
    assert [number for number, _ in again.read(0, 10)] == [4, 5]
    again.append(parcels[:3])
    again.reject([(5, "home/x", b"?", "why")])
    assert again.rejected() == [(5, "home/x", b"?", "why")]
    again.close()


def test_a_damaged_outbox_is_named(tmp_path: Path) -> None:
    """It can't be opened, and says which file."""
    path = tmp_path / "outbox.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LogDamaged, match=r"outbox\.db"):
        Outbox(path)


def test_the_centre_gets_canonical_messages_with_times() -> None:
    """Readings and outcomes without a time get that of their arrival at the site; what can't be read goes on as it is."""

    def parcel(topic: str, payload: bytes) -> tuple[str, Any]:
        (one,) = to_uplink_messages(installed_adapters(), Arrival(topic, payload, 5_000, True))
        return one.topic, one.payload

    assert parcel(TOPIC, b'[{"n": "oil", "v": 3}]') == (TOPIC, b'{"at": 5.0, "values": {"oil": 3.0}}')
    said = b'{"at": 1, "boot": 2, "seq": 3, "values": {"oil": 4}}'
    assert json.loads(parcel(TOPIC, said)[1]) == json.loads(said)
    outcomes = "starloop/v1/tank-7/outcomes"
    assert json.loads(parcel(outcomes, b'{"id": "o"}')[1]) == {"id": "o", "at": 5.0}
    for payload in (b'{"id": "o", "at": 7}', b"?", b"[1]"):
        assert parcel(outcomes, payload) == (outcomes, payload)
    assert parcel(TOPIC, b"?") == (TOPIC, b"?")
    (status,) = to_uplink_messages(installed_adapters(), Arrival("starloop/v1/tank-7/status", b"online", 1, True))
    assert status.retain
    with pytest.raises(BadPayload, match="no adapter knows"):
        to_uplink_messages(installed_adapters(), Arrival("home/oil", b"1", 1, True))


async def test_a_message_that_the_centre_refuses_is_rejected_once(tmp_path: Path, centre: Centre) -> None:
    """It does not stand in the way of those behind it."""
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.append([UplinkMessage("$SYS/no", b"x"), UplinkMessage(TOPIC, b'{"values": {"oil": 1}}')])
    with ThreadPoolExecutor(1) as disk:
        uplink = Uplink(parse_url(f"mqtt://127.0.0.1:{centre.port}"), outbox, disk, say, client_id="site")
        running = asyncio.create_task(uplink.run())
        await until(lambda: len(outbox) == 0)
        await uplink.stop()
        await running
    assert [topic for _, topic, _, _ in outbox.rejected()] == ["$SYS/no"]
    assert centre.values() == [1]
    outbox.close()


@pytest.mark.parametrize("text", ["http://a", "mqtt://", "mqtt://a:x", "mqtt://a/b", "a:1883"])
def test_a_url_that_names_no_broker_is_refused(text: str) -> None:
    """With what was expected."""
    with pytest.raises(UsageError, match="no URL of a broker"):
        parse_url(text)


def test_a_url_has_host_port_user_and_tls() -> None:
    """Passwords may be quoted, or come from elsewhere, and are not shown."""
    url = parse_url("mqtts://us%40er:p%3Aw@example.org")
    assert (url.host, url.port, url.tls, url.user, url.password) == ("example.org", 8883, True, "us@er", "p:w")
    assert "p:w" not in url.shown()
    assert parse_url("mqtt://u@h:1", "secret").password == "secret"
