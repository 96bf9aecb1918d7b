"""The store in a database: SQLite in one file, or PostgreSQL, by the same statements.

A step is one transaction: the consumed offset, entities, needs, receipts, reactions and outbox rows. On SQLite a commit that
has returned survives a power cut; on PostgreSQL that depends on the server's settings. Calls block, so the live service makes
them in threads. The offset of a step in which nothing happened is written with the next one, or after OFFSET_FLUSH_S.

Several processes may share a database: partition_fencing.py keeps two from writing one partition, metric_registry.py keeps one
numbering of metrics, fleet_repository.py one fleet.
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
"""Longest time in seconds that the offset of an empty step is held back. It is read again after a kill: no data is lost."""


class SqlStore(OutboxRepository, HistoryQueries, CustomerErasure):
    """The store behind a URL, such as `sqlite:////data/store.db` or `postgresql+psycopg://starloop@db.example/starloop`.

    Opening it migrates the tables; raises NewerFormat where a newer build has. Safe for several threads: reads are concurrent,
    steps of a partition and, with SQLite, all writes are serial. Calls raise StoreDamaged for a damaged database, StoreFenced
    where another process has taken a partition over, and StoreError for anything else, after which a retry may succeed.
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
        """Writes pending offsets, except of partitions that others have taken over, and closes the connections."""
        try:
            self._flush_ignoring_fenced()
        finally:
            self._engine.dispose()

    # The reactor's state.

    def load(self, partition: int = 0, *, log_end: int | None = None) -> State:
        """The state of a partition from one snapshot; its `offset` is the last one consumed (-1: none).

        This instance claims the partition: its next step is accepted if no other process has stored one meanwhile. log_end:
        offset of the input log's next record. Raises StoreAhead where the store has consumed more than the log holds, as one
        of the two was restored from an older backup.
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
        """Stores a step with its offset, all or nothing. catalogue: decides the targets of its reactions.

        Durable on return, except for the offset of an empty step. After a StoreError the same step may be passed again, also
        where it is unknown whether the commit succeeded: it is stored once. Raises StoreFenced where another process has
        consumed the partition since this one loaded it or stored its last step; a partition that was never loaded here has
        to be new.
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
            except StoreError:  # The step is stored; the other partitions' offsets are written with a later one.
                return

    def flush(self, partition: int | None = None) -> None:
        """Writes pending offsets of empty steps, of one partition or all. Raises StoreFenced, naming the partitions."""
        self._fence.flush(None if partition is None else (partition,))

    def release(self, partition: int) -> None:
        """Gives a partition up for another process: writes its pending offset and drops the claim."""
        try:
            self._fence.flush((partition,))
        except StoreFenced:
            pass
        finally:
            self._fence.release(partition)

    def _flush_ignoring_fenced(self) -> None:
        """Writes pending offsets. A fenced partition raises at its own next step."""
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

    # What partitions share.

    def progress(self) -> dict[int, tuple[int, int]]:
        """Consumed position of each partition, by any process: partition -> (offset, time of its facts in ms)."""
        table = schema.consumed
        with self._read() as connection:
            rows = connection.execute(select(table.c.partition, table.c.input_offset, table.c.at_ms))
            written = {partition: (offset, at_ms) for partition, offset, at_ms in rows}
        return written | self._fence.pending_offsets()

    def lead_time_samples(self, day: int, *, except_partition: int, partitions: int) -> list[LeadTimeSample] | None:
        """Lead time samples of the other partitions up to a day; None while one of them may still add to these.

        day: UTC day, counted from 1970. A partition is past it when it has consumed facts of a later day, or has a watermark
        of one. Pending offsets are written first, as the other partitions may be waiting for them.
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
        """The record of each supplier, from the partition furthest in time: the others will arrive at the same."""
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
    """Open needs and all other entities of a partition."""
    needs, memory = schema.needs, schema.memory
    is_open = and_(needs.c.partition == partition, needs.c.state != NeedState.CLOSED)
    entities: list[Entity] = [
        from_json(Need, body) for (body,) in connection.execute(select(needs.c.body).where(is_open))
    ]
    found = connection.execute(select(memory.c.kind, memory.c.body).where(memory.c.partition == partition))
    return entities + [from_json(ENTITY_TYPES[kind], body) for kind, body in found]
