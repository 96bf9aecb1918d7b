"""Clients of other brokers, on paho: a Subscriber in front of an ingest, an Uplink that sends an outbox, and a Publisher.

A Subscriber acknowledges a message only once it is on disk here, so that the broker sends it again after a crash. paho runs
in a thread of its own; everything else runs on the event loop.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.mqtt_broker.broker import Arrival, Ingest
from edge.outbox import Outbox
from star.errors import Unavailable, UsageError

IN_FLIGHT_MAX = 2_000
"""Most unacknowledged messages in each direction."""
KEEP_ALIVE_S = 30
RECONNECT_MIN_S, RECONNECT_MAX_S = 1, 30
SESSION_EXPIRY_S = 0xFFFF_FFFF
"""Session expiry that never comes (MQTT 5): the broker queues messages for as long as the client is away."""
PUBLISH_TIMEOUT_S = 20.0
"""How long `Publisher.publish` waits for an acknowledgement."""
BACKPRESSURE_S_MAX = 60.0
"""Longest pause of reading while the ingest has no room: two keep-alive intervals, after which the broker would drop the
connection anyway, and redeliver."""


class BrokerUrl(msgspec.Struct, frozen=True):
    """Where a broker is: `mqtt://[user[:password]@]host[:port]`, or `mqtts://…` for TLS."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = None

    def shown(self) -> str:
        """The URL without its password."""
        user = "" if self.user is None else f"{self.user}@"
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{self.host}:{self.port}"


def parse_url(text: str, password: str | None = None) -> BrokerUrl:
    """The URL's parts; password: used where the URL has none. Raises UsageError."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is no URL of a broker: {error}") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
        raise UsageError(f"{text!r} is no URL of a broker: expected mqtt://host:port or mqtts://host:port")
    tls = parts.scheme == "mqtts"
    return BrokerUrl(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        tls=tls,
        user=None if parts.username is None else unquote(parts.username),
        password=password if parts.password is None else unquote(parts.password),
    )


class _MqttClient:
    """A paho client in its own thread, which reconnects by itself and passes events to the event loop."""

    def __init__(
        self,
        url: BrokerUrl,
        client_id: str,
        log_event: Callable[..., None],
        tls: ssl.SSLContext | None,
        *,
        keep_session: bool,
    ) -> None:
        self._url = url
        self._log_event = log_event
        self._keep_session = keep_session
        self._loop = asyncio.get_running_loop()
        self._generation = 0
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=keep_session
        )
        self._client.max_inflight_messages_set(IN_FLIGHT_MAX)
        self._client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
        if url.user is not None:
            self._client.username_pw_set(url.user, url.password)
        if url.tls:
            self._client.tls_set_context(tls or ssl.create_default_context())
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect

    def start(self) -> None:
        """Connects, now or as soon as the broker can be reached."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = IN_FLIGHT_MAX
        if self._keep_session:
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self._client.connect_async(
            self._url.host, self._url.port, KEEP_ALIVE_S, clean_start=not self._keep_session, properties=properties
        )
        self._client.loop_start()

    async def stop(self) -> None:
        """Disconnects."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _on_connect(
        self, client: mqtt.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._run_in_loop(lambda: self._log_event("broker_refused", broker=self._url.shown(), reason=str(code)))
            return
        self._generation += 1
        window = IN_FLIGHT_MAX if properties is None else getattr(properties, "ReceiveMaximum", IN_FLIGHT_MAX)
        self._on_session(bool(flags.session_present))
        self._run_in_loop(lambda: self._on_ready(min(IN_FLIGHT_MAX, int(window))))

    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        self._run_in_loop(lambda: self._on_lost(str(code)))

    def _run_in_loop(self, callback: Callable[[], None]) -> None:
        """Runs `callback` on the event loop. Called in paho's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    def _on_session(self, session_present: bool) -> None:
        """Called in paho's thread after each connection."""

    def _on_ready(self, window: int) -> None:
        self._log_event("broker_connected", broker=self._url.shown())

    def _on_lost(self, reason: str) -> None:
        self._log_event("broker_lost", broker=self._url.shown(), reason=reason)


