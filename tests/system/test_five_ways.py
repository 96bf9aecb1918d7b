"""One input in five set-ups: replay, embedded log, Kafka with one worker, Kafka with two workers and a kill, external broker.

Decisions and ids are the same, byte for byte.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from config.catalogue import resolve_catalogue
from config.profile_file import load_profiles
from config.settings import Settings
from edge.mqtt_client import parse_url
from models.onnx_scorer import load_scorer
from reactor.store.sql import SqlStore
from runtime.replay import Replay
from simulators.neighbourhood.simulation import Neighbourhood
from star.records import Tick
from star.times import DAY_MS, HOUR_MS
from starloop.commands.service.simulate import fleet_toml
from starloop.roles.broker_bridge import BrokerBridge
from starloop.roles.context import open_context
from starloop.roles.ingest_gateway import IngestGateway
from starloop.roles.reactor import ReactorRole
from starloop.roles.stream import StreamRole
from tests.support.role_cluster import Cluster, until
from tests.support.service_process import ServiceUnderTest, starloop

DAYS, HOMES, SEED = 30.0, 6, 4
CHECKPOINT_S = str(DAY_MS // 1000)


class Month:
    """A simulated month in a closed loop with one replay: the input, and the decisions."""

    def __init__(self, folder: Path) -> None:
        neighbourhood = Neighbourhood(SEED, HOMES)
        self.fleet = fleet_toml(neighbourhood.fleet)
        catalogue = resolve_catalogue(neighbourhood.fleet, load_profiles())
        replay = Replay(catalogue, load_scorer("run-out"), frozenset({"reactions"}))
        self.lines: list[dict[str, Any]] = []
        self.messages: list[tuple[int, str, bytes] | int] = []
        """The input as MQTT messages (time, topic, payload); a number is the time of a tick."""
        self.reactions: list[bytes] = []
        end_ms = neighbourhood.now_ms + round(DAYS * DAY_MS)
        while neighbourhood.now_ms < end_ms:
            to_ms = neighbourhood.now_ms + HOUR_MS
            events = neighbourhood.advance(to_ms)
            self.messages += [(event.at_ms, event.topic, orjson.dumps(event.payload)) for event in events]
            self.messages.append(to_ms)
            for line in [*(event.replay_line() for event in events), {"at": to_ms / 1000, "tick": True}]:
                self.lines.append(line)
                for printed in replay.feed(orjson.dumps(line)):
                    told = orjson.loads(printed)
                    if "data" in told:
                        self.reactions.append(orjson.dumps(told))
                        neighbourhood.handle_reaction(told)
        self.reactions.sort()
        self.last_ms = end_ms
        self.file = folder / "month.jsonl"
        self.file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in self.lines))
        self.fleet_file = folder / "fleet.toml"
        self.fleet_file.write_text(self.fleet)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    month = Month(tmp_path_factory.mktemp("month"))
    assert len(month.reactions) >= 10
    assert {orjson.loads(one)["type"].split(".")[1] for one in month.reactions} >= {"order", "offer"}
    return month


def test_replayed_by_the_command(month: Month) -> None:
    """The command prints the decisions of the loop in one process."""
    printed = starloop("replay", "--fleet", str(month.fleet_file), "--readings", str(month.file)).splitlines()
    assert sorted(line for line in printed if b'"starloop.' in line) == month.reactions


def test_on_the_embedded_log(month: Month, tmp_path: Path, free_port: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are loaded into the log, and the service reads them from there."""
    data = tmp_path / "data"
    monkeypatch.setenv("STARLOOP_TICKS", "log")
    monkeypatch.setenv("STARLOOP_CHECKPOINT_S", CHECKPOINT_S)
    starloop("log", "load", str(month.file), "--fleet", str(month.fleet_file), "--data", str(data))
    service = ServiceUnderTest(tmp_path, free_port(), month.fleet)
    until(lambda: _reached(f"sqlite:///{data / 'store.db'}", month.last_ms), 60.0, lambda: "it never came to the end")
    assert service.stop() == 0
    assert service.reactions() == month.reactions


def _reached(store_url: str, last_ms: int) -> bool:
    with SqlStore(store_url) as store:
        return all(at_ms >= last_ms for _, at_ms in store.progress().values()) and bool(store.progress())


@pytest.fixture
def cluster(month: Month, tmp_path: Path, kafka: Any, postgres: Any) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path,
        month.fleet,
        kafka.bootstrap,
        kafka.prefix(),
        postgres.url,
        STARLOOP_TICKS="log",
        STARLOOP_CHECKPOINT_S=CHECKPOINT_S,
    )
    yield cluster
    cluster.stop()


