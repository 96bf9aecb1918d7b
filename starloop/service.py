"""The whole service in one process: gate, inlet, log, Faust stream, reactor, senders and console around one event loop.

This is wiring only: each part decides nothing about the others. A part that fails ends the process with its reason, and the
next start goes on where the disk says; nothing here restarts parts behind anybody's back.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from config.change import apply_text
from config.fleet import Customer, Supplier
from config.profiles import Signal
from config.resolve import Catalogue
from config.settings import Settings
from console.app import create_app, create_console
from console.server import link, serving
from console.views import Projection
from edge import adapters
from edge.gate.access import Access, load_credentials
from edge.gate.hub import Arrival, Hub
from edge.gate.server import GateServer
from edge.gate.server import Limits as GateLimits
from edge.gate.store import SqliteSessions
from edge.inlet import Inlet
from edge.intake import Intake
from models.runtime import load_scorer
from reactor.channels.mqtt import MqttChannel
from reactor.channels.notify import NotifyChannel
from reactor.channels.secret import installation_secret
from reactor.channels.webhook import WebhookChannel
from reactor.sender import Channels, Sender
from reactor.sender import Limits as SendLimits
from reactor.store.sql import SqlStore
from star.analyse import Facts
from star.errors import InputError, LogError
from star.ports import Clock
from star.records import FleetChange, Quarantined, Record
from star.times import DAY_MS
from starloop.backend import ServiceBackend
from starloop.clock import WallClock
from starloop.data_dir import CONSOLE, LOG, announce, prepare, store_url, withdraw
from starloop.fleet_in_force import catalogue_at, edits, first_catalogue, keep, seen
from starloop.reaction import Reactor
from stream.analysis import Analysis
from stream.app import APP_ID, Retention, StreamOptions, build_app
from stream.checkpoint import Policy
from stream.inlet import encode_quarantined, last_arrival_ms
from stream.ticker import Ticker
from stream.topics import INPUT, QUARANTINE
from stream.transports.log import SqliteLog

PORTS_TRIED_MAX = 50
_log = structlog.get_logger("service")


class Service:
    """One process's parts. Make it with `starting`, which stops it again."""

    def __init__(self, settings: Settings, fleet_file: Path, clock: Clock, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.folder = prepare(settings.data_dir)
        self.clock = clock
        self._fleet_file = fleet_file
        self._stack = stack
        self.trouble: str | None = None  # why the log can't be written now
        self.log = SqliteLog(self.folder / LOG)
        stack.callback(self.log.close)
        self.store = SqlStore(store_url(settings))
        stack.callback(self.store.close)
        self.first = first_catalogue(self.folder, fleet_file, settings.profile_dirs)
        included = self.log.committed(APP_ID, INPUT) or 0
        keep(self.folder, catalogue_at(self.folder, self.first, self.log, included), included)
        self.catalogue = catalogue_at(self.folder, self.first, self.log, self.log.end(INPUT))
        self.scorer = load_scorer("run-out")
        self._open_intake()
        self._open_reactor()
        self.projection = Projection(self.folder / CONSOLE)
        stack.callback(self.projection.close)
        self.console = create_console(ServiceBackend(self), self.folder)
        self.stream = build_app(self.log, self._analysis, self._on_facts, self._stream_options())

    def _open_intake(self) -> None:
        names = self.store.names
        names.add(expected_metrics(self.catalogue))
        self.readers = adapters.installed()
        intake = Intake(self.catalogue, names, readers=self.readers, known_names=names.all())
        self.inlet = Inlet(intake, self._append, self.clock.now_ms, _log.info, last_arrival_ms(self.log))
        self.inlet.gather_s = self.settings.batch_ms / 1000
        self.inlet.batch_messages = self.settings.batch_messages_max
        self.inlet.waiting_bytes_max = self.settings.intake_bytes_max
        self.ticker = Ticker(
            self.inlet.put,
            self.inlet,
            busy_s=self.settings.tick_busy_ms / 1000,
            idle_s=self.settings.tick_idle_ms / 1000,
        )
        self._sessions = SqliteSessions(self.folder / "gate.db", _log.info)
        self._stack.push_async_callback(self._sessions.close)
        hub = Hub(time.time, self._sessions)
        hub.restore(*self._sessions.load(time.time()))
        hub.ingest = self.inlet
        self.gate = GateServer(hub, self._access(), _log.info, self._gate_limits())

    def _open_reactor(self) -> None:
        self.reactor = Reactor(self.store, self.first, self.log.end(INPUT))
        webhook = WebhookChannel(
            self._supplier,
            own_secret=installation_secret(self.folder),
            clock=WallClock(),  # receivers judge a signature's age by the world's time, also in a demo
            timeout_s=self.settings.send_timeout_s,
        )
        self._stack.push_async_callback(webhook.close)
        notify = NotifyChannel(self._customer, self._label, console_url=self.settings.public_url)
        self.sender = Sender(
            self.store,
            Channels(mqtt=MqttChannel(self._publish), suppliers=webhook, customers=notify),
            catalogue=lambda: self.catalogue,
            report=self.put,
            need_state=self.store.need_state,
            clock=self.clock,
            limits=SendLimits.of(self.settings),
        )

    async def put(self, record: Record) -> None:
        """Puts a record into the input in its turn; returns when it is on disk."""
        await self.inlet.put(record)

    async def offer(self, arrival: Arrival) -> None:
        """Takes a message in as over MQTT; returns when it is on disk."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.inlet.offer([arrival], lambda: None if kept.done() else kept.set_result(None))
        await kept

    async def change_fleet(self, tables: dict[str, Any]) -> None:
        """Changes the fleet; in force when it returns. Raises ConfigError with every problem, and changes nothing then."""
        text = json.dumps(tables, ensure_ascii=False)
        catalogue = apply_text(self.catalogue, text)
        await self.inlet.put(FleetChange(at_ms=self.inlet.now_ms(), tables=text))
        self.catalogue = self.inlet.intake.catalogue = catalogue
        self.store.names.add(expected_metrics(catalogue))
        self.gate.fleet_changed()
        self.console.hub.everything_changed()

    async def _append(self, records: list[bytes], quarantined: list[Quarantined]) -> None:
        entries: list[tuple[str, bytes | None, bytes | None]] = [(INPUT, None, record) for record in records]
        entries += [(QUARANTINE, None, encode_quarantined(row)) for row in quarantined]
        try:
            await self.log.append_batch_async(entries)
        except LogError as error:
            self.trouble = str(error)
            raise
        self.trouble = None
        if any(record[:1] != b"T" for record in records):
            self.ticker.arrived()

    async def _on_facts(self, facts: Facts) -> None:
        reactions = await self.reactor.handle(facts)
        if reactions:
            self.sender.nudge()
            self.console.hub.changed((one.customer, f"{one.device}/{one.item}") for one in reactions)

    def say_changed(self, items: set[str]) -> None:
        """Tells the pages which items have news."""
        known = self.catalogue
        found = ((known.slots.get(item) or known.parts.get(item), item) for item in items)
        self.console.hub.changed((one.customer, item) for one, item in found if one is not None)

    async def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        await self.gate.publish(topic, payload, qos=qos, retain=retain)

    def _analysis(self) -> Analysis:
        included = self.log.committed(APP_ID, INPUT) or 0
        return Analysis(catalogue_at(self.folder, self.first, self.log, included), self.store.names, self.scorer)

    def _supplier(self, name: str) -> Supplier | None:
        return self.catalogue.suppliers.get(name)

    def _customer(self, name: str) -> Customer | None:
        return self.catalogue.customers.get(name)

    def _label(self, item: str, language: str) -> str:
        found = self.catalogue.slots.get(item) or self.catalogue.parts.get(item)
        return (found.label.get(language) if found else None) or item.split("/", 1)[-1]

    def _access(self) -> Access:
        path = self.settings.mqtt_credentials
        known = None if path is None else load_credentials(path)
        return Access(
            known, lambda device: self.catalogue.devices[device].customer if device in self.catalogue.devices else None
        )

    def _gate_limits(self) -> GateLimits:
        return GateLimits(
            packet_bytes_max=self.settings.packet_bytes_max,
            connections_max=self.settings.connections_max,
            connect_s=self.settings.connect_timeout_s,
            in_flight_max=self.settings.inflight_max,
            queue_max=self.settings.session_queue_max,
            sessions_max=self.settings.sessions_max,
            retained_max=self.settings.retained_max,
            session_expiry_max_s=self.settings.session_expiry_s,
        )

    def _stream_options(self) -> StreamOptions:
        return StreamOptions(
            checkpoint=Policy(every_s=self.settings.checkpoint_s),
            retention=Retention(
                input_ms=round(self.settings.log_keep_days * DAY_MS),
                quarantine_ms=round(self.settings.quarantine_keep_days * DAY_MS),
            ),
        )

    async def take_edits(self) -> None:
        """Edits of the fleet file since the last start become a record of the input."""
        tables = edits(self.folder, self._fleet_file, self.settings.profile_dirs)
        if tables:
            await self.change_fleet(tables)
            _log.info("changed_fleet", rows=sum(len(rows) for rows in tables.values()))
        seen(self.folder, self._fleet_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Where a running service is reached. link: signs its holder in at the console, once."""

    mqtt_port: int
    http_port: int
    link: str


@asynccontextmanager
async def running(
    settings: Settings, fleet_file: Path, clock: Clock, *, free_ports: bool = False
) -> AsyncIterator[tuple[Service, Ready]]:
    """Runs the service while the block runs. A part that fails cancels the block and raises its reason.

    free_ports: where a port is taken the next free one is used. Raises StarloopError for what the user can mend.
    """
    check_exposure(settings)
    async with AsyncExitStack() as stack:
        service = Service(settings, fleet_file, clock, stack)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service.inlet.run(), name="inlet")]
            await service.stream.start()
            tasks.append(group.create_task(service.stream.watch(), name="stream"))
            await service.take_edits()
            try:
                async with _open_to_the_world(service, free_ports) as ready:
                    tasks += [
                        group.create_task(service.ticker.run(), name="ticker"),
                        group.create_task(service.sender.run(), name="sender"),
                        group.create_task(
                            service.projection.follow(service.log, service.say_changed), name="projection"
                        ),
                    ]
                    yield service, ready
            finally:
                await _wind_down(service, tasks)


