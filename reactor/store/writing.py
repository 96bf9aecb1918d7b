"""What a step writes into the store's tables, inside the transaction that the store has begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, update

from config.resolve import Catalogue
from reactor.routes import routes
from reactor.state import Need, key_of
from reactor.store import schema
from reactor.store.database import insert_many, insert_new, upsert
from reactor.store.rows import clean, write
from reactor.turn import Changes, Step
from star.react import Decision
from star.repeat import Outcome

PLACES = 1_000_000
"""Reactions of one step are at most so many; their order in time is by step, then by place in it."""
KEYS_MAX = 500
"""Values in one statement; databases limit them."""


def put_changes(connection: Connection, partition: int, changed: Changes) -> None:
    """Entities as they are now; None: gone."""
    kept: list[dict[str, Any]] = []
    needs: list[dict[str, Any]] = []
    gone: dict[str, list[str]] = {}
    for (table, key), entity in changed.items():
        if entity is None:
            gone.setdefault(table, []).append(key)
        elif isinstance(entity, Need):
            needs.append(_need_values(entity, partition))
        else:
            kept.append({"kind": table, "key": key_of(entity), "partition": partition, "body": write(entity)})
    memory = schema.memory
    for table, keys in gone.items():
        for start in range(0, len(keys), KEYS_MAX):
            some = memory.c.key.in_(keys[start : start + KEYS_MAX])
            connection.execute(delete(memory).where(memory.c.kind == table, memory.c.partition == partition, some))
    upsert(connection, schema.needs, ["id"], needs)
    upsert(connection, memory, ["kind", "key", "partition"], kept)


def _need_values(need: Need, partition: int) -> dict[str, Any]:
    return {
        "id": need.id,
        "partition": partition,
        "item": need.item,
        "customer": need.customer,
        "state": str(need.state),
        "opened_ms": need.opened_ms,
        "body": write(need),
    }


def put_decisions(connection: Connection, decisions: Sequence[Decision]) -> None:
    """The receipts."""
    rows = [
        {
            "id": decision.id,
            "need": decision.need,
            "number": int(decision.id.rsplit("/", 1)[1]),
            "reaction": decision.reaction,
            "at_ms": decision.at_ms,
            "body": write(decision),
        }
        for decision in decisions
    ]
    insert_many(connection, schema.decisions, rows)


def put_reactions(connection: Connection, partition: int, step: Step, catalogue: Catalogue) -> None:
    """The step's reactions, and for each a row of the outbox by target."""
    rows, targets = [], []
    for place, reaction in enumerate(step.reactions):
        item = f"{reaction.device}/{reaction.item}"
        rows.append(
            {
                "id": reaction.id,
                "place": step.offset * PLACES + place,
                "need": reaction.need,
                "item": item,
                "customer": reaction.customer,
                "at_ms": reaction.at_ms,
                "body": write(reaction),
            }
        )
        targets += [
            {
                "partition": partition,
                "reaction": reaction.id,
                "need": reaction.need,
                "target": target,
                "state": "waiting",
                "due_ms": reaction.at_ms,
                "tries": 0,
            }
            for target in routes(reaction, catalogue)
        ]
    insert_many(connection, schema.reactions, rows)
    insert_many(connection, schema.outbox, targets)


def put_said(connection: Connection, said: Sequence[tuple[str, Outcome]]) -> None:
    """What was said of reactions: the last word counts."""
    table = schema.reactions
    for reaction, outcome in said:
        values: dict[str, Any] = {"result": outcome.result, "result_ms": outcome.at_ms}
        if outcome.timing is not None:
            values["timing"] = outcome.timing
        connection.execute(update(table).where(table.c.id == reaction).values(**values))


def put_notices(connection: Connection, partition: int, step: Step) -> None:
    """What the step could not place, shown beside the quarantine."""
    source = "facts" if partition == 0 else f"facts/{partition}"
    for number, reason in enumerate(step.unmatched):
        values = {"at_ms": step.at_ms, "topic": None, "payload": b"", "reason": reason}
        put_aside(connection, source, step.offset, number, values)


def put_aside(connection: Connection, source: str, offset: int, number: int, values: dict[str, Any]) -> None:
    """A row of the quarantine; the same place twice counts once."""
    place = {"source": source, "log_offset": offset, "number": number}
    texts = {name: clean(value) if isinstance(value, str) else value for name, value in values.items()}
    insert_new(connection, schema.quarantine, list(place), {**place, **texts})
