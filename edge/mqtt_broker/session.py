"""A client's session: its subscriptions and its queue of messages, whether it is connected or not.

The sending half of MQTT's delivery: queue, packet identifiers, QoS 1 and 2 until the acknowledgement, redelivery. No I/O
and no clock; the receiving half is publish_receiver.py's.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import msgspec

from edge.mqtt_broker.limits import Limits
from edge.mqtt_broker.protocol import packets as p
from edge.mqtt_broker.protocol.packet_encoder import encode_ack
from edge.mqtt_broker.protocol.packets import Properties, PropertyId, Publish

PACKET_ID_MAX = 65_535


class BrokerMessage(msgspec.Struct):
    """A message in the broker. expires_s: on the broker's clock. properties: those that are forwarded."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties | None = None
    expires_s: float | None = None


class Subscription(msgspec.Struct):
    """One filter of a session. identifier: 0 for none. group: of a shared subscription."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    identifier: int = 0
    group: str | None = None

    @property
    def full_filter(self) -> str:
        """The filter as the client wrote it."""
        return self.filter if self.group is None else f"$share/{self.group}/{self.filter}"


class QueuedMessage(msgspec.Struct):
    """A message for one session. number: its position in the session's order, its key in the store."""

    number: int
    message: BrokerMessage
    qos: int
    retain: bool
    identifiers: tuple[int, ...] = ()
    released: bool = False


class Link(Protocol):
    """A session's connection, as the session needs it."""

    @property
    def in_flight_max(self) -> int:
        """Most unacknowledged messages."""
        ...

    def send_publish(self, packet: Publish) -> bool:
        """Sends a message; False where it exceeds the client's packet size, or (QoS 0) the client reads too slowly."""
        ...

    def send(self, wire: bytes) -> None:
        """Sends bytes."""
        ...


class QueueStore(Protocol):
    """Storage of the queues of persistent sessions."""

    def save_queued(self, session: Session, out: QueuedMessage) -> None:
        """Adds a message to the session's queue."""
        ...

    def delete_queued(self, session: Session, number: int) -> None:
        """Removes a message from the session's queue."""
        ...


class Session:
    """The session of a client identifier.

    expiry_s: seconds until it ends after its connection has; NEVER_S: it does not end. queue_max: most messages queued,
    in flight included; beyond it the oldest are dropped and counted.
    """

    def __init__(self, client_id: str, owner: str, expiry_s: int, queue_store: QueueStore) -> None:
        self.client_id = client_id
        self.owner = owner
        self.expiry_s = expiry_s
        self.link: Link | None = None
        self.ended_s: float | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.received: set[int] = set()
        self.dropped = 0
        self.queue_max = Limits().queue_max
        self._queue_store = queue_store
        self._queue: deque[QueuedMessage] = deque()
        self._in_flight: dict[int, QueuedMessage] = {}
        self._last_id = 0
        self._last_number = 0

    @property
    def persistent(self) -> bool:
        """Whether the session outlives its connection."""
        return self.expiry_s > 0

    def pending(self) -> int:
        """Number of messages queued or in flight."""
        return len(self._queue) + len(self._in_flight)

    def enqueue(
        self, message: BrokerMessage, qos: int, retain: bool, identifiers: tuple[int, ...], now_s: float
    ) -> None:
        """Sends a message, queues it until it can be sent, or drops it (QoS 0, or nothing in a full queue can make room)."""
        if qos == 0:
            if self.link is not None and not self._send(
                QueuedMessage(0, message, 0, retain, identifiers), 0, now_s, False
            ):
                self.dropped += 1
            return
        if (self.link is None and not self.persistent) or not self._make_room():
            self.dropped += 1
            return
        self._last_number += 1
        out = QueuedMessage(self._last_number, message, qos, retain, identifiers)
        if self.persistent:
            self._queue_store.save_queued(self, out)
        self._queue.append(out)
        self.send_pending(now_s)

    def _make_room(self) -> bool:
        """Whether one more message may be queued, after dropping the oldest one that is not in flight."""
        if self.pending() < self.queue_max:
            return True
        if not self._queue:
            return False
        oldest = self._queue.popleft()
        self.dropped += 1
        if self.persistent:
            self._queue_store.delete_queued(self, oldest.number)
        return True

    def restore(self, out: QueuedMessage) -> None:
        """Queues a message that the store loaded."""
        self._last_number = max(self._last_number, out.number)
        self._queue.append(out)

    def send_pending(self, now_s: float) -> None:
        """Sends queued messages up to the client's limit of messages in flight."""
        while self.link is not None and self._queue and len(self._in_flight) < self.link.in_flight_max:
            out = self._queue.popleft()
            packet_id = self._next_packet_id()
            self._in_flight[packet_id] = out
            if not self._send(out, packet_id, now_s, False):
                self.complete(packet_id)

    def resume(self, now_s: float) -> None:
        """After a new connection: redelivers what was not acknowledged, in order, then sends what is queued."""
        for packet_id, out in list(self._in_flight.items()):
            if out.released and self.link is not None:
                self.link.send(encode_ack(p.PUBREL, packet_id))
            elif not self._send(out, packet_id, now_s, True):
                self.complete(packet_id)
        self.send_pending(now_s)

    def complete(self, packet_id: int) -> bool:
        """Ends a delivery: PUBACK or PUBCOMP arrived, or the message can't be sent. False: the identifier is not in flight."""
        out = self._in_flight.pop(packet_id, None)
        if out is not None and self.persistent:
            self._queue_store.delete_queued(self, out.number)
        return out is not None

    def mark_received(self, packet_id: int) -> bool:
        """PUBREC arrived: from now on only PUBREL is sent. False: the identifier is not in flight."""
        out = self._in_flight.get(packet_id)
        if out is None or out.qos != 2:
            return False
        out.released = True
        return True

    def _next_packet_id(self) -> int:
        self._last_id = self._last_id % PACKET_ID_MAX + 1
        while self._last_id in self._in_flight:
            self._last_id = self._last_id % PACKET_ID_MAX + 1
        return self._last_id

    def _send(self, out: QueuedMessage, packet_id: int, now_s: float, duplicate: bool) -> bool:
        message = out.message
        properties = message.properties
        if message.expires_s is not None:
            left_s = math.ceil(message.expires_s - now_s)
            if left_s <= 0:
                return False
            properties = {**(properties or {}), PropertyId.MESSAGE_EXPIRY: left_s}
        if out.identifiers:
            properties = {**(properties or {}), PropertyId.SUBSCRIPTION_ID: list(out.identifiers)}
        if self.link is None:
            return False
        return self.link.send_publish(
            Publish(message.topic, message.payload, out.qos, out.retain, duplicate, packet_id, properties)
        )
