"""What MQTT promises a client, without sockets and with a clock to move."""

from __future__ import annotations

from typing import Any

import pytest

from edge.mqtt_broker.connection import BACKLOG_BYTES_MAX
from edge.mqtt_broker.limits import NEVER_S, Limits
from edge.mqtt_broker.protocol import packets as p
from edge.mqtt_broker.protocol.packets import (
    V5,
    V311,
    Ack,
    Connack,
    Connect,
    Disconnect,
    PropertyId,
    Publish,
    ReasonCode,
    Subscribe,
    TopicFilter,
    Will,
)
from edge.mqtt_broker.publish_receiver import ALIASES_MAX, RECEIVE_MAX

KEPT = {PropertyId.SESSION_EXPIRY: 100}


@pytest.mark.parametrize("version", [V311, V5])
def test_a_subscriber_gets_what_is_published(world: Any, version: int) -> None:
    """At the lower of both qualities, in order, without the retain flag."""
    subscriber = world.subscribed("sub", "a/+", 1, version)
    publisher = world.peer("pub", version)
    answers = publisher.send(
        Publish("a/x", b"0", 0, True),
        Publish("a/y", b"1", 1, False, False, 7),
        Publish("a/z", b"2", 2, False, False, 8),
    )
    assert answers == [Ack(p.PUBACK, 7), Ack(p.PUBREC, 8)]
    assert [(m.topic, m.payload, m.qos, m.retain) for m in subscriber.messages()] == [
        ("a/x", b"0", 0, False),
        ("a/y", b"1", 1, False),
        ("a/z", b"2", 1, False),
    ]


def test_a_message_of_qos_2_counts_once_however_often_it_is_sent(world: Any) -> None:
    """Until PUBREL frees its identifier."""
    subscriber = world.subscribed("sub", "a")
    publisher = world.peer("pub")
    message = Publish("a", b"x", 2, False, False, 5)
    assert publisher.send(message) == [Ack(p.PUBREC, 5)]
    assert publisher.send(Publish("a", b"x", 2, False, True, 5)) == [Ack(p.PUBREC, 5)]
    assert publisher.send(Ack(p.PUBREL, 5)) == [Ack(p.PUBCOMP, 5)]
    assert publisher.send(Ack(p.PUBREL, 5)) == [Ack(p.PUBCOMP, 5, ReasonCode.ID_NOT_FOUND)]
    assert publisher.send(message) == [Ack(p.PUBREC, 5)]
    assert len(subscriber.messages()) == 2


def test_a_subscriber_of_qos_2_goes_through_all_four_steps(world: Any) -> None:
    """After PUBREC the message is not sent again, only the PUBREL."""
    subscriber = world.subscribed("sub", "a", properties=KEPT)
    world.peer("pub").send(Publish("a", b"x", 2, False, False, 1))
    (message,) = subscriber.messages()
    assert subscriber.send(Ack(p.PUBREC, message.packet_id)) == [Ack(p.PUBREL, message.packet_id)]
    subscriber.vanish()
    again = world.peer("sub", clean=False, properties=KEPT)
    assert again.got() == []
    assert world.broker.sessions["sub"].pending() == 1
    again.send(Ack(p.PUBCOMP, message.packet_id))
    assert world.broker.sessions["sub"].pending() == 0


@pytest.mark.parametrize("version", [V311, V5])
def test_what_was_not_acknowledged_is_sent_again_in_order(world: Any, version: int) -> None:
    """With the same identifiers and marked as sent again; what came while the client was away follows."""
    kept = {"clean": False, "properties": KEPT if version == V5 else None}
    subscriber = world.subscribed("sub", "a/#", 1, version, **kept)
    publisher = world.peer("pub")
    for number in range(3):
        publisher.send(Publish(f"a/{number}", b"", 1, False, False, number + 1))
    first = subscriber.messages()
    subscriber.send(Ack(p.PUBACK, first[0].packet_id))
    subscriber.vanish()
    publisher.send(Publish("a/3", b"", 1, False, False, 9), Publish("a/4", b"", 0))
    again = type(subscriber)(world, version)
    connack, *messages = again.send(Connect("sub", version, **kept))
    assert isinstance(connack, Connack)
    assert connack.session_present
    assert [(m.topic, m.dup) for m in messages] == [("a/1", True), ("a/2", True), ("a/3", False)]
    assert [m.packet_id for m in messages[:2]] == [m.packet_id for m in first[1:]]


