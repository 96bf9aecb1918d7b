"""What the gate holds clients to: the rules of MQTT, their own topics, acknowledgement only of what is kept."""

from __future__ import annotations

from typing import Any

import pytest

from edge.mqtt_broker.authorization import Principal, Role
from edge.mqtt_broker.protocol import packets as p
from edge.mqtt_broker.protocol.packets import (
    V5,
    V311,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Ping,
    PropertyId,
    Publish,
    ReasonCode,
    Subscribe,
    SubscribeAck,
    TopicFilter,
    Unsubscribe,
    Will,
)

KEPT = {PropertyId.SESSION_EXPIRY: 100}


def test_unsubscribing_reports_whether_there_was_a_subscription(world: Any) -> None:
    """And nothing comes any more."""
    peer = world.subscribed("sub", "a")
    assert peer.send(Unsubscribe(2, ["a", "b"])) == [SubscribeAck(p.UNSUBACK, 2, [0, ReasonCode.NO_SUBSCRIPTION])]
    world.peer("pub").send(Publish("a", b"x"))
    assert peer.got() == []
    assert peer.send(Ping(p.PINGREQ)) == [Ping(p.PINGRESP)]


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (Connect("again", V5), ReasonCode.PROTOCOL_ERROR),
        (Connack(), ReasonCode.PROTOCOL_ERROR),
        (Auth(), ReasonCode.PROTOCOL_ERROR),
        (Publish("a", b"", properties={PropertyId.SUBSCRIPTION_ID: [1]}), ReasonCode.PROTOCOL_ERROR),
        (Publish("", b""), ReasonCode.PROTOCOL_ERROR),
        (Subscribe(1, [TopicFilter("$share/g/a", 0, no_local=True)]), ReasonCode.PROTOCOL_ERROR),
        (Disconnect(0, {PropertyId.SESSION_EXPIRY: 5}), ReasonCode.PROTOCOL_ERROR),
    ],
)
def test_a_client_that_breaks_the_rules_is_disconnected_with_a_reason(world: Any, packet: Any, code: int) -> None:
    """MQTT 5 has a reason code for it."""
    peer = world.peer("c")
    (goodbye,) = peer.send(packet)
    assert (goodbye.code, peer.closed) == (code, True)


@pytest.mark.parametrize(
    ("version", "fields", "code"),
    [
        (V311, {"client_id": "", "clean": False}, 2),
        (V311, {"client_id": "c", "user": "stranger"}, 4),
        (V5, {"client_id": "c", "user": "stranger"}, ReasonCode.BAD_CREDENTIALS),
        (V5, {"client_id": "c", "properties": {PropertyId.AUTH_METHOD: "x"}}, ReasonCode.BAD_AUTH_METHOD),
    ],
)
def test_a_client_that_may_not_connect_gets_the_reason(
    world: Any, version: int, fields: dict[str, Any], code: int
) -> None:
    """The CONNACK of its version."""
    peer = type(world.peer("other"))(world, version)
    (connack,) = peer.send(Connect(version=version, **fields))
    assert (connack.code, peer.closed) == (code, True)


def test_a_client_without_a_name_is_given_one(world: Any) -> None:
    """MQTT 5 tells it which."""
    peer = type(world.peer("other"))(world)
    (connack,) = peer.send(Connect("", V5, clean=False))
    assert (connack.properties or {})[PropertyId.ASSIGNED_CLIENT_ID] in world.broker.sessions
    assert len(world.peer("", V311).connection.client_id) > 5


def test_a_first_packet_that_is_no_connect_ends_the_connection(world: Any) -> None:
    """Without an answer, as nobody has said which version to answer in."""
    peer = type(world.peer("other"))(world)
    assert peer.send(Ping(p.PINGREQ)) == []
    assert peer.closed


@pytest.mark.parametrize("version", [V311, V5])
def test_a_client_need_not_wait_for_its_connack_to_publish(world: Any, version: int) -> None:
    """MQTT 3.1.4: what arrives in one segment with the CONNECT is handled after it, a message too."""
    subscriber = world.subscribed("sub", "a")
    peer = type(subscriber)(world, version)
    answers = peer.send(Connect("c", version), Publish("a", b"x", 1, packet_id=1))
    assert [type(answer) for answer in answers] == [Connack, Ack]
    assert [message.payload for message in subscriber.messages()] == [b"x"]
    assert not peer.closed


def device(name: str) -> Principal:
    return Principal(name=name, role=Role.DEVICE, owns_device=lambda device: device == name, may_accept=False)


