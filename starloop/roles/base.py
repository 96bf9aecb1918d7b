"""What every role stands on: settings, the log, the store, the fleet in force, instruments. Opened here, and closed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import structlog

from config.settings import Settings
from reactor.store.sql import SqlStore
from star.errors import InputError, LogDamaged, LogError, StoreDamaged, StoreError
from star.ports import Clock
from star.times import DAY_MS
from starloop.data_dir import LOG, instance_of, prepare, store_url
from starloop.fleets import BookFleet, FileFleet, Fleet
from starloop.watching.health import Check
from starloop.watching.metrics import Meters, starloop_version
from starloop.watching.otlp import OtlpTracer, tracer_of
from starloop.watching.probes import watch_embedded_log, watch_log
from starloop.watching.snapshot import Heartbeat
from stream.app import SWITCH_INTERVAL_S
from stream.topics import CHANGELOG, SERVICE, Retention, topic_specs
from stream.transports.client import Entry, LogClient
from stream.transports.embedded_client import EmbeddedClient
from stream.transports.kafka_client import KafkaClient
from stream.transports.kafka_options import kafka_options
from stream.transports.log import SqliteLog
from stream.transports.log_writer import PENDING_BYTES_MAX

EMBEDDED = "embedded"
RETRY_S = 1.0
"""Between tries to reach the log or the store at the start of a role."""
_log = structlog.get_logger("service")
T = TypeVar("T")


@dataclass(kw_only=True)
class Base:
    """See the module. embedded: the log where it is in the data folder. checks: why a part is not ready, by name."""

    role: str
    instance: str
    settings: Settings
    folder: Path
    clock: Clock
    log: LogClient
    embedded: SqliteLog | None
    store: SqlStore
    fleet: Fleet
    meters: Meters
    tracer: OtlpTracer | None
    group: asyncio.TaskGroup
    checks: dict[str, Check] = field(default_factory=dict)
    trouble: str | None = None
    """Why the log can't be written now."""

    deciding: Callable[[], str | None] = lambda: None
    """Why nothing can be decided now; the reactor's, where it is in this process."""

    def problem(self) -> str | None:
        """Why this process can't do its work now. InfluxDB is not part of it: nothing waits for that."""
        return self.trouble or self.deciding()

    def log_trouble(self) -> str | None:
        """Why the log can't be written now."""
        return self.trouble

    def group_name(self, name: str) -> str:
        """A consumer group of this installation."""
        return f"{self.settings.log_prefix}{name}"

    async def append(self, entries: list[Entry]) -> None:
        """Appends to the log, and notes how that went. Raises LogError."""
        try:
            await self.log.append(entries)
        except LogError as error:
            self.trouble = str(error)
            raise
        self.trouble = None


def retention(settings: Settings) -> Retention:
    """How long topics are kept, from the settings."""
    return Retention(
        input_ms=round(settings.log_keep_days * DAY_MS), quarantine_ms=round(settings.quarantine_keep_days * DAY_MS)
    )


@asynccontextmanager
async def opened(settings: Settings, clock: Clock, role: str, fleet_file: Path | None = None) -> AsyncIterator[Base]:
    """The base of a role, while the block runs; tasks started in its group end with it.

    fleet_file: of a service in one process on its own log. On Kafka the fleet is in the store (`starloop fleet apply`).
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    instance = instance_of(settings)
    async with AsyncExitStack() as stack:
        folder = prepare(settings.data_dir)
        embedded: SqliteLog | None = None
        log: LogClient
        specs = topic_specs(retention(settings))
        if settings.log == EMBEDDED:
            embedded = SqliteLog(folder / LOG)
            if settings.influx_url is None:
                embedded.forget(
                    f"{settings.log_prefix}influx"
                )  # or what it once followed would be kept for it for ever
            stack.callback(embedded.close)
            log = EmbeddedClient(embedded, specs)
            store = SqlStore(store_url(settings))
        else:
            log = KafkaClient(kafka_options(settings), (*specs, CHANGELOG))
            store = await until_there(lambda: asyncio.to_thread(SqlStore, store_url(settings)), "store")
        stack.callback(store.close)
        await until_there(log.start, "log")
        stack.push_async_callback(log.stop)
        tracer = tracer_of(settings.otlp_url, role, instance, starloop_version())
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        fleet = await _fleet(settings, folder, embedded, store, fleet_file)
        async with asyncio.TaskGroup() as group:
            base = Base(
                role=role,
                instance=instance,
                settings=settings,
                folder=folder,
                clock=clock,
                log=log,
                embedded=embedded,
                store=store,
                fleet=fleet,
                meters=Meters(role, instance),
                tracer=tracer,
                group=group,
            )
            tasks = _watching(base)
            try:
                yield base
            finally:
                for task in tasks:
                    task.cancel()


def _watching(base: Base) -> list[asyncio.Task[None]]:
    async def beat(wire: bytes) -> None:
        await base.log.append([Entry(SERVICE, 0, None, wire)])

    watch_log(base.meters, base.log_trouble)
    embedded = base.embedded
    if embedded is not None:
        watch_embedded_log(base.meters, lambda: embedded.pending_bytes, PENDING_BYTES_MAX)
    base.checks["log"] = base.log_trouble
    tasks = [
        base.group.create_task(base.meters.run(), name="meters"),
        base.group.create_task(Heartbeat(base.meters, beat).run(), name="heartbeat"),
    ]
    if isinstance(base.fleet, BookFleet):
        tasks.append(base.group.create_task(base.fleet.follow(), name="fleet"))
    return tasks


async def _fleet(
    settings: Settings, folder: Path, embedded: SqliteLog | None, store: SqlStore, fleet_file: Path | None
) -> Fleet:
    if embedded is not None:
        if fleet_file is None:
            raise InputError("on the embedded log one process does all: expected `starloop up --fleet FILE`")
        return FileFleet(folder, fleet_file, settings.profile_dirs, embedded)
    if fleet_file is not None:
        await until_there(
            lambda: asyncio.to_thread(BookFleet.put_base, store.fleet, fleet_file, settings.profile_dirs), "store"
        )
    return await until_there(lambda: asyncio.to_thread(BookFleet, store.fleet, settings.profile_dirs), "store")


async def until_there(act: Callable[[], Awaitable[T]], what: str) -> T:
    """What `act` gives, tried again while the log or the store is away: roles start in any order."""
    told = ""
    while True:
        try:
            return await act()
        except (LogDamaged, StoreDamaged):
            raise
        except (LogError, StoreError) as error:
            if str(error) != told:
                told = str(error)
                _log.warning("waiting_for", what=what, error=told)
            await asyncio.sleep(RETRY_S)
