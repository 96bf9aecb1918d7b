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
from reactor.store.base import TransactionFactory
from reactor.store.database import insert_if_absent
from star.errors import StoreError, StoreFenced


@dataclass(slots=True)
class _PartitionClaim:
    """A partition that is consumed here. expected: the offset in the database, None: no row. pending: (offset, at_ms) to be
    written. unsure: an offset whose commit broke off, and whether a whole step was in it."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    expected_offset: int | None = None
    pending_offset: tuple[int, int] | None = None
    in_doubt: tuple[int, bool] | None = None
    fenced: bool = False


class PartitionFence:
    """The partitions of one instance of the store. Safe for several threads: one at a time in a partition."""

    def __init__(
        self, transaction: TransactionFactory, place: str, monotonic: Callable[[], float], flush_interval_s: float
    ) -> None:
        self._transaction = transaction
        self._place = place
        self._monotonic = monotonic
        self._flush_interval_s = flush_interval_s
        self._writer = secrets.token_hex(8)
        self._partitions: dict[int, _PartitionClaim] = {}
        self._pending_since_s: float | None = None

    @contextmanager
    def claim(self, partition: int) -> Iterator[Callable[[int | None], None]]:
        """Begins to consume a partition. The block reads it from the database, and says which offset it found."""
        claim = self._claim_of(partition)
        with claim.lock:

            def found(offset: int | None) -> None:
                claim.expected_offset, claim.pending_offset, claim.in_doubt, claim.fenced = offset, None, None, False

            yield found

    def release(self, partition: int) -> None:
        """Ends the consuming of a partition here; an offset that waits is lost."""
        self._partitions.pop(partition, None)

    @contextmanager
    def step_transaction(self, partition: int, offset: int, at_ms: int) -> Iterator[Connection | None]:
        """A transaction that keeps a step with its offset; None where a try before has kept it. Raises StoreFenced."""
        claim = self._claim_of(partition)
        with claim.lock:
            self._raise_if_fenced(partition, claim)
            try:
                with self._transaction() as connection:
                    kept = self._write_offset(connection, partition, claim, offset, at_ms)
                    yield None if kept else connection
            except StoreFenced:
                claim.fenced, claim.pending_offset = True, None
                raise
            except StoreError:
                claim.in_doubt = (offset, True)
                raise
            claim.expected_offset, claim.pending_offset, claim.in_doubt = offset, None, None

    def defer_offset(self, partition: int, offset: int, at_ms: int) -> None:
        """An offset behind which nothing happened: it is written with the next step, or by `flush`. Raises StoreFenced."""
        claim = self._claim_of(partition)
        with claim.lock:
            self._raise_if_fenced(partition, claim)
            claim.pending_offset = (offset, at_ms)
            if self._pending_since_s is None:
                self._pending_since_s = self._monotonic()

    @property
    def is_flush_due(self) -> bool:
        """Whether an offset has waited long enough."""
        since_s = self._pending_since_s
        return since_s is not None and self._monotonic() - since_s >= self._flush_interval_s

    def flush(self, partitions: Collection[int] | None = None) -> None:
        """Writes the offsets that wait, of these partitions or all; a partition in the midst of a step is left to it.

        Raises StoreFenced for those that others have consumed meanwhile, after the rest is written.
        """
        wanted = sorted(self._partitions.copy() if partitions is None else partitions)
        if partitions is None:
            self._pending_since_s = None
        with ExitStack() as stack:
            ready: list[tuple[int, _PartitionClaim, int, int]] = []
            for partition in wanted:
                claim = self._partitions.get(partition)
                if claim is not None and claim.lock.acquire(blocking=partitions is not None):
                    stack.callback(claim.lock.release)
                    # After a step that broke off, its next try brings the offset: this one may be older than what is kept.
                    if claim.pending_offset is not None and not (claim.in_doubt is not None and claim.in_doubt[1]):
                        ready.append((partition, claim, *claim.pending_offset))
            fenced = self._flush(ready) if ready else frozenset()
        if fenced:
            raise self._fenced_error(fenced)

    def _flush(self, ready: list[tuple[int, _PartitionClaim, int, int]]) -> frozenset[int]:
        fenced = set()
        try:
            with self._transaction() as connection:
                for partition, claim, offset, at_ms in ready:
                    try:
                        self._write_offset(connection, partition, claim, offset, at_ms)
                    except StoreFenced:
                        fenced.add(partition)
        except StoreError:
            for _, claim, offset, _ in ready:
                claim.in_doubt = (offset, False)
            self._pending_since_s = self._monotonic() - self._flush_interval_s
            raise
        for partition, claim, offset, _ in ready:
            claim.pending_offset, claim.in_doubt = None, None
            if partition in fenced:
                claim.fenced = True
            else:
                claim.expected_offset = offset
        return frozenset(fenced)

    def pending_offsets(self) -> dict[int, tuple[int, int]]:
        """Offsets that wait: partition -> offset, at_ms."""
        return {
            number: claim.pending_offset
            for number, claim in self._partitions.copy().items()
            if claim.pending_offset is not None
        }

    def _claim_of(self, partition: int) -> _PartitionClaim:
        return self._partitions.setdefault(partition, _PartitionClaim())

    def _write_offset(
        self, connection: Connection, partition: int, claim: _PartitionClaim, offset: int, at_ms: int
    ) -> bool:
        """Writes the offset; True where a whole step of this instance with this offset is there already."""
        table = schema.consumed
        row = {"partition": partition, "input_offset": offset, "at_ms": at_ms, "writer": self._writer}
        if claim.expected_offset is None and insert_if_absent(connection, table, ["partition"], row):
            return False
        if claim.expected_offset is not None and self._compare_and_set(connection, claim.expected_offset, row):
            return False
        there = connection.execute(select(table).where(table.c.partition == partition)).first()
        if (
            claim.in_doubt is None
            or there is None
            or (there.input_offset, there.writer) != (claim.in_doubt[0], self._writer)
        ):
            raise self._fenced_error(frozenset({partition}))
        if claim.in_doubt == (offset, True):
            return True
        if not self._compare_and_set(connection, claim.in_doubt[0], row):
            raise self._fenced_error(frozenset({partition}))
        return False

    def _compare_and_set(self, connection: Connection, expected: int, row: dict[str, object]) -> bool:
        table = schema.consumed
        where = (table.c.partition == row["partition"]) & (table.c.input_offset == expected)
        return connection.execute(update(table).where(where).values(**row)).rowcount > 0

    def _raise_if_fenced(self, partition: int, claim: _PartitionClaim) -> None:
        if claim.fenced:
            raise self._fenced_error(frozenset({partition}))

    def _fenced_error(self, partitions: frozenset[int]) -> StoreFenced:
        which = ", ".join(str(partition) for partition in sorted(partitions))
        said = f"{self._place}: another process has consumed partition {which} since this one last did"
        return StoreFenced(f"{said}: nothing was written; load it again", partitions=partitions)