class Subscriber(_MqttClient):
    """Subscribes at a broker and offers every message to an Ingest; acknowledges it once it is stored.

    may_accept: whether outcomes received there may spend customers' money: only where the broker lets nobody but the
    customer publish them. To be created on the event loop.
    """

    def __init__(
        self,
        url: BrokerUrl,
        filters: Sequence[str],
        ingest: Ingest,
        log_event: Callable[..., None],
        *,
        client_id: str,
        may_accept: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, client_id, log_event, tls, keep_session=True)
        self._filters = tuple(filters)
        self._ingest = ingest
        self._may_accept = may_accept
        self._inbox: deque[tuple[int, mqtt.MQTTMessage]] = deque()
        self._submit_scheduled = False
        self._subscribed = False
        self._has_capacity = threading.Event()
        self._has_capacity.set()
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe

    def _on_session(self, session_present: bool) -> None:
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        self._client.subscribe([(pattern, options) for pattern in self._filters])

    def _on_subscribe(
        self, client: mqtt.Client, userdata: Any, mid: int, codes: list[ReasonCode], properties: Any
    ) -> None:
        refused = [pattern for pattern, code in zip(self._filters, codes, strict=False) if code.is_failure]
        if refused:
            self._run_in_loop(
                lambda: self._log_event("subscription_refused", broker=self._url.shown(), filters=refused)
            )
        else:
            self._run_in_loop(self._mark_subscribed)

    def is_subscribed(self) -> bool:
        """Whether the client is connected and the broker has accepted every subscription."""
        return self._subscribed

    def _mark_subscribed(self) -> None:
        self._subscribed = True

    def _on_lost(self, reason: str) -> None:
        self._subscribed = False
        super()._on_lost(reason)

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        # Blocking here is back-pressure: paho stops reading, and at QoS 1 the broker queues what it can't send.
        self._has_capacity.wait(BACKPRESSURE_S_MAX)
        self._inbox.append((self._generation, message))
        if not self._submit_scheduled:
            self._submit_scheduled = True
            self._run_in_loop(self._submit)

    def _submit(self) -> None:
        self._submit_scheduled = False
        received: list[tuple[int, mqtt.MQTTMessage]] = []
        while self._inbox:
            received.append(self._inbox.popleft())
        now_ms = self._ingest.now_ms()
        arrivals = [Arrival(_topic(one), bytes(one.payload), now_ms, self._may_accept) for _, one in received]
        if not self._ingest.offer(arrivals, lambda: self._acknowledge(received)):
            self._has_capacity.clear()
            self._ingest.when_ready(self._has_capacity.set)

    def _acknowledge(self, received: Sequence[tuple[int, mqtt.MQTTMessage]]) -> None:
        for generation, message in received:
            # An identifier is valid on its own connection only; on a later one the broker has redelivered the message.
            if message.qos and generation == self._generation:
                self._client.ack(message.mid, message.qos)


