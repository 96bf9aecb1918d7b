"""What a step writes into the store's tables, inside the transaction that the store has begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, update

from config.catalogue import Catalogue
from reactor.delivery.routes import targets_of
from reactor.state import Need, entity_key
from reactor.store import schema
from reactor.store.database import insert_if_absent, insert_many, upsert
from reactor.store.rows import storable_text, to_json
from reactor.unit_of_work import Changes, StepResult
from star.react import Decision
from star.repeat import Outcome

REACTIONS_PER_STEP_MAX = 1_000_000
"""Reactions of one step are at most so many; their order in time is by step, then by place in it."""
BOUND_VALUES_MAX = 500
"""Values in one statement; databases limit them."""


def write_entities(connection: Connection, partition: int, changed: Changes) -> None:
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
            kept.append({"kind": table, "key": entity_key(entity), "partition": partition, "body": to_json(entity)})
    memory = schema.memory
    for table, keys in gone.items():
        for start in range(0, len(keys), BOUND_VALUES_MAX):
            some = memory.c.key.in_(keys[start : start + BOUND_VALUES_MAX])
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
        "body": to_json(need),
    }


def insert_decisions(connection: Connection, decisions: Sequence[Decision]) -> None:
    """The receipts."""
    rows = [
        {
            "id": decision.id,
            "need": decision.need,
            "number": int(decision.id.rsplit("/", 1)[1]),
            "reaction": decision.reaction,
            "at_ms": decision.at_ms,
            "body": to_json(decision),
        }
        for decision in decisions
    ]
    insert_many(connection, schema.decisions, rows)


def insert_reactions(connection: Connection, partition: int, step: StepResult, catalogue: Catalogue) -> None:
    """The step's reactions, and for each a row of the outbox by target."""
    rows, targets = [], []
    for place, reaction in enumerate(step.reactions):
        item = f"{reaction.device}/{reaction.item}"
        rows.append(
            {
                "id": reaction.id,
                "place": step.offset * REACTIONS_PER_STEP_MAX + place,
                "need": reaction.need,
                "item": item,
                "customer": reaction.customer,
                "at_ms": reaction.at_ms,
                "body": to_json(reaction),
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
            for target in targets_of(reaction, catalogue)
        ]
    insert_many(connection, schema.reactions, rows)
    insert_many(connection, schema.outbox, targets)


def record_outcomes(connection: Connection, said: Sequence[tuple[str, Outcome]]) -> None:
    """What was said of reactions: the last word counts."""
    table = schema.reactions
    for reaction, outcome in said:
        values: dict[str, Any] = {"result": outcome.result, "result_ms": outcome.at_ms}
        if outcome.timing is not None:
            values["timing"] = outcome.timing
        connection.execute(update(table).where(table.c.id == reaction).values(**values))


def insert_unmatched(connection: Connection, partition: int, step: StepResult) -> None:
    """What the step could not place, shown beside the quarantine."""
    source = "facts" if partition == 0 else f"facts/{partition}"
    for number, reason in enumerate(step.unmatched):
        values = {"at_ms": step.at_ms, "topic": None, "payload": b"", "reason": reason}
        insert_quarantined(connection, source, step.offset, number, values)


def insert_quarantined(connection: Connection, source: str, offset: int, number: int, values: dict[str, Any]) -> None:
    """A row of the quarantine; the same place twice counts once."""
    place = {"source": source, "log_offset": offset, "number": number}
    texts = {name: storable_text(value) if isinstance(value, str) else value for name, value in values.items()}
    insert_if_absent(connection, schema.quarantine, list(place), {**place, **texts})
