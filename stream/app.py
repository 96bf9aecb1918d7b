"""The Faust application: its topics, its table, its two agents, named in one place.

Agents are thin shells: what to do is decided in worker.py, they do it. One agent takes the input, one hands the facts to
the reactor. An agent that fails stops the application with its reason (`watch`), and what it had not finished comes again
after the restart; nothing is skipped. Not here: the analysis, the reactor, the gate - they are handed in.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import faust
from faust.tables.manager import TableManager
from faust.types import TP, EventT, StreamT, TransportT
from mode import CrashingSupervisor
from yarl import URL

from star.analyse import Facts
from star.errors import StarloopError
from star.times import DAY_MS, HOUR_MS
from stream.checkpoint import Policy, named_blocks
from stream.topics import BLOCKS, FACTS, FORECASTS, INPUT, QUARANTINE
from stream.transports.base import CorrectedConsumer
from stream.transports.embedded import SCHEME, Transport, register
from stream.transports.log import SqliteLog
from stream.worker import (
    Analyses,
    AppendFacts,
    AppendForecasts,
    Commit,
    Effect,
    FactsReader,
    PartitionWorker,
    PutBlock,
    facts_end_of,
)

APP_ID = "starloop"
SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep Python to itself: the log's writing thread waits this long for the event loop, not 5 ms."""
BUFFERED_EVENTS_MAX = 128
"""Records of a topic that wait for their agent in memory; one may hold 2,000 readings."""
RETAIN_EVERY_S = 600.0