def test_a_clean_start_ends_the_session_before(world: Any) -> None:
    """Nothing of it is left, neither subscriptions nor messages."""
    world.subscribed("sub", "a", properties=KEPT).vanish()
    fresh = world.peer("sub", clean=True, properties=KEPT)
    world.peer("pub").send(Publish("a", b"x"))
    assert fresh.messages() == []


def test_a_session_ends_when_its_time_is_over(world: Any) -> None:
    """The expiry counts from the end of the connection, and DISCONNECT may change it."""

    def present() -> bool:
        peer = type(first)(world)
        (connack, *_) = peer.send(Connect("sub", V5, clean=False, properties={PropertyId.SESSION_EXPIRY: 5}))
        peer.vanish()
        return bool(connack.session_present)

    first = world.subscribed("sub", "a", properties={PropertyId.SESSION_EXPIRY: 5})
    world.later(60)
    first.vanish()
    world.later(4)
    assert present()
    world.later(5)
    assert not present()
    longer = world.peer("sub", clean=False, properties={PropertyId.SESSION_EXPIRY: 5})
    longer.send(Disconnect(0, {PropertyId.SESSION_EXPIRY: 50}))
    world.later(40)
    assert present()
    world.peer("sub", clean=False, properties={PropertyId.SESSION_EXPIRY: 5}).send(
        Disconnect(0, {PropertyId.SESSION_EXPIRY: 0})
    )
    assert not present()


def test_a_session_of_3_1_1_is_kept_for_ever(world: Any) -> None:
    """Clean session 0 has no expiry."""
    world.subscribed("sub", "a", 1, V311, clean=False).vanish()
    world.later(10 * 365 * 86_400)
    assert world.broker.sessions["sub"].expiry_s == NEVER_S


@pytest.mark.parametrize("version", [V311, V5])
def test_a_will_is_published_when_the_connection_breaks(world: Any, version: int) -> None:
    """Not after a DISCONNECT."""
    subscriber = world.subscribed("sub", "status")
    will = Will("status", b"offline", 1, True)
    world.peer("dev", version, will=will).send(Disconnect())
    assert subscriber.messages() == []
    world.peer("dev", version, will=will).vanish()
    assert [m.payload for m in subscriber.messages()] == [b"offline"]
    late = world.peer("sub3")
    _, retained = late.send(Subscribe(1, [TopicFilter("#", 1)]))
    assert (retained.payload, retained.retain) == (b"offline", True)


def test_a_will_may_be_published_at_a_disconnect_and_after_a_delay(world: Any) -> None:
    """Reason code 4; and the delay of MQTT 5, which a reconnect cuts short without a word."""
    subscriber = world.subscribed("sub", "status")
    will = Will("status", b"x", 0, False, {PropertyId.WILL_DELAY: 10})
    world.peer("dev", will=will, properties=KEPT).send(Disconnect(ReasonCode.DISCONNECT_WITH_WILL))
    world.later(9)
    assert subscriber.messages() == []
    world.later(1)
    assert len(subscriber.messages()) == 1
    world.peer("dev", will=will, properties=KEPT).vanish()
    world.peer("dev", clean=False, properties=KEPT)
    world.later(20)
    assert subscriber.messages() == []
    world.peer("short", will=will, properties={PropertyId.SESSION_EXPIRY: 3}).vanish()
    world.later(4)
    assert len(subscriber.messages()) == 1  # the session's end comes before the delay's


def test_a_second_connection_takes_the_session_over(world: Any) -> None:
    """The first is told so."""
    first = world.subscribed("c", "a", properties=KEPT)
    second = type(first)(world)
    (connack,) = second.send(Connect("c", V5, clean=False, properties=KEPT))
    assert connack.session_present
    (goodbye,) = first.got()
    assert (goodbye.code, first.closed) == (ReasonCode.TAKEN_OVER, True)
    world.peer("pub").send(Publish("a", b"x"))
    assert len(second.messages()) == 1


