"""Engines of partitions over one store, as the service runs them: each at its own pace, and killed now and then."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from config.catalogue import Catalogue
from reactor.engine import Engine
from reactor.learning_sync import EFFECT_DELAY_DAYS, UNMERGED_DAYS
from reactor.store import MemoryStore, SqlStore
from reactor.store.rows import to_json
from reactor.unit_of_work import StepResult
from star.analyse import Facts
from star.records import Event, FleetChange, SupplierTerms
from star.repeat import Outcome
from stream.partition.partition_hash import partition_of

KILL_SHARE = 0.03
STEPS_AT_ONCE_MAX = 12

Journal = dict[str, list[str]]
"""customer -> all reactions and receipts, in order, as the store writes them."""


def customer_of(catalogue: Catalogue, item: str) -> str:
    """Whose device an item, or a reaction that begins with one, is of."""
    return catalogue.devices[item.split("/", 1)[0]].customer


def split_facts(catalogue: Catalogue, history: Sequence[Facts], partitions: int) -> list[list[Facts]]:
    """The facts of each partition: every tick, and of it what concerns the partition's customers."""
    return [
        [_facts_of_partition(catalogue, facts, {one for one in catalogue.customers if partition_of(one, partitions) == number})
         for facts in history]
        for number in range(partitions)
    ]  # fmt: skip


def _facts_of_partition(catalogue: Catalogue, facts: Facts, customers: set[str]) -> Facts:
    return replace(
        facts,
        events=tuple(event for event in facts.events if _concerns(catalogue, event, customers)),
        refills=tuple(refill for refill in facts.refills if customer_of(catalogue, refill.item) in customers),
        needs=tuple(need for need in facts.needs if customer_of(catalogue, need.item) in customers),
    )


def _concerns(catalogue: Catalogue, event: Event, customers: set[str]) -> bool:
    """Suppliers and the fleet concern every partition; what is said of an item, its customer's."""
    if isinstance(event, SupplierTerms | FleetChange):
        return True
    about = event.reaction or event.item if isinstance(event, Outcome) else event.item
    return customer_of(catalogue, str(about)) in customers


def record_step(catalogue: Catalogue, journal: Journal, step: StepResult) -> None:
    """Notes what a step did, by customer."""
    for reaction in step.reactions:
        journal[reaction.customer].append(to_json(reaction))
    for decision in step.decisions:
        journal[customer_of(catalogue, decision.need)].append(to_json(decision))


def single_engine_journal(catalogue: Catalogue, history: Sequence[Facts]) -> Journal:
    """What one engine over all customers does."""
    journal: Journal = defaultdict(list)
    engine = Engine(catalogue)
    for facts in history:
        record_step(catalogue, journal, engine.step(facts))
    return journal


class EngineCluster:
    """An engine for each of the histories. exchange: they learn from each other; else each decides by its own lessons."""

    def __init__(
        self,
        catalogue: Catalogue,
        histories: Sequence[Sequence[Facts]],
        seed: int,
        *,
        exchange: bool = True,
        store: MemoryStore | SqlStore | None = None,
    ) -> None:
        self.store = MemoryStore() if store is None else store
        self.journal: Journal = defaultdict(list)
        self.waits = self.kills = 0
        self._catalogue = catalogue
        self._histories = histories
        self._exchange = exchange
        self.engines = [self._start(number) for number in range(len(histories))]
        self._next = [0] * len(histories)
        self._rng = np.random.default_rng([seed, len(histories)])

    def run(self) -> None:
        """Until all is consumed."""
        while unfinished := [n for n, history in enumerate(self._histories) if self._next[n] < len(history)]:
            number = unfinished[int(self._rng.integers(len(unfinished)))]
            for _ in range(int(self._rng.integers(1, STEPS_AT_ONCE_MAX))):
                if not self._advance(number):
                    break

    def _start(self, number: int) -> Engine:
        return Engine(self._catalogue, self.store.load(number), standalone=not self._exchange)

    def _advance(self, number: int) -> bool:
        """One step of a partition; False where there is nothing to do, or the others are to be waited for."""
        if self._next[number] == len(self._histories[number]):
            return False
        facts = self._histories[number][self._next[number]]
        engine = self.engines[number]
        due = engine.samples_due(facts.at_ms)
        if due is not None:
            self.store.commit(engine.record_watermark(due), engine.catalogue, number)
            others = self.store.lead_time_samples(
                due - EFFECT_DELAY_DAYS, except_partition=number, partitions=len(self._histories)
            )
            if others is None:
                self.waits += 1
                return False
            engine.provide_samples(due, [others[place] for place in self._rng.permutation(len(others))])
        step = engine.step(facts)
        if self._maybe_kill(number):
            return True
        record_step(self._catalogue, self.journal, step)
        self.store.commit(step, engine.catalogue, number)
        self._next[number] += 1
        suppliers = [lesson.supplier for lesson in engine.state.lead_time_samples.values()]
        assert all(suppliers.count(name) <= UNMERGED_DAYS + 1 for name in suppliers)
        self._maybe_kill(number)
        return True

    def _maybe_kill(self, number: int) -> bool:
        """Now and then: what was not committed is gone, and is done again."""
        if self._rng.random() >= KILL_SHARE:
            return False
        self.kills += 1
        self.engines[number] = self._start(number)
        history = self._histories[number]
        self._next[number] = bisect_right(history, self.engines[number].state.offset, key=lambda facts: facts.offset)
        return True
