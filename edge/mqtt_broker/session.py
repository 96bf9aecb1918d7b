"""A client's session at the gate: its subscriptions, and what it has yet to receive, whether it is connected or not.

The sending half of MQTT's delivery: queue, packet identifiers, QoS 1 and 2 up to the acknowledgement, sending again. No
I/O and no clock; the receiving half and the rest of a connection are connection.py's.
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
    """A message on its way. expires_s: on the hub's clock; properties are those that travel with it."""

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
    """A message for one session. number: its place in the session's order, by which the store knows it."""

    number: int
    message: BrokerMessage
    qos: int
    retain: bool
    identifiers: tuple[int, ...] = ()
    released: bool = False


class Link(Protocol):
    """The connection of a session, as far as the session needs it."""

    @property
    def in_flight_max(self) -> int:
        """How many messages may be unacknowledged."""
        ...

    def send_publish(self, packet: Publish) -> bool:
        """Sends it; False where the client can't take a packet of that size, or (QoS 0) is too slow."""
        ...

    def send(self, wire: bytes) -> None:
        """Sends bytes."""
        ...


class QueueStore(Protocol):
    """Who keeps on disk what a persistent session has yet to receive."""

    def save_queued(self, session: Session, out: QueuedMessage) -> None:
        """A message waits for the session."""
        ...

    def delete_queued(self, session: Session, number: int) -> None:
        """The message need not be kept any more."""
        ...


class Session:
    """What the gate knows of a client by its identifier. expiry_s: how long after its connection ends; NEVER_S: for ever.
    queue_max: messages that wait for it, in flight ones included; beyond it the oldest are dropped and counted."""

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
        """Whether it outlives its connection."""
        return self.expiry_s > 0

    def pending(self) -> int:
        """How many messages it has yet to receive."""
        return len(self._queue) + len(self._in_flight)

    def enqueue(
        self, message: BrokerMessage, qos: int, retain: bool, identifiers: tuple[int, ...], now_s: float
    ) -> None:
        """Gives the session a message: sent now, kept until it can be, or (QoS 0, a full queue) dropped."""
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
        """Whether one more message may wait; the oldest goes where that helps, as what is in flight can't be taken back."""
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
        """Puts back a message that the store kept."""
        self._last_number = max(self._last_number, out.number)
        self._queue.append(out)

    def send_pending(self, now_s: float) -> None:
        """Sends what waits, as far as the client takes it."""
        while self.link is not None and self._queue and len(self._in_flight) < self.link.in_flight_max:
            out = self._queue.popleft()
            packet_id = self._next_packet_id()
            self._in_flight[packet_id] = out
            if not self._send(out, packet_id, now_s, False):
                self.complete(packet_id)

    def resume(self, now_s: float) -> None:
        """After a new connection: sends again what was not acknowledged, in its order, then what waits."""
        for packet_id, out in list(self._in_flight.items()):
            if out.released and self.link is not None:
                self.link.send(encode_ack(p.PUBREL, packet_id))
            elif not self._send(out, packet_id, now_s, True):
                self.complete(packet_id)
        self.send_pending(now_s)

    def complete(self, packet_id: int) -> bool:
        """PUBACK or PUBCOMP came, or the message can't be sent. False: nothing was in flight under that identifier."""
        out = self._in_flight.pop(packet_id, None)
        if out is not None and self.persistent:
            self._queue_store.delete_queued(self, out.number)
        return out is not None

    def mark_received(self, packet_id: int) -> bool:
        """PUBREC came: from now on only PUBREL is sent. False: nothing was in flight under that identifier."""
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