def test_a_retained_message_waits_for_subscribers_until_it_is_emptied(world: Any) -> None:
    """Retain handling 0 gives it always, 1 to a new subscription only, 2 never; an empty payload forgets it."""
    publisher = world.peer("pub")
    publisher.send(Publish("a/x", b"1", 1, True, False, 1), Publish("$a/x", b"2", 0, True))
    peer = world.peer("sub")
    count = [
        len(
            [
                m
                for m in peer.send(Subscribe(1, [TopicFilter("+/x", 1, retain_handling=handling)]))
                if isinstance(m, Publish)
            ]
        )
        for handling in (1, 1, 0, 0, 2)
    ]
    assert count == [1, 0, 1, 1, 0]
    publisher.send(Publish("a/x", b"", 0, True))
    peer.got()
    assert len(peer.send(Subscribe(1, [TopicFilter("+/x", 1)]))) == 1


def test_options_of_a_subscription_are_respected(world: Any) -> None:
    """No local, retain as published, and the identifiers of all that match, in one message of the highest quality."""
    peer = world.peer("sub")
    peer.send(Subscribe(1, [TopicFilter("a", 0, no_local=True)]))
    peer.send(Publish("a", b"own"))
    assert peer.messages() == []
    peer.send(Subscribe(2, [TopicFilter("b/#", 0, retain_as_published=True)], {PropertyId.SUBSCRIPTION_ID: 7}))
    peer.send(Subscribe(3, [TopicFilter("b/+", 1)], {PropertyId.SUBSCRIPTION_ID: 8}))
    (ack, message) = peer.send(Publish("b/c", b"x", 1, True, False, 3))
    assert isinstance(message, Publish) or isinstance(ack, Publish)
    message = message if isinstance(message, Publish) else ack
    assert message.qos == 1
    assert message.retain
    assert sorted((message.properties or {})[PropertyId.SUBSCRIPTION_ID]) == [7, 8]


def test_a_group_shares_its_messages(world: Any) -> None:
    """Each message goes to one member, in turn, and to none of those that are away while others are there."""
    peers = [world.subscribed(f"m{n}", "$share/g/a/#", properties=KEPT) for n in range(3)]
    publisher = world.peer("pub")
    for _ in range(6):
        publisher.send(Publish("a/b", b"x"))
    assert [len(peer.messages()) for peer in peers] == [2, 2, 2]
    peers[1].vanish()
    for _ in range(4):
        publisher.send(Publish("a/b", b"x"))
    assert [len(peer.messages()) for peer in peers] == [2, 0, 2]
    (answer,) = peers[0].send(Subscribe(2, [TopicFilter("$share/g+/a", 0), TopicFilter("$share/g", 0)]))
    assert answer.codes == [ReasonCode.BAD_FILTER, ReasonCode.BAD_FILTER]


def test_properties_travel_with_a_message_and_its_expiry_counts_down(world: Any) -> None:
    """User properties, content type, response topic, correlation; what has expired is not delivered."""
    travelling = {
        PropertyId.USER_PROPERTY: [("a", "1"), ("a", "2")],
        PropertyId.CONTENT_TYPE: "text",
        PropertyId.RESPONSE_TOPIC: "r",
        PropertyId.CORRELATION_DATA: b"c",
        PropertyId.PAYLOAD_FORMAT: 1,
    }
    subscriber = world.subscribed("sub", "a", properties=KEPT)
    subscriber.vanish()
    publisher = world.peer("pub")
    publisher.send(Publish("a", b"soon", 1, False, False, 1, {PropertyId.MESSAGE_EXPIRY: 2}))
    publisher.send(Publish("a", b"late", 1, False, False, 2, {**travelling, PropertyId.MESSAGE_EXPIRY: 9}))
    world.later(4)
    peer = type(subscriber)(world)
    _, message = peer.send(Connect("sub", V5, clean=False, properties=KEPT))
    assert isinstance(message, Publish)
    assert message.payload == b"late"
    assert message.properties == {**travelling, PropertyId.MESSAGE_EXPIRY: 5}


def test_messages_in_flight_stay_within_the_clients_receive_maximum(world: Any) -> None:
    """Receive maximum; each acknowledgement makes room for the next, in order."""
    peer = world.subscribed("sub", "a", 1, properties={PropertyId.RECEIVE_MAXIMUM: 2})
    publisher = world.peer("pub")
    for number in range(4):
        publisher.send(Publish("a", b"%d" % number, 1, False, False, number + 1))
    first = peer.messages()
    assert [m.payload for m in first] == [b"0", b"1"]
    assert [m.payload for m in peer.send(Ack(p.PUBACK, first[0].packet_id))] == [b"2"]


