"""A small fleet for the edge: a tank of Maria's and a machine of Ben's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Customer, Device, Fleet, Slot, Supplier
from config.profile_file import load_profiles
from edge.decoder import Decoder
from edge.mqtt_broker.authorization import Principal, operator_principal
from edge.mqtt_broker.broker import Broker
from edge.mqtt_broker.connection import Connection
from edge.mqtt_broker.protocol.packet_decoder import PacketDecoder
from edge.mqtt_broker.protocol.packet_encoder import encode
from edge.mqtt_broker.protocol.packets import SUBACK, V5, Connect, Packet, Publish, Subscribe, SubscribeAck, TopicFilter


class NamesInMemory:
    """A registry of metrics that lasts as long as the test."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))

    def name(self, number: int) -> str:
        return list(self.numbers)[number]


@pytest.fixture
def catalogue() -> Catalogue:
    fleet = Fleet(
        customers=(Customer(id="maria"), Customer(id="ben")),
        devices=(
            Device(
                id="tank-7",
                customer="maria",
                profile="level-tank",
                slots={"oil": Slot(capacity=1500.0, pack=500.0, suppliers=("acme",))},
            ),
            Device(id="pump-1", customer="ben", profile="generic-monitor"),
        ),
        suppliers=(Supplier(id="acme"),),
    )
    return resolve_catalogue(fleet, load_profiles())


@pytest.fixture
def names() -> NamesInMemory:
    return NamesInMemory()


@pytest.fixture
def decoder(catalogue: Catalogue, names: NamesInMemory) -> Decoder:
    return Decoder(catalogue, names)


class Peer:
    """A client of a broker without sockets: the packets that the broker sent to it."""

    def __init__(self, world: World, version: int = V5) -> None:
        self.version = version
        self.closed = False
        self.pauses = 0
        self.slow = 0
        self._decoder = PacketDecoder(2**28, version)
        self._got: list[Packet] = []
        self.connection = Connection(world.broker, self, world.authenticate, world.log_event)

    def write(self, data: bytes) -> None:
        self._got += self._decoder.feed(data)
        assert self._decoder.error is None, self._decoder.error

    def close(self) -> None:
        self.closed = True

    def unsent_bytes(self) -> int:
        return self.slow

    def pause_reading(self) -> None:
        self.pauses += 1

    def resume_reading(self) -> None:
        self.pauses -= 1

    def send(self, *packets: Packet) -> list[Packet]:
        """Sends packets to the broker and returns its answers."""
        self.connection.receive(b"".join(encode(packet, self.version) for packet in packets))
        return self.got()

    def got(self) -> list[Packet]:
        """The packets since the last call."""
        got, self._got = self._got, []
        return got

    def messages(self) -> list[Publish]:
        """The messages among them."""
        return [packet for packet in self.got() if isinstance(packet, Publish)]

    def vanish(self) -> None:
        """Breaks the connection without a DISCONNECT."""
        self.connection.connection_lost()


class World:
    """A broker with a clock to move, where everyone is an operator unless a test says otherwise."""

    def __init__(self) -> None:
        self.now_s = 1_764_000_000.0
        self.broker = Broker(lambda: self.now_s)
        self.logged_events: list[tuple[str, dict[str, Any]]] = []
        self.principals: dict[str | None, Principal | None] = {None: operator_principal("anonymous")}

    def log_event(self, event: str, **fields: Any) -> None:
        self.logged_events.append((event, fields))

    def authenticate(self, packet: Connect, done: Callable[[Principal | None], None]) -> None:
        done(self.principals.get(packet.user))

    def peer(self, client_id: str, version: int = V5, **fields: Any) -> Peer:
        """A connected client, after its CONNACK. Keyword arguments are those of Connect."""
        peer = Peer(self, version)
        peer.send(Connect(client_id, version, **fields))
        return peer

    def subscribed(self, client_id: str, pattern: str, qos: int = 2, version: int = V5, **fields: Any) -> Peer:
        """A subscribed client, after its SUBACK."""
        peer = self.peer(client_id, version, **fields)
        assert peer.send(Subscribe(1, [TopicFilter(pattern, qos)])) == [SubscribeAck(SUBACK, 1, [qos])]
        return peer

    def later(self, delay_s: float) -> None:
        """Advances the clock."""
        self.now_s += delay_s
        self.broker.expire()


@pytest.fixture
def world() -> World:
    return World()
