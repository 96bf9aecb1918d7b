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
from star.sense import Readings, rows_of
from stream.checkpoint import Policy, Schedule, block_key, named_blocks, stamped
from stream.topics import FACTS, INPUT

READ_RECORDS = 256
"""Records that LogShell reads at once."""
JOINED_READINGS = 2_048
"""Readings that are analysed together. What a gate writes within a few milliseconds is sorted into many partitions, so that
records are small, and most of what a small batch costs does not depend on its size."""

_GOLDEN = 0.618034
"""Multiples of it, without their whole parts, lie evenly between 0 and 1, however many there are."""


class Analyses(Protocol):
    """What a worker asks of stream.analysis.Analysis."""

    def take(self, offset: int, record: Record) -> Facts | None:
        """Handles the record; facts exactly at a Tick."""
        ...

    def watched(self) -> Mapping[str, Sequence[Any]]:
        """What the last tick has for those who watch: rows (facts of star.analyse) by topic."""
        ...

    def dirty_blocks(self) -> dict[str, bytes]:
        """Blocks changed since the last call, each with the offset that it includes."""
        ...

    def load_blocks(self, blocks: Mapping[str, bytes]) -> None:
        """Takes up the state of blocks written before."""
        ...

    @property
    def included(self) -> int:
        """The offset up to which all blocks that were loaded include every record; -1 where none were."""
        ...


@dataclass(frozen=True, slots=True)
class AppendFacts:
    """Append to the facts; in order, durable before anything that follows a Flush."""

    value: bytes


@dataclass(frozen=True, slots=True)
class AppendWatched:
    """Append to a topic of those who watch; nothing rests on it."""

    topic: str
    value: bytes


@dataclass(frozen=True, slots=True)
class PutBlock:
    """Set a key of the table of blocks."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Go on only when everything before is durable."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The input before `offset` need not be read again."""

    offset: int


Effect = AppendFacts | AppendWatched | PutBlock | Flush | Commit


class PartitionWorker:
    """Analyses one partition's input.

    blocks: those of the partition's earlier checkpoints. facts_end: facts of ticks before this input offset are written already.

    Readings of several records wait for each other, never beyond a tick or an event, and a checkpoint comes only at a tick: so no
    block includes a part of what was joined.
    """

    def __init__(
        self,
        analysis: Analyses,
        *,
        blocks: Mapping[str, bytes],
        facts_end: int,
        policy: Policy,
        partition: int = 0,
    ) -> None:
        self.analysis = analysis
        self._partition = partition
        if blocks:
            analysis.load_blocks(blocks)
        self._facts_end = facts_end
        # Partitions of one process take turns: each has its checkpoint at a time of its own.
        self._schedule = Schedule(policy, (partition * _GOLDEN) % 1.0)
        self._next: int | None = None
        self._waiting: list[memoryview] = []
        self._waiting_readings = 0

    def take(self, offset: int, wire: bytes) -> Iterator[Effect]:
        """The effects of the input record at `offset`, in the order to perform them; none where it was taken before.

        Every effect must be performed before the next record is taken. Raises LogDamaged where the record can't be read or
        records before it are missing.
        """
        if self._next is not None and offset < self._next:
            return  # a transport delivers again what it had fetched before it was set back to the committed offset
        expected = self.analysis.included + 1 if self._next is None else self._next
        if offset > expected and (self._next is not None or self.analysis.included >= 0):
            raise LogDamaged(
                f"partition {self._partition} of the input goes on at {offset}: expected record {expected}, or one before it"
            )
        self._next = offset + 1
        self._schedule.handled()
        if wire[:1] == b"R":
            self._join(offset, memoryview(wire)[1:])
            return
        self._analyse(offset - 1)
        facts = self.analysis.take(offset, decode(wire))
        if facts is None:
            return
        if offset >= self._facts_end:
            yield AppendFacts(facts.pack())
            for topic, rows in self.analysis.watched().items():
                if rows:
                    yield AppendWatched(topic, orjson.dumps(rows))
        if self._schedule.due(facts.at_ms):
            yield from self.checkpoint(offset)

    def _join(self, offset: int, packed: memoryview) -> None:
        self._waiting_readings += rows_of(packed)
        self._waiting.append(packed)
        if self._waiting_readings >= JOINED_READINGS:
            self._analyse(offset)

    def _analyse(self, offset: int) -> None:
        """Those that wait, the last of them at `offset`."""
        if self._waiting:
            self.analysis.take(offset, Readings.unpack_all(self._waiting))
            self._waiting.clear()
            self._waiting_readings = 0

    def checkpoint(self, offset: int) -> Iterator[Effect]:
        """The effects of a checkpoint right after the tick at `offset`."""
        yield Flush()
        for name, block in sorted(self.analysis.dirty_blocks().items()):
            yield PutBlock(block_key(name, self._partition), stamped(block, offset))
        yield Flush()
        yield Commit(offset + 1)


class FactsReader:
    """Reads the facts in order, each input offset once: the first that was written for it."""

    def __init__(self) -> None:
        self._seen = -1

    def take(self, wire: bytes) -> Facts | None:
        """The facts, or None where those of this offset were read already."""
        facts = Facts.unpack(wire)
        if facts.offset <= self._seen:
            return None
        self._seen = facts.offset
        return facts


def facts_end_of(log: Log) -> int:
    """One more than the input offset of the last facts in the log; 0 where there are none."""
    end = log.end(FACTS)
    last = log.read(FACTS, end - 1, 1) if end else []
    return facts_end_after(last[0][1] if last else None)


def facts_end_after(last: bytes | None) -> int:
    """One more than the input offset of the last record of facts; 0 where there is none."""
    return 0 if last is None else Facts.unpack(last).offset + 1


class BlockStore(Protocol):
    """Where LogShell keeps blocks and the committed offset: the rest of what a shell needs beside the log."""

    def load(self) -> dict[bytes, bytes]:
        """Every block by key."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Keeps a block."""
        ...

    def committed(self) -> int:
        """The offset from which to read the input."""
        ...

    def commit(self, offset: int) -> None:
        """Keeps the offset."""
        ...


class LogShell:
    """Drives a worker over a log in the caller's thread, one effect at a time: abandon it anywhere and make another one
    on the same log and store, and nothing is lost or counted twice."""

    def __init__(self, log: Log, store: BlockStore, analysis: Analyses, policy: Policy) -> None:
        self._log = log
        self._store = store
        self._next = store.committed()
        blocks = named_blocks(store.load().items())
        self.worker = PartitionWorker(analysis, blocks=blocks, facts_end=facts_end_of(log), policy=policy)

    def steps(self) -> Iterator[Effect]:
        """Handles everything that the input holds now; yields each effect when it has been performed."""
        while self._next < self._log.end(INPUT):
            for offset, wire in self._log.read(INPUT, self._next, READ_RECORDS):
                for effect in self.worker.take(offset, wire):
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
        elif isinstance(effect, AppendWatched):
            self._log.append(effect.topic, [effect.value])
        elif isinstance(effect, PutBlock):
            self._store.put(effect.key, effect.value)
        elif isinstance(effect, Commit):
            self._store.commit(effect.offset)
