"""Role in a process of its own: the part of the role, and its health endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from config.settings import Settings
from operations.observability.health import health_app, read_metrics_token, serve_health
from runtime.clock import WallClock
from runtime.data_dir import remove_service_file, write_service_file
from star.errors import InputError
from starloop.data_dir_checks import EMBEDDED
from starloop.endpoint_security import check_exposure
from starloop.roles.broker_bridge import BrokerBridge
from starloop.roles.console import ConsoleRole
from starloop.roles.context import RoleContext, open_context
from starloop.roles.gate import GateRole
from starloop.roles.influx import build_sink, sink_problem
from starloop.roles.ingest_gateway import IngestGateway
from starloop.roles.reactor import ReactorRole
from starloop.roles.stream import StreamRole, follow_calibration
from starloop.service import drain_ingest

RunRole = Callable[[RoleContext], AbstractAsyncContextManager[str]]
"""Runs the part of a role while the block runs, and yields a description of its endpoint for people."""


@asynccontextmanager
async def run_single_role(settings: Settings, role: str, run_role: RunRole) -> AsyncIterator[str]:
    """Runs one role while the block runs, and yields the line to print when it is ready. Raises InputError."""
    if settings.log == EMBEDDED:
        raise InputError(
            "STARLOOP_LOG is embedded, which only one process can use: expected kafka://host:port, or `starloop up` for all roles"
        )
    async with open_context(settings, WallClock(), role) as context, AsyncExitStack() as stack:
        where = await stack.enter_async_context(run_role(context))
        if role == "console":
            yield f"starloop {role} is ready: {where}"
            return
        app = health_app(context.meters, context.checks, read_metrics_token(settings.metrics_token_file))
        port = await stack.enter_async_context(serve_health(app, settings.health_host, settings.health_port))
        yield f"starloop {role} is ready: {where}, health http://{settings.health_host}:{port}/readyz"


@asynccontextmanager
async def run_ingest(context: RoleContext) -> AsyncIterator[IngestGateway]:
    """An ingest gateway while the block runs, which writes all queued messages before it ends."""
    gateway = IngestGateway(context)
    ingest_task = context.group.create_task(gateway.ingest.run(), name="inlet")
    try:
        await gateway.register_metrics()
        yield gateway
    finally:
        await drain_ingest(gateway, ingest_task, context.settings.stop_s / 3)


@asynccontextmanager
async def gate(context: RoleContext) -> AsyncIterator[str]:
    """Our own MQTT broker."""
    check_exposure(context.settings, http=False)
    async with run_ingest(context) as gateway, GateRole(context, gateway).serve() as port:
        yield f"mqtt {context.settings.mqtt_host}:{port}"


def broker_bridge(make_bridge: Callable[[RoleContext, IngestGateway], BrokerBridge], shown: str) -> RunRole:
    """Bridge to an external MQTT broker. shown: its address for people."""

    @asynccontextmanager
    async def run(context: RoleContext) -> AsyncIterator[str]:
        async with run_ingest(context) as gateway, make_bridge(context, gateway).run():
            yield f"{shown} to the log"

    return run


@asynccontextmanager
async def stream(context: RoleContext) -> AsyncIterator[str]:
    """The analysis of a share of the partitions."""
    part = StreamRole(context)
    await part.app.start()
    tasks = [
        context.group.create_task(part.app.wait_for_failure(), name="stream"),
        context.group.create_task(follow_calibration(context.log, context), name="honesty"),
    ]
    try:
        yield f"partitions of {context.log.partitions}"
    finally:
        tasks[1].cancel()
        await part.app.stop()
        tasks[0].cancel()


@asynccontextmanager
async def reactor(context: RoleContext) -> AsyncIterator[str]:
    """Decisions and deliveries."""
    part = ReactorRole(context)
    tasks = [
        context.group.create_task(part.loop.run(), name="reactor"),
        context.group.create_task(part.dispatcher.run(), name="sender"),
    ]
    try:
        yield "decides"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=context.settings.stop_s / 3)
        await part.close()


@asynccontextmanager
async def console(context: RoleContext) -> AsyncIterator[str]:
    """Web pages and HTTP API."""
    check_exposure(context.settings, mqtt=False)
    async with run_ingest(context) as gateway:
        part = ConsoleRole(context, gateway)
        async with part.serve() as (port, link):
            write_service_file(context.folder, {"http_port": port, "token": part.console.service_token})
            try:
                yield f"http {context.settings.http_host}:{port}, console {link}"
            finally:
                remove_service_file(context.folder)


@asynccontextmanager
async def influx_from_start(context: RoleContext) -> AsyncIterator[str]:
    """Like `influx`, but from the oldest record of the log. Points that exist are overwritten with the same values."""
    await build_sink(context).rewind()
    async with influx(context) as where:
        yield where


@asynccontextmanager
async def influx(context: RoleContext) -> AsyncIterator[str]:
    """Writer of log records to InfluxDB."""
    sink = build_sink(context)
    context.checks["influx"] = lambda: sink_problem(sink)
    task = context.group.create_task(sink.run(), name="influx")
    try:
        yield str(context.settings.influx_url)
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=context.settings.stop_s)
