"""Service in one process: all roles on one event loop, on the embedded log or on Kafka.

This is wiring only. A part that fails ends the process with its reason, and the next start resumes from disk; parts are not
restarted one by one, because a process supervisor does that visibly.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from config.settings import Settings
from runtime.data_dir import remove_service_file, write_service_file
from star.ports import Clock
from starloop.endpoint_security import check_exposure
from starloop.roles.console import ConsoleRole
from starloop.roles.context import RoleContext, open_context
from starloop.roles.gate import GateRole
from starloop.roles.influx import build_sink
from starloop.roles.ingest_gateway import IngestGateway
from starloop.roles.reactor import ReactorRole
from starloop.roles.stream import StreamRole, follow_calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Endpoints of a running service. link: one-time sign-in link to the console."""

    mqtt_port: int
    http_port: int
    link: str


class ServiceProcess:
    """The parts of the process."""

    def __init__(self, context: RoleContext) -> None:
        self.context = context
        self.gateway = IngestGateway(context)
        self.gate = GateRole(context, self.gateway)
        self.reactor = ReactorRole(context)
        self.stream = StreamRole(context)
        self.console = ConsoleRole(context, self.gateway)


@asynccontextmanager
async def run_service(
    settings: Settings, fleet_file: Path, clock: Clock, *, free_ports: bool = False
) -> AsyncIterator[tuple[ServiceProcess, Endpoints]]:
    """Runs the service while the block runs. A part that fails cancels the block and raises its error.

    free_ports: use the next free port if one is in use. Raises StarloopError for problems that the user can resolve.
    """
    check_exposure(settings)
    async with open_context(settings, clock, "up", fleet_file) as context:
        service = ServiceProcess(context)
        group = context.group
        ingest_task = group.create_task(service.gateway.ingest.run(), name="inlet")
        tasks: list[asyncio.Task[None]] = []
        try:
            await service.gateway.register_metrics()
            await service.stream.app.start()
            tasks.append(group.create_task(service.stream.app.wait_for_failure(), name="stream"))
            tasks.append(group.create_task(service.reactor.loop.run(), name="reactor"))
            await service.gateway.apply_file_edits()
            async with _serve_endpoints(service, free_ports) as ready:
                tasks.append(group.create_task(service.reactor.dispatcher.run(), name="sender"))
                tasks.append(group.create_task(follow_calibration(context.log, context), name="honesty"))
                if service.gateway.ticker is not None:
                    tasks.append(group.create_task(service.gateway.ticker.run(), name="ticker"))
                if settings.influx_url is not None:
                    tasks.append(group.create_task(build_sink(context).run(), name="influx"))
                yield service, ready
        finally:
            await _shut_down(service, ingest_task, tasks)


@asynccontextmanager
async def _serve_endpoints(service: ServiceProcess, free_ports: bool) -> AsyncIterator[Endpoints]:
    """Listens while the block runs, with the ports in service.json."""
    folder = service.context.folder
    async with AsyncExitStack() as stack:
        mqtt_port = await stack.enter_async_context(service.gate.serve(free_ports))
        http_port, link = await stack.enter_async_context(service.console.serve(free_ports))
        token = service.console.console.service_token
        write_service_file(folder, {"pid": os.getpid(), "mqtt_port": mqtt_port, "http_port": http_port, "token": token})
        stack.callback(remove_service_file, folder)
        yield Endpoints(mqtt_port=mqtt_port, http_port=http_port, link=link)


async def _shut_down(service: ServiceProcess, ingest_task: asyncio.Task[None], tasks: list[asyncio.Task[None]]) -> None:
    """Stops sources before consumers. Everything acknowledged is on disk already, whatever fails here."""
    for task in tasks:
        if task.get_name() not in ("stream", "reactor"):
            task.cancel()
    await drain_ingest(service.gateway, ingest_task, service.context.settings.stop_s / 3)
    await service.stream.app.stop()
    for task in tasks:
        task.cancel()
    await service.reactor.close()


async def drain_ingest(gateway: IngestGateway, ingest_task: asyncio.Task[None], stop_s: float) -> None:
    """Writes the queued messages to the log, within `stop_s` seconds."""
    gateway.ingest.stop()
    with suppress(asyncio.CancelledError):
        await asyncio.wait([ingest_task], timeout=stop_s)
    ingest_task.cancel()
