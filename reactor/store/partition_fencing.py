"""Partition fencing: of two instances that believe they own a partition, the one that is behind is refused.

Every write of a consumed offset is a compare-and-set on the offset that this instance read (`claim`) or wrote last:
`UPDATE … WHERE input_offset = expected`, the first statement of the step's transaction. It locks the partition's row, so that
a second writer waits for the first one's commit and then finds another offset: nothing of its step is written. This holds at
READ COMMITTED on PostgreSQL and under SQLite's write lock. There is no clock and no lease: an instance that was taken for dead
and continues is refused at its next step.

A commit may be in doubt, where the server goes away before it answers. The row names its writer, so that a retry of the same
step recognizes its own work.

Offsets of empty steps are held back here and written together.
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
    """A partition that this instance consumes.

    expected_offset: in the database; None: no row. pending_offset: (offset, at_ms) still to be written. in_doubt: an offset
    whose commit was not confirmed, and whether it came with a step. fenced: another instance has taken the partition.
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    expected_offset: int | None = None
    pending_offset: tuple[int, int] | None = None
    in_doubt: tuple[int, bool] | None = None
    fenced: bool = False


class PartitionFence:
    """Claims of one instance of the store. Safe for threads: one at a time in each partition."""

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
        """Claims a partition. The block reads it from the database and passes the offset that it found to the yielded function."""
        claim = self._claim_of(partition)
        with claim.lock:

            def found(offset: int | None) -> None:
                claim.expected_offset, claim.pending_offset, claim.in_doubt, claim.fenced = offset, None, None, False

            yield found

    def release(self, partition: int) -> None:
        """Drops the claim, with a pending offset."""
        self._partitions.pop(partition, None)

    @contextmanager
    def step_transaction(self, partition: int, offset: int, at_ms: int) -> Iterator[Connection | None]:
        """A transaction for a step with its offset; yields None where an earlier attempt stored it. Raises StoreFenced."""
        claim = self._claim_of(partition)
        with claim.lock:
            self._raise_if_fenced(partition, claim)
            try:
                with self._transaction() as connection:
                    stored = self._write_offset(connection, partition, claim, offset, at_ms)
                    yield None if stored else connection
            except StoreFenced:
                claim.fenced, claim.pending_offset = True, None
                raise
            except StoreError:
                claim.in_doubt = (offset, True)
                raise
            claim.expected_offset, claim.pending_offset, claim.in_doubt = offset, None, None

    def defer_offset(self, partition: int, offset: int, at_ms: int) -> None:
        """Holds back the offset of an empty step until the next step or `flush`. Raises StoreFenced."""
        claim = self._claim_of(partition)
        with claim.lock:
            self._raise_if_fenced(partition, claim)
            claim.pending_offset = (offset, at_ms)
            if self._pending_since_s is None:
                self._pending_since_s = self._monotonic()

    @property
    def is_flush_due(self) -> bool:
        """Whether a pending offset is as old as the flush interval."""
        since_s = self._pending_since_s
        return since_s is not None and self._monotonic() - since_s >= self._flush_interval_s

    def flush(self, partitions: Collection[int] | None = None) -> None:
        """Writes pending offsets, of these partitions or all; without a list, a partition in the middle of a step is skipped.

        Raises StoreFenced for partitions that others have taken, after the rest is written.
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
                    # A step in doubt is retried with its own offset: the pending one may be older than what is stored.
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
        """Pending offsets: partition -> (offset, at_ms)."""
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
        """Writes the offset; returns True where this instance has stored a step with it already. Raises StoreFenced."""
        table = schema.consumed
        row = {"partition": partition, "input_offset": offset, "at_ms": at_ms, "writer": self._writer}
        if claim.expected_offset is None and insert_if_absent(connection, table, ["partition"], row):
            return False
        if claim.expected_offset is not None and self._compare_and_set(connection, claim.expected_offset, row):
            return False
        row_found = connection.execute(select(table).where(table.c.partition == partition)).first()
        if (
            claim.in_doubt is None
            or row_found is None
            or (row_found.input_offset, row_found.writer) != (claim.in_doubt[0], self._writer)
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
        message = f"{self._place}: another process has consumed partition {which} since this one last did"
        return StoreFenced(f"{message}: nothing was written; load it again", partitions=partitions)
