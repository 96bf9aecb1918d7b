"""The whole service in one process: every role around one event loop, on the embedded log or on Kafka.

This is wiring only: each part decides nothing about the others. A part that fails ends the process with its reason, and the
next start goes on where the disk says; nothing here restarts parts behind anybody's back.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from config.settings import Settings
from star.errors import InputError
from star.ports import Clock
from starloop.data_dir import announce, withdraw
from starloop.roles.base import Base, opened
from starloop.roles.console import ConsolePart
from starloop.roles.door import Door
from starloop.roles.gate import Gate
from starloop.roles.influx import sink_of
from starloop.roles.reactor import Reactor
from starloop.roles.stream import Stream, judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Where a running service is reached. link: signs its holder in at the console, once."""

    mqtt_port: int
    http_port: int
    link: str


class Service:
    """Every part of one process."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.door = Door(base)
        self.gate = Gate(base, self.door)
        self.reactor = Reactor(base)
        self.stream = Stream(base)
        self.console = ConsolePart(base, self.door)


@asynccontextmanager
async def running(
    settings: Settings, fleet_file: Path, clock: Clock, *, free_ports: bool = False
) -> AsyncIterator[tuple[Service, Ready]]:
    """Runs the service while the block runs. A part that fails cancels the block and raises its reason.

    free_ports: where a port is taken the next free one is used. Raises StarloopError for what the user can mend.
    """
    check_exposure(settings)
    async with opened(settings, clock, "up", fleet_file) as base:
        service = Service(base)
        group = base.group
        taking = group.create_task(service.door.inlet.run(), name="inlet")
        tasks: list[asyncio.Task[None]] = []
        try:
            await service.door.open()
            await service.stream.app.start()
            tasks.append(group.create_task(service.stream.app.watch(), name="stream"))
            tasks.append(group.create_task(service.reactor.loop.run(), name="reactor"))
            await service.door.take_edits()
            async with _open_to_the_world(service, free_ports) as ready:
                tasks.append(group.create_task(service.reactor.sender.run(), name="sender"))
                tasks.append(group.create_task(judged(base.log, base), name="honesty"))
                if service.door.ticker is not None:
                    tasks.append(group.create_task(service.door.ticker.run(), name="ticker"))
                if settings.influx_url is not None:
                    tasks.append(group.create_task(sink_of(base).run(), name="influx"))
                yield service, ready
        finally:
            await _wind_down(service, taking, tasks)


@asynccontextmanager
async def _open_to_the_world(service: Service, free_ports: bool) -> AsyncIterator[Ready]:
    """The endpoints listen while the block runs, and service.json says where."""
    folder = service.base.folder
    async with AsyncExitStack() as stack:
        mqtt_port = await stack.enter_async_context(service.gate.serving(free_ports))
        http_port, link = await stack.enter_async_context(service.console.serving(free_ports))
        token = service.console.console.service_token
        announce(folder, {"pid": os.getpid(), "mqtt_port": mqtt_port, "http_port": http_port, "token": token})
        stack.callback(withdraw, folder)
        yield Ready(mqtt_port=mqtt_port, http_port=http_port, link=link)


async def _wind_down(service: Service, taking: asyncio.Task[None], tasks: list[asyncio.Task[None]]) -> None:
    """Stops what makes work first, then what does it: everything acknowledged is on disk whatever happens here."""
    for task in tasks:
        if task.get_name() not in ("stream", "reactor"):
            task.cancel()
    await stop_taking(service.door, taking, service.base.settings.stop_s / 3)
    await service.stream.app.stop()
    for task in tasks:
        task.cancel()
    await service.reactor.stopped()


async def stop_taking(door: Door, taking: asyncio.Task[None], stop_s: float) -> None:
    """What was offered is written, within `stop_s`."""
    door.inlet.stop()
    with suppress(asyncio.CancelledError):
        await asyncio.wait([taking], timeout=stop_s)
    taking.cancel()


def check_exposure(settings: Settings, *, mqtt: bool = True, http: bool = True) -> None:
    """Beyond loopback an endpoint wants TLS, and that of MQTT credentials too. Raises InputError where it lacks them.

    mqtt, http: which of the endpoints this process has.
    """
    if settings.insecure:
        return
    wanted = [("STARLOOP_TLS_CERT", settings.tls_cert), ("STARLOOP_TLS_KEY", settings.tls_key)]
    for here, host, needs in (
        (mqtt, settings.mqtt_host, [("STARLOOP_MQTT_CREDENTIALS", settings.mqtt_credentials), *wanted]),
        (http, settings.http_host, wanted),
    ):
        if here and not _loopback(host) and any(value is None for _, value in needs):
            raise InputError(
                f"host is {host!r}, reachable from other machines: expected credentials and TLS"
                f" ({', '.join(name for name, _ in needs)}), or --insecure said out loud"
            )


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
