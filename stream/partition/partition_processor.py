"""The worker of a partition: what handling each record of the input and of the facts leads to, without doing it.

Synchronous and without I/O: `take` returns effects in the order in which they must happen, and a shell performs them -
the Faust agents of app.py in the service, `LogShell` where one thread drives everything (tests, the simulated world).

Why nothing is lost or counted twice: facts are durable before the blocks that include their tick, blocks before the
offset is committed. After a kill the blocks may be ahead of the committed offset, so records come again; a block skips
those that it includes, and facts that were written already are not written again - the first ones written for an
offset are the true ones, since later ones may come from blocks that are ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from star.analyse import Facts
from star.errors import LogDamaged
from star.ports import Log
from star.records import Record, decode
from star.sense import Readings, packed_row_count
from stream.state.checkpoint import CheckpointPolicy, CheckpointSchedule, shard_key, shards_of_partition, with_offset
from stream.topics import FACTS, INPUT

READ_RECORDS = 256
"""Records that LogShell reads at once."""
BATCHED_READINGS = 2_048
"""Readings that are analysed together. What a gate writes within a few milliseconds is sorted into many partitions, so that
records are small, and most of what a small batch costs does not depend on its size."""

_GOLDEN_RATIO = 0.618034
"""Multiples of it, without their whole parts, lie evenly between 0 and 1, however many there are."""


class PartitionAnalysis(Protocol):
    """What a worker asks of stream.analysis.Analysis."""

    def ingest(self, offset: int, record: Record) -> Facts | None:
        """Handles the record; facts exactly at a Tick."""
        ...

    def telemetry(self) -> Mapping[str, Sequence[Any]]:
        """What the last tick has for those who watch: rows (facts of star.analyse) by topic."""
        ...

    def dirty_shards(self) -> dict[str, bytes]:
        """Blocks changed since the last call, each with the offset that it includes."""
        ...

    def load_shards(self, shards: Mapping[str, bytes]) -> None:
        """Takes up the state of blocks written before."""
        ...

    @property
    def included_offset(self) -> int:
        """The offset up to which all blocks that were loaded include every record; -1 where none were."""
        ...


@dataclass(frozen=True, slots=True)
class AppendFacts:
    """Append to the facts; in order, durable before anything that follows a Flush."""

    value: bytes


@dataclass(frozen=True, slots=True)
class AppendTelemetry:
    """Append to a topic of those who watch; nothing rests on it."""

    topic: str
    value: bytes


@dataclass(frozen=True, slots=True)
class UpsertShard:
    """Set a key of the table of blocks."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Go on only when everything before is durable."""


@dataclass(frozen=True, slots=True)
class CommitOffset:
    """The input before `offset` need not be read again."""

    offset: int


Effect = AppendFacts | AppendTelemetry | UpsertShard | Flush | CommitOffset


