"""The receiving half of a connection: topic aliases, permissions, duplicates, and acknowledgement once a message is stored.

A receiver lives as long as its connection. Messages of one segment of the stream are offered to the ingest together. No
I/O and no clock; the sending half is session.py's.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.mqtt_broker.authorization import Principal
from edge.mqtt_broker.broker import Arrival, Broker, make_message
from edge.mqtt_broker.protocol import packets as p
from edge.mqtt_broker.protocol.packet_encoder import encode, encode_ack
from edge.mqtt_broker.protocol.packets import V5, V311, Ack, PropertyId, Publish, ReasonCode
from edge.mqtt_broker.protocol.topic_filters import valid_topic
from edge.mqtt_broker.session import Session
from edge.mqtt_broker.transport import Transport
from star.errors import ProtocolError

RECEIVE_MAX = 2_000
"""Unacknowledged messages of QoS 1 and 2 that an MQTT 5 client may have sent (the CONNACK's Receive Maximum)."""
ALIASES_MAX = 256
"""Topic aliases in each direction (the CONNACK's Topic Alias Maximum)."""
CACHED_TOPICS_MAX = 4_096
"""Most topics in a connection's cache of dispositions; beyond, the cache is emptied."""
_REJECTED, _FORWARDED, _INPUT = range(3)
"""Dispositions of messages to a topic: rejected; routed to subscribers; routed to subscribers and offered to the ingest."""


class PublishReceiver:
    """See the module. send_acks: sends acknowledgements, if the connection is still open. log_event: logs an event."""

    def __init__(
        self,
        broker: Broker,
        session: Session,
        principal: Principal,
        version: int,
        transport: Transport,
        send_acks: Callable[[bytes], None],
        log_event: Callable[..., None],
    ) -> None:
        self.now_ms = 0
        self._broker = broker
        self._session = session
        self._principal = principal
        self._version = version
        self._transport = transport
        self._send_acks = send_acks
        self._log_event = log_event
        self._aliases: dict[int, str] = {}
        self._topics: dict[str, int] = {}
        self._arrivals: list[Arrival] = []
        self._acks: list[bytes] = []
        self._unanswered = 0
        self._batches_in_flight = 0
        self._duplicate_seen = False

    def publish(self, packet: Publish) -> None:
        """Handles a PUBLISH. Raises ProtocolError."""
        topic = packet.topic
        if packet.properties is not None or not topic:
            topic = self._resolve_topic(packet)
        disposition = self._topics.get(topic)
        if disposition is None:
            disposition = self._disposition(topic)
        if disposition == _REJECTED:
            self._reject(packet)
            return
        if packet.qos and not self._prepare_ack(packet):
            return
        if disposition == _INPUT:
            self._arrivals.append(Arrival(topic, packet.payload, self.now_ms, self._principal.may_accept))
        broker = self._broker
        if packet.retain or broker.has_subscribers(topic):
            message = make_message(topic, packet.payload, packet.qos, packet.retain, packet.properties, broker.clock())
            broker.publish(message, self._session)

    def submit(self) -> None:
        """Offers the messages since the last call to the ingest. Acknowledgements go out, in order, once they are stored."""
        if not self._arrivals and not self._acks:
            return
        arrivals, acks = self._arrivals, self._acks
        self._arrivals, self._acks = [], []
        ingest = self._broker.ingest
        wait = bool(arrivals or self._batches_in_flight or self._duplicate_seen)
        self._duplicate_seen = False
        if ingest is None or not wait:
            self._broker.store.after_commit(lambda: self._send_stored_acks(acks))
            return
        self._batches_in_flight += 1
        if not ingest.offer(arrivals, lambda: self._on_stored(acks)):
            self._transport.pause_reading()
            ingest.when_ready(self._transport.resume_reading)

    def reset_permissions(self) -> None:
        """Empties the cache: permissions are evaluated again."""
        self._topics.clear()

    def _prepare_ack(self, packet: Publish) -> bool:
        """Prepares the acknowledgement; False for a message of QoS 2 that was received before."""
        self._unanswered += 1
        received = self._session.received
        if self._unanswered + len(received) > RECEIVE_MAX and self._version == V5:
            raise ProtocolError(ReasonCode.RECEIVE_MAXIMUM, f"more than {RECEIVE_MAX} messages on their way at once")
        self._acks.append(encode_ack(p.PUBACK if packet.qos == 1 else p.PUBREC, packet.packet_id))
        if packet.qos == 1:
            return True
        if packet.packet_id in received:
            # The first copy may be of an earlier connection and not on disk yet: the answer has to wait for it.
            self._duplicate_seen = True
            return False
        received.add(packet.packet_id)
        return True

    def _resolve_topic(self, packet: Publish) -> str:
        """The topic, looked up where an alias stands for it. Removes the properties that are not forwarded."""
        properties = dict(packet.properties or {})
        if PropertyId.SUBSCRIPTION_ID in properties:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a client's PUBLISH with a subscription identifier")
        topic, alias = packet.topic, properties.pop(PropertyId.TOPIC_ALIAS, None)
        if alias is not None and not 1 <= alias <= ALIASES_MAX:
            raise ProtocolError(ReasonCode.BAD_ALIAS, f"topic alias {alias}: expected at most {ALIASES_MAX}")
        if alias is not None and topic:
            self._aliases[alias] = topic
        elif not topic:
            if alias not in self._aliases:
                raise ProtocolError(
                    ReasonCode.PROTOCOL_ERROR, "a PUBLISH without a topic, or with an alias that was not set"
                )
            topic = self._aliases[alias]
        packet.properties = properties or None
        return topic

    def _disposition(self, topic: str) -> int:
        """The disposition of the client's messages to `topic`."""
        if len(self._topics) >= CACHED_TOPICS_MAX:
            self._topics.clear()
        if not valid_topic(topic) or not self._principal.may_publish(topic):
            self._log_event("publish_refused", client=self._session.client_id, user=self._principal.name, topic=topic)
            disposition = _REJECTED
        else:
            disposition = _INPUT if self._broker.ingest is not None and self._broker.is_input(topic) else _FORWARDED
        self._topics[topic] = disposition
        return disposition

    def _reject(self, packet: Publish) -> None:
        """Refuses a message. MQTT 3.1.1 has no negative acknowledgement, so there the connection ends."""
        if packet.qos and self._version == V311:
            raise ProtocolError(ReasonCode.NOT_AUTHORIZED, f"may not publish to {packet.topic!r}")
        if packet.qos:
            kind = p.PUBACK if packet.qos == 1 else p.PUBREC
            self._unanswered += 1
            self._acks.append(encode(Ack(kind, packet.packet_id, ReasonCode.NOT_AUTHORIZED), V5))

    def _on_stored(self, acks: list[bytes]) -> None:
        self._batches_in_flight -= 1
        self._broker.store.after_commit(lambda: self._send_stored_acks(acks))

    def _send_stored_acks(self, acks: list[bytes]) -> None:
        self._unanswered -= len(acks)
        if acks:
            self._send_acks(b"".join(acks))
