"""The outbox: reactions that are decided and have to be sent, read by reactor/delivery/outbox_dispatcher.py."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import exists, func, select, update

from reactor.store import schema
from reactor.store.base import Database
from reactor.store.rows import DeliveryStatus, OutboxRow, from_json, storable_text
from star.react import Reaction


class OutboxRepository(Database):
    """Calls of the outbox. Where two processes send one row, the later mark of a success stands."""

    def due(self, now_ms: int, limit: int, partitions: Collection[int] | None = None) -> list[OutboxRow]:
        """Rows that are due, longest due first; of each line (need, target) only the first that is not finished.

        partitions: only rows decided there; None: all.
        """
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
        if partitions is not None:
            query = query.where(box.c.partition.in_(sorted(partitions)))
        with self._read() as connection:
            return [
                OutboxRow(
                    id=row.id,
                    need=row.need,
                    target=row.target,
                    reaction=from_json(Reaction, row.body),
                    tries=row.tries,
                    error=row.error,
                    partition=row.partition,
                )
                for row in connection.execute(query)
            ]

    def mark_sent(self, row: int, now_ms: int) -> None:
        """Finishes a row as sent."""
        with self._transaction() as connection:
            connection.execute(
                update(schema.outbox).where(schema.outbox.c.id == row).values(state="sent", due_ms=now_ms, error=None)
            )

    def mark_failed(self, row: int, error: str, *, next_try_ms: int | None) -> None:
        """Counts a failed attempt. next_try_ms None: finishes the row. A row that another process has sent stays sent."""
        box = schema.outbox
        values: dict[str, Any] = {"tries": box.c.tries + 1, "error": storable_text(error)}
        values |= {"state": "given-up"} if next_try_ms is None else {"due_ms": next_try_ms}
        with self._transaction() as connection:
            connection.execute(update(box).where(box.c.id == row, box.c.state == "waiting").values(**values))

    def deliveries(self, reaction: str) -> list[DeliveryStatus]:
        """State of a reaction's deliveries, by target."""
        box = schema.outbox
        with self._read() as connection:
            rows = connection.execute(select(box).where(box.c.reaction == reaction).order_by(box.c.id))
            return [
                DeliveryStatus(target=row.target, state=row.state, tries=row.tries, error=row.error or "")
                for row in rows
            ]

    def waiting_count(self) -> int:
        """Number of rows that wait to be sent."""
        box = schema.outbox
        with self._read() as connection:
            return connection.execute(select(func.count()).where(box.c.state == "waiting")).scalar_one()

    def outbox_backlog(self, partitions: Collection[int] | None = None) -> tuple[int, int | None, int]:
        """(rows waiting, due time in ms of the longest due one or None, rows given up)."""
        box = schema.outbox
        query = select(box.c.state, func.count(), func.min(box.c.due_ms)).where(
            box.c.state.in_(("waiting", "given-up"))
        )
        if partitions is not None:
            query = query.where(box.c.partition.in_(sorted(partitions)))
        with self._read() as connection:
            found = {state: (count, due_ms) for state, count, due_ms in connection.execute(query.group_by(box.c.state))}
        waiting, due_ms = found.get("waiting", (0, None))
        return waiting, due_ms, found.get("given-up", (0, None))[0]
