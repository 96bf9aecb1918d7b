"""MQTT 5's properties to and from bytes: their identifiers, types, and the packets that may have them."""

from __future__ import annotations

from edge.mqtt_broker.protocol import packets as p
from edge.mqtt_broker.protocol.packets import Properties, PropertyId, ReasonCode
from star.errors import ProtocolError

WILL = 0
"""A will among the kinds of packets: it has properties of its own."""
BYTE, TWO_BYTES, FOUR_BYTES, VARINT, TEXT, BINARY, PAIR = range(7)
VARINT_MAX = 268_435_455
USER_PROPERTIES_MAX = 1_000
"""Most user properties of one packet."""

_ACKS = (p.PUBACK, p.PUBREC, p.PUBREL, p.PUBCOMP, p.SUBACK, p.UNSUBACK)
_EVERY = (WILL, p.CONNECT, p.CONNACK, p.PUBLISH, *_ACKS, p.SUBSCRIBE, p.UNSUBSCRIBE, p.DISCONNECT, p.AUTH)
PROPERTY_KINDS: dict[int, tuple[int, tuple[int, ...]]] = {
    PropertyId.PAYLOAD_FORMAT: (BYTE, (p.PUBLISH, WILL)),
    PropertyId.MESSAGE_EXPIRY: (FOUR_BYTES, (p.PUBLISH, WILL)),
    PropertyId.CONTENT_TYPE: (TEXT, (p.PUBLISH, WILL)),
    PropertyId.RESPONSE_TOPIC: (TEXT, (p.PUBLISH, WILL)),
    PropertyId.CORRELATION_DATA: (BINARY, (p.PUBLISH, WILL)),
    PropertyId.SUBSCRIPTION_ID: (VARINT, (p.PUBLISH, p.SUBSCRIBE)),
    PropertyId.SESSION_EXPIRY: (FOUR_BYTES, (p.CONNECT, p.CONNACK, p.DISCONNECT)),
    PropertyId.ASSIGNED_CLIENT_ID: (TEXT, (p.CONNACK,)),
    PropertyId.SERVER_KEEP_ALIVE: (TWO_BYTES, (p.CONNACK,)),
    PropertyId.AUTH_METHOD: (TEXT, (p.CONNECT, p.CONNACK, p.AUTH)),
    PropertyId.AUTH_DATA: (BINARY, (p.CONNECT, p.CONNACK, p.AUTH)),
    PropertyId.REQUEST_PROBLEM: (BYTE, (p.CONNECT,)),
    PropertyId.WILL_DELAY: (FOUR_BYTES, (WILL,)),
    PropertyId.REQUEST_RESPONSE: (BYTE, (p.CONNECT,)),
    PropertyId.RESPONSE_INFO: (TEXT, (p.CONNACK,)),
    PropertyId.SERVER_REFERENCE: (TEXT, (p.CONNACK, p.DISCONNECT)),
    PropertyId.REASON_STRING: (TEXT, (p.CONNACK, *_ACKS, p.DISCONNECT, p.AUTH)),
    PropertyId.RECEIVE_MAXIMUM: (TWO_BYTES, (p.CONNECT, p.CONNACK)),
    PropertyId.TOPIC_ALIAS_MAXIMUM: (TWO_BYTES, (p.CONNECT, p.CONNACK)),
    PropertyId.TOPIC_ALIAS: (TWO_BYTES, (p.PUBLISH,)),
    PropertyId.MAXIMUM_QOS: (BYTE, (p.CONNACK,)),
    PropertyId.RETAIN_AVAILABLE: (BYTE, (p.CONNACK,)),
    PropertyId.USER_PROPERTY: (PAIR, _EVERY),
    PropertyId.MAXIMUM_PACKET_SIZE: (FOUR_BYTES, (p.CONNECT, p.CONNACK)),
    PropertyId.WILDCARD_AVAILABLE: (BYTE, (p.CONNACK,)),
    PropertyId.SUBSCRIPTION_ID_AVAILABLE: (BYTE, (p.CONNACK,)),
    PropertyId.SHARED_AVAILABLE: (BYTE, (p.CONNACK,)),
}
"""Identifier -> its type, and the packets that may have it."""
_FLAGS = frozenset(number for number, (kind, _) in PROPERTY_KINDS.items() if kind == BYTE)
_NOT_ZERO = frozenset(
    {PropertyId.SUBSCRIPTION_ID, PropertyId.RECEIVE_MAXIMUM, PropertyId.TOPIC_ALIAS, PropertyId.MAXIMUM_PACKET_SIZE}
)


