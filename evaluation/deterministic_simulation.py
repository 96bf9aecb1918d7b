"""Deterministic simulation: the whole loop in one thread, from one seed, with simulated time and kills between any two effects.

A simulated neighbourhood (simulators.neighbourhood.simulation) sends messages through the real decoder, analysis, engine, store and
outbox, and reacts to what they send. Sockets, threads and disks are left out: tests/system/ runs real processes. A kill discards
everything but the log, the state shards and the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from config.catalogue import Catalogue, resolve_catalogue
from config.profile_file import load_profiles
from edge.adapters import installed_adapters
from edge.decoder import Decoder
from evaluation.invariants import InvariantChecker
from reactor.engine import Engine
from reactor.store.memory import MemoryMetricRegistry, MemoryStore
from simulators.neighbourhood.simulation import Neighbourhood, SimulatedEvent
from star.ports import Scorer
from star.react import Reaction, ReactionType
from star.records import Tick
from star.times import DAY_MS, HOUR_MS
from stream.analysis import Analysis
from stream.partition.partition_processor import FactsDeduplicator, SynchronousRunner
from stream.partition.partitioner import single_partition_entries
from stream.state.checkpoint import CheckpointPolicy
from stream.topics import FACTS

TICK_MS = HOUR_MS
CHECKPOINT_POLICY = CheckpointPolicy(every_s=86_400.0, records=500)
CONSECUTIVE_KILLS_MAX = 5
"""Kills in a row within one hour, after which the next attempt runs undisturbed, so that each hour ends."""


NEGLECTED_AFTER_MS = 4 * DAY_MS
"""Time after which an empty item without an open need counts as forgotten. Simulated devices are offline for less."""
RESPONSE_TIME_MAX_MS = 7 * DAY_MS
"""Longest time between an empty item and the order for it: people take days to answer."""
PREMATURE_ORDER_DAYS = 60.0
"""Days before run-out from which an unrequested order for an item over two thirds full counts as a mistake, not as a forecast."""


class SimulatedCrash(BaseException):
    """The simulated end of the process. Not an Exception, so that no handler in between catches it."""


class MemoryLog:
    """A log in memory, which survives kills. Implements star.ports.Log."""

    def __init__(self) -> None:
        self.topics: dict[str, list[bytes]] = {}

    def append(self, topic: str, values: Sequence[bytes]) -> int:
        records = self.topics.setdefault(topic, [])
        records.extend(values)
        return len(records) - len(values)

    def read(self, topic: str, start: int, limit: int) -> list[tuple[int, bytes]]:
        records = self.topics.get(topic, [])
        return list(enumerate(records[start : start + limit], start))

    def end(self, topic: str) -> int:
        return len(self.topics.get(topic, []))


@dataclass(slots=True)
class MemoryBlocks:
    """State shards and the committed offset, which survive kills. Implements stream.partition.partition_processor.CheckpointStore."""

    blocks: dict[bytes, bytes] = field(default_factory=dict)
    offset: int = 0

    def load(self) -> dict[bytes, bytes]:
        return dict(self.blocks)

    def upsert(self, key: bytes, value: bytes) -> None:
        self.blocks[key] = value

    def committed(self) -> int:
        return self.offset

    def commit(self, offset: int) -> None:
        self.offset = offset


@dataclass(slots=True, kw_only=True)
class SimulationReport:
    """The outcome of a simulation. sent: reactions in the order sent, each once; violations: of invariants, a sentence each."""

    sent: list[Reaction]
    violations: list[str]
    kills: int


class DeterministicSimulation:
    """A seeded simulation. The same seed gives the same simulation, with or without kills.

    homes: simulated homes; kill_share: probability of a kill at each point between two effects; scorer: the run-out model.
    """

    def __init__(self, seed: int, *, homes: int = 3, kill_share: float = 0.0, scorer: Scorer) -> None:
        self.neighbourhood = Neighbourhood(seed, homes)
        self.catalogue: Catalogue = resolve_catalogue(self.neighbourhood.fleet, load_profiles())
        self.invariants = InvariantChecker(self.catalogue)
        self._scorer = scorer
        self._adapters = installed_adapters()
        self._names = MemoryMetricRegistry()
        self._log = MemoryLog()
        self._blocks = MemoryBlocks()
        self._store = MemoryStore()
        self._rng = np.random.default_rng([seed, 99])
        self._kill_share = kill_share
        self._sent: dict[str, Reaction] = {}
        self._kills = 0
        self._empty_since_ms: dict[str, int] = {}
        self._empty_last_ms: dict[str, int] = {}
        self._start()

    def run(self, days: float) -> SimulationReport:
        """Simulates the next `days`."""
        end_ms = self.neighbourhood.now_ms + round(days * DAY_MS)
        while self.neighbourhood.now_ms < end_ms:
            to_ms = self.neighbourhood.now_ms + TICK_MS
            events = self.neighbourhood.advance(to_ms)
            self._observe_events(events)
            self._run_hour(events, to_ms)
            self._check_neglected_items()
        return SimulationReport(
            sent=list(self._sent.values()), violations=self.invariants.violations, kills=self._kills
        )

    def input_records(self) -> list[bytes]:
        """The records of the input log, for comparison with a replay of them."""
        return list(self._log.topics.get("input", []))

    def _observe_events(self, events: Sequence[SimulatedEvent]) -> None:
        """Passes the outcomes and requests to the invariant checker."""
        for event in events:
            line = event.replay_line()
            if "outcome" in line:
                self.invariants.on_outcome(line["outcome"])
            elif "request" in line:
                self.invariants.on_request(line["request"]["item"])

    def _run_hour(self, events: Sequence[SimulatedEvent], to_ms: int) -> None:
        """Processes the events of an hour and the tick at its end, restarting after each kill until all is done."""
        appended = False
        for attempt in range(10_000):
            share = self._kill_share if attempt < CONSECUTIVE_KILLS_MAX else 0.0
            try:
                if not appended:
                    self._append(events, to_ms)
                    appended = True
                for _ in self._steps(to_ms):
                    if share and self._rng.random() < share:
                        raise SimulatedCrash
                return
            except SimulatedCrash:
                self._kills += 1
                self._start()
        raise AssertionError("an hour of the simulation did not end")

    def _check_neglected_items(self) -> None:
        """Checks that each item that has truly been empty for days has an open need, if its customer consented."""
        now_ms = self.neighbourhood.now_ms
        for item, slot in self.catalogue.slots.items():
            if self.neighbourhood.true_level(item) > 0.0:
                self._empty_since_ms.pop(item, None)
                continue
            self._empty_last_ms[item] = now_ms
            since_ms = self._empty_since_ms.setdefault(item, now_ms)
            consented = "replenishment" in self.catalogue.customers[slot.customer].consents
            if (
                consented
                and now_ms - since_ms == NEGLECTED_AFTER_MS
                and not self._store.needs(item=item, open_only=True)
            ):
                self.invariants.violations.append(
                    f"{item} has been empty for {NEGLECTED_AFTER_MS // DAY_MS} days, and has no open need"
                )

    def _check_order_timing(self, reaction: Reaction) -> None:
        """Checks that an unrequested order is for an item that truly runs out before long, and that has room for it."""
        item = f"{reaction.device}/{reaction.item}"
        slot = self.catalogue.slots.get(item)
        if (
            reaction.type is not ReactionType.ORDER_REQUESTED
            or slot is None
            or self.invariants.was_requested(item, reaction.need)
        ):
            return
        if reaction.at_ms - self._empty_last_ms.get(item, 0) < RESPONSE_TIME_MAX_MS:
            return  # it was empty when the order was offered; a purchase elsewhere since then was not declared
        level = self.neighbourhood.true_level(item)
        days = self.neighbourhood.true_days_to_empty(item, horizon_days=365.0)
        if days > PREMATURE_ORDER_DAYS and level > slot.capacity * 2 / 3:
            self.invariants.violations.append(f"{reaction.id} is ordered {days:.0f} days before the shelf is empty")
        if not slot.spare_packs and level + (reaction.quantity or 0.0) > slot.capacity + slot.pack:
            self.invariants.violations.append(
                f"{reaction.id} is ordered at {level:.0f} of {slot.capacity:.0f}: it does not fit"
            )

    def _append(self, events: Sequence[SimulatedEvent], to_ms: int) -> None:
        for event in events:
            self._decoder.ingest(event.topic, orjson.dumps(event.payload), event.at_ms)
        self._decoder.append(Tick(at_ms=to_ms))
        for topic, _, value in single_partition_entries(self._decoder.drain()):
            self._log.append(topic, [value or b""])

    def _start(self) -> None:
        """Starts the process from the log, the state shards and the store."""
        self._decoder = Decoder(self.catalogue, self._names, adapters=self._adapters)
        analysis = Analysis(self.catalogue, self._names, self._scorer)
        self._runner = SynchronousRunner(self._log, self._blocks, analysis, CHECKPOINT_POLICY)
        self._engine = Engine(self.catalogue, self._store.load())
        self._facts_next = 0
        self._reader = FactsDeduplicator()

    def _steps(self, now_ms: int) -> Iterator[None]:
        """Runs the process until it has nothing left to do. Yields at each point where a kill may happen."""
        yield
        for _ in self._runner.steps():
            yield
        for place, wire in self._log.read(FACTS, self._facts_next, 1_000_000):
            facts = self._reader.unpack_new(wire)
            if facts is not None and facts.offset > self._engine.state.offset:
                step = self._engine.step(facts)
                yield
                self._store.commit(step, self._engine.catalogue)
                yield
            self._facts_next = place + 1
        for row in self._store.due(now_ms, 1_000_000):
            self._deliver(row.reaction)
            yield
            self._store.mark_sent(row.id, now_ms)
            yield

    def _deliver(self, reaction: Reaction) -> None:
        """Delivers a reaction to people and suppliers; after a kill it may be delivered again, with the same id."""
        if reaction.id not in self._sent:
            self._check_order_timing(reaction)
            self._sent[reaction.id] = reaction
        line = reaction.replay_line()
        self.invariants.on_reaction(line)
        self.neighbourhood.handle_reaction(line)
