"""A role as a process of its own: its part over a base, and an endpoint that says how it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from config.settings import Settings
from star.errors import InputError
from starloop.clock import WallClock
from starloop.data_dir import announce, withdraw
from starloop.roles.base import EMBEDDED, Base, opened
from starloop.roles.broker import Broker
from starloop.roles.console import ConsolePart
from starloop.roles.door import Door
from starloop.roles.gate import Gate
from starloop.roles.influx import sink_of, why_not
from starloop.roles.reactor import Reactor
from starloop.roles.stream import Stream, judged
from starloop.service import check_exposure, stop_taking
from starloop.watching.health import health_app, read_token, serving_health

Making = Callable[[Base], AbstractAsyncContextManager[str]]
"""Makes a role's part and runs it while the block runs; gives where it is reached, for people."""


@asynccontextmanager
async def alone(settings: Settings, role: str, making: Making) -> AsyncIterator[str]:
    """Runs one role while the block runs; gives the line that says that it is ready."""
    if settings.log == EMBEDDED:
        raise InputError(
            "STARLOOP_LOG is embedded, which belongs to one process: expected kafka://host:port, or `starloop up` for all roles"
        )
    async with opened(settings, WallClock(), role) as base, AsyncExitStack() as stack:
        where = await stack.enter_async_context(making(base))
        if role == "console":
            yield f"starloop {role} is ready: {where}"
            return
        app = health_app(base.meters, base.checks, read_token(settings.metrics_token_file))
        port = await stack.enter_async_context(serving_health(app, settings.health_host, settings.health_port))
        yield f"starloop {role} is ready: {where}, health http://{settings.health_host}:{port}/readyz"


@asynccontextmanager
async def taking_in(base: Base) -> AsyncIterator[Door]:
    """A door that takes in while the block runs, and writes all that it took before it ends."""
    door = Door(base)
    taking = base.group.create_task(door.inlet.run(), name="inlet")
    try:
        await door.open()
        yield door
    finally:
        await stop_taking(door, taking, base.settings.stop_s / 3)


@asynccontextmanager
async def gate(base: Base) -> AsyncIterator[str]:
    """Our own MQTT endpoint."""
    check_exposure(base.settings, http=False)
    async with taking_in(base) as door, Gate(base, door).serving() as port:
        yield f"mqtt {base.settings.mqtt_host}:{port}"


def broker(making: Callable[[Base, Door], Broker], shown: str) -> Making:
    """Somebody's broker."""

    @asynccontextmanager
    async def run(base: Base) -> AsyncIterator[str]:
        async with taking_in(base) as door, making(base, door).hearing():
            yield f"{shown} to the log"

    return run


@asynccontextmanager
async def stream(base: Base) -> AsyncIterator[str]:
    """The analysis."""
    part = Stream(base)
    await part.app.start()
    tasks = [
        base.group.create_task(part.app.watch(), name="stream"),
        base.group.create_task(judged(base.log, base), name="honesty"),
    ]
    try:
        yield f"partitions of {base.log.partitions}"
    finally:
        tasks[1].cancel()
        await part.app.stop()
        tasks[0].cancel()


@asynccontextmanager
async def reactor(base: Base) -> AsyncIterator[str]:
    """Decisions, and their way out."""
    part = Reactor(base)
    tasks = [
        base.group.create_task(part.loop.run(), name="reactor"),
        base.group.create_task(part.sender.run(), name="sender"),
    ]
    try:
        yield "decides"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=base.settings.stop_s / 3)
        await part.stopped()


@asynccontextmanager
async def console(base: Base) -> AsyncIterator[str]:
    """The pages and the API."""
    check_exposure(base.settings, mqtt=False)
    async with taking_in(base) as door:
        part = ConsolePart(base, door)
        async with part.serving() as (port, link):
            announce(base.folder, {"http_port": port, "token": part.console.service_token})
            try:
                yield f"http {base.settings.http_host}:{port}, console {link}"
            finally:
                withdraw(base.folder)


@asynccontextmanager
async def influx_from_start(base: Base) -> AsyncIterator[str]:
    """As `influx`, from the oldest record that the log has: points that are there are written again as they are."""
    await sink_of(base).rewind()
    async with influx(base) as where:
        yield where


@asynccontextmanager
async def influx(base: Base) -> AsyncIterator[str]:
    """What the log tells, to InfluxDB."""
    sink = sink_of(base)
    base.checks["influx"] = lambda: why_not(sink)
    task = base.group.create_task(sink.run(), name="influx")
    try:
        yield str(base.settings.influx_url)
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=base.settings.stop_s)
