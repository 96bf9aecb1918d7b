"""Plays a simulated neighbourhood to an MQTT broker, with paho: publishes its messages at QoS 1, and subscribes to reactions.

Simulated time starts in the past and runs at `speed` until it reaches the present, then at the pace of the clock. So a service
with an ordinary clock first receives history, measured in the past, and then runs in step with the neighbourhood.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from simulators.neighbourhood.simulation import Neighbourhood, SimulatedEvent
from star.errors import BadPayload, Unavailable
from star.ports import Clock
from star.times import epoch_seconds, parse_time_ms

REACTIONS_FILTER = "starloop/v1/+/reactions"
QUEUED_MAX = 10_000
"""Messages not yet acknowledged by the broker, at which publishing pauses: bounds memory."""
INFLIGHT_MAX = 1_000
"""Unacknowledged messages sent at once; the rest waits in paho's queue."""
CONNECT_S_MAX = 10.0
"""Longest wait for the broker's CONNACK, and at the end for its acknowledgements."""
POLL_S = 0.05
"""Real interval at which simulated time is advanced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """The broker to connect to."""

    host: str
    port: int = 1883
    user: str | None = None
    password: str | None = None
    tls: bool = False


class SimulatedTime:
    """A simulated clock: from `start_ms` at `speed` times the real clock, never ahead of it. Implements star.ports.Clock."""

    def __init__(self, clock: Clock, start_ms: int, speed: float) -> None:
        self._clock, self._start_ms, self._speed = clock, start_ms, speed
        self._started_ms = clock.now_ms()

    def now_ms(self) -> int:
        """Simulated milliseconds since the epoch. A speed below 1 never reaches the present."""
        now_ms = self._clock.now_ms()
        return min(self._start_ms + int((now_ms - self._started_ms) * self._speed), now_ms)


class NeighbourhoodPlayer:
    """A neighbourhood on a broker. `play` publishes until it is told to stop."""

    def __init__(self, neighbourhood: Neighbourhood, broker: BrokerAddress, name: str) -> None:
        """name: the MQTT client id. Raises Unavailable where the broker can't be reached or rejects the connection."""
        self._neighbourhood = neighbourhood
        self._broker = broker
        self._inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._connected: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
        self.published = 0
        self.acknowledged = 0  # written by paho's thread only
        self.reactions_received = 0
        self.unreadable = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
        self._client.max_inflight_messages_set(INFLIGHT_MAX)
        self._client.max_queued_messages_set(2 * QUEUED_MAX)  # never reached, as `play` waits before
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._connect()

    def play(self, clock: Clock, stop: Callable[[], bool], report: Callable[[int], None]) -> None:
        """Publishes the neighbourhood's messages and passes it the reactions, until `stop()`. report: receives simulated times."""
        while not stop():
            self._drain_inbox()
            now_ms = clock.now_ms()
            for event in self._neighbourhood.advance(now_ms):
                while self.published - self.acknowledged >= QUEUED_MAX and not stop():
                    self._drain_inbox()
                self._publish(event)
            report(now_ms)

    def close(self) -> None:
        """Waits up to CONNECT_S_MAX for acknowledgements, and disconnects."""
        for _ in range(round(CONNECT_S_MAX / POLL_S)):
            if self.acknowledged >= self.published:
                break
            self._drain_inbox()
        self._client.disconnect()
        self._client.loop_stop()

    def _connect(self) -> None:
        if self._broker.user is not None:
            self._client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            self._client.tls_set()
        place = f"{self._broker.host}:{self._broker.port}"
        try:
            self._client.connect(self._broker.host, self._broker.port)
        except OSError as error:
            raise Unavailable(f"the broker at {place} can't be reached: {error}") from error
        self._client.loop_start()
        try:
            reason = self._connected.get(timeout=CONNECT_S_MAX)
        except queue.Empty:
            raise Unavailable(f"the broker at {place} did not answer within {CONNECT_S_MAX:g} s") from None
        if reason.is_failure:
            self._client.loop_stop()
            raise Unavailable(f"the broker at {place} rejected the connection: {reason}")

    def _publish(self, event: SimulatedEvent) -> None:
        """Queues one message in paho, which keeps it until the broker acknowledges it."""
        self._client.publish(event.topic, json.dumps(event.payload, ensure_ascii=False), qos=1)
        self.published += 1

    def _drain_inbox(self) -> None:
        """Passes the received reactions to the neighbourhood, waiting up to POLL_S for the first."""
        try:
            event = self._inbox.get(timeout=POLL_S)
            while True:
                self.reactions_received += 1
                self._neighbourhood.handle_reaction(event)
                event = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        if not code.is_failure:
            client.subscribe(REACTIONS_FILTER, qos=1)
        self._connected.put(code)

    def _on_publish(self, client: mqtt.Client, userdata: Any, number: int, code: ReasonCode, properties: Any) -> None:
        self.acknowledged += 1

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            self._inbox.put(parse_reaction(bytes(message.payload)))
        except BadPayload:
            self.unreadable += 1


def parse_reaction(payload: bytes) -> dict[str, Any]:
    """The replay line of a reaction received as a CloudEvent. Raises BadPayload for anything else."""
    try:
        event = json.loads(payload)
        fields = {name: event[name] for name in ("type", "id", "data")}
        at_ms = parse_time_ms(event["time"], "time")
    except (ValueError, KeyError, TypeError) as error:
        raise BadPayload(f"not a reaction: {error!r}: expected a CloudEvent in JSON") from error
    if not isinstance(fields["data"], dict) or "device" not in fields["data"]:
        raise BadPayload("a reaction without a device in its data: expected one")
    return fields | {"at": epoch_seconds(at_ms)}