@asynccontextmanager
async def _open_to_the_world(service: Service, free_ports: bool) -> AsyncIterator[Ready]:
    """The endpoints listen while the block runs, and service.json says where."""
    settings = service.settings
    mqtt_port = await _listen(service.gate, settings, free_ports)
    app = create_app(service.console, body_bytes_max=settings.payload_bytes_max)
    try:
        async with serving(
            app,
            settings.http_host,
            settings.http_port,
            free_port=free_ports,
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
        ) as http_port:
            token = service.console.service_token
            announce(
                service.folder, {"pid": os.getpid(), "mqtt_port": mqtt_port, "http_port": http_port, "token": token}
            )
            yield Ready(
                mqtt_port=mqtt_port,
                http_port=http_port,
                link=link(
                    settings.http_host,
                    http_port,
                    service.console.sessions.new_link(),
                    tls=settings.tls_cert is not None,
                    public_url=settings.public_url,
                ),
            )
    finally:
        withdraw(service.folder)
        await service.gate.stop()


async def _wind_down(service: Service, tasks: list[asyncio.Task[None]]) -> None:
    """Stops what makes work first, then what does it: everything acknowledged is on disk whatever happens here."""
    inlet = tasks[0]
    for task in tasks[2:]:
        task.cancel()
    service.inlet.stop()
    with suppress(asyncio.CancelledError):
        await asyncio.wait([inlet], timeout=service.settings.stop_s / 3)
    inlet.cancel()
    await service.stream.stop()
    for task in tasks:
        task.cancel()


def expected_metrics(catalogue: Catalogue) -> list[str]:
    """Names of the values that devices of the fleet are known to report: registered together, not one transaction each."""
    used = {key: f"{key}_used" if slot.signal is Signal.USAGE else key for key, slot in catalogue.slots.items()}
    return [used[key] for key in sorted(used)]


def check_exposure(settings: Settings) -> None:
    """Beyond loopback the endpoints want credentials and TLS. Raises InputError where they lack them."""
    exposed = [host for host in (settings.mqtt_host, settings.http_host) if not _loopback(host)]
    if not exposed or settings.insecure:
        return
    if settings.tls_cert is None or settings.mqtt_credentials is None:
        raise InputError(
            f"host is {exposed[0]!r}, reachable from other machines: expected credentials and TLS"
            " (STARLOOP_MQTT_CREDENTIALS, STARLOOP_TLS_CERT, STARLOOP_TLS_KEY), or --insecure said out loud"
        )


async def _listen(gate: GateServer, settings: Settings, free_ports: bool) -> int:
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


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