@pytest.mark.parametrize("version", [V311, V5])
def test_a_device_publishes_and_subscribes_under_its_own_topics_only(world: Any, version: int) -> None:
    """Refused subscriptions have their code; a refused message is never acknowledged as kept."""
    world.principals["tank-7"] = device("tank-7")
    listener = world.subscribed("ops", "#")
    peer = world.peer("d", version, user="tank-7")
    own, other = "starloop/v1/tank-7/", "starloop/v1/tank-8/"
    filters = [f"{own}reactions", f"{own}#", "#", "starloop/v1/+/reactions", f"{other}#", f"$share/g/{other}x"]
    (answer,) = peer.send(Subscribe(1, [TopicFilter(one, 1) for one in filters]))
    refused = ReasonCode.NOT_AUTHORIZED if version == V5 else ReasonCode.UNSPECIFIED
    assert answer.codes == [1, 1, *[refused] * 4]
    peer.send(Publish(f"{own}telemetry", b"1"), Publish(f"{other}telemetry", b"2"), Publish(f"{own}reactions", b"3"))
    assert [m.payload for m in listener.messages()] == [b"1"]
    peer.got()
    answers = peer.send(Publish(f"{other}telemetry", b"2", 1, False, False, 4))
    if version == V5:
        assert answers == [Ack(p.PUBACK, 4, ReasonCode.NOT_AUTHORIZED)]
    else:
        assert peer.closed
        assert answers == []
    assert listener.messages() == []


def test_a_session_belongs_to_the_user_who_opened_it(world: Any) -> None:
    """A client identifier of another user is neither taken over nor looked into; a will is bound to own topics too."""
    world.principals |= {"tank-7": device("tank-7"), "tank-8": device("tank-8")}
    first = world.peer("shared-name", user="tank-7", properties=KEPT)
    intruder = type(first)(world)
    (connack,) = intruder.send(Connect("shared-name", V5, user="tank-8"))
    assert connack.code == ReasonCode.NOT_AUTHORIZED
    assert not first.closed
    liar = type(first)(world)
    (connack,) = liar.send(Connect("x", V5, user="tank-8", will=Will("starloop/v1/tank-7/status", b"offline")))
    assert connack.code == ReasonCode.NOT_AUTHORIZED


def test_a_former_owner_no_longer_receives_a_devices_messages(world: Any) -> None:
    """At once, not at the next connection."""
    hers = {"tank-7"}
    world.principals["maria"] = Principal(
        name="maria", role=Role.CUSTOMER, owns_device=hers.__contains__, may_accept=True
    )
    peer = world.subscribed("phone", "starloop/v1/tank-7/#", user="maria")
    operator_ = world.peer("ops")
    peer.send(Publish("starloop/v1/tank-7/outcomes", b"{}"))
    peer.got()
    hers.clear()
    peer.connection.reauthorize()
    operator_.send(Publish("starloop/v1/tank-7/reactions", b"secret"))
    answer = peer.send(Publish("starloop/v1/tank-7/outcomes", b"{}", 1, False, False, 1))
    assert answer == [Ack(p.PUBACK, 1, ReasonCode.NOT_AUTHORIZED)]


class Ingest:
    """Takes messages, and says when they are kept only when the test does."""

    def __init__(self) -> None:
        self.arrivals: list[Any] = []
        self.dones: list[Any] = []
        self.room = True
        self.resumes: list[Any] = []

    def offer(self, arrivals: Any, done: Any) -> bool:
        self.arrivals += arrivals
        if done is not None:
            self.dones.append(done)
        return self.room

    def when_ready(self, resume: Any) -> None:
        self.resumes.append(resume)

    def now_ms(self) -> int:
        return 5


def test_messages_are_acknowledged_in_order_once_they_are_stored(world: Any) -> None:
    """PUBACK and PUBREC wait for the log; so do answers to messages after them."""
    ingest = world.broker.ingest = Ingest()
    peer = world.peer("dev")
    sent = [Publish("a", b"1", 1, False, False, 1), Publish("a", b"2", 2, False, False, 2), Publish("a", b"3")]
    assert peer.send(*sent) == []
    assert peer.send(Publish("x/reactions", b"no input", 1, False, False, 3)) == []
    assert [one.payload for one in ingest.arrivals] == [b"1", b"2", b"3"]
    for done in ingest.dones:
        done()
    assert peer.got() == [Ack(p.PUBACK, 1), Ack(p.PUBREC, 2), Ack(p.PUBACK, 3)]


def test_a_redelivered_message_of_qos_2_is_acknowledged_once_stored(world: Any) -> None:
    """Also on another connection, while the first copy is on its way to the disk."""
    ingest = world.broker.ingest = Ingest()
    message = Publish("a", b"1", 2, False, False, 1)
    first = world.peer("dev", properties=KEPT)
    first.send(message)
    first.vanish()
    second = world.peer("dev", clean=False, properties=KEPT)
    assert second.send(message) == []
    assert len(ingest.arrivals) == 1
    for done in ingest.dones:
        done()
    assert second.got() == [Ack(p.PUBREC, 1)]


def test_reading_stops_while_the_log_is_behind(world: Any) -> None:
    """And goes on when there is room."""
    ingest = world.broker.ingest = Ingest()
    peer = world.peer("dev")
    ingest.room = False
    peer.send(Publish("a", b"1", 1, False, False, 1))
    assert peer.pauses == 1
    ingest.resumes[0]()
    assert peer.pauses == 0


def test_a_will_is_a_message_like_any_other(world: Any) -> None:
    """It is handed in, so that the loop hears that a device is gone."""
    ingest = world.broker.ingest = Ingest()
    world.peer("dev", will=Will("starloop/v1/tank-7/status", b"offline", 1, True)).vanish()
    assert [one.payload for one in ingest.arrivals] == [b"offline"]
