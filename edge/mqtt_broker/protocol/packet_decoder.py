"""MQTT 3.1.1 and 5 packets from bytes. No I/O; the only state is the bytes of an incomplete packet.

`PacketDecoder` takes bytes in any segments and does not raise: the first mistake is its `error`, after the packets before
it. Encoding is packet_encoder.py's. PUBLISH, nearly every packet, is decoded in the decoder's own loop.
"""

from __future__ import annotations

from typing import TypeVar

from edge.mqtt_broker.protocol import packets as p
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
    ReasonCode,
    Subscribe,
    SubscribeAck,
    TopicFilter,
    Unsubscribe,
    Will,
)
from edge.mqtt_broker.protocol.properties import WILL, decode_text, malformed, read_binary, read_properties, read_text
from edge.mqtt_broker.protocol.topic_filters import valid_topic
from star.errors import ProtocolError

CACHED_TOPICS_MAX = 4_096
"""Most topics in a decoder's cache, which spares decoding and checking the same bytes again."""
FILTERS_MAX = 1_000
"""Most filters of one SUBSCRIBE or UNSUBSCRIBE."""
_FLAGS = {p.PUBREL: 2, p.SUBSCRIBE: 2, p.UNSUBSCRIBE: 2}

_Whole = TypeVar("_Whole", Connect, Connack, Ack, Disconnect | Auth)
_Listing = TypeVar("_Listing", Subscribe, Unsubscribe)