def test_on_kafka_with_one_worker(month: Month, cluster: Cluster) -> None:
    """Partitioned by customer, with separate processes for analysis and decisions, and PostgreSQL."""
    cluster.command("fleet", "apply", str(cluster.fleet))
    cluster.command("log", "load", str(month.file))
    for role in (cluster.run("stream"), cluster.run("reactor")):
        role.wait_ready()
    cluster.settled(month.last_ms)
    assert cluster.reactions() == month.reactions
    assert cluster.stop() == {"stream": 0, "reactor": 0}


def test_on_kafka_with_two_workers_and_a_kill(month: Month, cluster: Cluster) -> None:
    """Two of each role; one of each is killed under load, and the others take over its partitions."""
    cluster.command("fleet", "apply", str(cluster.fleet))
    cluster.command("log", "load", str(month.file))
    for name in ("1", "2"):
        cluster.run("stream", name=f"stream-{name}")
        cluster.run("reactor", name=f"reactor-{name}")
    for role in cluster.roles.values():
        role.wait_ready()
    until(lambda: any(offset > 50 for offset, _ in cluster.progress().values()), 60.0, lambda: "nothing began")
    cluster.roles["stream-1"].kill()
    cluster.roles["reactor-2"].kill()
    cluster.settled(month.last_ms)
    assert cluster.reactions() == month.reactions


class DrivenClock:
    """A clock set from the input lines."""

    def __init__(self) -> None:
        self.at_ms = 0

    def now_ms(self) -> int:
        return self.at_ms


async def test_received_from_and_published_to_an_external_mosquitto(
    month: Month, tmp_path: Path, mosquitto: Any
) -> None:
    """Every message comes from an external broker, and every reaction is published there."""
    clock = DrivenClock()
    clock.at_ms = round(month.lines[0]["at"] * 1000)
    settings = Settings.read(data_dir=tmp_path / "data", ticks="log", may_accept=True, instance="five")
    client = BrokerClient(mosquitto.port)
    async with open_context(settings, clock, "edge", month.fleet_file) as context:
        gateway = IngestGateway(context)
        ingest_task = context.group.create_task(gateway.ingest.run())
        await gateway.register_metrics()
        stream, reactor = StreamRole(context), ReactorRole(context)
        await stream.app.start()
        decide_task = context.group.create_task(reactor.loop.run())
        send_task = context.group.create_task(reactor.dispatcher.run())
        broker = BrokerBridge(context, gateway, parse_url(f"mqtt://127.0.0.1:{mosquitto.port}"))
        async with broker.run():
            await _wait_until(lambda: context.checks["broker"]() is None)
            await _play(month, clock, gateway, client, reactor)
            await _wait_until(lambda: len(client.events) >= len(month.reactions))
        for task in (decide_task, send_task):
            task.cancel()
        gateway.ingest.stop()
        await ingest_task
        await stream.app.stop()
        await reactor.close()
    with SqlStore(f"sqlite:///{tmp_path / 'data' / 'store.db'}") as store:
        rows = store.reactions(limit=100_000)
    assert sorted(orjson.dumps(row.reaction.replay_line()) for row in rows) == month.reactions
    assert {event["id"] for event in client.events} == {orjson.loads(one)["id"] for one in month.reactions}


async def _play(
    month: Month, clock: DrivenClock, gateway: IngestGateway, client: BrokerClient, reactor: ReactorRole
) -> None:
    """Publishes the messages in order; each is ingested before the next, as the clock shows its time."""
    for message in month.messages:
        if isinstance(message, int):
            clock.at_ms = message
            await gateway.append_record(Tick(at_ms=gateway.ingest.now_ms()))
            await _wait_until(lambda at_ms=message: reactor.decided_until_ms().get(0, 0) >= at_ms)
            continue
        clock.at_ms, topic, payload = message
        before = gateway.records_written
        client.mqtt.publish(topic, payload, qos=1)
        await _wait_until(lambda before=before: gateway.records_written > before)


async def _wait_until(condition: Any, timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        await asyncio.sleep(0.001)


class BrokerClient:
    """A client of the broker that publishes, and receives all reactions."""

    def __init__(self, port: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._subscribed = threading.Event()
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, "the-devices")
        self.mqtt.on_message = lambda client, data, message: self.events.append(orjson.loads(message.payload))
        self.mqtt.on_subscribe = lambda *_: self._subscribed.set()
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.subscribe("starloop/v1/+/reactions", qos=1)
        self.mqtt.loop_start()
        assert self._subscribed.wait(10)
