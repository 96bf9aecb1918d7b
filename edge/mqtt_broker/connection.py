"""One client's connection as a state machine: the effect of each packet and its answer. No I/O and no clock.

Bytes come in by `receive` and leave through a Transport. PUBACK and PUBREC are sent once the ingest has the messages on
disk; CONNACK, SUBACK and UNSUBACK once the session store has the change.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from enum import Enum, auto

from edge.mqtt_broker.authorization import Principal
from edge.mqtt_broker.broker import SUBSCRIPTIONS_MAX, Broker
from edge.mqtt_broker.limits import NEVER_S
from edge.mqtt_broker.protocol import packets as p
from edge.mqtt_broker.protocol.packet_decoder import PacketDecoder
from edge.mqtt_broker.protocol.packet_encoder import encode, encode_ack, encode_publish
from edge.mqtt_broker.protocol.packets import (
    V5,
    V311,
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Properties,
    PropertyId,
    Publish,
    ReasonCode,
    Subscribe,
    SubscribeAck,
    TopicFilter,
    Unsubscribe,
    Will,
)
from edge.mqtt_broker.protocol.topic_filters import parse_shared, valid_filter
from edge.mqtt_broker.publish_receiver import ALIASES_MAX, RECEIVE_MAX, PublishReceiver
from edge.mqtt_broker.session import Session, Subscription
from edge.mqtt_broker.transport import Transport
from star.errors import ProtocolError

CONNECT_BYTES_MAX = 128 * 1024
"""Most bytes of the first packet, which anyone may send: smaller than for authenticated clients."""
BACKLOG_BYTES_MAX = 4 * 1024 * 1024
"""Unsent bytes to a slow subscriber above which messages of QoS 0 are dropped; others wait in its session."""
_CONNACK_311 = {
    ReasonCode.UNSUPPORTED_VERSION: 1,
    ReasonCode.BAD_CLIENT_ID: 2,
    ReasonCode.SERVER_BUSY: 3,
    ReasonCode.BAD_CREDENTIALS: 4,
    ReasonCode.NOT_AUTHORIZED: 5,
}
"""Return codes of MQTT 3.1.1; for any other reason the connection is closed without an answer."""

Authenticate = Callable[[Connect, Callable[[Principal | None], None]], None]
"""Authenticates a client and calls the function, now or later, with its principal, or None for wrong credentials."""


class _State(Enum):
    NEW = auto()
    AUTHENTICATING = auto()
    OPEN = auto()
    CLOSED = auto()


class Connection:
    """See the module. log_event: logs an event. The limits are the broker's."""

    def __init__(
        self,
        broker: Broker,
        transport: Transport,
        authenticate: Authenticate,
        log_event: Callable[..., None],
    ) -> None:
        self.keep_alive_s = 0
        self.client_id = ""
        self._broker = broker
        self._transport = transport
        self._authenticate = authenticate
        self._limits = broker.limits
        self._log_event = log_event
        self._state = _State.NEW
        self._decoder = PacketDecoder(CONNECT_BYTES_MAX)
        self._version = V311
        self._will: Will | None = None
        self._early_packets: list[Packet] = []
        self._publish_receiver: PublishReceiver | None = None
        self._client_bytes_max = 0
        self._client_aliases_max = 0
        self._client_aliases: dict[str, int] = {}
        self._client_receive_max = self._limits.in_flight_max
        self._session: Session | None = None
        self.in_flight_max = 0  # until the client has its CONNACK

    @property
    def open(self) -> bool:
        """Whether the client has its CONNACK and the connection is not closed."""
        return self._state is _State.OPEN

    @property
    def _active_session(self) -> Session:
        """The session. Every open connection has one."""
        if self._session is None:
            raise AssertionError("an open connection without a session")
        return self._session

    def receive(self, data: bytes) -> None:
        """Handles bytes from the client."""
        if self._publish_receiver is not None and self._broker.ingest is not None:
            self._publish_receiver.now_ms = self._broker.ingest.now_ms()
        self._process(self._decoder.feed(data))

    def _process(self, packets: Sequence[Packet]) -> None:
        try:
            self._handle(packets)
            if self._decoder.error is not None and self._state is not _State.AUTHENTICATING:
                raise self._decoder.error
        except ProtocolError as error:
            self.fail(error.code, str(error))

    def _handle(self, packets: Sequence[Packet]) -> None:
        for place, packet in enumerate(packets):
            if self._state is _State.OPEN:
                # Read anew for each packet: a CONNECT earlier in the segment may have opened the connection.
                if type(packet) is Publish and self._publish_receiver is not None:
                    self._publish_receiver.publish(packet)
                else:
                    self._handle_control(packet)
            elif self._state is _State.NEW:
                if not isinstance(packet, Connect):
                    raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "the first packet is no CONNECT")
                self._connect(packet)
            elif self._state is _State.AUTHENTICATING:
                self._early_packets.extend(packets[place:])
                break
        self._submit_received()

    # Connecting.

    def _connect(self, packet: Connect) -> None:
        self._version = packet.version
        self._state = _State.AUTHENTICATING
        self._transport.pause_reading()
        if packet.properties and PropertyId.AUTH_METHOD in packet.properties:
            raise ProtocolError(ReasonCode.BAD_AUTH_METHOD, "enhanced authentication is not offered")
        if not packet.client_id and not packet.clean and packet.version == V311:
            raise ProtocolError(ReasonCode.BAD_CLIENT_ID, "a session to keep needs a client identifier")
        self._authenticate(packet, lambda principal: self._authenticated(packet, principal))

    def _authenticated(self, packet: Connect, principal: Principal | None) -> None:
        if self._state is not _State.AUTHENTICATING:
            return
        try:
            answer = self._admit(packet, principal)
        except ProtocolError as error:
            self.fail(error.code, str(error))
            return
        self._broker.store.after_commit(lambda: self._open_session(answer))

    def _open_session(self, answer: Connack) -> None:
        """Answers the CONNECT, now that the session is on disk, and handles what the client has sent since."""
        if self._state is not _State.AUTHENTICATING or self._session is None:
            return
        self._state = _State.OPEN
        self.in_flight_max = self._client_receive_max
        self.send(encode(answer, self._version))
        self._session.resume(self._broker.clock())
        self._transport.resume_reading()
        early_packets, self._early_packets = self._early_packets, []
        self._process(early_packets)

    def _admit(self, packet: Connect, principal: Principal | None) -> Connack:
        if principal is None:
            raise ProtocolError(ReasonCode.BAD_CREDENTIALS, "user name or password is wrong")
        if packet.will is not None and not principal.may_publish(packet.will.topic):
            raise ProtocolError(
                ReasonCode.NOT_AUTHORIZED, f"the will's topic {packet.will.topic!r} is not the client's"
            )
        asked = packet.properties or {}
        answer: Properties = {}
        self.client_id = packet.client_id
        if not self.client_id:
            self.client_id = answer[PropertyId.ASSIGNED_CLIENT_ID] = f"auto-{secrets.token_hex(12)}"
        if self._broker.at_capacity(self.client_id):
            raise ProtocolError(ReasonCode.SERVER_BUSY, f"there are {self._limits.sessions_max} sessions already")
        before = self._broker.sessions.get(self.client_id)
        if before is not None and before.owner != principal.name:
            raise ProtocolError(
                ReasonCode.NOT_AUTHORIZED, f"the client identifier {self.client_id!r} is another user's"
            )
        if before is not None and isinstance(before.link, Connection):
            before.link.fail(ReasonCode.TAKEN_OVER, "another connection took over the session")
        if packet.version == V5:
            expiry_s = asked.get(PropertyId.SESSION_EXPIRY, 0)
            self._client_receive_max = min(
                self._client_receive_max, asked.get(PropertyId.RECEIVE_MAXIMUM, self._client_receive_max)
            )
            self._client_bytes_max = asked.get(PropertyId.MAXIMUM_PACKET_SIZE, 0)
            self._client_aliases_max = min(ALIASES_MAX, asked.get(PropertyId.TOPIC_ALIAS_MAXIMUM, 0))
            answer |= {
                PropertyId.RECEIVE_MAXIMUM: RECEIVE_MAX,
                PropertyId.TOPIC_ALIAS_MAXIMUM: ALIASES_MAX,
                PropertyId.MAXIMUM_PACKET_SIZE: self._limits.packet_bytes_max,
            }
        else:
            expiry_s = 0 if packet.clean else NEVER_S
        if expiry_s > self._limits.session_expiry_max_s:
            expiry_s = answer[PropertyId.SESSION_EXPIRY] = self._limits.session_expiry_max_s
        self._principal = principal
        self._session, present = self._broker.open_session(self.client_id, principal, packet.clean, expiry_s, self)
        self._publish_receiver = PublishReceiver(
            self._broker, self._session, principal, packet.version, self._transport, self._send_acks, self._log_event
        )
        if self._broker.ingest is not None:
            self._publish_receiver.now_ms = self._broker.ingest.now_ms()
        self.keep_alive_s, self._will = packet.keep_alive_s, packet.will
        if packet.version == V5 and packet.keep_alive_s > self._limits.keep_alive_max_s:
            self.keep_alive_s = answer[PropertyId.SERVER_KEEP_ALIVE] = self._limits.keep_alive_max_s
        self._decoder.packet_bytes_max = self._limits.packet_bytes_max
        self._log_event("client_connected", client=self.client_id, user=principal.name, session_present=present)
        return Connack(ReasonCode.SUCCESS, present, answer or None)

    def reauthorize(self) -> None:
        """Evaluates permissions again after a change of the fleet; ends subscriptions that are no longer allowed."""
        if self._state is not _State.OPEN or self._publish_receiver is None:
            return
        self._publish_receiver.reset_permissions()
        for full_filter, subscription in list(self._active_session.subscriptions.items()):
            if not self._principal.may_subscribe(subscription.filter):
                self._broker.unsubscribe(self._active_session, full_filter)
                self._log_event(
                    "subscription_ended", client=self.client_id, user=self._principal.name, filter=full_filter
                )

    # Control packets.

    def _submit_received(self) -> None:
        if self._publish_receiver is not None:
            self._publish_receiver.submit()

    def _send_acks(self, acks: bytes) -> None:
        if self._state is _State.OPEN:
            self.send(acks)

    def _handle_control(self, packet: Packet) -> None:
        if isinstance(packet, Ack):
            self._ack(packet)
        elif isinstance(packet, Ping) and packet.kind == p.PINGREQ:
            self.send(b"\xd0\x00")
        elif isinstance(packet, Subscribe):
            self._subscribe(packet)
        elif isinstance(packet, Unsubscribe):
            self._unsubscribe(packet)
        elif isinstance(packet, Disconnect):
            self._disconnect(packet)
        else:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"a {type(packet).__name__} from a connected client")

    def _ack(self, packet: Ack) -> None:
        session, now_s = self._active_session, self._broker.clock()
        if packet.kind == p.PUBREL:
            known = packet.packet_id in session.received
            session.received.discard(packet.packet_id)
            self._answer_ack(p.PUBCOMP, packet.packet_id, known)
        elif packet.kind == p.PUBREC and packet.code < 0x80:
            self._answer_ack(p.PUBREL, packet.packet_id, session.mark_received(packet.packet_id))
        else:
            session.complete(packet.packet_id)
            session.send_pending(now_s)

    def _answer_ack(self, kind: int, packet_id: int, known: bool) -> None:
        if known or self._version == V311:
            self.send(encode_ack(kind, packet_id))
        else:
            self.send(encode(Ack(kind, packet_id, ReasonCode.ID_NOT_FOUND), V5))

    def _subscribe(self, packet: Subscribe) -> None:
        identifier = (packet.properties or {}).get(PropertyId.SUBSCRIPTION_ID, 0)
        codes: list[int] = []
        fresh: list[Subscription] = []
        for one in packet.filters:
            group, pattern = parse_shared(one.filter)
            code = self._subscription_fault(one, group, pattern)
            if code:
                codes.append(code if self._version == V5 else ReasonCode.UNSPECIFIED)
                continue
            subscription = Subscription(pattern, one.qos, one.no_local, one.retain_as_published, identifier, group)
            new = self._broker.subscribe(self._active_session, subscription)
            if group is None and (one.retain_handling == 0 or (one.retain_handling == 1 and new)):
                fresh.append(subscription)
            codes.append(one.qos)
        self._broker.store.after_commit(
            lambda: self._subscribed(SubscribeAck(p.SUBACK, packet.packet_id, codes), fresh)
        )

    def _subscription_fault(self, one: TopicFilter, group: str | None, pattern: str) -> int:
        if group is not None and one.no_local:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a shared subscription with no local")
        if group == "" or not valid_filter(pattern):
            return ReasonCode.BAD_FILTER
        if not self._principal.may_subscribe(pattern):
            self._log_event("subscribe_refused", client=self.client_id, user=self._principal.name, filter=one.filter)
            return ReasonCode.NOT_AUTHORIZED
        full = len(self._active_session.subscriptions) >= SUBSCRIPTIONS_MAX
        return ReasonCode.QUOTA if full and one.filter not in self._active_session.subscriptions else 0

    def _subscribed(self, answer: SubscribeAck, fresh: list[Subscription]) -> None:
        if self._state is not _State.OPEN:
            return
        self.send(encode(answer, self._version))
        for subscription in fresh:
            self._broker.send_retained(self._active_session, subscription)

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        codes = [
            ReasonCode.SUCCESS if self._broker.unsubscribe(self._active_session, one) else ReasonCode.NO_SUBSCRIPTION
            for one in packet.filters
        ]
        answer = encode(SubscribeAck(p.UNSUBACK, packet.packet_id, codes), self._version)
        self._broker.store.after_commit(lambda: self.send(answer))

    def _disconnect(self, packet: Disconnect) -> None:
        expiry_s = (packet.properties or {}).get(PropertyId.SESSION_EXPIRY)
        if expiry_s is not None:
            if expiry_s and not self._active_session.persistent:
                raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "the session has no expiry: a DISCONNECT can't set one")
            if not expiry_s and self._active_session.persistent:
                self._broker.store.delete_session(self.client_id)
            self._active_session.expiry_s = min(expiry_s, self._limits.session_expiry_max_s)
        if packet.code != ReasonCode.DISCONNECT_WITH_WILL:
            self._will = None
        self._submit_received()
        self._close("client_disconnected")

    # Closing.

    def fail(self, code: int, reason: str) -> None:
        """Closes the connection from the broker's side, with the reason where the client's version has a packet for it."""
        if self._state is _State.CLOSED:
            return
        self._submit_received()
        if self._state is _State.OPEN:
            if self._version == V5:
                text = {PropertyId.REASON_STRING: reason} if self._fits_client(len(reason.encode()) + 20) else None
                self.send(encode(Disconnect(code, text), V5))
        elif self._version == V5:
            self.send(encode(Connack(code), V5))
        elif code in _CONNACK_311:
            self.send(encode(Connack(_CONNACK_311[code]), V311))
        self._close("client_failed", code=code, reason=reason)

    def connection_lost(self, reason: str = "") -> None:
        """The transport is closed or broken."""
        if self._state is not _State.CLOSED:
            self._submit_received()
            self._close("client_lost", reason=reason)

    def _close(self, event: str, **fields: object) -> None:
        was_open, self._state = self._state is _State.OPEN, _State.CLOSED
        self._transport.close()
        self._log_event(event, client=self.client_id, **fields)
        if self._session is not None:
            self._broker.close_session(self._session, self._will if was_open else None)

    # The session's Link.

    def send(self, wire: bytes) -> None:
        """Sends bytes to the client."""
        self._transport.write(wire)

    def send_publish(self, packet: Publish) -> bool:
        """See edge.mqtt_broker.session.Link."""
        if not packet.qos and (not self.open or self._transport.unsent_bytes() > BACKLOG_BYTES_MAX):
            return False
        wire = encode_publish(self._with_topic_alias(packet), self._version)
        if not self._fits_client(len(wire)):
            self._client_aliases.pop(packet.topic, None)
            return False
        self._transport.write(wire)
        return True

    def _with_topic_alias(self, packet: Publish) -> Publish:
        """The packet with an alias for its topic: beside it the first time, instead of it from then on."""
        if not self._client_aliases_max:
            return packet
        alias = self._client_aliases.get(packet.topic)
        topic = packet.topic if alias is None else ""
        if alias is None:
            if len(self._client_aliases) >= self._client_aliases_max:
                return packet
            alias = self._client_aliases[packet.topic] = len(self._client_aliases) + 1
        properties = {**(packet.properties or {}), PropertyId.TOPIC_ALIAS: alias}
        return Publish(topic, packet.payload, packet.qos, packet.retain, packet.dup, packet.packet_id, properties)

    def _fits_client(self, size: int) -> bool:
        return not self._client_bytes_max or size <= self._client_bytes_max
