"""The Faust application: its topics, its table and its agent.

The agent only performs effects; each partition has a processor (stream/partition/partition_processor.py) that determines them.
An agent that fails stops the application with its reason (`wait_for_failure`), and unfinished records come again after the
restart. An assigned partition gets a new processor with the state of the table. Only where it was revoked in the rebalance
before, so that no other worker can have processed it since, its processor is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast

import structlog
from faust.types import TP, EventT, StreamT
from mode import CrashingSupervisor

from star.errors import LogDamaged, LogError
from star.ports import Clock
from star.records import Tick, encode
from stream.log_backend import EmbeddedLogBackend, LogBackend
from stream.partition.partition_processor import (
    AppendFacts,
    AppendTelemetry,
    CommitOffset,
    Effect,
    PartitionAnalysis,
    PartitionProcessor,
    UpsertShard,
    facts_end_after,
)
from stream.partition.ticker import PartitionTickSchedule
from stream.state.checkpoint import CheckpointPolicy, shards_of_partition
from stream.topics import FACTS, INPUT, STATE_SHARDS, TELEMETRY_TOPICS
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.corrected_consumer import CorrectedConsumer
from stream.transports.faust_overrides.corrected_producer import CorrectedProducer
from stream.transports.faust_overrides.stream_app import StreamApp
from stream.transports.log_client import FetchedRecord, LogClient

RETAIN_EVERY_S = 600.0
"""Between runs of the embedded log's retention."""
RETRY_S = 0.5
"""Before the next try when the log is unavailable."""
LOOP_HOLD_MAX_S = 0.005
"""How long records are processed before other tasks of the event loop run."""
_log = structlog.get_logger("stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """Settings of the stream. commit_s: between Faust's commits.

    tick_schedule: of the ticks that the application appends to each partition's input; None: the input has them already. clock:
    gives their times.
    """

    checkpoint: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    commit_s: float = 1.0
    tick_schedule: PartitionTickSchedule | None = None
    clock: Clock | None = None


@dataclass(slots=True, kw_only=True)
class StreamHooks:
    """Callbacks of a role, all optional.

    ready: whether a record can be processed yet; where not, `wait` is awaited first. record_taken, facts_written: with the
    partition and the record's bytes; facts are durable then. checkpointed: a partition's checkpoint is durable.
    """

    ready: Callable[[bytes], bool] = lambda wire: True
    wait: Callable[[bytes], Awaitable[None]] | None = None
    record_taken: Callable[[int, bytes], None] = lambda partition, wire: None
    facts_written: Callable[[int, bytes], None] = lambda partition, wire: None
    checkpointed: Callable[[int], None] = lambda partition: None


def build_app(
    backend: LogBackend | SqliteLog,
    client: LogClient,
    make_analysis: Callable[[int], PartitionAnalysis],
    options: StreamOptions | None = None,
    hooks: StreamHooks | None = None,
) -> StreamApp:
    """The application on a log whose topics exist (`LogClient.start` creates them). It is not started.

    make_analysis: gives a new analysis of a partition, into which the shards of its checkpoint are loaded.
    """
    options = options or StreamOptions()
    app = StreamApp(backend, broker_commit_interval=options.commit_s)
    agent = AnalysisAgent(app, client, make_analysis, options, hooks or StreamHooks())
    if options.tick_schedule is not None:
        app.task(agent.tick)
    if isinstance(app.backend, EmbeddedLogBackend):
        log = app.backend.log

        async def retain() -> None:
            await asyncio.to_thread(log.enforce_retention)

        app.timer(interval=RETAIN_EVERY_S)(retain)
    return app


class AnalysisAgent:
    """Reads the input and performs the processors' effects with Faust's producer, table and consumer."""

    def __init__(
        self,
        app: StreamApp,
        client: LogClient,
        make_analysis: Callable[[int], PartitionAnalysis],
        options: StreamOptions,
        hooks: StreamHooks,
    ) -> None:
        self._app = app
        self._client = client
        self._make_analysis = make_analysis
        self._options = options
        self._hooks = hooks
        self.processors: dict[int, PartitionProcessor] = {}
        self._retained: dict[int, PartitionProcessor] = {}
        self._retained_generation = -2
        self._in_progress: PartitionProcessor | None = None
        self._input_name = app.backend.topic(INPUT)
        self._input = app.topic(self._input_name)
        self._topic_names = {name: app.backend.topic(name) for name in (INPUT, FACTS, *TELEMETRY_TOPICS)}
        self._shards = app.Table(STATE_SHARDS, partitions=app.backend.partitions, key_type=bytes, value_type=bytes)
        self._shards.on_recover(self.recover)
        app.on_partitions_revoked.connect(self.revoked, weak=False)
        app.agent(self._input, name="analysis", supervisor_strategy=CrashingSupervisor)(self.run)

    @property
    def _consumer(self) -> CorrectedConsumer:
        return cast(CorrectedConsumer, self._app.consumer)

    async def revoked(self, *_: object, **__: object) -> None:
        """Faust's signal before a rebalance. Processors are kept for partitions that come back in that same rebalance."""
        self._retained = {
            partition: processor
            for partition, processor in self.processors.items()
            if processor is not self._in_progress
        }
        self.processors = {}
        self._retained_generation = self._app.consumer_generation_id

    async def recover(self) -> None:
        """Faust's callback when the table is recovered: makes the processors of the assigned partitions.

        Faust ignores what a callback raises, which would leave the partitions unprocessed, so a failure stops the application.
        """
        try:
            await self._recover()
        except Exception as error:
            await self._app.crash(error)
            raise

    async def _recover(self) -> None:
        self._consumer.hold_commits(self._input_name)
        self._consumer.deliver_batched(self._input_name)
        generation = self._app.consumer_generation_id
        retained, self._retained = self._retained if generation == self._retained_generation + 1 else {}, {}
        assigned = sorted(tp.partition for tp in self._consumer.assignment() if tp.topic == self._input_name)
        last = await self._last_facts([partition for partition in assigned if partition not in retained])
        if generation != self._app.consumer_generation_id or self._app.should_stop:
            return  # another rebalance has begun, after which this is called again
        for partition in assigned:
            self.processors[partition] = retained.get(partition) or self._make_processor(partition, last.get(partition))
            if self._options.tick_schedule is not None:
                self._options.tick_schedule.assign(partition)

    async def _last_facts(self, partitions: list[int]) -> dict[int, FetchedRecord]:
        """The last facts of each partition. Tries until the log answers. Raises LogDamaged."""
        while True:
            try:
                return await self._client.last_records(FACTS, partitions)
            except LogDamaged:
                raise
            except LogError as error:
                _log.warning("wait_for_log", error=str(error))
                if self._app.should_stop:
                    return {}
                await asyncio.sleep(RETRY_S)

    def _make_processor(self, partition: int, last: FetchedRecord | None) -> PartitionProcessor:
        return PartitionProcessor(
            self._make_analysis(partition),
            shards=shards_of_partition(self._shards.items(), partition),
            facts_end=facts_end_after(None if last is None else last.value),
            policy=self._options.checkpoint,
            partition=partition,
        )

    async def run(self, stream: StreamT[Any]) -> None:
        """The agent."""
        yield_at_s = 0.0
        async for event in stream.events():
            message = event.message
            processor = self.processors.get(message.partition)
            if processor is None or message.generation_id != self._app.consumer_generation_id:
                continue  # fetched before a rebalance; the partition's present worker reads it from the log
            for offset, wire in cast("tuple[tuple[int, bytes], ...]", event.value):
                if not self._hooks.ready(wire) and self._hooks.wait is not None:
                    await self._hooks.wait(wire)
                if not await self._process(processor, offset, wire, event):
                    break  # revoked meanwhile
                if monotonic() >= yield_at_s:
                    await asyncio.sleep(0)
                    yield_at_s = monotonic() + LOOP_HOLD_MAX_S

    async def _process(self, processor: PartitionProcessor, offset: int, wire: bytes, event: EventT[Any]) -> bool:
        """Processes one record; False where the partition was revoked before all its effects were performed."""
        partition = event.message.partition
        if self.processors.get(partition) is not processor:
            return False
        self._hooks.record_taken(partition, wire)
        if self._options.tick_schedule is not None and wire[:1] != b"T":
            self._options.tick_schedule.notify_arrival(partition)
        # A processor whose effects were not all performed must not be kept: it counts them as done.
        self._in_progress = processor
        for effect in processor.process(offset, wire):
            if self.processors.get(partition) is not processor:
                self._in_progress = None
                return False
            await self._apply(effect, event)
        self._in_progress = None
        return True

    async def tick(self) -> None:
        """Appends ticks to the input of partitions that are due, until the application stops."""
        schedule, clock = self._options.tick_schedule, self._options.clock
        while schedule is not None and clock is not None and not self._app.should_stop:
            await asyncio.sleep(schedule.busy_s)
            if not self._app.rebalancing:
                for partition in schedule.due(list(self.processors)):
                    await self._send(INPUT, encode(Tick(at_ms=clock.now_ms())), partition)

    async def _send(self, topic: str, value: bytes, partition: int) -> asyncio.Future[Any]:
        """Sends in the order of calls. The future is done when the log has the record; a flush waits for it."""
        producer = cast(CorrectedProducer, self._app.producer)
        return await producer.send(self._topic_names[topic], None, value, partition, None, None)

    async def _apply(self, effect: Effect, event: EventT[Any]) -> None:
        partition = event.message.partition
        if isinstance(effect, AppendFacts):
            sent = await self._send(FACTS, effect.value, partition)
            hook = self._hooks.facts_written
            sent.add_done_callback(lambda _: hook(partition, effect.value))
        elif isinstance(effect, AppendTelemetry):
            await self._send(effect.topic, effect.value, partition)
        elif isinstance(effect, UpsertShard):
            self._shards[effect.key] = effect.value
        elif isinstance(effect, CommitOffset):
            tp: TP = event.message.tp
            event.ack()
            self._consumer.release_commits(tp, effect.offset)
            await self._app.consumer.commit({tp})
            self._hooks.checkpointed(partition)
        else:
            await self._app.producer.flush()
