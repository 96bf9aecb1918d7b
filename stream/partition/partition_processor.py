"""The processor of a partition: the effects of each input record, without performing them.

Synchronous and without I/O: `process` returns effects in the order in which they have to happen, and its caller performs them:
the Faust agent of stream/app.py in the service, SynchronousRunner in tests and simulations.

Nothing is lost or counted twice, as facts are durable before the shards that include their tick, and shards before the offset
is committed. After a crash shards may be ahead of the committed offset, and records come again: devices skip those that their
shard includes, and facts that are in the log are not written again. The first facts of an offset are the right ones, as later
ones may be computed from shards that are ahead.
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
"""Records that SynchronousRunner reads at once."""
BATCHED_READINGS = 2_048
"""Readings that are analysed together, at most about so many. The gateway divides what arrives within a few ms among many
partitions, so records are small, and most of the cost of a small batch does not depend on its size."""

_GOLDEN_RATIO = 0.618034
"""The fractional parts of its multiples are spread evenly over 0 to 1, however many there are."""


class PartitionAnalysis(Protocol):
    """What a processor needs of stream.analysis.Analysis."""

    def ingest(self, offset: int, record: Record) -> Facts | None:
        """Takes the record; facts exactly at a Tick."""
        ...

    def telemetry(self) -> Mapping[str, Sequence[Any]]:
        """What the last tick has for observers: rows by topic."""
        ...

    def dirty_shards(self) -> dict[str, bytes]:
        """Shards changed since the last call, by key; each holds the offset that it includes."""
        ...

    def load_shards(self, shards: Mapping[str, bytes]) -> None:
        """Starts from shards that were written before."""
        ...

    @property
    def included_offset(self) -> int:
        """The offset up to which the loaded shards include every record; -1 where none were loaded."""
        ...


@dataclass(frozen=True, slots=True)
class AppendFacts:
    """Append to the facts, in order; durable before anything that follows a Flush."""

    value: bytes


@dataclass(frozen=True, slots=True)
class AppendTelemetry:
    """Append to a topic for observers; it may be lost."""

    topic: str
    value: bytes


@dataclass(frozen=True, slots=True)
class UpsertShard:
    """Set a key of the table of shards."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Wait until everything before is durable."""


@dataclass(frozen=True, slots=True)
class CommitOffset:
    """Commit: the input before `offset` need not be read again."""

    offset: int


Effect = AppendFacts | AppendTelemetry | UpsertShard | Flush | CommitOffset


class PartitionProcessor:
    """Analyses the input of one partition.

    shards: of the partition's checkpoint. facts_end: the facts of ticks before this input offset are in the log already.

    Readings of consecutive records are analysed together, up to the next tick or event. A checkpoint comes only at a tick, so no
    shard includes a part of such a batch.
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
        # The checkpoints of the partitions of one process are spread over the interval.
        self._schedule = CheckpointSchedule(policy, (partition * _GOLDEN_RATIO) % 1.0)
        self._next: int | None = None
        self._batched: list[memoryview] = []
        self._batched_readings = 0

    def process(self, offset: int, wire: bytes) -> Iterator[Effect]:
        """The effects of the input record at `offset`, in the order to perform them; none where it was processed before.

        Every effect has to be performed before the next record is processed. Raises LogDamaged where the record can't be
        decoded or records before it are missing.
        """
        if self._next is not None and offset < self._next:
            return  # a transport delivers twice what it had fetched before it was reset to the committed offset
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
        """Analyses the collected readings, the last of them at `offset`."""
        if self._batched:
            self.analysis.ingest(offset, Readings.unpack_all(self._batched))
            self._batched.clear()
            self._batched_readings = 0

    def checkpoint(self, offset: int) -> Iterator[Effect]:
        """The effects of a checkpoint right after the tick at `offset`."""
        yield Flush()
        for name, shard in sorted(self.analysis.dirty_shards().items()):
            yield UpsertShard(shard_key(name, self._partition), with_offset(shard, offset))
        yield Flush()
        yield CommitOffset(offset + 1)


class FactsDeduplicator:
    """Reads facts in order and gives those of each input offset once: the first that were written."""

    def __init__(self) -> None:
        self._last_offset = -1

    def unpack_new(self, wire: bytes) -> Facts | None:
        """The facts, or None where those of this offset were read before."""
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
    """Where SynchronousRunner keeps shards and the committed offset."""

    def load(self) -> dict[bytes, bytes]:
        """Every shard by key."""
        ...

    def upsert(self, key: bytes, value: bytes) -> None:
        """Stores a shard."""
        ...

    def committed(self) -> int:
        """The offset to read the input from."""
        ...

    def commit(self, offset: int) -> None:
        """Stores the offset."""
        ...


class SynchronousRunner:
    """Runs a processor over a log in the caller's thread, one effect at a time.

    It can be abandoned after any effect: another one on the same log and store goes on without loss or repetition.
    """

    def __init__(self, log: Log, store: CheckpointStore, analysis: PartitionAnalysis, policy: CheckpointPolicy) -> None:
        self._log = log
        self._store = store
        self._next = store.committed()
        shards = shards_of_partition(store.load().items())
        self.processor = PartitionProcessor(analysis, shards=shards, facts_end=facts_end_in_log(log), policy=policy)

    def steps(self) -> Iterator[Effect]:
        """Processes everything that the input holds now; yields each effect after performing it."""
        while self._next < self._log.end(INPUT):
            for offset, wire in self._log.read(INPUT, self._next, READ_RECORDS):
                for effect in self.processor.process(offset, wire):
                    self._perform(effect)
                    yield effect
                self._next = offset + 1

    def run(self) -> None:
        """Processes everything that the input holds now."""
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
