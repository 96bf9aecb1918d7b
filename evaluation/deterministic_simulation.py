"""The whole loop in one thread, from one seed, with a clock that jumps and kills at any step.

A neighbourhood lives (simulators.neighbourhood.simulation), its messages pass through the real intake, log, analysis,
engine, store and outbox,
and what goes out comes back to it. What is not here: sockets, threads and disks - those are tested with real processes in
tests/system/. A kill throws away everything but the log, the blocks and the store, between any two effects.
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
"""After so many kills without progress the next try is left in peace, or a step would never end."""


NEGLECTED_AFTER_MS = 4 * DAY_MS
"""A shelf that is empty for so long without a living need was forgotten. Devices of the worlds are offline for less."""
RESPONSE_TIME_MAX_MS = 7 * DAY_MS
"""An order may follow an empty shelf so late: people take days to answer."""
PREMATURE_ORDER_DAYS = 60.0
"""An unasked order for a shelf two thirds full, this long before it is empty, is no forecast but a mistake."""


class Killed(BaseException):
    """The process is gone. Not an Exception, so that no handler in between can catch it."""


class MemoryLog:
    """A log in memory; what was appended survives kills. Implements star.ports.Log."""

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
    """State blocks and the committed offset; they survive kills. Implements stream.partition.partition_processor.BlockStore."""

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
    """What a world saw. sent: reactions as they went out, in order, each once; broken: promises found broken."""

    sent: list[Reaction]
    violations: list[str]
    kills: int


class DeterministicSimulation:
    """One seeded world. `run(days)` lives it; the same seed gives the same world, with or without kills.

    kill_share: the chance of a kill at each of the points between two effects.
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
        """Lives `days` from where it is."""
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
        """The input log, for comparing with a replay of it."""
        return list(self._log.topics.get("input", []))

    def _observe_events(self, events: Sequence[SimulatedEvent]) -> None:
        """The judge sees what people and suppliers say."""
        for event in events:
            line = event.replay_line()
            if "outcome" in line:
                self.invariants.on_outcome(line["outcome"])
            elif "request" in line:
                self.invariants.on_request(line["request"]["item"])

    def _run_hour(self, events: Sequence[SimulatedEvent], to_ms: int) -> None:
        """What came in within the hour, and the tick at its end: tried again after each kill until it is all done."""
        waiting = list(events)
        appended = False
        for attempt in range(10_000):
            share = self._kill_share if attempt < CONSECUTIVE_KILLS_MAX else 0.0
            try:
                if not appended:
                    self._append(waiting, to_ms)
                    appended = True
                for _ in self._steps(to_ms):
                    if share and self._rng.random() < share:
                        raise Killed
                return
            except Killed:
                self._kills += 1
                self._start()
        raise AssertionError("an hour of the world never ended")

    def _check_neglected_items(self) -> None:
        """A shelf that has truly been empty for days has a need that somebody was told of, or whose order is under way."""
        now_ms = self.neighbourhood.now_ms
        for item, slot in self.catalogue.slots.items():
            if self.neighbourhood.true_level(item) > 0.0:
                self._empty_since_ms.pop(item, None)
                continue
            self._empty_last_ms[item] = now_ms
            since_ms = self._empty_since_ms.setdefault(item, now_ms)
            wants = "replenishment" in self.catalogue.customers[slot.customer].consents
            if wants and now_ms - since_ms == NEGLECTED_AFTER_MS and not self._store.needs(item=item, open_only=True):
                self.invariants.violations.append(
                    f"{item} has been empty for {NEGLECTED_AFTER_MS // DAY_MS} days, and has no living need"
                )

    def _check_order_timing(self, reaction: Reaction) -> None:
        """An order that nobody asked for goes out only for a shelf that is truly on its way to empty, and has room for it."""
        item = f"{reaction.device}/{reaction.item}"
        slot = self.catalogue.slots.get(item)
        if (
            reaction.type is not ReactionType.ORDER_REQUESTED
            or slot is None
            or self.invariants.was_requested(item, reaction.need)
        ):
            return
        if reaction.at_ms - self._empty_last_ms.get(item, 0) < RESPONSE_TIME_MAX_MS:
            return  # it was empty when it was offered; that somebody bought elsewhere meanwhile was not told
        level = self.neighbourhood.true_level(item)
        days = self.neighbourhood.true_days_to_empty(item, horizon_days=365.0)
        if days > PREMATURE_ORDER_DAYS and level > slot.capacity * 2 / 3:
            self.invariants.violations.append(f"{reaction.id} is ordered {days:.0f} days before the shelf is empty")
        if not slot.spare_packs and level + (reaction.quantity or 0.0) > slot.capacity + slot.pack:
            self.invariants.violations.append(
                f"{reaction.id} is ordered at {level:.0f} of {slot.capacity:.0f}: it can't fit"
            )

    def _append(self, events: Sequence[SimulatedEvent], to_ms: int) -> None:
        for event in events:
            self._decoder.ingest(event.topic, orjson.dumps(event.payload), event.at_ms)
        self._decoder.append(Tick(at_ms=to_ms))
        for topic, _, value in single_partition_entries(self._decoder.drain()):
            self._log.append(topic, [value or b""])

    def _start(self) -> None:
        """A process starts on what the disk holds."""
        self._decoder = Decoder(self.catalogue, self._names, adapters=self._adapters)
        analysis = Analysis(self.catalogue, self._names, self._scorer)
        self._shell = SynchronousRunner(self._log, self._blocks, analysis, CHECKPOINT_POLICY)
        self._engine = Engine(self.catalogue, self._store.load())
        self._facts_next = 0
        self._reader = FactsDeduplicator()

    def _steps(self, now_ms: int) -> Iterator[None]:
        """Everything that the process does until it has nothing more to do; yields where a kill may fall."""
        yield
        for _ in self._shell.steps():
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
        """A reaction reaches people and suppliers; a second time after a kill, with the same id."""
        if reaction.id not in self._sent:
            self._check_order_timing(reaction)
            self._sent[reaction.id] = reaction
        line = reaction.replay_line()
        self.invariants.on_reaction(line)
        self.neighbourhood.handle_reaction(line)