class PartitionProcessor:
    """Analyses one partition's input.

    blocks: those of the partition's earlier checkpoints. facts_end: facts of ticks before this input offset are written already.

    Readings of several records wait for each other, never beyond a tick or an event, and a checkpoint comes only at a tick: so no
    block includes a part of what was joined.
    """

    def __init__(
        self,
        analysis: PartitionAnalysis,
        *,
        shards: Mapping[str, bytes],
        facts_end: int,
        policy: CheckpointPolicy,
        partition: int = 0,
    ) -> None:
        self.analysis = analysis
        self._partition = partition
        if shards:
            analysis.load_shards(shards)
        self._facts_end = facts_end
        # Partitions of one process take turns: each has its checkpoint at a time of its own.
        self._schedule = CheckpointSchedule(policy, (partition * _GOLDEN_RATIO) % 1.0)
        self._next: int | None = None
        self._batched: list[memoryview] = []
        self._batched_readings = 0

    def process(self, offset: int, wire: bytes) -> Iterator[Effect]:
        """The effects of the input record at `offset`, in the order to perform them; none where it was taken before.

        Every effect must be performed before the next record is taken. Raises LogDamaged where the record can't be read or
        records before it are missing.
        """
        if self._next is not None and offset < self._next:
            return  # a transport delivers again what it had fetched before it was set back to the committed offset
        expected = self.analysis.included_offset + 1 if self._next is None else self._next
        if offset > expected and (self._next is not None or self.analysis.included_offset >= 0):
            raise LogDamaged(
                f"partition {self._partition} of the input goes on at {offset}: expected record {expected}, or one before it"
            )
        self._next = offset + 1
        self._schedule.count_record()
        if wire[:1] == b"R":
            self._batch(offset, memoryview(wire)[1:])
            return
        self._flush_batch(offset - 1)
        facts = self.analysis.ingest(offset, decode(wire))
        if facts is None:
            return
        if offset >= self._facts_end:
            yield AppendFacts(facts.pack())
            for topic, rows in self.analysis.telemetry().items():
                if rows:
                    yield AppendTelemetry(topic, orjson.dumps(rows))
        if self._schedule.due(facts.at_ms):
            yield from self.checkpoint(offset)

    def _batch(self, offset: int, packed: memoryview) -> None:
        self._batched_readings += packed_row_count(packed)
        self._batched.append(packed)
        if self._batched_readings >= BATCHED_READINGS:
            self._flush_batch(offset)

    def _flush_batch(self, offset: int) -> None:
        """Those that wait, the last of them at `offset`."""
        if self._batched:
            self.analysis.ingest(offset, Readings.unpack_all(self._batched))
            self._batched.clear()
            self._batched_readings = 0

    def checkpoint(self, offset: int) -> Iterator[Effect]:
        """The effects of a checkpoint right after the tick at `offset`."""
        yield Flush()
        for name, block in sorted(self.analysis.dirty_shards().items()):
            yield UpsertShard(shard_key(name, self._partition), with_offset(block, offset))
        yield Flush()
        yield CommitOffset(offset + 1)


class FactsDeduplicator:
    """Reads the facts in order, each input offset once: the first that was written for it."""

    def __init__(self) -> None:
        self._last_offset = -1

    def unpack_new(self, wire: bytes) -> Facts | None:
        """The facts, or None where those of this offset were read already."""
        facts = Facts.unpack(wire)
        if facts.offset <= self._last_offset:
            return None
        self._last_offset = facts.offset
        return facts


def facts_end_in_log(log: Log) -> int:
    """One more than the input offset of the last facts in the log; 0 where there are none."""
    end = log.end(FACTS)
    last = log.read(FACTS, end - 1, 1) if end else []
    return facts_end_after(last[0][1] if last else None)


def facts_end_after(last: bytes | None) -> int:
    """One more than the input offset of the last record of facts; 0 where there is none."""
    return 0 if last is None else Facts.unpack(last).offset + 1


class CheckpointStore(Protocol):
    """Where LogShell keeps blocks and the committed offset: the rest of what a shell needs beside the log."""

    def load(self) -> dict[bytes, bytes]:
        """Every block by key."""
        ...

    def upsert(self, key: bytes, value: bytes) -> None:
        """Keeps a block."""
        ...

    def committed(self) -> int:
        """The offset from which to read the input."""
        ...

    def commit(self, offset: int) -> None:
        """Keeps the offset."""
        ...


class SynchronousRunner:
    """Drives a worker over a log in the caller's thread, one effect at a time: abandon it anywhere and make another one
    on the same log and store, and nothing is lost or counted twice."""

    def __init__(self, log: Log, store: CheckpointStore, analysis: PartitionAnalysis, policy: CheckpointPolicy) -> None:
        self._log = log
        self._store = store
        self._next = store.committed()
        blocks = shards_of_partition(store.load().items())
        self.processor = PartitionProcessor(analysis, shards=blocks, facts_end=facts_end_in_log(log), policy=policy)

    def steps(self) -> Iterator[Effect]:
        """Handles everything that the input holds now; yields each effect when it has been performed."""
        while self._next < self._log.end(INPUT):
            for offset, wire in self._log.read(INPUT, self._next, READ_RECORDS):
                for effect in self.processor.process(offset, wire):
                    self._perform(effect)
                    yield effect
                self._next = offset + 1

    def run(self) -> None:
        """Handles everything that the input holds now."""
        for _ in self.steps():
            pass

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, AppendFacts):
            self._log.append(FACTS, [effect.value])
        elif isinstance(effect, AppendTelemetry):
            self._log.append(effect.topic, [effect.value])
        elif isinstance(effect, UpsertShard):
            self._store.upsert(effect.key, effect.value)
        elif isinstance(effect, CommitOffset):
            self._store.commit(effect.offset)
