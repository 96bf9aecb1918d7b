"""The unit of work of one step: writes to the state, gathered with the reactions, receipts and reports to be committed.

Only reactor/apply writes through it; what is decided is decided on its view.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from config.catalogue import Catalogue
from reactor.state import ENTITY_TABLES, RETENTION_DAYS, Entity, State, Timer, TimerKind, entity_key, timer_id
from reactor.state_view import QuoteCache, StateView
from star.analyse import Facts
from star.react import Decision, Reaction
from star.repeat import Outcome
from star.times import DAY_MS

Changes = dict[tuple[str, str], Entity | None]
"""(table, key) -> the entity as it is now, None where it was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The result of one step. offset, at_ms: of the facts consumed.

    changed: entities as they are now; closed needs whole. outcomes: with the reaction that each is about, in order.
    unmatched: events about nothing known, one sentence each.
    """

    offset: int
    at_ms: int
    reactions: tuple[Reaction, ...] = ()
    decisions: tuple[Decision, ...] = ()
    changed: Changes = field(default_factory=dict)
    outcomes: tuple[tuple[str, Outcome], ...] = ()
    unmatched: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing but the offset is to be committed."""
        return not (self.changed or self.reactions or self.decisions or self.outcomes or self.unmatched)


class UnitOfWork:
    """The state of one step, open for writing. to_reevaluate: items to be evaluated at this tick."""

    def __init__(
        self,
        state: State,
        catalogue: Catalogue,
        facts: Facts,
        quote_cache: QuoteCache,
        evaluation_gap_days: float,
    ) -> None:
        self.state = state
        self.view = StateView(state, catalogue, facts, quote_cache, evaluation_gap_days)
        self.offset = facts.offset
        self.at_ms = facts.at_ms
        self.to_reevaluate: set[str] = set()
        self.reactions: list[Reaction] = []
        self.decisions: list[Decision] = []
        self.outcomes: list[tuple[str, Outcome]] = []
        self.unmatched: list[str] = []
        self._changed: Changes = {}
        self._quotes = quote_cache

    def upsert(self, entity: Entity) -> None:
        """Keeps the entity, new or changed."""
        self.state.upsert(entity)
        self._changed[ENTITY_TABLES[type(entity)], entity_key(entity)] = entity

    def delete(self, entity: Entity) -> None:
        """Deletes the entity."""
        self.state.delete(entity)
        self._changed[ENTITY_TABLES[type(entity)], entity_key(entity)] = None

    def set_timer(self, kind: TimerKind, subject: str, due_ms: int) -> None:
        """Sets or moves the subject's timer of this kind."""
        id_ = timer_id(kind, subject)
        before = self.state.timers.get(id_)
        if before is None or before.due_ms != due_ms:
            self.upsert(Timer(id=id_, kind=kind, subject=subject, due_ms=due_ms))

    def clear_timer(self, kind: TimerKind, subject: str) -> None:
        """Deletes the subject's timer of this kind, if it has one."""
        timer = self.state.timers.get(timer_id(kind, subject))
        if timer is not None:
            self.delete(timer)

    def schedule_expiry(self, subject: str) -> None:
        """An ended order or prompt is kept for late outcomes, then deleted."""
        self.set_timer(TimerKind.EXPIRE, subject, self.at_ms + round(RETENTION_DAYS * DAY_MS))

    def replace_catalogue(self, catalogue: Catalogue) -> None:
        """Puts a changed fleet in force."""
        self.view.catalogue = catalogue
        self.invalidate_quotes()

    def invalidate_quotes(self) -> None:
        """Quotes are made anew: terms, lead times or the fleet changed."""
        self._quotes.clear()

    def result(self) -> StepResult:
        """What was gathered. Reactions in order of time: those of a hold that ended before the tick come first."""
        return StepResult(
            offset=self.offset,
            at_ms=self.at_ms,
            reactions=tuple(sorted(self.reactions, key=lambda reaction: reaction.at_ms)),
            decisions=tuple(self.decisions),
            changed=self._changed,
            outcomes=tuple(self.outcomes),
            unmatched=tuple(self.unmatched),
        )
