"""Writes of one step, inside the store's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, update

from config.catalogue import Catalogue
from reactor.delivery.routes import targets_of
from reactor.state import Need, entity_key
from reactor.store import schema
from reactor.store.database import BOUND_VALUES_MAX, insert_if_absent, insert_many, upsert
from reactor.store.rows import storable_text, to_json
from reactor.unit_of_work import Changes, StepResult
from star.ids import DecisionId
from star.react import Decision
from star.repeat import Outcome

REACTIONS_PER_STEP_MAX = 1_000_000
"""Most reactions of one step. A reaction's `place`, which orders reactions of equal time, is step × this + position."""


def write_entities(connection: Connection, partition: int, changed: Changes) -> None:
    """Upserts changed entities and deletes those that are None."""
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
    """Inserts receipts."""
    rows = [
        {
            "id": decision.id,
            "need": decision.need,
            "number": DecisionId.parse(decision.id).number,
            "reaction": decision.reaction,
            "at_ms": decision.at_ms,
            "body": to_json(decision),
        }
        for decision in decisions
    ]
    insert_many(connection, schema.decisions, rows)


def insert_reactions(connection: Connection, partition: int, step: StepResult, catalogue: Catalogue) -> None:
    """Inserts the step's reactions, and an outbox row for each of their targets."""
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


def record_outcomes(connection: Connection, outcomes: Sequence[tuple[str, Outcome]]) -> None:
    """Stores outcomes with the reactions that they are about; the last one stands."""
    table = schema.reactions
    for reaction, outcome in outcomes:
        values: dict[str, Any] = {"result": outcome.result, "result_ms": outcome.at_ms}
        if outcome.timing is not None:
            values["timing"] = outcome.timing
        connection.execute(update(table).where(table.c.id == reaction).values(**values))


def insert_unmatched(connection: Connection, partition: int, step: StepResult) -> None:
    """Inserts the step's unmatched events, which are shown with the quarantine."""
    source = unmatched_source(partition)
    for number, reason in enumerate(step.unmatched):
        values = {"at_ms": step.at_ms, "topic": None, "payload": b"", "reason": reason}
        insert_quarantined(connection, source, step.offset, number, values)


def unmatched_source(partition: int) -> str:
    """The `source` in the quarantine of unmatched events of a partition."""
    return "facts" if partition == 0 else f"facts/{partition}"


def insert_quarantined(connection: Connection, source: str, offset: int, number: int, values: dict[str, Any]) -> None:
    """Inserts a row of the quarantine, once for each place (source, offset, number)."""
    place = {"source": source, "log_offset": offset, "number": number}
    texts = {name: storable_text(value) if isinstance(value, str) else value for name, value in values.items()}
    insert_if_absent(connection, schema.quarantine, list(place), {**place, **texts})
