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
from reactor.channels.log import LogChannel
from reactor.channels.notify import NotifyChannel
from reactor.channels.secret import installation_secret
from reactor.channels.webhook import WebhookChannel
from reactor.engine import Engine
from reactor.lessons import LATE_DAYS
from reactor.sender import Channels, Sender
from reactor.sender import Limits as SendLimits
from reactor.state import Need
from reactor.turn import Step
from star.analyse import Facts
from star.errors import LogDamaged, LogError, StoreAhead, StoreDamaged, StoreError, StoreFenced
from star.react import item_of_reaction
from star.repeat import Outcome
from starloop.clock import WallClock
from starloop.roles.base import Base
from starloop.watching.observer import Observer
from starloop.watching.probes import OutboxFigures, watch_outbox, watch_reactor
from starloop.watching.traces import Passage
from stream.facts import FactsLoop
from stream.inlet import Sorter
from stream.topics import DECISIONS, FACTS, INPUT
from stream.transports.client import Entry

RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
"""Between tries to commit a step while the store can't take it (a full disk, a database that is away)."""
LESSONS_S = 0.1
"""Between looks whether the other partitions have come far enough."""
_log = structlog.get_logger("reactor")


class Reactor:
    """Engines and sender. `start` begins their tasks; `stopped` ends the channels."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._engines: dict[int, Engine] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        self._sorter = Sorter(base.log.partitions, base.store.names, lambda: base.fleet.current)
        self.trouble: str | None = None
        """Why steps can't be committed now."""
        self.loop = FactsLoop(base.log, self.handle, group=base.group_name("reactor"), lost=self._lost)
        stepped = watch_reactor(base.meters, lag=lambda: base.log.lag(base.group_name("reactor"), [FACTS]))
        self._observer = Observer(base.meters, stepped, base.tracer)
        self.webhook = WebhookChannel(
            self._supplier,
            own_secret=installation_secret(base.folder),
            clock=WallClock(),  # receivers judge a signature's age by the world's time, also in a demo
            timeout_s=base.settings.send_timeout_s,
        )
        notify = NotifyChannel(self._customer, self._label, console_url=base.settings.public_url)
        self.sender = Sender(
            base.store,
            Channels(mqtt=LogChannel(base.log), suppliers=self.webhook, customers=notify),
            catalogue=lambda: base.fleet.current,
            report=self._report,
            need_state=base.store.need_state,
            clock=base.clock,
            limits=SendLimits.of(base.settings),
            partitions=self.loop.partitions,
            told=self._observer.sent,
        )
        watch_outbox(base.meters, self._outbox_figures)
        base.checks["store"] = lambda: self.trouble
        base.deciding = lambda: self.trouble

    def decided_ms(self) -> dict[int, int]:
        """The time of the last tick decided upon, of each partition that is here."""
        return {partition: engine.state.at_ms for partition, engine in self._engines.items()}

    async def stopped(self) -> None:
        """Ends the channels."""
        if self._releasing:
            await asyncio.wait(self._releasing)
        await self.webhook.close()

    async def handle(self, partition: int, facts: Facts, written_ms: int) -> None:
        """Decides on a tick's facts of a partition, which the log took at written_ms; what that gives is on disk on return."""
        read_ms = _now_ms()
        while True:
            try:
                engine = self._engines.get(partition) or await self._loaded(partition)
                if facts.offset <= engine.state.offset:
                    return
                await self._learn(partition, engine, facts)
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
            await self._tell(partition, step, facts, written_ms, read_ms)

    async def _loaded(self, partition: int) -> Engine:
        ends = await self._patiently(lambda: self._base.log.ends(INPUT))
        state = await self._patiently(
            lambda: asyncio.to_thread(self._base.store.load, partition, log_end=ends[partition])
        )
        alone = self._base.log.partitions == 1
        engine = self._engines[partition] = Engine(self._base.fleet.base, state, alone=alone)
        _log.info("took_partition", partition=partition, offset=state.offset)
        return engine

    async def _learn(self, partition: int, engine: Engine, facts: Facts) -> None:
        """Before a day's first facts: what the deliveries of all partitions taught until the day before yesterday."""
        day = engine.lessons_due(facts.at_ms)
        if day is None:
            return
        await self._commit(partition, engine, engine.reach(day))
        store, partitions = self._base.store, self._base.log.partitions
        while True:
            lessons = await self._patiently(
                lambda: asyncio.to_thread(
                    store.lessons, day - LATE_DAYS, except_partition=partition, partitions=partitions
                )
            )
            if lessons is not None:
                engine.learn(day, lessons)
                return
            await asyncio.sleep(LESSONS_S)

    async def _commit(self, partition: int, engine: Engine, step: Step) -> None:
        store = self._base.store
        with self._base.meters.commit_seconds.time():
            if step.is_empty and self._base.embedded is not None:
                try:
                    store.commit(step, engine.catalogue, partition)  # as a rule it writes nothing: not worth a thread
                    return
                except (StoreFenced, StoreDamaged):
                    raise
                except StoreError as error:
                    _log.debug("put_off_offset", error=str(error))
            await self._patiently(lambda: asyncio.to_thread(store.commit, step, engine.catalogue, partition))

    async def _patiently(self, act: Any) -> Any:
        """What `act` gives, tried again while the store or the log is away."""
        retry_s = RETRY_MIN_S
        while True:
            try:
                found = await act()
            except (StoreAhead, StoreDamaged, StoreFenced, LogDamaged):
                raise
            except (StoreError, LogError) as error:
                if str(error) != self.trouble:
                    _log.error("put_off_commit", error=str(error), retry_s=retry_s)
                self.trouble = str(error)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
            else:
                self.trouble = None
                return found

    async def _tell(self, partition: int, step: Step, facts: Facts, written_ms: int, read_ms: int) -> None:
        """Tells those who watch; nothing rests on it."""
        committed_ms = _now_ms()
        self._observer.stepped(
            step,
            Passage(
                partition=partition,
                offset=facts.offset,
                tick_ms=facts.at_ms,
                facts_ms=written_ms,
                read_ms=read_ms,
                committed_ms=committed_ms,
            ),
        )
        if step.decisions or step.said:
            entry = Entry(DECISIONS, partition, None, orjson.dumps(decided(step)))
            try:
                await self._base.log.append([entry])
            except LogError as error:
                _log.debug("left_out_decisions", error=str(error))
        if step.reactions:
            self.sender.nudge()

    def _lost(self, partition: int) -> None:
        self._engines.pop(partition, None)
        # Not in the group, which may be ending: what is not released is written when the store is closed.
        releasing = asyncio.get_running_loop().create_task(self._release(partition), name=f"release-{partition}")
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)

    async def _release(self, partition: int) -> None:
        """Writes the offsets that wait, so that who takes over begins there."""
        try:
            await asyncio.to_thread(self._base.store.release, partition)
        except StoreError as error:
            _log.debug("put_off_offset", error=str(error))

    async def _report(self, outcome: Outcome) -> None:
        await self._base.append(self._sorter.entries([outcome]))

    def _outbox_figures(self) -> OutboxFigures:
        waiting, oldest_ms, given_up = self._base.store.outbox_waiting()
        now_ms = self._base.clock.now_ms()
        return OutboxFigures(
            waiting=waiting,
            oldest_s=0.0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000,
            given_up=given_up,
        )

    def _supplier(self, name: str) -> Supplier | None:
        return self._base.fleet.current.suppliers.get(name)

    def _customer(self, name: str) -> Customer | None:
        return self._base.fleet.current.customers.get(name)

    def _label(self, item: str, language: str) -> str:
        current = self._base.fleet.current
        found = current.slots.get(item) or current.parts.get(item)
        return (found.label.get(language) if found else None) or item.split("/", 1)[-1]


def decided(step: Step) -> dict[str, Any]:
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
            "item": outcome.item or item_of_reaction(reaction),
            "reaction": outcome.reaction,
            "result": outcome.result,
            "at_ms": outcome.at_ms,
            "timing": outcome.timing,
            "csat": outcome.csat,
        }
        for reaction, outcome in step.said
    ]
    return {"at_ms": step.at_ms, "decisions": rows, "outcomes": heard}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
