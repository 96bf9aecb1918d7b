"""The worker driven by one thread and abandoned after any effect: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star.errors import LogDamaged
from star.records import Request, Tick, decode, encode
from star.sense import Readings
from stream.partition.partition_processor import (
    AppendFacts,
    CommitOffset,
    FactsDeduplicator,
    Flush,
    PartitionProcessor,
    SynchronousRunner,
    UpsertShard,
)
from stream.state.checkpoint import CheckpointPolicy
from stream.topics import FACTS, INPUT
from tests.stream.counting_analysis import CountingAnalysis


class InMemoryLog:
    """A log that lasts as long as the test."""

    def __init__(self) -> None:
        self.topics: dict[str, list[bytes]] = {}

    def append(self, topic: str, values: list[bytes]) -> int:
        rows = self.topics.setdefault(topic, [])
        rows.extend(values)
        return len(rows) - len(values)

    def read(self, topic: str, start: int, limit: int) -> list[tuple[int, bytes]]:
        return list(enumerate(self.topics.get(topic, [])[start : start + limit], start))

    def end(self, topic: str) -> int:
        return len(self.topics.get(topic, []))


class InMemoryCheckpointStore:
    """Blocks and the committed offset, likewise."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self.offset = 0

    def load(self) -> dict[bytes, bytes]:
        return dict(self.blocks)

    def upsert(self, key: bytes, value: bytes) -> None:
        self.blocks[key] = value

    def committed(self) -> int:
        return self.offset

    def commit(self, offset: int) -> None:
        self.offset = offset


def log_with_records(seed: int, records: int) -> InMemoryLog:
    rng = random.Random(seed)
    log = InMemoryLog()
    at_ms = 0
    for nth in range(records):
        at_ms += rng.randrange(500)
        kind = rng.random()
        if kind < 0.5:
            rows = [(rng.randrange(20), at_ms, at_ms, rng.random(), -1, -1) for _ in range(rng.randrange(1, 9))]
            log.append(INPUT, [encode(Readings.from_rows(rows))])
        elif kind < 0.6:
            log.append(INPUT, [encode(Request(at_ms=at_ms, id=f"q{nth}", item="d/1"))])
        else:
            log.append(INPUT, [encode(Tick(at_ms=at_ms))])
    log.append(INPUT, [encode(Tick(at_ms=at_ms))])  # readings behind the last tick wait for the next one
    return log


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kills=st.lists(st.integers(0, 60), max_size=12))
def test_a_worker_killed_at_any_step_ends_where_an_undisturbed_one_does(seed: int, kills: list[int]) -> None:
    """Facts byte for byte and each tick's once, state exact, wherever the kills fall."""
    log, store = log_with_records(seed, 120), InMemoryCheckpointStore()
    policy = CheckpointPolicy(every_s=2.0, records=25)
    for steps in kills:
        shell = SynchronousRunner(log, store, CountingAnalysis(), policy)
        for _, _ in zip(range(steps), shell.steps(), strict=False):
            pass
    last = SynchronousRunner(log, store, CountingAnalysis(), policy)
    last.run()
    expected = CountingAnalysis()
    facts = [found for offset, wire in log.read(INPUT, 0, 1_000) if (found := expected.ingest(offset, decode(wire)))]
    assert log.topics.get(FACTS, []) == [one.pack() for one in facts]
    assert isinstance(last.processor.analysis, CountingAnalysis)
    assert last.processor.analysis.totals() == expected.totals()
    assert last.processor.analysis.events == expected.events


def test_facts_are_durable_before_blocks_and_blocks_before_the_offset() -> None:
    """The order of effects that all of it rests on."""
    log = log_with_records(3, 200)
    effects = list(
        SynchronousRunner(
            log, InMemoryCheckpointStore(), CountingAnalysis(), CheckpointPolicy(every_s=1.0, records=10)
        ).steps()
    )
    kinds = [type(effect) for effect in effects]
    assert kinds.count(CommitOffset) > 3
    for place, kind in enumerate(kinds):
        if kind is CommitOffset:
            assert kinds[place - 1] is Flush
        if kind is UpsertShard:
            assert kinds[place - 1] in (UpsertShard, Flush)
        if kind is AppendFacts and place:
            assert kinds[place - 1] in (AppendFacts, CommitOffset)


