"""Role context: settings, log, store, current fleet and metrics, which every role opens and closes the same way."""

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
from operations.observability.health import HealthCheck
from operations.observability.metrics import Meters, starloop_version
from operations.observability.metrics_snapshot import Heartbeat
from operations.observability.otlp_exporter import OtlpTracer, build_tracer
from operations.observability.probes import watch_embedded_log, watch_log
from reactor.store.sql import SqlStore
from runtime.data_dir import LOG_FILE, create_data_dir, instance_name, store_url
from runtime.fleet_state import FileFleetState, FleetState, StoreFleetState
from star.errors import InputError, LogDamaged, LogError, StarloopError, StoreDamaged, StoreError
from star.ports import Clock
from star.times import DAY_MS
from starloop.data_dir_checks import EMBEDDED
from starloop.roles.retry import Retry
from stream.topics import CHANGELOG, SERVICE, Retention, topic_specs
from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.log_writer import PENDING_BYTES_MAX
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.stream_app import SWITCH_INTERVAL_S
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.kafka_log.options import kafka_options
from stream.transports.log_client import Entry, LogClient

CONNECT_RETRY_S = 1.0
"""Interval between attempts to reach the log or store at start, in seconds."""
_log = structlog.get_logger("service")
T = TypeVar("T")


@dataclass(kw_only=True)
class RoleContext:
    """Shared resources of a role. embedded: the log, if it is in the data directory. checks: readiness checks by name."""

    role: str
    instance: str
    settings: Settings
    folder: Path
    clock: Clock
    log: LogClient
    embedded: SqliteLog | None
    store: SqlStore
    fleet: FleetState
    meters: Meters
    tracer: OtlpTracer | None
    group: asyncio.TaskGroup
    checks: dict[str, HealthCheck] = field(default_factory=dict)
    last_log_error: str | None = None
    """Why the log is not writable now; None if it is."""

    reactor_problem: Callable[[], str | None] = lambda: None
    """Why the reactor can't decide now, if it is in this process."""

    def problem(self) -> str | None:
        """Why this process is not ready. InfluxDB is left out, because nothing waits for it."""
        return self.last_log_error or self.reactor_problem()

    def log_problem(self) -> str | None:
        """Why the log is not writable now."""
        return self.last_log_error

    def group_name(self, name: str) -> str:
        """Name of a consumer group of this installation."""
        return f"{self.settings.log_prefix}{name}"

    async def append(self, entries: list[Entry]) -> None:
        """Appends to the log, and records a failure for the readiness check. Raises LogError."""
        try:
            await self.log.append(entries)
        except LogError as error:
            self.last_log_error = str(error)
            raise
        self.last_log_error = None


def topic_retention(settings: Settings) -> Retention:
    """Topic retention from the settings."""
    return Retention(
        input_ms=round(settings.log_keep_days * DAY_MS), quarantine_ms=round(settings.quarantine_keep_days * DAY_MS)
    )


@asynccontextmanager
async def open_context(
    settings: Settings, clock: Clock, role: str, fleet_file: Path | None = None
) -> AsyncIterator[RoleContext]:
    """Opens the context of a role while the block runs; tasks in its group end with the block.

    fleet_file: fleet of a service on the embedded log. With Kafka the fleet is in the store (`starloop fleet apply`).
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    instance = instance_name(settings)
    async with AsyncExitStack() as stack:
        folder = create_data_dir(settings.data_dir)
        embedded: SqliteLog | None = None
        log: LogClient
        specs = topic_specs(topic_retention(settings))
        if settings.log == EMBEDDED:
            embedded = SqliteLog(folder / LOG_FILE)
            if settings.influx_url is None:
                # Without this, retention would keep records for a consumer that never returns.
                embedded.forget_consumer(f"{settings.log_prefix}influx")
            stack.callback(embedded.close)
            log = EmbeddedClient(embedded, specs)
            store = SqlStore(store_url(settings))
        else:
            log = KafkaClient(kafka_options(settings), (*specs, CHANGELOG))
            store = await retry_until_available(lambda: asyncio.to_thread(SqlStore, store_url(settings)), "store")
        stack.callback(store.close)
        await retry_until_available(log.start, "log")
        stack.push_async_callback(log.stop)
        tracer = build_tracer(settings.otlp_url, role, instance, starloop_version())
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        fleet = await _open_fleet(settings, folder, embedded, store, fleet_file)
        async with asyncio.TaskGroup() as group:
            context = RoleContext(
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
            tasks = _start_monitoring(context)
            try:
                yield context
            finally:
                for task in tasks:
                    task.cancel()


def _start_monitoring(context: RoleContext) -> list[asyncio.Task[None]]:
    async def beat(wire: bytes) -> None:
        await context.log.append([Entry(SERVICE, 0, None, wire)])

    watch_log(context.meters, context.log_problem)
    embedded = context.embedded
    if embedded is not None:
        watch_embedded_log(context.meters, lambda: embedded.pending_bytes, PENDING_BYTES_MAX)
    context.checks["log"] = context.log_problem
    tasks = [
        context.group.create_task(context.meters.run(), name="meters"),
        context.group.create_task(Heartbeat(context.meters, beat).run(), name="heartbeat"),
    ]
    if isinstance(context.fleet, StoreFleetState):
        tasks.append(context.group.create_task(context.fleet.follow(), name="fleet"))
    return tasks


async def _open_fleet(
    settings: Settings, folder: Path, embedded: SqliteLog | None, store: SqlStore, fleet_file: Path | None
) -> FleetState:
    if embedded is not None:
        if fleet_file is None:
            raise InputError("the embedded log belongs to one process: expected `starloop up --fleet FILE`")
        return FileFleetState(folder, fleet_file, settings.profile_dirs, embedded)
    if fleet_file is not None:
        await retry_until_available(
            lambda: asyncio.to_thread(StoreFleetState.save_initial, store.fleet, fleet_file, settings.profile_dirs),
            "store",
        )
    return await retry_until_available(
        lambda: asyncio.to_thread(StoreFleetState, store.fleet, settings.profile_dirs), "store"
    )


async def retry_until_available(connect: Callable[[], Awaitable[T]], what: str) -> T:
    """Result of `connect`, retried while the log or store is unavailable: roles start in any order."""

    def warn(error: StarloopError, _retry_s: float, previous: str | None) -> None:
        if str(error) != previous:
            _log.warning("waiting_for", what=what, error=str(error))

    retry = Retry(
        retryable=(LogError, StoreError),
        fatal=(LogDamaged, StoreDamaged),
        min_s=CONNECT_RETRY_S,
        max_s=CONNECT_RETRY_S,
        on_error=warn,
    )
    return await retry.run(connect)
