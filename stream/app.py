"""The Faust application: its topics, its table, its agent, named in one place.

The agent is a thin shell: what to do is decided in worker.py, one worker a partition, and it does it. An agent that fails
stops the application with its reason (`watch`), and what it had not finished comes again after the restart; nothing is
skipped. A partition that comes gets a new worker from the table, unless it went a moment ago and nobody else can have had
it, so that none goes on from a state that another process has left behind. Not here: the analysis, the reactor (facts.py
hands the facts over), the endpoints.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast

import faust
import structlog
from faust.tables.manager import TableManager
from faust.types import TP, EventT, StreamT, TransportT
from mode import CrashingSupervisor

from star.errors import LogDamaged, LogError
from star.ports import Clock
from star.records import Tick, encode
from stream.checkpoint import Policy, goes_back, named_blocks
from stream.media import EmbeddedMedium, Medium
from stream.ticker import Rhythm
from stream.topics import BLOCKS, FACTS, INPUT, WATCHED
from stream.transports.base import CorrectedConsumer, CorrectedProducer
from stream.transports.client import Fetched, LogClient
from stream.transports.log import SqliteLog
from stream.worker import (
    Analyses,
    AppendFacts,
    AppendWatched,
    Commit,
    Effect,
    PartitionWorker,
    PutBlock,
    facts_end_after,
)

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep Python to itself: the log's writing thread waits this long for the event loop, not 5 ms."""
BUFFERED_EVENTS_MAX = 128
"""Records of a topic that wait for their agent in memory; one may hold 2,000 readings."""
RETAIN_EVERY_S = 600.0
RETRY_S = 0.5
"""Before the log is asked again when it was away."""
HELD_S_MAX = 0.005
"""So long records are taken before others on the event loop have their turn."""
_log = structlog.get_logger("stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """The stream's settings. commit_s: between lazy commits of what is handled. rhythm: of the ticks that each partition's
    worker puts into its input; None: they come with the input. clock: what ticks tell."""

    checkpoint: Policy = field(default_factory=Policy)
    commit_s: float = 1.0
    rhythm: Rhythm | None = None
    clock: Clock | None = None


class RawTable(faust.Table[bytes, bytes]):
    """A table whose keys and values are bytes in its changelog too, and not JSON. Recovering, it never goes back."""

    goes_back = staticmethod(goes_back)

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

    def __init__(self, medium: Medium | SqliteLog, **settings: Any) -> None:
        self.medium = EmbeddedMedium(medium) if isinstance(medium, SqliteLog) else medium
        super().__init__(
            **{
                "id": self.medium.app_id,
                "autodiscover": False,
                "web_enabled": False,
                "topic_disable_leader": True,
                "stream_buffer_maxsize": BUFFERED_EVENTS_MAX,
                "key_serializer": "raw",
                "value_serializer": "raw",
                "Table": RawTable,
                "TableManager": PromptTableManager,
                **self.medium.settings(),
                **settings,
            }
        )

    def _new_transport(self) -> TransportT:
        return self.medium.transport(self, self.conf.broker_consumer)

    def _new_producer_transport(self) -> TransportT:
        return self.medium.transport(self, self.conf.broker_producer)

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

    async def watch(self) -> None:
        """Waits until the app fails, and raises why. Returns where it was stopped."""
        await self.wait_until_stopped()
        if self.crash_reason is not None:
            raise self.crash_reason


@dataclass(slots=True, kw_only=True)
class StreamHooks:
    """What a role wants to know, and what it does before a record is taken; all optional.

    ready: the record can be taken now, as far as this process knows; until it is, `wait` is awaited. decided: seconds from
    the oldest arrival since the tick before to this tick's facts on disk. checkpointed: a partition's state is on disk.
    """

    ready: Callable[[bytes], bool] = lambda wire: True
    wait: Callable[[bytes], Awaitable[None]] | None = None
    took: Callable[[int, bytes], None] = lambda partition, wire: None
    facts_written: Callable[[int, bytes], None] = lambda partition, wire: None
    checkpointed: Callable[[int], None] = lambda partition: None


def build_app(
    medium: Medium | SqliteLog,
    client: LogClient,
    make_analysis: Callable[[int], Analyses],
    options: StreamOptions | None = None,
    hooks: StreamHooks | None = None,
) -> StreamApp:
    """The application on the log, not started; the topics are there (`LogClient.start` makes them).

    make_analysis: a fresh analysis of a partition; its blocks are loaded before its first record.
    """
    options = options or StreamOptions()
    app = StreamApp(medium, broker_commit_interval=options.commit_s)
    agent = AnalysisAgent(app, client, make_analysis, options, hooks or StreamHooks())
    if options.rhythm is not None:
        app.task(agent.tick)
    if isinstance(app.medium, EmbeddedMedium):
        log = app.medium.log

        async def retain() -> None:
            await asyncio.to_thread(log.retain)

        app.timer(interval=RETAIN_EVERY_S)(retain)
    return app


class AnalysisAgent:
    """Takes the input; performs the workers' effects with Faust's producer, table and consumer."""

    def __init__(
        self,
        app: StreamApp,
        client: LogClient,
        make_analysis: Callable[[int], Analyses],
        options: StreamOptions,
        hooks: StreamHooks,
    ) -> None:
        self._app = app
        self._client = client
        self._make_analysis = make_analysis
        self._options = options
        self._hooks = hooks
        self.workers: dict[int, PartitionWorker] = {}
        self._kept: dict[int, PartitionWorker] = {}
        self._kept_of = -2
        self._in_hand: PartitionWorker | None = None
        self._input_name = app.medium.topic(INPUT)
        self._input = app.topic(self._input_name)
        self._names = {name: app.medium.topic(name) for name in (INPUT, FACTS, *WATCHED)}
        self._blocks = app.Table(BLOCKS, partitions=app.medium.partitions, key_type=bytes, value_type=bytes)
        self._blocks.on_recover(self.recover)
        app.on_partitions_revoked.connect(self.revoked, weak=False)
        app.agent(self._input, name="analysis", supervisor_strategy=CrashingSupervisor)(self.run)

    @property
    def _consumer(self) -> CorrectedConsumer:
        return cast(CorrectedConsumer, self._app.consumer)

    async def revoked(self, *_: object, **__: object) -> None:
        """Partitions may go. Of one that comes back at once nobody else had anything in between: its worker goes on then."""
        self._kept = {partition: worker for partition, worker in self.workers.items() if worker is not self._in_hand}
        self.workers = {}
        self._kept_of = self._app.consumer_generation_id

    async def recover(self) -> None:
        """The table is what it was: a fresh analysis of each partition takes up its blocks. Faust passes over what a callback
        raises, and the partitions would lie still: it stops the application here."""
        try:
            await self._recover()
        except Exception as error:
            await self._app.crash(error)
            raise

    async def _recover(self) -> None:
        self._consumer.hold(self._input_name)
        self._consumer.pack(self._input_name)
        generation = self._app.consumer_generation_id
        kept, self._kept = self._kept if generation == self._kept_of + 1 else {}, {}
        mine = sorted(tp.partition for tp in self._consumer.assignment() if tp.topic == self._input_name)
        last = await self._last([partition for partition in mine if partition not in kept])
        if generation != self._app.consumer_generation_id or self._app.should_stop:
            return  # they went again meanwhile, and this is called again for what came then
        for partition in mine:
            self.workers[partition] = kept.get(partition) or self._worker(partition, last.get(partition))
            if self._options.rhythm is not None:
                self._options.rhythm.begin(partition)

    async def _last(self, partitions: list[int]) -> dict[int, Fetched]:
        """The last facts of each, asked for until the log answers."""
        while True:
            try:
                return await self._client.last(FACTS, partitions)
            except LogDamaged:
                raise
            except LogError as error:
                _log.warning("wait_for_log", error=str(error))
                if self._app.should_stop:
                    return {}
                await asyncio.sleep(RETRY_S)

    def _worker(self, partition: int, last: Fetched | None) -> PartitionWorker:
        return PartitionWorker(
            self._make_analysis(partition),
            blocks=named_blocks(self._blocks.items(), partition),
            facts_end=facts_end_after(None if last is None else last.value),
            policy=self._options.checkpoint,
            partition=partition,
        )

    async def run(self, stream: StreamT[Any]) -> None:
        """The agent."""
        turn_s = 0.0
        async for event in stream.events():
            message = event.message
            worker = self.workers.get(message.partition)
            if worker is None or message.generation_id != self._app.consumer_generation_id:
                continue  # fetched before partitions moved; whoever has the partition now gets it from the log
            for offset, wire in cast("tuple[tuple[int, bytes], ...]", event.value):
                if not self._hooks.ready(wire) and self._hooks.wait is not None:
                    await self._hooks.wait(wire)
                if not await self._take(worker, offset, wire, event):
                    break  # the partition went while this was done; its records are another's business now
                if monotonic() >= turn_s:
                    await asyncio.sleep(0)
                    turn_s = monotonic() + HELD_S_MAX

    async def _take(self, worker: PartitionWorker, offset: int, wire: bytes, event: EventT[Any]) -> bool:
        """Takes one record, while the partition is still the worker's; whether it was to the end."""
        partition = event.message.partition
        if self.workers.get(partition) is not worker:
            return False
        self._hooks.took(partition, wire)
        if self._options.rhythm is not None and wire[:1] != b"T":
            self._options.rhythm.arrived(partition)
        # One whose effects end half way must not go on: what it took for written is not.
        self._in_hand = worker
        for effect in worker.take(offset, wire):
            if self.workers.get(partition) is not worker:
                self._in_hand = None
                return False
            await self._perform(effect, event)
        self._in_hand = None
        return True

    async def tick(self) -> None:
        """Ticks into the input of each partition that is due for one, until the application stops."""
        rhythm, clock = self._options.rhythm, self._options.clock
        while rhythm is not None and clock is not None and not self._app.should_stop:
            await asyncio.sleep(rhythm.busy_s)
            if not self._app.rebalancing:
                for partition in rhythm.due(list(self.workers)):
                    await self._send(INPUT, encode(Tick(at_ms=clock.now_ms())), partition)

    async def _send(self, topic: str, value: bytes, partition: int) -> asyncio.Future[Any]:
        """On its way, in the order of calls; the future is done when the log has it. A flush waits for it."""
        producer = cast(CorrectedProducer, self._app.producer)
        return cast("asyncio.Future[Any]", await producer.send(self._names[topic], None, value, partition, None, None))

    async def _perform(self, effect: Effect, event: EventT[Any]) -> None:
        partition = event.message.partition
        if isinstance(effect, AppendFacts):
            sent = await self._send(FACTS, effect.value, partition)
            hook = self._hooks.facts_written
            sent.add_done_callback(lambda _: hook(partition, effect.value))
        elif isinstance(effect, AppendWatched):
            await self._send(effect.topic, effect.value, partition)
        elif isinstance(effect, PutBlock):
            self._blocks[effect.key] = effect.value
        elif isinstance(effect, Commit):
            tp: TP = event.message.tp
            event.ack()
            self._consumer.release(tp, effect.offset)
            await self._app.consumer.commit({tp})
            self._hooks.checkpointed(partition)
        else:
            await self._app.producer.flush()
