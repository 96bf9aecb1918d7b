"""Gate role: our own MQTT broker, with messages of devices into the log and reactions out of it."""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from config.settings import Settings
from edge.ingest_batcher import WAITING_MESSAGES_MAX
from edge.mqtt_broker.authorization import Authenticator, load_credentials
from edge.mqtt_broker.broker import Broker
from edge.mqtt_broker.server import BrokerServer
from edge.mqtt_broker.server import Limits as GateLimits
from edge.mqtt_broker.session_store import SqliteSessionStore
from operations.observability.logging import edge_event_logger
from operations.observability.probes import watch_gate
from star.errors import InputError
from starloop.endpoint_security import server_tls_context
from starloop.roles.context import RoleContext
from starloop.roles.ingest_gateway import IngestGateway
from starloop.roles.reaction_publisher import ReactionPublisher

PORTS_TRIED_MAX = 50
"""Ports tried above the configured one, if any free port will do."""
_log = structlog.get_logger("gate")
_log_event = edge_event_logger("gate")


class GateRole:
    """The MQTT endpoint; `serve` opens its port."""

    def __init__(self, context: RoleContext, gateway: IngestGateway) -> None:
        self._context = context
        settings = context.settings
        self.sessions = SqliteSessionStore(context.folder / "gate.db", _log_event)
        broker = Broker(time.time, self.sessions)
        broker.restore(*self.sessions.load(time.time()))
        broker.ingest = gateway.ingest
        self.server = BrokerServer(broker, self._access(), _log_event, broker_limits(settings))
        # Each gate consumes all reactions: it knows only the devices that connect to it.
        group = context.group_name("gate" if context.embedded is not None else f"gate-{context.instance}")
        self.reaction_publisher = ReactionPublisher(context.log, group, self.publish)
        context.fleet.on_change(lambda _: self.server.reauthorize_all())
        watch_gate(
            context.meters,
            self.server,
            gateway.ingest,
            messages=lambda: gateway.records_written,
            waiting_bytes=gateway.ingest.waiting_bytes,
            waiting_messages_max=WAITING_MESSAGES_MAX,
        )
        context.checks["reactions"] = lambda: self.reaction_publisher.last_error

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publishes to the clients of this endpoint; stored for persistent sessions on return."""
        await self.server.publish(topic, payload, qos=qos, retain=retain)

    @asynccontextmanager
    async def serve(self, free_ports: bool = False) -> AsyncIterator[int]:
        """Listens while the block runs, and yields the port."""
        try:
            port = await listen(self.server, self._context.settings, free_ports)
            publishing = self._context.group.create_task(self.reaction_publisher.run(), name="announcer")
            try:
                yield port
            finally:
                publishing.cancel()
        finally:
            await self.server.stop()
            await self.sessions.close()

    def _access(self) -> Authenticator:
        path = self._context.settings.mqtt_credentials
        known = None if path is None else load_credentials(path)

        def customer_of(device: str) -> str | None:
            devices = self._context.fleet.current.devices
            return devices[device].customer if device in devices else None

        return Authenticator(known, customer_of)


def broker_limits(settings: Settings) -> GateLimits:
    """Limits of the endpoint, from the settings."""
    return GateLimits(
        packet_bytes_max=settings.packet_bytes_max,
        connections_max=settings.connections_max,
        connect_s=settings.connect_timeout_s,
        in_flight_max=settings.inflight_max,
        queue_max=settings.session_queue_max,
        sessions_max=settings.sessions_max,
        retained_max=settings.retained_max,
        session_expiry_max_s=settings.session_expiry_s,
    )


async def listen(gate: BrokerServer, settings: Settings, free_ports: bool) -> int:
    """Opens the port and returns its number. free_ports: use the next free port if it is in use. Raises InputError."""
    tls = server_tls_context(settings.tls_cert, settings.tls_key)
    first = settings.mqtt_port
    for port in range(first, first + (PORTS_TRIED_MAX if free_ports and first else 1)):
        try:
            return await gate.start(settings.mqtt_host, port, tls)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise InputError(f"mqtt port {port} at {settings.mqtt_host}: {error.strerror}") from error
            _log.warning("found_port_taken", port=port, host=settings.mqtt_host)
    raise InputError(
        f"mqtt port {first} at {settings.mqtt_host} is in use: stop the other program, or choose another port with --mqtt-port"
    )