def malformed(reason: str) -> ProtocolError:
    """The error for bytes that are no valid packet."""
    return ProtocolError(ReasonCode.MALFORMED, reason)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, offset after it) of the variable byte integer at offset `at`. Raises ProtocolError."""
    value = 0
    for shift in (0, 7, 14, 21):
        if at >= end:
            raise malformed("a variable byte integer is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise malformed("a variable byte integer has more than four bytes")


def write_varint(value: int) -> bytes:
    """The bytes of a variable byte integer. Raises ValueError beyond VARINT_MAX."""
    if not 0 <= value <= VARINT_MAX:
        raise ValueError(f"{value} does not fit in a variable byte integer")
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        if not value:
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def read_binary(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """(bytes, offset after them) of a field with its length in two bytes before it. Raises ProtocolError."""
    if at + 2 > end:
        raise malformed("a length is cut off")
    stop = at + 2 + (data[at] << 8 | data[at + 1])
    if stop > end:
        raise malformed("a text or binary field is longer than its packet")
    return data[at + 2 : stop], stop


def read_text(data: bytes, at: int, end: int) -> tuple[str, int]:
    """(text, offset after it) of a UTF-8 string with its length before it. Raises ProtocolError."""
    raw, at = read_binary(data, at, end)
    return decode_text(raw), at


def decode_text(raw: bytes) -> str:
    """The UTF-8 text. Raises ProtocolError; MQTT does not allow NUL."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"a text is not UTF-8: {error.reason}") from None
    if "\x00" in text:
        raise malformed("a text holds NUL")
    return text


def write_binary(value: bytes) -> bytes:
    """The bytes after their length in two bytes. Raises ValueError beyond 65,535."""
    if len(value) > 0xFFFF:
        raise ValueError(f"a field of {len(value)} bytes: expected at most 65535")
    return len(value).to_bytes(2, "big") + value


def write_text(value: str) -> bytes:
    """A UTF-8 string with its length before it. Raises ValueError beyond 65,535 bytes."""
    return write_binary(value.encode())


def read_properties(data: bytes, at: int, end: int, packet: int) -> tuple[Properties | None, int]:
    """(properties, or None where there are none; offset after them) of a packet of kind `packet`. Raises ProtocolError."""
    length, at = read_varint(data, at, end)
    stop = at + length
    if stop > end:
        raise malformed("properties are longer than their packet")
    found: Properties = {}
    while at < stop:
        number, at = read_varint(data, at, stop)
        if number not in PROPERTY_KINDS:
            raise malformed(f"there is no property {number}")
        kind, packets = PROPERTY_KINDS[number]
        if packet not in packets:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"property {number} may not be in this packet")
        value, at = _read_value(data, at, stop, kind)
        _add_property(found, number, value, packet)
    return found or None, stop


def _read_value(data: bytes, at: int, end: int, kind: int) -> tuple[object, int]:
    if kind == VARINT:
        return read_varint(data, at, end)
    if kind == TEXT:
        return read_text(data, at, end)
    if kind == BINARY:
        return read_binary(data, at, end)
    if kind == PAIR:
        name, at = read_text(data, at, end)
        value, at = read_text(data, at, end)
        return (name, value), at
    width = {BYTE: 1, TWO_BYTES: 2, FOUR_BYTES: 4}[kind]
    if at + width > end:
        raise malformed("a property is cut off")
    return int.from_bytes(data[at : at + width], "big"), at + width


def _add_property(found: Properties, number: int, value: object, packet: int) -> None:
    if number in _FLAGS and value not in (0, 1):
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"property {number} is {value}: expected 0 or 1")
    if number in _NOT_ZERO and value == 0:
        raise ProtocolError(
            ReasonCode.BAD_ALIAS if number == PropertyId.TOPIC_ALIAS else ReasonCode.PROTOCOL_ERROR,
            f"property {number} is 0",
        )
    if number == PropertyId.USER_PROPERTY or (number == PropertyId.SUBSCRIPTION_ID and packet == p.PUBLISH):
        several = found.setdefault(number, [])
        several.append(value)
        if len(several) > USER_PROPERTIES_MAX:
            raise ProtocolError(ReasonCode.QUOTA, f"property {number} is there more than {USER_PROPERTIES_MAX} times")
    elif number in found:
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"property {number} is there twice")
    else:
        found[number] = value


def write_properties(properties: Properties | None) -> bytes:
    """The properties with their length before them."""
    if not properties:
        return b"\x00"
    out = bytearray()
    for number, value in properties.items():
        kind = PROPERTY_KINDS[number][0]
        for one in value if isinstance(value, list) else (value,):
            out += write_varint(number) + _write_value(one, kind)
    return write_varint(len(out)) + bytes(out)


def _write_value(value: object, kind: int) -> bytes:
    if kind == PAIR and isinstance(value, tuple):
        return write_text(value[0]) + write_text(value[1])
    if kind == TEXT and isinstance(value, str):
        return write_text(value)
    if kind == BINARY and isinstance(value, bytes):
        return write_binary(value)
    if not isinstance(value, int):
        raise ValueError(f"a property holds {type(value).__name__}")
    return (
        write_varint(value) if kind == VARINT else value.to_bytes({BYTE: 1, TWO_BYTES: 2, FOUR_BYTES: 4}[kind], "big")
    )
