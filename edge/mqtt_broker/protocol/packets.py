"""MQTT's control packets as values, with the standard's numbers. Their bytes are packet_encoder.py's and packet_decoder.py's.

Properties (MQTT 5) are a dictionary by the standard's identifier; those that may occur several times (user properties,
subscription identifiers of a PUBLISH) hold a list.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

V311: Final = 4
V5: Final = 5

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = 8, 9, 10, 11, 12, 13, 14, 15

Properties = dict[int, Any]


class ReasonCode:
    """Reason codes of MQTT 5."""

    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION = 0x11
    UNSPECIFIED = 0x80
    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_VERSION = 0x84
    BAD_CLIENT_ID = 0x85
    BAD_CREDENTIALS = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_BUSY = 0x89
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTH_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    TAKEN_OVER = 0x8E
    BAD_FILTER = 0x8F
    BAD_TOPIC = 0x90
    ID_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM = 0x93
    BAD_ALIAS = 0x94
    TOO_LARGE = 0x95
    QUOTA = 0x97


class PropertyId:
    """Identifiers of properties."""

    PAYLOAD_FORMAT = 1
    MESSAGE_EXPIRY = 2
    CONTENT_TYPE = 3
    RESPONSE_TOPIC = 8
    CORRELATION_DATA = 9
    SUBSCRIPTION_ID = 11
    SESSION_EXPIRY = 17
    ASSIGNED_CLIENT_ID = 18
    SERVER_KEEP_ALIVE = 19
    AUTH_METHOD = 21
    AUTH_DATA = 22
    REQUEST_PROBLEM = 23
    WILL_DELAY = 24
    REQUEST_RESPONSE = 25
    RESPONSE_INFO = 26
    SERVER_REFERENCE = 28
    REASON_STRING = 31
    RECEIVE_MAXIMUM = 33
    TOPIC_ALIAS_MAXIMUM = 34
    TOPIC_ALIAS = 35
    MAXIMUM_QOS = 36
    RETAIN_AVAILABLE = 37
    USER_PROPERTY = 38
    MAXIMUM_PACKET_SIZE = 39
    WILDCARD_AVAILABLE = 40
    SUBSCRIPTION_ID_AVAILABLE = 41
    SHARED_AVAILABLE = 42


class Publish(msgspec.Struct):
    """A message. packet_id: 0 at QoS 0. topic may be empty in MQTT 5 where an alias stands for it."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties | None = None


class Will(msgspec.Struct):
    """A will: the message that the broker publishes when the client's connection ends without a DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties | None = None


class Connect(msgspec.Struct):
    """A CONNECT. clean: clean session (3.1.1) or clean start (5). keep_alive_s: 0 for none."""

    client_id: str
    version: int = V311
    clean: bool = True
    keep_alive_s: int = 0
    user: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties | None = None


class Connack(msgspec.Struct):
    """A CONNACK. code: a reason code of MQTT 5, or a return code of 3.1.1."""

    code: int = 0
    session_present: bool = False
    properties: Properties | None = None


class Ack(msgspec.Struct):
    """PUBACK, PUBREC, PUBREL or PUBCOMP, by kind."""

    kind: int
    packet_id: int
    code: int = 0
    properties: Properties | None = None


class TopicFilter(msgspec.Struct):
    """One topic filter of a SUBSCRIBE with its options."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(msgspec.Struct):
    """A SUBSCRIBE."""

    packet_id: int
    filters: list[TopicFilter]
    properties: Properties | None = None


class Unsubscribe(msgspec.Struct):
    """An UNSUBSCRIBE."""

    packet_id: int
    filters: list[str]
    properties: Properties | None = None


class SubscribeAck(msgspec.Struct):
    """SUBACK or UNSUBACK, by kind: one code a filter (an UNSUBACK of 3.1.1 has none)."""

    kind: int
    packet_id: int
    codes: list[int]
    properties: Properties | None = None


class Ping(msgspec.Struct):
    """PINGREQ or PINGRESP, by kind."""

    kind: int


class Disconnect(msgspec.Struct):
    """A DISCONNECT."""

    code: int = 0
    properties: Properties | None = None


class Auth(msgspec.Struct):
    """An AUTH: a step of MQTT 5's enhanced authentication, which the broker does not offer."""

    code: int = 0
    properties: Properties | None = None


Packet = Publish | Connect | Connack | Ack | Subscribe | Unsubscribe | SubscribeAck | Ping | Disconnect | Auth
