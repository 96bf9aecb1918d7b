"""Which partitions this instance consumes, and the fence around each: of two who think so, one is refused.

Every write of a consumed offset names the offset that is expected in the database: the one that this instance read (`hold`) or
wrote last. `UPDATE … WHERE input_offset = expected` is look and write in one statement, first in the step's transaction. It takes
the partition's row, so that a second writer waits for the first one's end and then finds another offset: nothing of the second is
written. This holds by itself in READ COMMITTED on PostgreSQL and under SQLite's one write lock. No clock and no lease takes part:
who was taken for dead and goes on is refused at its next step.

A commit may break off so that nobody knows whether it was kept (the server goes away while it answers). The row names its
writer, so that a second try of the same step finds its own work done, and is not refused by itself.

Offsets of steps in which nothing happened wait here, and are written together.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, select, update

from reactor.store import schema
from reactor.store.base import Work
from reactor.store.database import insert_new
from star.errors import StoreError, StoreFenced


@dataclass(slots=True)
class _Held:
    """A partition that is consumed here. expected: the offset in the database, None: no row. pending: (offset, at_ms) to be
    written. unsure: an offset whose commit broke off, and whether a whole step was in it."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    expected: int | None = None
    pending: tuple[int, int] | None = None
    unsure: tuple[int, bool] | None = None
    fenced: bool = False


class Fence:
    """The partitions of one instance of the store. Safe for several threads: one at a time in a partition."""

    def __init__(self, transaction: Work, place: str, monotonic: Callable[[], float], wait_s: float) -> None:
        self._transaction = transaction
        self._place = place
        self._monotonic = monotonic
        self._wait_s = wait_s
        self._writer = secrets.token_hex(8)
        self._partitions: dict[int, _Held] = {}
        self._pending_since_s: float | None = None

    @contextmanager
    def holding(self, partition: int) -> Iterator[Callable[[int | None], None]]:
        """Begins to consume a partition. The block reads it from the database, and says which offset it found."""
        held = self._held(partition)
        with held.lock:

            def found(offset: int | None) -> None:
                held.expected, held.pending, held.unsure, held.fenced = offset, None, None, False

            yield found

    def forget(self, partition: int) -> None:
        """Ends the consuming of a partition here; an offset that waits is lost."""
        self._partitions.pop(partition, None)

    @contextmanager
    def step(self, partition: int, offset: int, at_ms: int) -> Iterator[Connection | None]:
        """A transaction that keeps a step with its offset; None where a try before has kept it. Raises StoreFenced."""
        held = self._held(partition)
        with held.lock:
            self._refuse_if_fenced(partition, held)
            try:
                with self._transaction() as connection:
                    kept = self._put(connection, partition, held, offset, at_ms)
                    yield None if kept else connection
            except StoreFenced:
                held.fenced, held.pending = True, None
                raise
            except StoreError:
                held.unsure = (offset, True)
                raise
            held.expected, held.pending, held.unsure = offset, None, None

    def wait_with(self, partition: int, offset: int, at_ms: int) -> None:
        """An offset behind which nothing happened: it is written with the next step, or by `flush`. Raises StoreFenced."""
        held = self._held(partition)
        with held.lock:
            self._refuse_if_fenced(partition, held)
            held.pending = (offset, at_ms)
            if self._pending_since_s is None:
                self._pending_since_s = self._monotonic()

    @property
    def is_flush_due(self) -> bool:
        """Whether an offset has waited long enough."""
        since_s = self._pending_since_s
        return since_s is not None and self._monotonic() - since_s >= self._wait_s

    def flush(self, partitions: Collection[int] | None = None) -> None:
        """Writes the offsets that wait, of these partitions or all; a partition in the midst of a step is left to it.

        Raises StoreFenced for those that others have consumed meanwhile, after the rest is written.
        """
        wanted = sorted(self._partitions.copy() if partitions is None else partitions)
        if partitions is None:
            self._pending_since_s = None
        with ExitStack() as stack:
            ready: list[tuple[int, _Held, int, int]] = []
            for partition in wanted:
                held = self._partitions.get(partition)
                if held is not None and held.lock.acquire(blocking=partitions is not None):
                    stack.callback(held.lock.release)
                    # After a step that broke off, its next try brings the offset: this one may be older than what is kept.
                    if held.pending is not None and not (held.unsure is not None and held.unsure[1]):
                        ready.append((partition, held, *held.pending))
            fenced = self._flush(ready) if ready else frozenset()
        if fenced:
            raise self._refusal(fenced)

    def _flush(self, ready: list[tuple[int, _Held, int, int]]) -> frozenset[int]:
        fenced = set()
        try:
            with self._transaction() as connection:
                for partition, held, offset, at_ms in ready:
                    try:
                        self._put(connection, partition, held, offset, at_ms)
                    except StoreFenced:
                        fenced.add(partition)
        except StoreError:
            for _, held, offset, _ in ready:
                held.unsure = (offset, False)
            self._pending_since_s = self._monotonic() - self._wait_s
            raise
        for partition, held, offset, _ in ready:
            held.pending, held.unsure = None, None
            if partition in fenced:
                held.fenced = True
            else:
                held.expected = offset
        return frozenset(fenced)

    def pending(self) -> dict[int, tuple[int, int]]:
        """Offsets that wait: partition -> offset, at_ms."""
        return {number: held.pending for number, held in self._partitions.copy().items() if held.pending is not None}

    def _held(self, partition: int) -> _Held:
        return self._partitions.setdefault(partition, _Held())

    def _put(self, connection: Connection, partition: int, held: _Held, offset: int, at_ms: int) -> bool:
        """Writes the offset; True where a whole step of this instance with this offset is there already."""
        table = schema.consumed
        row = {"partition": partition, "input_offset": offset, "at_ms": at_ms, "writer": self._writer}
        if held.expected is None and insert_new(connection, table, ["partition"], row):
            return False
        if held.expected is not None and self._replace(connection, held.expected, row):
            return False
        there = connection.execute(select(table).where(table.c.partition == partition)).first()
        if held.unsure is None or there is None or (there.input_offset, there.writer) != (held.unsure[0], self._writer):
            raise self._refusal(frozenset({partition}))
        if held.unsure == (offset, True):
            return True
        if not self._replace(connection, held.unsure[0], row):
            raise self._refusal(frozenset({partition}))
        return False

    def _replace(self, connection: Connection, expected: int, row: dict[str, object]) -> bool:
        table = schema.consumed
        where = (table.c.partition == row["partition"]) & (table.c.input_offset == expected)
        return connection.execute(update(table).where(where).values(**row)).rowcount > 0

    def _refuse_if_fenced(self, partition: int, held: _Held) -> None:
        if held.fenced:
            raise self._refusal(frozenset({partition}))

    def _refusal(self, partitions: frozenset[int]) -> StoreFenced:
        which = ", ".join(str(partition) for partition in sorted(partitions))
        said = f"{self._place}: another process has consumed partition {which} since this one last did"
        return StoreFenced(f"{said}: nothing was written; load it again", partitions=partitions)