@pytest.mark.parametrize(
    ("every_s", "records", "expected"), [(10.0, 10**9, [101, 201]), (1e9, 50, [50, 100, 150, 200])]
)
def test_checkpoints_come_by_time_or_by_records_and_only_at_ticks(
    every_s: float, records: int, expected: list[int]
) -> None:
    """A tick every 100 ms: every 10 s is every hundredth; every 50 records is every fiftieth."""
    log, store = InMemoryLog(), InMemoryCheckpointStore()
    log.append(INPUT, [encode(Tick(at_ms=nth * 100)) for nth in range(220)])
    shell = SynchronousRunner(log, store, CountingAnalysis(), CheckpointPolicy(every_s=every_s, records=records))
    commits = [effect.offset for effect in shell.steps() if isinstance(effect, CommitOffset)]
    assert commits == expected


def test_the_reactor_reads_each_tick_once() -> None:
    """Facts written twice for an offset count once, the first of them."""
    log = log_with_records(5, 60)
    SynchronousRunner(log, InMemoryCheckpointStore(), CountingAnalysis(), CheckpointPolicy()).run()
    wires = log.topics[FACTS]
    reader = FactsDeduplicator()
    got = [facts for wire in [*wires[:5], *wires[2:]] if (facts := reader.unpack_new(wire))]
    assert [facts.pack() for facts in got] == wires


def test_a_record_delivered_again_counts_once_and_a_missing_one_is_not_passed_over() -> None:
    """A transport may deliver twice; it must never skip."""
    worker = PartitionProcessor(CountingAnalysis(), shards={}, facts_end=0, policy=CheckpointPolicy())
    wire = encode(Readings.from_rows([(1, 5, 5, 2.0, -1, -1)]))
    for offset in (7, 8, 7, 8, 9):
        assert list(worker.process(offset, wire)) == []
    assert len(list(worker.process(10, encode(Tick(at_ms=6))))) == 1
    assert isinstance(worker.analysis, CountingAnalysis)
    assert worker.analysis.totals()[1][0] == 3
    with pytest.raises(LogDamaged, match="goes on at 12: expected record 11"):
        list(worker.process(12, wire))


def test_a_worker_that_begins_behind_what_its_checkpoint_includes_says_so() -> None:
    """The records in between would be lost without a word; what comes again is what it should get."""

    class Included(CountingAnalysis):
        included_offset = 9

    wire = encode(Readings.from_rows([(1, 5, 5, 2.0, -1, -1)]))
    for start in (3, 10):
        worker = PartitionProcessor(Included(), shards={}, facts_end=0, policy=CheckpointPolicy(), partition=2)
        assert list(worker.process(start, wire)) == []
    worker = PartitionProcessor(Included(), shards={}, facts_end=0, policy=CheckpointPolicy(), partition=2)
    with pytest.raises(LogDamaged, match="partition 2 of the input goes on at 11: expected record 10"):
        list(worker.process(11, wire))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), joined=st.integers(1, 40))
def test_readings_of_several_records_are_analysed_together_and_nothing_changes(seed: int, joined: int) -> None:
    """Whatever is joined: the facts are those of record by record, and never is a batch taken over a tick or an event."""
    log, expected = log_with_records(seed, 120), CountingAnalysis()
    facts = [found for offset, wire in log.read(INPUT, 0, 1_000) if (found := expected.ingest(offset, decode(wire)))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream.partition.partition_processor.BATCHED_READINGS", joined)
        SynchronousRunner(log, InMemoryCheckpointStore(), CountingAnalysis(), CheckpointPolicy()).run()
    assert log.topics.get(FACTS, []) == [one.pack() for one in facts]
