"""The store in a database: SQLite in one file, or PostgreSQL, by the same statements.

One transaction a step: the offset consumed, what is remembered, needs, receipts, reactions and what is to be sent. SQLite runs
in WAL mode with a full flush, so a commit that has returned survives a power cut. Calls block: live, they run in a thread.
A step in which nothing happened is not committed by itself; its offset goes with the next one, or after OFFSET_WAIT_S.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Connection, and_, exists, func, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import DatabaseError

from config.resolve import Catalogue
from reactor.state import Entity, Need, State
from reactor.store import schema
from reactor.store.database import open_database
from reactor.store.names import SqlNames
from reactor.store.rows import KINDS, Delivery, OutboxRow, QuarantineRow, ReactionRow, read
from reactor.store.writing import (
    put_aside,
    put_changes,
    put_decisions,
    put_notices,
    put_offset,
    put_reactions,
    put_said,
)
from reactor.turn import Step
from star.errors import StoreAhead, StoreDamaged, StoreError
from star.react import Decision, Reaction
from star.records import Quarantined
from star.repeat import NeedState

OFFSET_WAIT_S = 1.0
"""An offset behind which nothing happened is written at latest so long after the last write."""


class SqlStore:
    """The store behind a URL, such as `sqlite:////data/store.db`; migrations are run when it is opened.

    Safe to use from several threads: reads side by side, writes one after the other. Raises StoreDamaged where the file is
    not a whole database, StoreError where it can't be used otherwise.
    """

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = open_database(url)
        self._url = self._engine.url.render_as_string(hide_password=True)
        self._monotonic = monotonic
        self._writing = threading.Lock()
        self._pending: dict[int, tuple[int, int]] = {}
        self._written_s = monotonic()
        self.names = SqlNames(self._transaction, self._reading)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Writes the offsets that wait, and lets the database go."""
        self.flush()
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A write, alone and whole."""
        try:
            with self._writing, self._engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            raise self._problem(error) from error

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DatabaseError as error:
            raise self._problem(error) from error

    def _problem(self, error: DatabaseError) -> StoreError:
        found = str(error.orig)
        if "malformed" in found or "not a database" in found:
            return StoreDamaged(f"{self._url}: damaged ({found}): stop the service and restore it from a backup")
        return StoreError(f"{self._url}: {found}")

    # What the reactor remembers.

    def load(self, partition: int = 0, *, log_end: int | None = None) -> State:
        """All that is remembered of a partition, its `offset` the last one consumed (-1: none).

        log_end: the offset that the input log's next record will get. Raises StoreAhead where the store has consumed more
        than that: one of the two was restored from an older backup.
        """
        with self._reading() as connection:
            at = connection.execute(select(schema.consumed).where(schema.consumed.c.partition == partition)).first()
            living = and_(schema.needs.c.partition == partition, schema.needs.c.state != NeedState.CLOSED)
            needs = [read(Need, body) for (body,) in connection.execute(select(schema.needs.c.body).where(living))]
            table = schema.memory
            found = connection.execute(select(table.c.kind, table.c.body).where(table.c.partition == partition))
            entities: list[Entity] = [read(KINDS[kind], body) for kind, body in found]
        offset, at_ms = (-1, 0) if at is None else (at.input_offset, at.at_ms)
        if log_end is not None and offset >= log_end:
            raise StoreAhead(
                f"{self._url}: has consumed the input log up to offset {offset}, but the log ends before {log_end}: one of "
                "the two comes from an older backup. Restore both of the same moment"
            )
        return State([*needs, *entities], offset=offset, at_ms=at_ms)

    def commit(self, step: Step, catalogue: Catalogue, partition: int = 0) -> None:
        """Keeps a step whole, with its offset. catalogue: says where its reactions go. On return it is on disk, unless the
        step is empty: then nothing is lost with its offset but the time to take its facts again."""
        if step.is_empty:
            self._pending[partition] = (step.offset, step.at_ms)
            if self._monotonic() - self._written_s >= OFFSET_WAIT_S:
                self.flush()
            return
        with self._transaction() as connection:
            self._pending.pop(partition, None)
            put_offset(connection, partition, step.offset, step.at_ms)
            put_changes(connection, partition, step.changed)
            put_decisions(connection, step.decisions)
            put_reactions(connection, step, catalogue)
            put_said(connection, step.said)
            put_notices(connection, step)
        self._written_s = self._monotonic()

    def flush(self) -> None:
        """Writes offsets of empty steps that wait."""
        if not self._pending:
            return
        with self._transaction() as connection:
            for partition, (offset, at_ms) in sorted(self._pending.items()):
                put_offset(connection, partition, offset, at_ms)
            self._pending.clear()
        self._written_s = self._monotonic()

    # What is to be sent.

    def due(self, now_ms: int, limit: int) -> list[OutboxRow]:
        """Rows whose time has come, longest due first: of each line (need, target) only the first that is not at its end."""
        box = schema.outbox
        before = box.alias("before")
        earlier = exists().where(
            before.c.need == box.c.need,
            before.c.target == box.c.target,
            before.c.state == "waiting",
            before.c.id < box.c.id,
        )
        query = (
            select(box, schema.reactions.c.body)
            .join(schema.reactions, schema.reactions.c.id == box.c.reaction)
            .where(box.c.state == "waiting", box.c.due_ms <= now_ms, ~earlier)
            .order_by(box.c.due_ms, box.c.id)
            .limit(limit)
        )
        with self._reading() as connection:
            return [
                OutboxRow(
                    id=row.id,
                    need=row.need,
                    target=row.target,
                    reaction=read(Reaction, row.body),
                    tries=row.tries,
                    error=row.error,
                )
                for row in connection.execute(query)
            ]

    def mark_sent(self, row: int, now_ms: int) -> None:
        """The other side has it."""
        with self._transaction() as connection:
            connection.execute(
                update(schema.outbox).where(schema.outbox.c.id == row).values(state="sent", due_ms=now_ms, error=None)
            )

    def mark_failed(self, row: int, error: str, *, next_try_ms: int | None) -> None:
        """A try failed: counts it. next_try_ms None: no more tries."""
        box = schema.outbox
        values: dict[str, Any] = {"tries": box.c.tries + 1, "error": error}
        values |= {"state": "given-up"} if next_try_ms is None else {"due_ms": next_try_ms}
        with self._transaction() as connection:
            connection.execute(update(box).where(box.c.id == row).values(**values))

    def deliveries(self, reaction: str) -> list[Delivery]:
        """How far the sending of a reaction has come, by target."""
        box = schema.outbox
        with self._reading() as connection:
            rows = connection.execute(select(box).where(box.c.reaction == reaction).order_by(box.c.id))
            return [
                Delivery(target=row.target, state=row.state, tries=row.tries, error=row.error or "") for row in rows
            ]

    def waiting(self) -> int:
        """How many rows wait to be sent."""
        box = schema.outbox
        with self._reading() as connection:
            return connection.execute(select(func.count()).where(box.c.state == "waiting")).scalar_one()

    # What people ask.

    def needs(
        self,
        *,
        item: str | None = None,
        customers: Collection[str] | None = None,
        open_only: bool = False,
        limit: int = 200,
    ) -> list[Need]:
        """Needs, newest first; customers None: of all; open_only: without the closed ones."""
        table = schema.needs
        query = select(table.c.body).order_by(table.c.opened_ms.desc(), table.c.id.desc()).limit(limit)
        if item is not None:
            query = query.where(table.c.item == item)
        if customers is not None:
            query = query.where(table.c.customer.in_(sorted(customers)))
        if open_only:
            query = query.where(table.c.state != NeedState.CLOSED)
        with self._reading() as connection:
            return [read(Need, body) for (body,) in connection.execute(query)]

    def need(self, id_: str) -> Need | None:
        """The need with this id."""
        with self._reading() as connection:
            body = connection.execute(select(schema.needs.c.body).where(schema.needs.c.id == id_)).scalar()
        return None if body is None else read(Need, body)

    def need_state(self, id_: str) -> NeedState | None:
        """The state of a need."""
        with self._reading() as connection:
            state = connection.execute(select(schema.needs.c.state).where(schema.needs.c.id == id_)).scalar()
        return None if state is None else NeedState(state)

    def reactions(
        self,
        *,
        item: str | None = None,
        need: str | None = None,
        customers: Collection[str] | None = None,
        before_ms: int | None = None,
        limit: int = 50,
    ) -> list[ReactionRow]:
        """Reactions, newest first; customers None: of all; before_ms: only earlier ones."""
        table = schema.reactions
        query = select(table).order_by(table.c.at_ms.desc(), table.c.place.desc()).limit(limit)
        for column, wanted in ((table.c.item, item), (table.c.need, need)):
            if wanted is not None:
                query = query.where(column == wanted)
        if customers is not None:
            query = query.where(table.c.customer.in_(sorted(customers)))
        if before_ms is not None:
            query = query.where(table.c.at_ms < before_ms)
        with self._reading() as connection:
            return [_reaction_row(row) for row in connection.execute(query)]

    def reaction(self, id_: str) -> ReactionRow | None:
        """The reaction with this id."""
        with self._reading() as connection:
            row = connection.execute(select(schema.reactions).where(schema.reactions.c.id == id_)).first()
        return None if row is None else _reaction_row(row)

    def decisions(self, id_: str, limit: int = 50) -> list[Decision]:
        """Receipts, newest first: of a need, a reaction, or the one with this id."""
        table = schema.decisions
        query = (
            select(table.c.body)
            .where(or_(table.c.id == id_, table.c.reaction == id_, table.c.need == id_))
            .order_by(table.c.number.desc())
            .limit(limit)
        )
        with self._reading() as connection:
            return [read(Decision, body) for (body,) in connection.execute(query)]

    # Quarantine.

    def put_quarantined(self, rows: Sequence[tuple[int, Quarantined]]) -> None:
        """Shows what the log's quarantine holds: (offset there, what). The same offset twice counts once."""
        if not rows:
            return
        with self._transaction() as connection:
            for offset, row in rows:
                values = {"at_ms": row.at_ms, "topic": row.topic, "payload": row.payload, "reason": row.reason}
                put_aside(connection, "input", offset, 0, values)

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> list[QuarantineRow]:
        """What could not be read or placed, newest first; before: only rows of a smaller id."""
        table = schema.quarantine
        query = select(table).order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._reading() as connection:
            return [
                QuarantineRow(id=row.id, at_ms=row.at_ms, reason=row.reason, topic=row.topic, payload=row.payload)
                for row in connection.execute(query)
            ]


def _reaction_row(row: Row[Any]) -> ReactionRow:
    return ReactionRow(reaction=read(Reaction, row.body), result=row.result, result_ms=row.result_ms, timing=row.timing)
