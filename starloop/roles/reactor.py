"""Reactor role: consumes facts, commits one transaction per step, and delivers from the outbox of the store.

There is one engine per partition, loaded with its first facts and dropped when the partition is revoked. If two reactors hold the
same partition, the store fences one of them, which then reloads its state from the store.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import structlog

from config.fleet import Customer, Supplier
from operations.observability.probes import OutboxFigures, watch_outbox, watch_reactor
from operations.observability.step_observer import StepObserver
from operations.observability.tracing import StepTimings
from reactor.channels.base import ChannelEnvironment
from reactor.delivery.channel_router import ChannelRouter
from reactor.delivery.limits import DeliveryLimits
from reactor.delivery.outbox_dispatcher import OutboxDispatcher
from reactor.engine import Engine
from reactor.learning_sync import EFFECT_DELAY_DAYS
from reactor.state import Need
from reactor.suppliers.registry import supplier_strategies
from reactor.unit_of_work import StepResult
from runtime.clock import WallClock
from star.analyse import Facts
from star.errors import LogDamaged, LogError, StarloopError, StoreAhead, StoreDamaged, StoreError, StoreFenced
from star.ids import item_of_reaction
from star.repeat import Outcome
from starloop.roles.context import RoleContext
from starloop.roles.retry import Retry
from stream.analysis_consumer import AnalysisConsumer
from stream.partition.partitioner import Partitioner
from stream.topics import DECISIONS, FACTS, INPUT
from stream.transports.log_client import Entry

RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
"""Back-off of a commit while the store is unavailable (full disk, database down), in seconds."""
LEARNING_POLL_S = 0.1
"""Polling interval for the watermarks of other partitions, in seconds: the first step of a day waits for them."""
_log = structlog.get_logger("reactor")


class ReactorRole:
    """Engines by partition, the consumer of facts (`loop`) and the outbox dispatcher (`sender`)."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._engines: dict[int, Engine] = {}
        self._release_tasks: set[asyncio.Task[None]] = set()
        self._partitioner = Partitioner(context.log.partitions, context.store.names, lambda: context.fleet.current)
        self._retry = Retry(
            retryable=(StoreError, LogError),
            fatal=(StoreAhead, StoreDamaged, StoreFenced, LogDamaged),
            min_s=RETRY_MIN_S,
            max_s=RETRY_MAX_S,
            on_error=_log_new_error,
        )
        self.loop = AnalysisConsumer(
            context.log, self.handle, group=context.group_name("reactor"), on_revoked=self._partition_lost
        )
        count_step = watch_reactor(context.meters, lag=lambda: context.log.lag(context.group_name("reactor"), [FACTS]))
        self._observer = StepObserver(context.meters, count_step, context.tracer)
        supplier_strategies()  # a faulty plug-in stops the start, not the first decision
        self.router = ChannelRouter.open(
            ChannelEnvironment(
                log=context.log,
                clock=WallClock(),  # receivers check the age of a signature by real time, also in a demo
                data_dir=context.folder,
                supplier_of=self._supplier,
                customer_of=self._customer,
                label_of=self._label,
                send_timeout_s=context.settings.send_timeout_s,
                console_url=context.settings.public_url,
            )
        )
        self.dispatcher = OutboxDispatcher(
            context.store,
            self.router,
            catalogue=lambda: context.fleet.current,
            report=self._report,
            need_state=context.store.need_state,
            clock=context.clock,
            limits=DeliveryLimits.from_settings(context.settings),
            partitions=self.loop.partitions,
            observer=self._observer.on_delivery,
        )
        watch_outbox(context.meters, self._outbox_figures)
        context.checks["store"] = lambda: self.last_error
        context.reactor_problem = lambda: self.last_error

    @property
    def last_error(self) -> str | None:
        """Why steps can't be committed now; None if they can."""
        return self._retry.last_error

    def decided_until_ms(self) -> dict[int, int]:
        """Time of the last decided tick of each partition held."""
        return {partition: engine.state.at_ms for partition, engine in self._engines.items()}

    async def close(self) -> None:
        """Closes the channels, after pending releases."""
        if self._release_tasks:
            await asyncio.wait(self._release_tasks)
        await self.router.close()

    async def handle(self, partition: int, facts: Facts, written_ms: int) -> None:
        """Decides on the facts of a tick; the step is on disk on return. written_ms: append time of the facts."""
        read_ms = _now_ms()
        while True:
            try:
                engine = self._engines.get(partition) or await self._load_engine(partition)
                if facts.offset <= engine.state.offset:
                    return
                await self._sync_learning(partition, engine, facts)
                step = engine.step(facts)
                await self._commit(partition, engine, step)
            except StoreFenced as error:
                self._engines.pop(partition, None)
                _log.info("left_partition", partition=partition, error=str(error))
                await asyncio.sleep(RETRY_MIN_S)
                if partition not in self.loop.partitions():
                    return  # another reactor holds it now
                continue
            break
        if not step.is_empty:
            await self._notify_observers(partition, step, facts, written_ms, read_ms)

    async def _load_engine(self, partition: int) -> Engine:
        ends = await self._retry.run(lambda: self._context.log.end_offsets(INPUT))
        state = await self._retry.run(
            lambda: asyncio.to_thread(self._context.store.load, partition, log_end=ends[partition])
        )
        standalone = self._context.log.partitions == 1
        engine = self._engines[partition] = Engine(self._context.fleet.initial, state, standalone=standalone)
        _log.info("took_partition", partition=partition, offset=state.offset)
        return engine

    async def _sync_learning(self, partition: int, engine: Engine, facts: Facts) -> None:
        """Before the first facts of a day, provides lead time samples of all partitions up to the day before yesterday."""
        day = engine.samples_due(facts.at_ms)
        if day is None:
            return
        await self._commit(partition, engine, engine.record_watermark(day))
        store, partitions = self._context.store, self._context.log.partitions
        while True:
            samples = await self._retry.run(
                lambda: asyncio.to_thread(
                    store.lead_time_samples, day - EFFECT_DELAY_DAYS, except_partition=partition, partitions=partitions
                )
            )
            if samples is not None:
                engine.provide_samples(day, samples)
                return
            await asyncio.sleep(LEARNING_POLL_S)

    async def _commit(self, partition: int, engine: Engine, step: StepResult) -> None:
        store = self._context.store
        with self._context.meters.commit_seconds.time():
            if step.is_empty and self._context.embedded is not None:
                try:
                    store.commit(
                        step, engine.catalogue, partition
                    )  # usually writes nothing, so a thread would cost more
                    return
                except (StoreFenced, StoreDamaged):
                    raise
                except StoreError as error:
                    _log.debug("put_off_offset", error=str(error))
            await self._retry.run(lambda: asyncio.to_thread(store.commit, step, engine.catalogue, partition))

    async def _notify_observers(
        self, partition: int, step: StepResult, facts: Facts, written_ms: int, read_ms: int
    ) -> None:
        """Metrics, traces and topic `decisions`; best effort, no decision depends on it."""
        committed_ms = _now_ms()
        self._observer.on_step(
            step,
            StepTimings(
                partition=partition,
                offset=facts.offset,
                tick_ms=facts.at_ms,
                facts_ms=written_ms,
                read_ms=read_ms,
                committed_ms=committed_ms,
            ),
        )
        if step.decisions or step.outcomes:
            entry = Entry(DECISIONS, partition, None, orjson.dumps(decisions_record(step)))
            try:
                await self._context.log.append([entry])
            except LogError as error:
                _log.debug("left_out_decisions", error=str(error))
        if step.reactions:
            self.dispatcher.wake()

    def _partition_lost(self, partition: int) -> None:
        self._engines.pop(partition, None)
        # Not in the task group, which may be ending. Offsets not released here are written when the store is closed.
        releasing = asyncio.get_running_loop().create_task(self._release(partition), name=f"release-{partition}")
        self._release_tasks.add(releasing)
        releasing.add_done_callback(self._release_tasks.discard)

    async def _release(self, partition: int) -> None:
        """Writes pending offsets, so that the next holder of the partition resumes there."""
        try:
            await asyncio.to_thread(self._context.store.release, partition)
        except StoreError as error:
            _log.debug("put_off_offset", error=str(error))

    async def _report(self, outcome: Outcome) -> None:
        await self._context.append(self._partitioner.entries([outcome]))

    def _outbox_figures(self) -> OutboxFigures:
        waiting, oldest_ms, given_up = self._context.store.outbox_backlog()
        now_ms = self._context.clock.now_ms()
        return OutboxFigures(
            waiting=waiting,
            oldest_s=0.0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000,
            given_up=given_up,
        )

    def _supplier(self, name: str) -> Supplier | None:
        return self._context.fleet.current.suppliers.get(name)

    def _customer(self, name: str) -> Customer | None:
        return self._context.fleet.current.customers.get(name)

    def _label(self, item: str, language: str) -> str:
        current = self._context.fleet.current
        found = current.slots.get(item) or current.parts.get(item)
        return (found.label.get(language) if found else None) or item.split("/", 1)[-1]


