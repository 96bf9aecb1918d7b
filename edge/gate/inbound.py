"""The receiving half of a connection: what a client publishes - aliases, permission, duplicates, and the answer when it is kept.

One Inbound lives as long as its connection is open. It gathers what one piece of the stream brought and hands it in together.
No I/O and no clock; the sending half is session.py's.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.gate import packets as p
from edge.gate.access import Principal
from edge.gate.encoder import encode, encode_ack
from edge.gate.hub import Arrival, Hub, message_of
from edge.gate.packets import V5, V311, Ack, Code, Prop, Publish
from edge.gate.session import Session
from edge.gate.topics import valid_topic
from edge.gate.wire import Wire
from star.errors import ProtocolError

RECEIVE_MAX = 2_000
"""Messages of QoS 1 and 2 that an MQTT 5 client may send before the first is acknowledged."""
ALIASES_MAX = 256
"""Topic aliases that a client may use, and that we use towards it."""
TOPICS_KEPT_MAX = 4_096
"""Topics of which a connection remembers what is done with their messages."""
_REFUSED, _PASSED_ON, _INPUT = range(3)
"""What is done with messages to a topic: nothing, given to subscribers, and that and handed in as well."""


class Inbound:
    """See the module. answer: sends acknowledgements, if the connection is still open. say: logs an event."""

    def __init__(
        self,
        hub: Hub,
        session: Session,
        principal: Principal,
        version: int,
        reading: Wire,
        answer: Callable[[bytes], None],
        say: Callable[..., None],
    ) -> None:
        self.now_ms = 0
        self._hub = hub
        self._session = session
        self._principal = principal
        self._version = version
        self._reading = reading
        self._answer = answer
        self._say = say
        self._aliases: dict[int, str] = {}
        self._topics: dict[str, int] = {}
        self._arrivals: list[Arrival] = []
        self._acks: list[bytes] = []
        self._unanswered = 0
        self._handed_in = 0
        self._seen_before = False

    def publish(self, packet: Publish) -> None:
        """Takes a message. Raises ProtocolError."""
        topic = packet.topic
        if packet.properties is not None or not topic:
            topic = self._resolved(packet)
        use = self._topics.get(topic)
        if use is None:
            use = self._use(topic)
        if use == _REFUSED:
            self._refuse(packet)
            return
        if packet.qos and not self._counts(packet):
            return
        if use == _INPUT:
            self._arrivals.append(Arrival(topic, packet.payload, self.now_ms, self._principal.may_accept))
        hub = self._hub
        if packet.retain or hub.heard(topic):
            message = message_of(topic, packet.payload, packet.qos, packet.retain, packet.properties, hub.clock())
            hub.publish(message, self._session)

    def hand_in(self) -> None:
        """Hands in what came since the last call; answers go out when it is kept, in order."""
        if not self._arrivals and not self._acks:
            return
        arrivals, acks = self._arrivals, self._acks
        self._arrivals, self._acks = [], []
        ingest = self._hub.ingest
        wait = bool(arrivals or self._handed_in or self._seen_before)
        self._seen_before = False
        if ingest is None or not wait:
            self._hub.store.after_commit(lambda: self._kept(acks))
            return
        self._handed_in += 1
        if not ingest.offer(arrivals, lambda: self._handed(acks)):
            self._reading.pause()
            ingest.when_room(self._reading.resume)

    def reconsider(self) -> None:
        """What the client may publish to is found out anew."""
        self._topics.clear()

    def _counts(self, packet: Publish) -> bool:
        """Prepares the answer; False for a message of QoS 2 that came before."""
        self._unanswered += 1
        received = self._session.received
        if self._unanswered + len(received) > RECEIVE_MAX and self._version == V5:
            raise ProtocolError(Code.RECEIVE_MAXIMUM, f"more than {RECEIVE_MAX} messages on their way at once")
        self._acks.append(encode_ack(p.PUBACK if packet.qos == 1 else p.PUBREC, packet.packet_id))
        if packet.qos == 1:
            return True
        if packet.packet_id in received:
            # It came on an earlier connection, perhaps, and may still be on its way to the disk.
            self._seen_before = True
            return False
        received.add(packet.packet_id)
        return True

    def _resolved(self, packet: Publish) -> str:
        """The topic, where an alias may stand for it; the properties that do not travel on are taken off."""
        properties = dict(packet.properties or {})
        if Prop.SUBSCRIPTION_ID in properties:
            raise ProtocolError(Code.PROTOCOL_ERROR, "a client's PUBLISH with a subscription identifier")
        topic, alias = packet.topic, properties.pop(Prop.TOPIC_ALIAS, None)
        if alias is not None and not 1 <= alias <= ALIASES_MAX:
            raise ProtocolError(Code.BAD_ALIAS, f"topic alias {alias}: expected at most {ALIASES_MAX}")
        if alias is not None and topic:
            self._aliases[alias] = topic
        elif not topic:
            if alias not in self._aliases:
                raise ProtocolError(Code.PROTOCOL_ERROR, "a PUBLISH without a topic, or with an alias that was not set")
            topic = self._aliases[alias]
        packet.properties = properties or None
        return topic

    def _use(self, topic: str) -> int:
        """What is done with the client's messages to `topic`."""
        if len(self._topics) >= TOPICS_KEPT_MAX:
            self._topics.clear()
        if not valid_topic(topic) or not self._principal.may_publish(topic):
            self._say("publish_refused", client=self._session.client_id, user=self._principal.name, topic=topic)
            use = _REFUSED
        else:
            use = _INPUT if self._hub.ingest is not None and self._hub.is_input(topic) else _PASSED_ON
        self._topics[topic] = use
        return use

    def _refuse(self, packet: Publish) -> None:
        """MQTT 5 can say no. In 3.1.1 an answer would say that the message is kept, so the connection ends instead."""
        if packet.qos and self._version == V311:
            raise ProtocolError(Code.NOT_AUTHORIZED, f"may not publish to {packet.topic!r}")
        if packet.qos:
            kind = p.PUBACK if packet.qos == 1 else p.PUBREC
            self._unanswered += 1
            self._acks.append(encode(Ack(kind, packet.packet_id, Code.NOT_AUTHORIZED), V5))

    def _handed(self, acks: list[bytes]) -> None:
        self._handed_in -= 1
        self._hub.store.after_commit(lambda: self._kept(acks))

    def _kept(self, acks: list[bytes]) -> None:
        self._unanswered -= len(acks)
        if acks:
            self._answer(b"".join(acks))
