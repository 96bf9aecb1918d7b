"""MQTT 3.1.1 and 5 packets to bytes. Decoding is packet_decoder.py's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.mqtt_broker.protocol import packets as p
from edge.mqtt_broker.protocol.packets import (
    V5,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Properties,
    Publish,
    Subscribe,
    SubscribeAck,
    Unsubscribe,
)
from edge.mqtt_broker.protocol.properties import write_binary, write_properties, write_text, write_varint

_FLAGS = {p.PUBREL: 2}


def encode(packet: Packet, version: int) -> bytes:
    """The packet's bytes. Raises ValueError for what MQTT can't encode, such as a text of more than 65,535 bytes."""
    if isinstance(packet, Publish):
        return encode_publish(packet, version)
    head, body = _ENCODERS[type(packet)](packet, version)
    return bytes((head,)) + write_varint(len(body)) + body


def encode_publish(packet: Publish, version: int) -> bytes:
    """A PUBLISH's bytes."""
    topic = packet.topic.encode()
    body = write_binary(topic)
    if packet.qos:
        body += packet.packet_id.to_bytes(2, "big")
    if version == V5:
        body += write_properties(packet.properties)
    body += packet.payload
    head = 0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain
    return bytes((head,)) + write_varint(len(body)) + body


def encode_ack(kind: int, packet_id: int) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP with reason code 0: the same bytes in both versions."""
    return bytes((kind << 4 | _FLAGS.get(kind, 0), 2, packet_id >> 8, packet_id & 0xFF))


def _encode_connect(packet: Connect, version: int) -> tuple[int, bytes]:
    will = packet.will
    flags = packet.clean << 1 | (packet.user is not None) << 7 | (packet.password is not None) << 6
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
    body = write_text("MQTT") + bytes((packet.version, flags)) + packet.keep_alive_s.to_bytes(2, "big")
    five = packet.version == V5
    body += (write_properties(packet.properties) if five else b"") + write_text(packet.client_id)
    if will is not None:
        body += (
            (write_properties(will.properties) if five else b"") + write_text(will.topic) + write_binary(will.payload)
        )
    if packet.user is not None:
        body += write_text(packet.user)
    if packet.password is not None:
        body += write_binary(packet.password)
    return p.CONNECT << 4, body


def _encode_connack(packet: Connack, version: int) -> tuple[int, bytes]:
    body = bytes((packet.session_present, packet.code))
    return p.CONNACK << 4, body + write_properties(packet.properties) if version == V5 else body


def _encode_ack_packet(packet: Ack, version: int) -> tuple[int, bytes]:
    body = packet.packet_id.to_bytes(2, "big") + _encode_reason(packet.code, packet.properties, version)
    return packet.kind << 4 | _FLAGS.get(packet.kind, 0), body


def _encode_subscribe(packet: Subscribe, version: int) -> tuple[int, bytes]:
    body = packet.packet_id.to_bytes(2, "big")
    if version == V5:
        body += write_properties(packet.properties)
    for one in packet.filters:
        five = one.no_local << 2 | one.retain_as_published << 3 | one.retain_handling << 4 if version == V5 else 0
        body += write_text(one.filter) + bytes((one.qos | five,))
    return p.SUBSCRIBE << 4 | 2, body


def _encode_unsubscribe(packet: Unsubscribe, version: int) -> tuple[int, bytes]:
    body = packet.packet_id.to_bytes(2, "big")
    if version == V5:
        body += write_properties(packet.properties)
    return p.UNSUBSCRIBE << 4 | 2, body + b"".join(write_text(one) for one in packet.filters)


def _encode_subscribe_ack(packet: SubscribeAck, version: int) -> tuple[int, bytes]:
    body = packet.packet_id.to_bytes(2, "big")
    if version == V5:
        body += write_properties(packet.properties)
    elif packet.kind == p.UNSUBACK:
        return packet.kind << 4, body
    return packet.kind << 4, body + bytes(packet.codes)


def _encode_ping(packet: Ping, version: int) -> tuple[int, bytes]:
    return packet.kind << 4, b""


def _encode_disconnect(packet: Disconnect, version: int) -> tuple[int, bytes]:
    return p.DISCONNECT << 4, _encode_reason(packet.code, packet.properties, version)


def _encode_auth(packet: Auth, version: int) -> tuple[int, bytes]:
    return p.AUTH << 4, _encode_reason(packet.code, packet.properties, version)


def _encode_reason(code: int, properties: Properties | None, version: int) -> bytes:
    """A reason code with properties, in the shortest form; empty in 3.1.1, which has neither."""
    if version != V5 or not (code or properties):
        return b""
    return bytes((code,)) + (write_properties(properties) if properties else b"")


_ENCODERS: dict[type, Callable[[Any, int], tuple[int, bytes]]] = {
    Connect: _encode_connect,
    Connack: _encode_connack,
    Ack: _encode_ack_packet,
    Subscribe: _encode_subscribe,
    Unsubscribe: _encode_unsubscribe,
    SubscribeAck: _encode_subscribe_ack,
    Ping: _encode_ping,
    Disconnect: _encode_disconnect,
    Auth: _encode_auth,
}
