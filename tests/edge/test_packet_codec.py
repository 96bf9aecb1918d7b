"""MQTT's bytes: what is written is read again, in any pieces, and garbage is one error and nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.mqtt_broker.protocol import packets as p
from edge.mqtt_broker.protocol.packet_decoder import PacketDecoder
from edge.mqtt_broker.protocol.packet_encoder import encode
from edge.mqtt_broker.protocol.packets import (
    V5,
    V311,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Publish,
    Subscribe,
    SubscribeAck,
    TopicFilter,
    Unsubscribe,
    Will,
)
from edge.mqtt_broker.protocol.properties import (
    BINARY,
    BYTE,
    FOUR_BYTES,
    PAIR,
    PROPERTY_KINDS,
    TEXT,
    TWO_BYTES,
    VARINT,
    WILL,
)
from edge.mqtt_broker.protocol.topic_filters import FilterTree, matches, valid_filter, valid_topic
from star.errors import ProtocolError

LIMIT = 1_000_000

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
topics = texts.filter(valid_topic)
ids = st.integers(1, 65_535)
_values = {
    BYTE: st.integers(0, 1),
    TWO_BYTES: st.integers(1, 65_535),
    FOUR_BYTES: st.integers(1, 2**32 - 1),
    VARINT: st.integers(1, 268_435_455),
    TEXT: texts,
    BINARY: st.binary(max_size=4),
    PAIR: st.tuples(texts, texts),
}


def properties(packet: int) -> st.SearchStrategy[Any]:
    """Any properties that a packet of that kind may have."""
    choices = {}
    for number, (kind, packets) in PROPERTY_KINDS.items():
        if packet in packets:
            several = kind == PAIR or (kind == VARINT and packet == p.PUBLISH)
            choices[number] = st.lists(_values[kind], min_size=1, max_size=2) if several else _values[kind]
    return st.one_of(st.none(), st.fixed_dictionaries({}, optional=choices).map(lambda found: found or None))


def five(version: int, strategy: st.SearchStrategy[Any], other: Any = None) -> st.SearchStrategy[Any]:
    return strategy if version == V5 else st.just(other)


@st.composite
def publishes(draw: Any, version: int) -> Publish:
    qos = draw(st.integers(0, 2))
    return Publish(
        topic=draw(topics),
        payload=draw(st.binary(max_size=200)),
        qos=qos,
        retain=draw(st.booleans()),
        dup=draw(st.booleans()) if qos else False,
        packet_id=draw(ids) if qos else 0,
        properties=draw(five(version, properties(p.PUBLISH))),
    )


@st.composite
def connects(draw: Any, version: int) -> Connect:
    will = st.builds(
        Will, topics, st.binary(max_size=5), st.integers(0, 2), st.booleans(), five(version, properties(WILL))
    )
    user = draw(st.one_of(st.none(), texts))
    return Connect(
        client_id=draw(texts),
        version=version,
        clean=draw(st.booleans()),
        keep_alive_s=draw(st.integers(0, 65_535)),
        user=user,
        password=draw(st.one_of(st.none(), st.binary(max_size=5))) if user is not None or version == V5 else None,
        will=draw(st.one_of(st.none(), will)),
        properties=draw(five(version, properties(p.CONNECT))),
    )


def others(version: int) -> st.SearchStrategy[Packet]:
    codes = five(version, st.integers(0, 255), 0)
    flags = five(version, st.booleans(), False)
    filters = st.builds(TopicFilter, texts, st.integers(0, 2), flags, flags, five(version, st.integers(0, 2), 0))
    kinds: list[st.SearchStrategy[Any]] = [
        st.builds(Connack, st.integers(0, 255), st.booleans(), five(version, properties(p.CONNACK))),
        st.builds(Subscribe, ids, st.lists(filters, min_size=1, max_size=3), five(version, properties(p.SUBSCRIBE))),
        st.builds(Unsubscribe, ids, st.lists(texts, min_size=1, max_size=3), five(version, properties(p.UNSUBSCRIBE))),
        st.builds(Ping, st.sampled_from([p.PINGREQ, p.PINGRESP])),
        st.builds(Disconnect, codes, five(version, properties(p.DISCONNECT))),
        st.builds(
            SubscribeAck,
            st.just(p.SUBACK),
            ids,
            st.lists(st.integers(0, 255), max_size=3),
            five(version, properties(p.SUBACK)),
        ),
        st.builds(
            SubscribeAck,
            st.just(p.UNSUBACK),
            ids,
            five(version, st.lists(st.integers(0, 255), max_size=3), []),
            five(version, properties(p.UNSUBACK)),
        ),
    ]
    kinds += [
        st.builds(Ack, st.just(kind), ids, codes, five(version, properties(kind)))
        for kind in (p.PUBACK, p.PUBREC, p.PUBREL, p.PUBCOMP)
    ]
    if version == V5:
        kinds.append(st.builds(Auth, codes, properties(p.AUTH)))
    return st.one_of(kinds)


def packets(version: int) -> st.SearchStrategy[Packet]:
    return st.one_of(publishes(version), connects(version), others(version))


streams = st.sampled_from([V311, V5]).flatmap(lambda v: st.tuples(st.just(v), st.lists(packets(v), max_size=5)))


@given(streams, st.lists(st.integers(0, 400), max_size=8))
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(
    stream: tuple[int, list[Packet]], cuts: list[int]
) -> None:
    """Every packet of both versions survives the wire, in any pieces."""
    version, sent = stream
    wire = b"".join(encode(packet, version) for packet in sent)
    decoder = PacketDecoder(LIMIT, version)
    places = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    got = [packet for a, b in pairwise(places) for packet in decoder.feed(wire[a:b])]
    assert decoder.error is None
    assert got == sent


@given(streams)
def test_a_stream_that_comes_byte_by_byte_gives_the_same_packets(stream: tuple[int, list[Packet]]) -> None:
    """The smallest pieces that there are."""
    version, sent = stream
    decoder = PacketDecoder(LIMIT, version)
    wire = b"".join(encode(packet, version) for packet in sent)
    assert [packet for byte in wire for packet in decoder.feed(bytes((byte,)))] == sent


def _damaged(wire: bytes, changes: list[tuple[int, int]]) -> bytes:
    out = bytearray(wire)
    for place, byte in changes:
        if out:
            out[place % len(out)] = byte
    return bytes(out)


@settings(max_examples=300)
@given(
    streams,
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4),
    st.binary(max_size=40),
    st.integers(1, 50),
)
@example((V5, []), [], b"\x30\x00\x30\x01\x00", 1)
@example((V5, []), [], b"\x32\x02\x00\x00", 1)
@example((V5, []), [], b"\x30\x03\x00\x01a", 1)
@example((V5, []), [], b"\xf0\xff\xff\xff\xff\x00", 1)
@example((V311, []), [], b"\x10\x07\x00\x04MQTT\x04", 1)
def test_damaged_bytes_are_one_protocol_error_and_the_same_in_any_pieces(
    stream: tuple[int, list[Packet]], changes: list[tuple[int, int]], tail: bytes, step: int
) -> None:
    """Never another exception; the packets before the damage still count; nothing after it does."""
    version, sent = stream
    wire = _damaged(b"".join(encode(packet, version) for packet in sent), changes) + tail
    whole, pieces = PacketDecoder(LIMIT, version), PacketDecoder(LIMIT, version)
    first = whole.feed(wire)
    second = [packet for at in range(0, len(wire), step) for packet in pieces.feed(wire[at : at + step])]
    assert first == second
    assert str(whole.error) == str(pieces.error)
    assert whole.error is None or (isinstance(whole.error, ProtocolError) and whole.error.code >= 0x80)
    assert whole.error is None or whole.feed(b"\xc0\x00") == []


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x36\x05\x00\x01a\x00\x01", 0x81),  # QoS 3
        (b"\x38\x03\x00\x01a", 0x81),  # sent again at QoS 0
        (b"\x30\x03\x00\x01#", 0x90),
        (b"\x30\x04\x00\x02a\x00", 0x81),
        (b"\x30\x03\x00\x01\xff", 0x81),
        (b"\x32\x05\x00\x01a\x00\x00", 0x82),  # packet identifier 0
        (b"\x82\x02\x00\x01", 0x82),  # no filter
        (b"\x80\x06\x00\x01\x00\x01a\x00", 0x81),  # flags of SUBSCRIBE
        (b"\x82\x06\x00\x01\x00\x01a\x03", 0x81),  # QoS 3 asked for
        (b"\x30\xff\xff\xff\x7f", 0x95),
        (b"\x00\x00", 0x81),
        (b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x00\x00\x00", 0x84),
        (b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x00\x00\x00", 0x81),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", 0x81),
        (b"\xc0\x01\x00", 0x81),
    ],
)
def test_a_broken_rule_has_its_reason_code(wire: bytes, code: int) -> None:
    """The codes that MQTT 5 gives for what is wrong."""
    decoder = PacketDecoder(LIMIT, V311)
    assert decoder.feed(wire) == []
    assert decoder.error is not None
    assert decoder.error.code == code


def test_a_packet_that_is_too_large_is_refused_by_its_head() -> None:
    """Before its bytes have come, so that they need not be kept."""
    decoder = PacketDecoder(100, V311)
    assert decoder.feed(b"\x30\xc8\x01\x00") == []
    assert decoder.error is not None
    assert decoder.error.code == 0x95


levels = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=4)
wild = st.lists(st.sampled_from(["a", "b", "", "$x", "+"]), min_size=1, max_size=4)


@given(st.lists(st.tuples(wild, st.booleans()), max_size=6), levels, st.integers(0, 5))
def test_the_tree_of_filters_finds_exactly_the_filters_that_match(
    patterns: list[tuple[list[str], bool]], names: list[str], dropped: int
) -> None:
    """The tree agrees with the plain rule, also after filters were dropped."""
    found = ["/".join([*pattern, "#"] if more else pattern) for pattern, more in patterns]
    filters = [one for one in found if valid_filter(one)]
    tree: FilterTree[str] = FilterTree()
    for one in filters:
        tree.insert(one, "key", one)
    for one in filters[:dropped]:
        tree.remove(one, "key")
    left = set(filters[dropped:]) - set(filters[:dropped])
    topic = "/".join(names)
    assert sorted(tree.match(topic)) == sorted(one for one in left if matches(one, topic))


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("#", "a/b", True),
        ("a/#", "a", True),
        ("a/+", "a", False),
        ("+/b", "/b", True),
        ("+", "$SYS", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("a/b", "a/b/c", False),
    ],
)
def test_a_filter_matches_as_the_standard_says(pattern: str, topic: str, expected: bool) -> None:
    """Examples of section 4.7."""
    assert matches(pattern, topic) is expected


@pytest.mark.parametrize("pattern", ["", "a/#/b", "a#", "a/b+", "#/"])
def test_a_filter_with_wildcards_in_the_wrong_place_is_none(pattern: str) -> None:
    """A wildcard stands for whole levels, # only at the end."""
    assert not valid_filter(pattern)