def test_a_client_beyond_the_receive_maximum_is_disconnected(world: Any) -> None:
    """Messages of QoS 2 that are not completed count."""
    peer = world.peer("pub")
    sent = [Publish("a", b"", 2, False, False, number) for number in range(1, RECEIVE_MAX + 2)]
    assert peer.send(*sent)[-1].code == ReasonCode.RECEIVE_MAXIMUM


def test_topic_aliases_work_in_both_directions(world: Any) -> None:
    """An alias stands for the topic that came with it; 0, one too many, and one never set are errors."""
    peer = world.subscribed("sub", "#", properties={PropertyId.TOPIC_ALIAS_MAXIMUM: 1})
    publisher = world.peer("pub")
    publisher.send(Publish("a/b", b"1", properties={PropertyId.TOPIC_ALIAS: 3}))
    publisher.send(Publish("", b"2", properties={PropertyId.TOPIC_ALIAS: 3}))
    publisher.send(Publish("c", b"3"))
    got = [(m.topic, m.payload, (m.properties or {}).get(PropertyId.TOPIC_ALIAS)) for m in peer.messages()]
    assert got == [("a/b", b"1", 1), ("", b"2", 1), ("c", b"3", None)]
    for alias, code in ((ALIASES_MAX + 1, ReasonCode.BAD_ALIAS), (9, ReasonCode.PROTOCOL_ERROR)):
        other = world.peer(f"alias-{alias}")
        (goodbye,) = other.send(Publish("", b"", properties={PropertyId.TOPIC_ALIAS: alias}))
        assert goodbye.code == code


def test_packets_stay_within_the_clients_maximum_size(world: Any) -> None:
    """Such a message counts as delivered, so that it does not block the others."""
    peer = world.subscribed("sub", "a", 1, properties={PropertyId.MAXIMUM_PACKET_SIZE: 64})
    publisher = world.peer("pub")
    publisher.send(Publish("a", b"x" * 64, 1, False, False, 1), Publish("a", b"y", 1, False, False, 2))
    assert [m.payload for m in peer.messages()] == [b"y"]


def test_a_slow_subscriber_loses_qos_0_and_its_queue_is_bounded(world: Any) -> None:
    """Neither makes the gate grow without end; what is lost is counted."""
    peer = world.subscribed("sub", "a/#", 1, properties=KEPT)
    peer.slow = BACKLOG_BYTES_MAX + 1
    publisher = world.peer("pub")
    publisher.send(Publish("a", b"0"))
    assert peer.messages() == []
    assert world.broker.sessions["sub"].dropped == 1
    peer.vanish()
    world.broker.limits = Limits(queue_max=10)
    for number in range(15):
        publisher.send(Publish("a", b"%d" % number, 1, False, False, 1))
    assert world.broker.sessions["sub"].pending() == 10
    assert world.broker.sessions["sub"].dropped == 6
    again = type(peer)(world)
    _, *messages = again.send(Connect("sub", V5, clean=False, properties=KEPT))
    assert [m.payload for m in messages] == [b"%d" % number for number in range(5, 15)]


def test_the_connack_has_the_limits_that_replace_requested_ones(world: Any) -> None:
    """Session expiry, keep-alive, packet size; and that there is no room for another session."""
    world.broker.limits = Limits(session_expiry_max_s=60, keep_alive_max_s=30, packet_bytes_max=1_000, sessions_max=1)
    peer = type(world.peer("a"))(world)
    (connack,) = peer.send(Connect("a", V5, keep_alive_s=99, properties={PropertyId.SESSION_EXPIRY: NEVER_S}))
    told = connack.properties or {}
    assert told[PropertyId.SESSION_EXPIRY] == world.broker.sessions["a"].expiry_s == 60
    assert (told[PropertyId.SERVER_KEEP_ALIVE], told[PropertyId.MAXIMUM_PACKET_SIZE]) == (30, 1_000)
    other = type(peer)(world)
    (refused,) = other.send(Connect("b", V5))
    assert refused.code == ReasonCode.SERVER_BUSY