def decisions_record(step: StepResult) -> dict[str, Any]:
    """The record of a step for topic `decisions`: its decisions and outcomes."""
    customers = {reaction.id: reaction.customer for reaction in step.reactions}
    needs = {need.id: need for need in step.changed.values() if isinstance(need, Need)}
    rows = []
    for one in step.decisions:
        need = needs.get(one.need)
        rows.append(
            {
                "id": one.id,
                "need": one.need,
                "item": one.need.rsplit("/", 1)[0],
                "customer": need.customer if need is not None else customers.get(one.reaction or ""),
                "verdict": str(one.verdict),
                "reaction": one.reaction,
                "rules": [[verdict.rule, verdict.allowed] for verdict in one.rules],
                "kind": str(need.kind) if need is not None else None,
            }
        )
    outcomes = [
        {
            "id": outcome.id,
            "item": outcome.item or item_of_reaction(reaction),
            "reaction": outcome.reaction,
            "result": outcome.result,
            "at_ms": outcome.at_ms,
            "timing": outcome.timing,
            "csat": outcome.csat,
        }
        for reaction, outcome in step.outcomes
    ]
    return {"at_ms": step.at_ms, "decisions": rows, "outcomes": outcomes}


def _log_new_error(error: StarloopError, retry_s: float, previous: str | None) -> None:
    if str(error) != previous:
        _log.error("put_off_commit", error=str(error), retry_s=retry_s)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
