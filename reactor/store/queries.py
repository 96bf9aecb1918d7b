"""Queries for people: needs, reactions, receipts, quarantine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.engine import Row

from reactor.state import Need
from reactor.store import schema
from reactor.store.base import Database
from reactor.store.rows import QuarantineRow, ReactionRow, from_json
from reactor.store.step_writer import insert_quarantined
from star.react import Decision, Reaction
from star.records import Quarantined
from star.repeat import NeedState


class HistoryQueries(Database):
    """Queries, and the quarantine, which is stored for display only."""

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
        with self._read() as connection:
            return [from_json(Need, body) for (body,) in connection.execute(query)]

    def need(self, id_: str) -> Need | None:
        """The need with this id."""
        with self._read() as connection:
            body = connection.execute(select(schema.needs.c.body).where(schema.needs.c.id == id_)).scalar()
        return None if body is None else from_json(Need, body)

    def need_state(self, id_: str) -> NeedState | None:
        """The state of a need."""
        with self._read() as connection:
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
        with self._read() as connection:
            return [_reaction_row(row) for row in connection.execute(query)]

    def reaction(self, id_: str) -> ReactionRow | None:
        """The reaction with this id."""
        with self._read() as connection:
            row = connection.execute(select(schema.reactions).where(schema.reactions.c.id == id_)).first()
        return None if row is None else _reaction_row(row)

    def decisions(self, id_: str, limit: int = 50) -> list[Decision]:
        """Receipts, newest first, of a need, a reaction or a decision."""
        table = schema.decisions
        query = (
            select(table.c.body)
            .where(or_(table.c.id == id_, table.c.reaction == id_, table.c.need == id_))
            .order_by(table.c.number.desc())
            .limit(limit)
        )
        with self._read() as connection:
            return [from_json(Decision, body) for (body,) in connection.execute(query)]

    def record_quarantined(self, rows: Sequence[tuple[int, Quarantined]]) -> None:
        """Stores what the log's quarantine holds, for display: (offset there, row). An offset is stored once."""
        if not rows:
            return
        with self._transaction() as connection:
            for offset, row in rows:
                values = {"at_ms": row.at_ms, "topic": row.topic, "payload": row.payload, "reason": row.reason}
                insert_quarantined(connection, "input", offset, 0, values)

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> list[QuarantineRow]:
        """Rows of the quarantine, newest first; before: only those with a smaller id."""
        table = schema.quarantine
        query = select(table).order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._read() as connection:
            return [
                QuarantineRow(id=row.id, at_ms=row.at_ms, reason=row.reason, topic=row.topic, payload=row.payload)
                for row in connection.execute(query)
            ]


def _reaction_row(row: Row[Any]) -> ReactionRow:
    return ReactionRow(
        reaction=from_json(Reaction, row.body), result=row.result, result_ms=row.result_ms, timing=row.timing
    )