OnFacts = Callable[[Facts], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long, and how much, of each topic is kept. Never less than what is not yet handled."""

    input_ms: int = 400 * DAY_MS
    input_bytes: int = 32 << 30
    quarantine_ms: int = 90 * DAY_MS
    quarantine_bytes: int = 1 << 30
    facts_bytes: int = 1 << 30
    forecasts_ms: int = HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """The stream's settings. commit_s: between lazy commits of what is handled."""

    checkpoint: Policy = field(default_factory=Policy)
    commit_s: float = 1.0
    retention: Retention = field(default_factory=Retention)


class RawTable(faust.Table[bytes, bytes]):
    """A table whose keys and values are bytes in its changelog too, and not JSON."""

    def _serializer_from_type(self, typ: Any) -> str:
        return "raw"


class PromptTableManager(TableManager):
    """Faust's table manager without its second of sleep at the start: all our tables are there before the app starts."""

    async def on_start(self) -> None:
        """Starts recovery."""
        await self._update_channels()
        await self.recovery.start()


class StreamApp(faust.App):
    """A Faust app on a log that it is given, with the settings that make it our kind of app; `settings` override them."""

    def __init__(self, log: SqliteLog, **settings: Any) -> None:
        register()
        self.embedded = log
        super().__init__(
            **{
                "broker": URL(f"{SCHEME}://{log.path.absolute()}"),
                "datadir": str(log.path.parent),
                "store": URL("memory://"),
                "autodiscover": False,
                "web_enabled": False,
                "topic_partitions": 1,
                "topic_replication_factor": 1,
                "topic_disable_leader": True,
                "stream_buffer_maxsize": BUFFERED_EVENTS_MAX,
                "stream_wait_empty": False,
                "key_serializer": "raw",
                "value_serializer": "raw",
                "Table": RawTable,
                "TableManager": PromptTableManager,
                **settings,
            }
        )

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self, log=self.embedded)

    def _new_producer_transport(self) -> TransportT:
        return Transport(self.conf.broker_producer, self, log=self.embedded)

    def _create_directories(self) -> None:
        """None: nothing of ours lies in Faust's own directories."""

    async def on_first_start(self) -> None:
        """Once a process."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        await super().on_first_start()

    async def _producer_flush(self, logger: Any) -> None:
        # A failed app has nothing more to say: what was not flushed is not committed and comes again.
        if self.crash_reason is None:
            await super()._producer_flush(logger)

    def add_retention(self, every_s: float) -> None:
        """Deletes what the log need no longer keep, now and then, in a thread."""

        async def retain() -> None:
            await asyncio.to_thread(self.embedded.retain)

        self.timer(interval=every_s)(retain)

    async def watch(self) -> None:
        """Waits until the app fails, and raises why. Returns where it was stopped."""
        await self.wait_until_stopped()
        if self.crash_reason is not None:
            raise self.crash_reason


def prepare(log: SqliteLog, retention: Retention) -> None:
    """Makes the topics, or changes how long they are kept."""
    log.create(INPUT, retain_ms=retention.input_ms, retain_bytes=retention.input_bytes)
    log.create(QUARANTINE, retain_ms=retention.quarantine_ms, retain_bytes=retention.quarantine_bytes)
    log.create(FACTS, retain_bytes=retention.facts_bytes)
    log.create(FORECASTS, retain_ms=retention.forecasts_ms)


def build_app(
    log: SqliteLog,
    make_analysis: Callable[[], Analyses],
    on_facts: OnFacts,
    options: StreamOptions | None = None,
) -> StreamApp:
    """The application on `log`, not started.

    make_analysis: a fresh analysis; its blocks are loaded before its first record. on_facts: handles the facts of one
    tick, for good when it returns; called in order, each tick once or - after a restart - again.
    """
    options = options or StreamOptions()
    prepare(log, options.retention)
    app = StreamApp(log, id=APP_ID, broker_commit_interval=options.commit_s)
    _AnalysisAgent(app, log, make_analysis, options.checkpoint)
    _FactsAgent(app, on_facts)

    app.add_retention(RETAIN_EVERY_S)
    return app


def _consumer(app: faust.App) -> CorrectedConsumer:
    return cast(CorrectedConsumer, app.consumer)


class _AnalysisAgent:
    """Takes the input; performs the worker's effects with Faust's producer, table and consumer."""

    def __init__(self, app: StreamApp, log: SqliteLog, make_analysis: Callable[[], Analyses], policy: Policy) -> None:
        self._app = app
        self._log = log
        self._make_analysis = make_analysis
        self._policy = policy
        self._worker: PartitionWorker | None = None
        self._facts = app.topic(FACTS)
        self._forecasts = app.topic(FORECASTS)
        self._blocks = app.Table(BLOCKS, partitions=1, key_type=bytes, value_type=bytes)
        self._blocks.on_recover(self.recover)
        app.agent(app.topic(INPUT), name="analysis", supervisor_strategy=CrashingSupervisor)(self.run)

    async def recover(self) -> None:
        """The table is what it was: a fresh analysis takes up its blocks."""
        _consumer(self._app).hold(INPUT)
        self._worker = PartitionWorker(
            self._make_analysis(),
            blocks=named_blocks(self._blocks.items()),
            facts_end=facts_end_of(self._log),
            policy=self._policy,
        )

    async def run(self, stream: StreamT[bytes]) -> None:
        """The agent."""
        async for event in stream.events():
            worker = self._worker
            if worker is None:
                raise StarloopError("a record of the input came before the table of blocks was recovered")
            for effect in worker.take(event.message.offset, cast(bytes, event.value)):
                await self._perform(effect, event)

    async def _perform(self, effect: Effect, event: EventT[bytes]) -> None:
        if isinstance(effect, AppendFacts):
            await self._facts.send(value=effect.value)
        elif isinstance(effect, AppendForecasts):
            await self._forecasts.send(value=effect.value)
        elif isinstance(effect, PutBlock):
            self._blocks[effect.key] = effect.value
        elif isinstance(effect, Commit):
            tp = event.message.tp
            event.ack()
            _consumer(self._app).release(tp, effect.offset)
            await self._app.consumer.commit({tp})
        else:
            await self._app.producer.flush()


class _FactsAgent:
    """Hands the facts to the reactor; its offset is committed lazily, since the reactor skips what it has."""

    def __init__(self, app: StreamApp, on_facts: OnFacts) -> None:
        self._app = app
        self._on_facts = on_facts
        self._reader = FactsReader()
        app.agent(app.topic(FACTS), name="reaction", supervisor_strategy=CrashingSupervisor)(self.run)
        app.on_partitions_assigned.connect(self.assigned, weak=False)

    async def assigned(self, *_: object, **__: object) -> None:
        """The facts are held: what the reactor has not handled is never committed."""
        _consumer(self._app).hold(FACTS)
        self._reader = FactsReader()

    async def run(self, stream: StreamT[bytes]) -> None:
        """The agent."""
        async for event in stream.events():
            facts = self._reader.take(cast(bytes, event.value))
            if facts is not None:
                await self._on_facts(facts)
            tp: TP = event.message.tp
            _consumer(self._app).release(tp, event.message.offset + 1)
