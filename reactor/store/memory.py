"""The store in memory, with the same calls as SqlStore, for simulations and tests.

A kill of the service is simulated by dropping the engine and loading its state again from here. Entities are frozen, so a
commit keeps references.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from config.catalogue import Catalogue
from reactor.delivery.routes import targets_of
from reactor.state import ENTITY_TABLES, Entity, LeadTimeSample, Need, State, SupplierRecord, Watermark
from reactor.store.rows import DeliveryState, DeliveryStatus, OutboxRow, QuarantineRow, ReactionRow
from reactor.store.step_writer import unmatched_source
from reactor.unit_of_work import StepResult
from star.errors import StoreAhead
from star.react import Decision
from star.records import Quarantined
from star.repeat import NeedState
from star.times import DAY_MS


@dataclass(slots=True)
class _OutboxEntry:
    row: OutboxRow
    state: DeliveryState
    due_ms: int


class MemoryMetricRegistry:
    """The metric registry in memory."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of `name`; a new name gets the next one."""
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def refresh(self) -> list[str]:
        """Names that other processes have added: none."""
        return []

    def name(self, number: int) -> str:
        """The name of a number. Raises KeyError."""
        if not 0 <= number < len(self._names):
            raise KeyError(number)
        return self._names[number]


class MemoryStore:
    """See SqlStore for the calls."""

    def __init__(self) -> None:
        self.names = MemoryMetricRegistry()
        self._consumed: dict[int, tuple[int, int]] = {}
        self._entities: dict[int, dict[tuple[str, str], Entity]] = {}
        self._needs: dict[str, Need] = {}
        self._reactions: dict[str, ReactionRow] = {}
        self._decisions: list[Decision] = []
        self._outbox: list[_OutboxEntry] = []
        self._quarantine: dict[tuple[str, int, int], QuarantineRow] = {}

    def load(self, partition: int = 0, *, log_end: int | None = None) -> State:
        """The state of a partition. Raises StoreAhead."""
        offset, at_ms = self._consumed.get(partition, (-1, 0))
        if log_end is not None and offset >= log_end:
            raise StoreAhead(
                f"the store has consumed the input log up to offset {offset}, but it ends before {log_end}"
            )
        return State(self._entities.get(partition, {}).values(), offset=offset, at_ms=at_ms)

    def commit(self, step: StepResult, catalogue: Catalogue, partition: int = 0) -> None:
        """Stores a step."""
        self._consumed[partition] = (step.offset, step.at_ms)
        entities = self._entities.setdefault(partition, {})
        for key, entity in step.changed.items():
            if isinstance(entity, Need):
                self._needs[entity.id] = entity
            if entity is None or (isinstance(entity, Need) and entity.state is NeedState.CLOSED):
                entities.pop(key, None)
            else:
                entities[key] = entity
        self._decisions += step.decisions
        for reaction in step.reactions:
            self._reactions[reaction.id] = ReactionRow(reaction=reaction)
            for target in targets_of(reaction, catalogue):
                row = OutboxRow(
                    id=len(self._outbox), need=reaction.need, target=target, reaction=reaction, partition=partition
                )
                self._outbox.append(_OutboxEntry(row, "waiting", reaction.at_ms))
        for id_, outcome in step.outcomes:
            if id_ in self._reactions:
                self._reactions[id_] = self._reactions[id_].with_outcome(outcome)
        for number, reason in enumerate(step.unmatched):
            source = unmatched_source(partition)
            self._insert_quarantined((source, step.offset, number), step.at_ms, reason, None, b"")

    def lead_time_samples(self, day: int, *, except_partition: int, partitions: int) -> list[LeadTimeSample] | None:
        """Lead time samples of the other partitions up to a day; None while one of them may still add to these."""
        found: list[LeadTimeSample] = []
        for partition in range(partitions):
            if partition == except_partition:
                continue
            entities = self._entities.get(partition, {})
            reached = entities.get((ENTITY_TABLES[Watermark], "day"))
            _, at_ms = self._consumed.get(partition, (-1, 0))
            if at_ms < (day + 1) * DAY_MS and not (isinstance(reached, Watermark) and reached.day > day):
                return None
            found += [one for one in entities.values() if isinstance(one, LeadTimeSample) and one.day <= day]
        return found

    def flush(self, partition: int | None = None) -> None:
        """Offsets are stored at once."""

    def release(self, partition: int) -> None:
        """Nothing to release: there is no other process."""

    def progress(self) -> dict[int, tuple[int, int]]:
        """Consumed position of each partition: partition -> (offset, time of its facts in ms)."""
        return dict(self._consumed)

    def supplier_records(self) -> dict[str, SupplierRecord]:
        """The record of each supplier, from the partition furthest in time."""
        found: dict[str, SupplierRecord] = {}
        for partition in sorted(self._entities, key=lambda number: (self._consumed[number][1], -number)):
            entities = self._entities[partition].values()
            found |= {one.supplier: one for one in entities if isinstance(one, SupplierRecord)}
        return found

    def close(self) -> None:
        """Nothing to close."""

    def due(self, now_ms: int, limit: int, partitions: Collection[int] | None = None) -> list[OutboxRow]:
        """Rows that are due, the first of each line (need, target)."""
        heads: dict[tuple[str, str], _OutboxEntry] = {}
        for sending in self._outbox:
            if sending.state == "waiting" and (partitions is None or sending.row.partition in partitions):
                heads.setdefault((sending.row.need, sending.row.target), sending)
        due = [sending for sending in heads.values() if sending.due_ms <= now_ms]
        return [sending.row for sending in sorted(due, key=lambda sending: (sending.due_ms, sending.row.id))][:limit]

    def mark_sent(self, row: int, now_ms: int) -> None:
        """Finishes a row as sent."""
        self._outbox[row].state, self._outbox[row].due_ms = "sent", now_ms

    def mark_failed(self, row: int, error: str, *, next_try_ms: int | None) -> None:
        """Counts a failed attempt, and finishes the row where there is no next one."""
        sending = self._outbox[row]
        if sending.state != "waiting":
            return
        sending.row = replace(sending.row, tries=sending.row.tries + 1, error=error)
        if next_try_ms is None:
            sending.state = "given-up"
        else:
            sending.due_ms = next_try_ms

    def deliveries(self, reaction: str) -> list[DeliveryStatus]:
        """State of a reaction's deliveries."""
        found = [sending for sending in self._outbox if sending.row.reaction.id == reaction]
        return [
            DeliveryStatus(target=s.row.target, state=s.state, tries=s.row.tries, error=s.row.error or "")
            for s in found
        ]

    def waiting_count(self) -> int:
        """Number of rows that wait to be sent."""
        return self.outbox_backlog()[0]

    def outbox_backlog(self, partitions: Collection[int] | None = None) -> tuple[int, int | None, int]:
        """(rows waiting, due time in ms of the longest due one or None, rows given up)."""
        found = [sending for sending in self._outbox if partitions is None or sending.row.partition in partitions]
        due_ms = [sending.due_ms for sending in found if sending.state == "waiting"]
        return len(due_ms), min(due_ms, default=None), sum(sending.state == "given-up" for sending in found)

    def needs(
        self,
        *,
        item: str | None = None,
        customers: Collection[str] | None = None,
        open_only: bool = False,
        limit: int = 200,
    ) -> list[Need]:
        """Needs, newest first."""
        found = [
            need
            for need in self._needs.values()
            if (item is None or need.item == item)
            and (customers is None or need.customer in customers)
            and not (open_only and need.state is NeedState.CLOSED)
        ]
        return sorted(found, key=lambda need: (need.opened_ms, need.id), reverse=True)[:limit]

    def need(self, id_: str) -> Need | None:
        """The need with this id."""
        return self._needs.get(id_)

    def need_state(self, id_: str) -> NeedState | None:
        """The state of a need."""
        need = self._needs.get(id_)
        return None if need is None else need.state

    def reactions(
        self,
        *,
        item: str | None = None,
        need: str | None = None,
        customers: Collection[str] | None = None,
        before_ms: int | None = None,
        limit: int = 50,
    ) -> list[ReactionRow]:
        """Reactions, newest first."""
        found = []
        for row in reversed(self._reactions.values()):
            reaction = row.reaction
            wanted = (
                (item is None or f"{reaction.device}/{reaction.item}" == item)
                and (need is None or reaction.need == need)
                and (customers is None or reaction.customer in customers)
                and (before_ms is None or reaction.at_ms < before_ms)
            )
            if wanted:
                found.append(row)
        return sorted(found, key=lambda row: -row.reaction.at_ms)[:limit]

    def reaction(self, id_: str) -> ReactionRow | None:
        """The reaction with this id."""
        return self._reactions.get(id_)

    def decisions(self, id_: str, limit: int = 50) -> list[Decision]:
        """Receipts, newest first, of a need, a reaction or a decision."""
        return [d for d in reversed(self._decisions) if id_ in (d.id, d.need, d.reaction)][:limit]

    def record_quarantined(self, rows: Sequence[tuple[int, Quarantined]]) -> None:
        """Stores what the log's quarantine holds, for display."""
        for offset, row in rows:
            self._insert_quarantined(("input", offset, 0), row.at_ms, row.reason, row.topic, row.payload)

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> list[QuarantineRow]:
        """Rows of the quarantine, newest first."""
        rows = [row for row in self._quarantine.values() if before is None or row.id < before]
        return sorted(rows, key=lambda row: -row.id)[:limit]

    def _insert_quarantined(
        self, key: tuple[str, int, int], at_ms: int, reason: str, topic: str | None, payload: bytes
    ) -> None:
        id_ = len(self._quarantine) + 1
        row = QuarantineRow(id=id_, at_ms=at_ms, reason=reason, topic=topic, payload=payload)
        self._quarantine.setdefault(key, row)