class PacketDecoder:
    """The packets of one connection.

    packet_bytes_max: of a whole packet; may be set at any time. version: 0 until the CONNECT. error: the first mistake;
    bytes after it are ignored.
    """

    def __init__(self, packet_bytes_max: int, version: int = 0) -> None:
        self.packet_bytes_max = packet_bytes_max
        self.version = version
        self.error: ProtocolError | None = None
        self._partial = bytearray()
        self._needed = 0
        self._topics: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data` completes."""
        if self.error is not None:
            return []
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return []
            data = bytes(self._partial)
            self._partial = bytearray()
        found: list[Packet] = []
        try:
            done = self._read(data, found)
        except ProtocolError as error:
            self.error = error
            return found
        if done < len(data):
            self._partial = bytearray(memoryview(data)[done:])
        return found

    def _read(self, data: bytes, found: list[Packet]) -> int:
        """Appends packets to `found`; returns the offset after the last complete one."""
        at, size = 0, len(data)
        topics = self._topics
        while at + 2 <= size:
            head, length, start = data[at], data[at + 1], at + 2
            if length >= 0x80:
                length, start = self._length(data, at, size)
                if start < 0:
                    break
            end = start + length
            if end - at > self.packet_bytes_max:
                raise ProtocolError(
                    ReasonCode.TOO_LARGE, f"a packet of {end - at} bytes: expected at most {self.packet_bytes_max}"
                )
            if end > size:
                self._needed = end - at
                break
            if head & 0xF0 != 0x30:
                found.append(self._read_other(data, start, end, head))
                at = end
                continue
            body = start + 2
            if body > end:
                raise malformed("a PUBLISH without a topic")
            stop = body + (data[start] << 8 | data[start + 1])
            if stop > end:
                raise malformed("a topic is longer than its packet")
            raw = data[body:stop]
            topic = topics.get(raw)
            if topic is None:
                topic = self._topic(raw)
            qos = head >> 1 & 3
            packet_id = 0
            if qos:
                body = stop + 2
                if body > end or qos == 3:
                    raise malformed("a PUBLISH of QoS 3, or without a packet identifier")
                packet_id = data[stop] << 8 | data[stop + 1]
                if not packet_id:
                    raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a packet identifier is 0")
                stop = body
            elif head & 8:
                raise malformed("a PUBLISH of QoS 0 is marked as sent again")
            properties = None
            if self.version == V5:
                if stop < end and data[stop] == 0:
                    stop += 1
                else:
                    properties, stop = read_properties(data, stop, end, p.PUBLISH)
            found.append(Publish(topic, data[stop:end], qos, head & 1 == 1, head & 8 == 8, packet_id, properties))
            at = end
        else:
            self._needed = 2
        return at

    def _length(self, data: bytes, at: int, size: int) -> tuple[int, int]:
        """(remaining length, offset after it); (0, -1) where it is incomplete."""
        length = 0
        for place in range(4):
            if at + 1 + place >= size:
                self._needed = size - at + 1
                return 0, -1
            byte = data[at + 1 + place]
            length |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return length, at + 2 + place
        raise malformed("a remaining length of more than four bytes")

    def _topic(self, raw: bytes) -> str:
        topic = decode_text(raw)
        if "+" in topic or "#" in topic or (not topic and self.version != V5):
            raise ProtocolError(ReasonCode.BAD_TOPIC, f"the topic {topic[:60]!r} can't be published to")
        if len(self._topics) >= CACHED_TOPICS_MAX:
            self._topics.clear()
        self._topics[raw] = topic
        return topic

    def _read_other(self, data: bytes, at: int, end: int, head: int) -> Packet:
        kind = head >> 4
        if head & 0x0F != _FLAGS.get(kind, 0):
            raise malformed(f"a packet of kind {kind} with flags {head & 0x0F}")
        if kind == p.CONNECT:
            packet = read_connect(data, at, end)
            self.version = packet.version
            return packet
        if kind == p.CONNACK:
            return self._connack(data, at, end)
        if p.PUBACK <= kind <= p.PUBCOMP:
            return self._ack(data, at, end, kind)
        if kind == p.SUBSCRIBE:
            return self._subscribe(data, at, end)
        if kind == p.UNSUBSCRIBE:
            return self._unsubscribe(data, at, end)
        if kind in (p.SUBACK, p.UNSUBACK):
            return self._subscribe_ack(data, at, end, kind)
        if kind in (p.PINGREQ, p.PINGRESP):
            if at != end:
                raise malformed("a ping with content")
            return Ping(kind)
        if kind in (p.DISCONNECT, p.AUTH):
            return self._disconnect_or_auth(data, at, end, kind)
        raise malformed(f"there is no packet of kind {kind}")

    def _connack(self, data: bytes, at: int, end: int) -> Connack:
        if at + 2 > end or data[at] > 1:
            raise malformed("a CONNACK that is cut off or has unknown flags")
        packet = Connack(data[at + 1], data[at] == 1)
        at += 2
        if self.version == V5:
            packet.properties, at = read_properties(data, at, end, p.CONNACK)
        return _check_complete(packet, at, end)

    def _ack(self, data: bytes, at: int, end: int, kind: int) -> Ack:
        packet_id, at = _packet_id(data, at, end)
        packet = Ack(kind, packet_id)
        if self.version == V5 and at < end:
            packet.code = data[at]
            at += 1
            if at < end:
                packet.properties, at = read_properties(data, at, end, kind)
        return _check_complete(packet, at, end)

    def _subscribe(self, data: bytes, at: int, end: int) -> Subscribe:
        packet_id, at = _packet_id(data, at, end)
        packet = Subscribe(packet_id, [])
        if self.version == V5:
            packet.properties, at = read_properties(data, at, end, p.SUBSCRIBE)
        while at < end:
            pattern, at = read_text(data, at, end)
            if at >= end:
                raise malformed("a filter without options")
            options = data[at]
            at += 1
            known = 0x3F if self.version == V5 else 0x03
            if options & ~known or options & 3 == 3 or options >> 4 & 3 == 3:
                raise malformed(f"a filter with options {options:#04x}")
            packet.filters.append(
                TopicFilter(pattern, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3)
            )
        return _check_filters(packet)

    def _unsubscribe(self, data: bytes, at: int, end: int) -> Unsubscribe:
        packet_id, at = _packet_id(data, at, end)
        packet = Unsubscribe(packet_id, [])
        if self.version == V5:
            packet.properties, at = read_properties(data, at, end, p.UNSUBSCRIBE)
        while at < end:
            pattern, at = read_text(data, at, end)
            packet.filters.append(pattern)
        return _check_filters(packet)

    def _subscribe_ack(self, data: bytes, at: int, end: int, kind: int) -> SubscribeAck:
        packet_id, at = _packet_id(data, at, end)
        packet = SubscribeAck(kind, packet_id, [])
        if self.version == V5:
            packet.properties, at = read_properties(data, at, end, kind)
        packet.codes = list(data[at:end])
        return packet

    def _disconnect_or_auth(self, data: bytes, at: int, end: int, kind: int) -> Disconnect | Auth:
        packet: Disconnect | Auth = Disconnect() if kind == p.DISCONNECT else Auth()
        if self.version != V5:
            if at != end or kind == p.AUTH:
                raise malformed("a DISCONNECT with content, or an AUTH, in MQTT 3.1.1")
            return packet
        if at < end:
            packet.code = data[at]
            at += 1
            if at < end:
                packet.properties, at = read_properties(data, at, end, kind)
        return _check_complete(packet, at, end)


def read_connect(data: bytes, at: int, end: int) -> Connect:
    """The CONNECT whose variable header starts at `at`. Raises ProtocolError."""
    protocol, at = read_binary(data, at, end)
    if at + 4 > end:
        raise malformed("a CONNECT that is cut off")
    version, flags, keep_alive_s = data[at], data[at + 1], data[at + 2] << 8 | data[at + 3]
    if protocol != b"MQTT" or version not in (V311, V5):
        if protocol not in (b"MQTT", b"MQIsdp"):
            raise malformed("a CONNECT of another protocol")
        raise ProtocolError(ReasonCode.UNSUPPORTED_VERSION, f"protocol level {version}: expected 4 (3.1.1) or 5")
    _check_connect_flags(flags, version)
    at += 4
    packet = Connect("", version, bool(flags & 2), keep_alive_s)
    if version == V5:
        packet.properties, at = read_properties(data, at, end, p.CONNECT)
    packet.client_id, at = read_text(data, at, end)
    if flags & 4:
        packet.will, at = _read_will(data, at, end, flags, version)
    if flags & 0x80:
        packet.user, at = read_text(data, at, end)
    if flags & 0x40:
        packet.password, at = read_binary(data, at, end)
    return _check_complete(packet, at, end)


def _check_connect_flags(flags: int, version: int) -> None:
    will, will_options = flags & 4, flags & 0x38
    if flags & 1 or flags & 0x18 == 0x18 or (will_options and not will):
        raise malformed(f"a CONNECT with flags {flags:#04x}")
    if version == V311 and flags & 0xC0 == 0x40:
        raise malformed("a CONNECT with a password and no user name")


def _read_will(data: bytes, at: int, end: int, flags: int, version: int) -> tuple[Will, int]:
    will = Will("", b"", flags >> 3 & 3, bool(flags & 0x20))
    if version == V5:
        will.properties, at = read_properties(data, at, end, WILL)
    will.topic, at = read_text(data, at, end)
    will.payload, at = read_binary(data, at, end)
    if not valid_topic(will.topic):
        raise ProtocolError(ReasonCode.BAD_TOPIC, f"the will's topic {will.topic[:60]!r} can't be published to")
    return will, at


def _packet_id(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at + 2 > end:
        raise malformed("a packet identifier is cut off")
    packet_id = data[at] << 8 | data[at + 1]
    if not packet_id:
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a packet identifier is 0")
    return packet_id, at + 2


def _check_complete(packet: _Whole, at: int, end: int) -> _Whole:
    if at != end:
        raise malformed(f"{end - at} bytes are left at the end of a packet")
    return packet


def _check_filters(packet: _Listing) -> _Listing:
    if not packet.filters:
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a packet without a filter")
    if len(packet.filters) > FILTERS_MAX:
        raise ProtocolError(
            ReasonCode.QUOTA, f"a packet with {len(packet.filters)} filters: expected at most {FILTERS_MAX}"
        )
    return packet
