"""The store in a database: SQLite in one file, or PostgreSQL, by the same statements.

One transaction a step: the offset consumed, what is remembered, needs, receipts, reactions and what is to be sent. SQLite runs
in WAL mode with a full flush, so a commit that has returned survives a power cut, and PostgreSQL as its server is set up. Calls
block: live, they run in a thread. A step in which nothing happened is not committed by itself; its offset goes with the next
one, or after OFFSET_WAIT_S. Several processes may use one database: partition_fencing.py says how a step stays one process's, names.py how
names stay one numbering, fleet_repository.py how they agree on the fleet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from sqlalchemy import Connection, and_, select

from config.catalogue import Catalogue
from reactor.state import ENTITY_TABLES, Entity, LeadTimeSample, Need, State, SupplierRecord, Watermark
from reactor.store import schema
from reactor.store.erasure import CustomerErasure
from reactor.store.fleet_repository import FleetRepository
from reactor.store.metric_registry import SqlMetricRegistry
from reactor.store.outbox import OutboxRepository
from reactor.store.partition_fencing import PartitionFence
from reactor.store.queries import HistoryQueries
from reactor.store.rows import ENTITY_TYPES, from_json
from reactor.store.step_writer import (
    insert_decisions,
    insert_reactions,
    insert_unmatched,
    record_outcomes,
    write_entities,
)
from reactor.unit_of_work import StepResult
from star.errors import StoreAhead, StoreError, StoreFenced
from star.repeat import NeedState
from star.times import DAY_MS

OFFSET_FLUSH_S = 1.0
"""An offset behind which nothing happened is written at latest with the first call after so long."""


class SqlStore(OutboxRepository, HistoryQueries, CustomerErasure):
    """The store behind a URL, such as `sqlite:////data/store.db` or `postgresql+psycopg://starloop@db.example/starloop`.

    Migrations are run when it is opened. Safe to use from several threads: reads side by side, one step of a partition at a time,
    with SQLite one write at a time. Raises StoreDamaged where the database is not whole, StoreFenced where another process has
    taken a partition over, StoreError where it can't be used otherwise: after that one, the same call may work later.
    """

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(url)
        self._fence = PartitionFence(self._transaction, self._shown_url, monotonic, OFFSET_FLUSH_S)
        self.names = SqlMetricRegistry(self._transaction, self._read)
        self.fleet = FleetRepository(self._engine, self._transaction, self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Writes the offsets that wait, and lets the database go. What was taken over by others is theirs."""
        try:
            self._flush_ignoring_fenced()
        finally:
            self._engine.dispose()

    # What the reactor remembers.

    def load(self, partition: int = 0, *, log_end: int | None = None) -> State:
        """All that is remembered of a partition at one moment, its `offset` the last one consumed (-1: none).

        From here on this instance consumes the partition: its next step is kept if nobody else has kept one meanwhile.
        log_end: the offset that the input log's next record will get. Raises StoreAhead where the store has consumed more
        than that: one of the two was restored from an older backup.
        """
        with self._fence.claim(partition) as found, self._snapshot_read() as connection:
            at = connection.execute(select(schema.consumed).where(schema.consumed.c.partition == partition)).first()
            entities = _load_entities(connection, partition)
            found(None if at is None else at.input_offset)
        offset, at_ms = (-1, 0) if at is None else (at.input_offset, at.at_ms)
        if log_end is not None and offset >= log_end:
            raise StoreAhead(
                f"{self._shown_url}: has consumed the input log up to offset {offset}, but the log ends before {log_end}: one of "
                "the two comes from an older backup. Restore both of the same moment"
            )
        return State(entities, offset=offset, at_ms=at_ms)

    def commit(self, step: StepResult, catalogue: Catalogue, partition: int = 0) -> None:
        """Keeps a step whole, with its offset, or nothing of it. catalogue: says where its reactions go.

        On return it is on disk, unless the step is empty: then nothing is lost with its offset but the time to take its facts
        again. After a StoreError the same step may be given again, also where nobody knows whether it was kept: it is kept once.
        Raises StoreFenced where another process has consumed the partition since this one loaded it or last kept a step of it;
        a partition that was never loaded here is expected to be new.
        """
        if step.is_empty:
            self._fence.defer_offset(partition, step.offset, step.at_ms)
            if self._fence.is_flush_due:
                self._flush_after(partition)
            return
        with self._fence.step_transaction(partition, step.offset, step.at_ms) as connection:
            if connection is not None:
                write_entities(connection, partition, step.changed)
                insert_decisions(connection, step.decisions)
                insert_reactions(connection, partition, step, catalogue)
                record_outcomes(connection, step.outcomes)
                insert_unmatched(connection, partition, step)
        if self._fence.is_flush_due:
            try:
                self._flush_ignoring_fenced()
            except StoreError:  # The step is kept; these offsets wait for the next time.
                return

    def flush(self, partition: int | None = None) -> None:
        """Writes the offsets of empty steps that wait, of one partition or of all. Raises StoreFenced, naming which."""
        self._fence.flush(None if partition is None else (partition,))

    def release(self, partition: int) -> None:
        """The partition goes to another process: writes the offset that waits, and forgets what is expected of it."""
        try:
            self._fence.flush((partition,))
        except StoreFenced:
            pass
        finally:
            self._fence.release(partition)

    def _flush_ignoring_fenced(self) -> None:
        """Writes what waits. Who was fenced off is told at its own next step."""
        try:
            self._fence.flush()
        except StoreFenced:
            return

    def _flush_after(self, partition: int) -> None:
        try:
            self._fence.flush()
        except StoreFenced as error:
            if partition in error.partitions:
                raise

    # What partitions know of each other.

    def progress(self) -> dict[int, tuple[int, int]]:
        """How far each partition is consumed, by all processes: partition -> offset, and the time of its facts."""
        table = schema.consumed
        with self._read() as connection:
            rows = connection.execute(select(table.c.partition, table.c.input_offset, table.c.at_ms))
            written = {partition: (offset, at_ms) for partition, offset, at_ms in rows}
        return written | self._fence.pending_offsets()

    def lead_time_samples(self, day: int, *, except_partition: int, partitions: int) -> list[LeadTimeSample] | None:
        """The lessons of days up to `day` of all partitions but one; None while one of these may still add to them.

        day: UTC, counted from 1970. A partition is past it when it has consumed facts of the day after, or says that it has
        reached that day. Offsets that wait here are written first, for the others, who may wait for them in the same way.
        """
        self._flush_ignoring_fenced()
        memory, consumed = schema.memory, schema.consumed
        with self._snapshot_read() as connection:
            passed = set(
                connection.execute(select(consumed.c.partition).where(consumed.c.at_ms >= (day + 1) * DAY_MS)).scalars()
            )
            reached = select(memory.c.partition, memory.c.body).where(memory.c.kind == ENTITY_TABLES[Watermark])
            passed |= {number for number, body in connection.execute(reached) if from_json(Watermark, body).day > day}
            if not passed >= set(range(partitions)) - {except_partition}:
                return None
            others = (memory.c.partition != except_partition) & (memory.c.partition < partitions)
            query = select(memory.c.body).where(memory.c.kind == ENTITY_TABLES[LeadTimeSample], others)
            query = query.order_by(memory.c.partition, memory.c.key)
            found = [from_json(LeadTimeSample, body) for body in connection.execute(query).scalars()]
        return [sample for sample in found if sample.day <= day]

    def supplier_records(self) -> dict[str, SupplierRecord]:
        """What is remembered of each supplier: the partitions agree but for their pace, so of the one furthest in time."""
        memory, consumed = schema.memory, schema.consumed
        query = (
            select(memory.c.key, memory.c.body)
            .join(consumed, consumed.c.partition == memory.c.partition)
            .where(memory.c.kind == ENTITY_TABLES[SupplierRecord])
            .order_by(consumed.c.at_ms, consumed.c.partition.desc())
        )
        with self._read() as connection:
            newest = {row.key: row.body for row in connection.execute(query)}
        return {key: from_json(SupplierRecord, body) for key, body in newest.items()}


def _load_entities(connection: Connection, partition: int) -> list[Entity]:
    """Living needs and all other entities of a partition."""
    needs, memory = schema.needs, schema.memory
    living = and_(needs.c.partition == partition, needs.c.state != NeedState.CLOSED)
    entities: list[Entity] = [
        from_json(Need, body) for (body,) in connection.execute(select(needs.c.body).where(living))
    ]
    found = connection.execute(select(memory.c.kind, memory.c.body).where(memory.c.partition == partition))
    return entities + [from_json(ENTITY_TYPES[kind], body) for kind, body in found]
