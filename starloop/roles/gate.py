"""The gate: our own MQTT endpoint. Devices' messages into the log, reactions out of it."""

from __future__ import annotations

import errno
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from config.settings import Settings
from edge.gate.access import Access, load_credentials
from edge.gate.hub import Hub
from edge.gate.server import GateServer
from edge.gate.server import Limits as GateLimits
from edge.gate.store import SqliteSessions
from edge.gather import WAITING_MESSAGES_MAX
from star.errors import InputError
from starloop.logging import saying
from starloop.roles.announcer import Announcer
from starloop.roles.base import Base
from starloop.roles.door import Door
from starloop.watching.probes import watch_gate

PORTS_TRIED_MAX = 50
_log = structlog.get_logger("gate")
_say = saying("gate")


class Gate:
    """The endpoint over a door; `serving` opens it."""

    def __init__(self, base: Base, door: Door) -> None:
        self._base = base
        settings = base.settings
        self.sessions = SqliteSessions(base.folder / "gate.db", _say)
        hub = Hub(time.time, self.sessions)
        hub.restore(*self.sessions.load(time.time()))
        hub.ingest = door.inlet
        self.server = GateServer(hub, self._access(), _say, limits_of(settings))
        # Each gate follows the reactions by itself: it knows only the devices that come to it.
        group = base.group_name("gate" if base.embedded is not None else f"gate-{base.instance}")
        self.announcer = Announcer(base.log, group, self.publish)
        base.fleet.on_change(lambda _: self.server.fleet_changed())
        watch_gate(
            base.meters,
            self.server,
            door.inlet,
            messages=lambda: door.kept,
            waiting_bytes=door.inlet.waiting_bytes,
            waiting_messages_max=WAITING_MESSAGES_MAX,
        )
        base.checks["reactions"] = lambda: self.announcer.trouble

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publishes to the clients of this endpoint; on disk for those with a session when it returns."""
        await self.server.publish(topic, payload, qos=qos, retain=retain)

    @asynccontextmanager
    async def serving(self, free_ports: bool = False) -> AsyncIterator[int]:
        """Listens while the block runs; gives the port."""
        try:
            port = await listen(self.server, self._base.settings, free_ports)
            announcing = self._base.group.create_task(self.announcer.run(), name="announcer")
            try:
                yield port
            finally:
                announcing.cancel()
        finally:
            await self.server.stop()
            await self.sessions.close()

    def _access(self) -> Access:
        path = self._base.settings.mqtt_credentials
        known = None if path is None else load_credentials(path)

        def customer_of(device: str) -> str | None:
            devices = self._base.fleet.current.devices
            return devices[device].customer if device in devices else None

        return Access(known, customer_of)


def limits_of(settings: Settings) -> GateLimits:
    """The endpoint's limits that this installation is set to."""
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


async def listen(gate: GateServer, settings: Settings, free_ports: bool) -> int:
    """Opens the port; gives its number. free_ports: the next free one where it is taken. Raises InputError."""
    context = None
    if settings.tls_cert is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    first = settings.mqtt_port
    for port in range(first, first + (PORTS_TRIED_MAX if free_ports and first else 1)):
        try:
            return await gate.start(settings.mqtt_host, port, context)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise InputError(f"mqtt port {port} at {settings.mqtt_host}: {error.strerror}") from error
            _log.warning("found_port_taken", port=port, host=settings.mqtt_host)
    raise InputError(
        f"mqtt port {first} at {settings.mqtt_host} is taken: stop what uses it, or choose another with --mqtt-port"
    )
