"""The reactor: facts in, one transaction a step, and what is to be sent on its way out of the store's outbox.

An engine a partition, loaded when its first facts come and dropped when the partition goes. Of two reactors that think they
have a partition the store refuses one; that one starts over from what the store says.
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
from reactor.unit_of_work import StepResult
from runtime.clock import WallClock
from star.analyse import Facts
from star.errors import LogDamaged, LogError, StoreAhead, StoreDamaged, StoreError, StoreFenced
from star.react import item_from_reaction_id
from star.repeat import Outcome
from starloop.roles.context import RoleContext
from stream.analysis_consumer import AnalysisConsumer
from stream.partition.partitioner import Partitioner
from stream.topics import DECISIONS, FACTS, INPUT
from stream.transports.log_client import Entry

RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
"""Between tries to commit a step while the store can't take it (a full disk, a database that is away)."""
LEARNING_POLL_S = 0.1
"""Between looks whether the other partitions have come far enough."""
_log = structlog.get_logger("reactor")


class ReactorRole:
    """Engines and sender. `start` begins their tasks; `stopped` ends the channels."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._engines: dict[int, Engine] = {}
        self._release_tasks: set[asyncio.Task[None]] = set()
        self._partitioner = Partitioner(context.log.partitions, context.store.names, lambda: context.fleet.current)
        self.last_error: str | None = None
        """Why steps can't be committed now."""
        self.loop = AnalysisConsumer(
            context.log, self.handle, group=context.group_name("reactor"), on_revoked=self._partition_lost
        )
        stepped = watch_reactor(context.meters, lag=lambda: context.log.lag(context.group_name("reactor"), [FACTS]))
        self._observer = StepObserver(context.meters, stepped, context.tracer)
        self.router = ChannelRouter.open(
            ChannelEnvironment(
                log=context.log,
                clock=WallClock(),  # receivers judge a signature's age by the world's time, also in a demo
                data_dir=context.folder,
                supplier_of=self._supplier,
                customer_of=self._customer,
                label_of=self._label,
                send_timeout_s=context.settings.send_timeout_s,
                console_url=context.settings.public_url,
            )
        )
        self.sender = OutboxDispatcher(
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

    def decided_until_ms(self) -> dict[int, int]:
        """The time of the last tick decided upon, of each partition that is here."""
        return {partition: engine.state.at_ms for partition, engine in self._engines.items()}

    async def close(self) -> None:
        """Ends the channels."""
        if self._release_tasks:
            await asyncio.wait(self._release_tasks)
        await self.router.close()

    async def handle(self, partition: int, facts: Facts, written_ms: int) -> None:
        """Decides on a tick's facts of a partition, which the log took at written_ms; what that gives is on disk on return."""
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
                    return  # it is another's by now
                continue
            break
        if not step.is_empty:
            await self._notify_observers(partition, step, facts, written_ms, read_ms)

    async def _load_engine(self, partition: int) -> Engine:
        ends = await self._retry(lambda: self._context.log.end_offsets(INPUT))
        state = await self._retry(
            lambda: asyncio.to_thread(self._context.store.load, partition, log_end=ends[partition])
        )
        alone = self._context.log.partitions == 1
        engine = self._engines[partition] = Engine(self._context.fleet.initial, state, standalone=alone)
        _log.info("took_partition", partition=partition, offset=state.offset)
        return engine

    async def _sync_learning(self, partition: int, engine: Engine, facts: Facts) -> None:
        """Before a day's first facts: what the deliveries of all partitions taught until the day before yesterday."""
        day = engine.samples_due(facts.at_ms)
        if day is None:
            return
        await self._commit(partition, engine, engine.record_watermark(day))
        store, partitions = self._context.store, self._context.log.partitions
        while True:
            lessons = await self._retry(
                lambda: asyncio.to_thread(
                    store.lead_time_samples, day - EFFECT_DELAY_DAYS, except_partition=partition, partitions=partitions
                )
            )
            if lessons is not None:
                engine.provide_samples(day, lessons)
                return
            await asyncio.sleep(LEARNING_POLL_S)

    async def _commit(self, partition: int, engine: Engine, step: StepResult) -> None:
        store = self._context.store
        with self._context.meters.commit_seconds.time():
            if step.is_empty and self._context.embedded is not None:
                try:
                    store.commit(step, engine.catalogue, partition)  # as a rule it writes nothing: not worth a thread
                    return
                except (StoreFenced, StoreDamaged):
                    raise
                except StoreError as error:
                    _log.debug("put_off_offset", error=str(error))
            await self._retry(lambda: asyncio.to_thread(store.commit, step, engine.catalogue, partition))

    async def _retry(self, act: Any) -> Any:
        """What `act` gives, tried again while the store or the log is away."""
        retry_s = RETRY_MIN_S
        while True:
            try:
                found = await act()
            except (StoreAhead, StoreDamaged, StoreFenced, LogDamaged):
                raise
            except (StoreError, LogError) as error:
                if str(error) != self.last_error:
                    _log.error("put_off_commit", error=str(error), retry_s=retry_s)
                self.last_error = str(error)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
            else:
                self.last_error = None
                return found

    async def _notify_observers(
        self, partition: int, step: StepResult, facts: Facts, written_ms: int, read_ms: int
    ) -> None:
        """Tells those who watch; nothing rests on it."""
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
            self.sender.wake()

    def _partition_lost(self, partition: int) -> None:
        self._engines.pop(partition, None)
        # Not in the group, which may be ending: what is not released is written when the store is closed.
        releasing = asyncio.get_running_loop().create_task(self._release(partition), name=f"release-{partition}")
        self._release_tasks.add(releasing)
        releasing.add_done_callback(self._release_tasks.discard)

    async def _release(self, partition: int) -> None:
        """Writes the offsets that wait, so that who takes over begins there."""
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
    """A record of topic `decisions`: what the step decided, and the outcomes it heard."""
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
    heard = [
        {
            "id": outcome.id,
            "item": outcome.item or item_from_reaction_id(reaction),
            "reaction": outcome.reaction,
            "result": outcome.result,
            "at_ms": outcome.at_ms,
            "timing": outcome.timing,
            "csat": outcome.csat,
        }
        for reaction, outcome in step.outcomes
    ]
    return {"at_ms": step.at_ms, "decisions": rows, "outcomes": heard}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