class Uplink(_MqttClient):
    """Sends the messages of an outbox to a broker, in order, at QoS 1, and deletes each once it is acknowledged.

    disk: the one thread in which the outbox is used. To be created on the event loop.
    """

    def __init__(
        self,
        url: BrokerUrl,
        outbox: Outbox,
        disk: Executor,
        log_event: Callable[..., None],
        *,
        client_id: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, client_id, log_event, tls, keep_session=False)
        self._outbox = outbox
        self._disk = disk
        self._window = 0
        self._wakeup = asyncio.Event()
        self._in_flight: dict[int, int] = {}  # paho's identifier -> the message's number
        self._acks: deque[tuple[int, ReasonCode]] = deque()
        self._last_number = 0
        self._stopping = False
        self._client.on_publish = self._on_publish

    def wake(self) -> None:
        """Sends what was appended to the outbox."""
        self._wakeup.set()

    async def run(self) -> None:
        """Sends until `stop`."""
        self.start()
        while not self._stopping:
            await self._wakeup.wait()
            self._wakeup.clear()
            await self._process_acks()
            await self._send()

    async def stop(self) -> None:
        """Disconnects; messages that are not acknowledged stay in the outbox."""
        self._stopping = True
        self._wakeup.set()
        await super().stop()

    def _on_ready(self, window: int) -> None:
        super()._on_ready(window)
        self._window = window
        self._wakeup.set()

    def _on_lost(self, reason: str) -> None:
        super()._on_lost(reason)
        self._window = 0  # paho itself redelivers what is in flight

    def _on_publish(self, client: mqtt.Client, userdata: Any, mid: int, code: ReasonCode, properties: Any) -> None:
        self._acks.append((mid, code))
        self._run_in_loop(self._wakeup.set)

    async def _send(self) -> None:
        room = self._window - len(self._in_flight)
        if room <= 0:
            return
        messages = await self._loop.run_in_executor(self._disk, self._outbox.read, self._last_number, room)
        for number, message in messages:
            info = self._client.publish(message.topic, message.payload, 1, message.retain)
            self._in_flight[info.mid] = number
            self._last_number = number
        if len(messages) == room:
            self._wakeup.set()

    async def _process_acks(self) -> None:
        done: list[int] = []
        refused: list[int] = []
        while self._acks:
            mid, code = self._acks.popleft()
            number = self._in_flight.pop(mid, None)
            if number is not None:
                done.append(number)
                if code.is_failure:
                    refused.append(number)
                    self._log_event("parcel_refused", broker=self._url.shown(), reason=str(code))
        if refused:
            await self._loop.run_in_executor(self._disk, self._reject, refused)
        if done:
            await self._loop.run_in_executor(self._disk, self._outbox.delete, done)

    def _reject(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            for _, message in self._outbox.read(number - 1, 1):
                self._outbox.reject([(0, message.topic, message.payload, "the uplink's broker refused it")])


class Publisher(_MqttClient):
    """Publishes single messages at a broker and waits for each acknowledgement."""

    def __init__(
        self, url: BrokerUrl, log_event: Callable[..., None], *, client_id: str, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(url, client_id, log_event, tls, keep_session=False)
        self._is_connected = False
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._client.on_publish = self._on_publish

    def connected(self) -> bool:
        """Whether the client is connected."""
        return self._is_connected

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Returns once the broker has acknowledged. Raises Unavailable where it can't be reached now, or refuses."""
        if not self._is_connected:
            raise Unavailable(f"{self._url.shown()}: not connected")
        sent = self._client.publish(topic, payload, qos, retain)
        if sent.rc != mqtt.MQTT_ERR_SUCCESS:
            raise Unavailable(f"{self._url.shown()}: {mqtt.error_string(sent.rc)}")
        acknowledged = self._waiting.setdefault(sent.mid, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                accepted = await acknowledged
        except TimeoutError as error:
            raise Unavailable(f"{self._url.shown()}: no acknowledgement within {PUBLISH_TIMEOUT_S:g} s") from error
        finally:
            self._waiting.pop(sent.mid, None)
        if not accepted:
            raise Unavailable(f"{self._url.shown()}: refused or lost a message for {topic}")

    def _on_ready(self, window: int) -> None:
        super()._on_ready(window)
        self._is_connected = True

    def _on_lost(self, reason: str) -> None:
        super()._on_lost(reason)
        self._is_connected = False
        waiting, self._waiting = self._waiting, {}
        for acknowledged in waiting.values():
            if not acknowledged.done():
                acknowledged.set_result(False)

    def _on_publish(self, client: mqtt.Client, userdata: Any, mid: int, code: ReasonCode, properties: Any) -> None:
        self._run_in_loop(lambda: self._resolve(mid, not code.is_failure))

    def _resolve(self, mid: int, accepted: bool) -> None:
        acknowledged = self._waiting.setdefault(mid, self._loop.create_future())
        if not acknowledged.done():
            acknowledged.set_result(accepted)


def _topic(message: mqtt.MQTTMessage) -> str:
    """The topic. One that is not UTF-8, which a broker should not forward, is decoded with replacements; it ends in
    quarantine."""
    try:
        return message.topic
    except UnicodeDecodeError:
        return bytes(message._topic).decode(errors="replace")
