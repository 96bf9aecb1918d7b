"""The engine: one step takes the facts of a tick, and gives what is decided and what is kept.

Pure: no I/O, no clock, no randomness, and nothing depends on the order of a dictionary. In a step come events in their order,
then refills, then timers due, then items by name. For each, a handler returns commands, which are applied before the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from config.catalogue import Catalogue
from config.fleet_change import change_catalogue
from reactor.apply import apply
from reactor.decision.lead_time import LeadTime
from reactor.decision.quotes import LEAD_TIME_DEFAULT, quotes_of
from reactor.fleet_overrides import to_tables
from reactor.handlers import evaluation, events, refills, timers
from reactor.learning_sync import activate_samples, utc_day
from reactor.rules.price_limit import within_price
from reactor.state import ENTITY_TABLES, LeadTimeSample, State, Watermark, entity_key
from reactor.state_view import QuoteCache
from reactor.suppliers.registry import supplier_strategies
from reactor.unit_of_work import Changes, StepResult, UnitOfWork
from star.analyse import Facts
from star.errors import UsageError
from star.times import DAY_MS

EVALUATION_GAP_DAYS_MAX = 2.0
"""Ticks further apart are an interruption, not a rhythm that decisions have to reckon with."""


class Engine:
    """The reactor's core. catalogue: of the fleet file; overrides that the state keeps are in force over it.

    standalone: there is no other engine, so that nothing is learned from others. Else, before the first facts of a UTC day, the
    caller provides what the others learned (learning_sync.py):

        due = engine.samples_due(facts.at_ms)
        if due is not None:
            commit(engine.record_watermark(due))
            engine.provide_samples(due, samples of days up to due - EFFECT_DELAY_DAYS, once all partitions reached day due - 1)
    """

    def __init__(self, catalogue: Catalogue, state: State | None = None, *, standalone: bool = True) -> None:
        """Raises ConfigError where kept overrides and the fleet file contradict each other, and for a faulty supplier plug-in."""
        supplier_strategies()  # now rather than at the first quote, which may be days later
        self.state = State() if state is None else state
        if self.state.fleet_overrides:
            tables = to_tables(self.state.fleet_overrides.values())
            catalogue = change_catalogue(catalogue, tables, catalogue.profiles, source="settings changed since")
        self.catalogue = catalogue
        self._quotes: QuoteCache = {}
        self._standalone = standalone
        self._provided_samples: tuple[int, tuple[LeadTimeSample, ...]] | None = None

    def lead_days_of(self, item: str) -> tuple[float, float]:
        """The 10 % and 90 % lead times, in days, of an order of the item placed now, as learned."""
        return self.lead_time_of(item).p10_p90

    def lead_time_of(self, item: str) -> LeadTime:
        """The lead time of an order of the item placed now, as learned."""
        slot = self.catalogue.slots.get(item)
        if slot is None:
            return LEAD_TIME_DEFAULT
        quotes = self._quotes.get(item)
        if quotes is None:
            quotes = self._quotes[item] = quotes_of(slot, self.catalogue, self.state)
        chosen = next((quote for quote in quotes if within_price(slot, quote)), quotes[0] if quotes else None)
        return LEAD_TIME_DEFAULT if chosen is None else chosen.lead_time

    def samples_due(self, at_ms: int) -> int | None:
        """The UTC day for which `provide_samples` is to be called before facts at at_ms; None: nothing is missing."""
        day = self._new_day(at_ms)
        provided = self._provided_samples is not None and self._provided_samples[0] == day
        return None if self._standalone or provided else day

    def record_watermark(self, day: int) -> StepResult:
        """The result to be committed before the others' samples are asked for: all before this day is consumed here.

        Without it, partitions would wait for each other without end after a break of more than a day.
        """
        watermark = Watermark(day=day)
        self.state.upsert(watermark)
        changed: Changes = {(ENTITY_TABLES[Watermark], entity_key(watermark)): watermark}
        return StepResult(offset=self.state.offset, at_ms=self.state.at_ms, changed=changed)

    def provide_samples(self, day: int, other_samples: Iterable[LeadTimeSample]) -> None:
        """Takes the samples of all other partitions, in any order; they take effect at the first tick of this day."""
        self._provided_samples = (day, tuple(other_samples))

    def step(self, facts: Facts) -> StepResult:
        """The result of the facts of one tick. Facts that were consumed before change nothing.

        Raises UsageError where samples are due (`samples_due`).
        """
        state = self.state
        if facts.offset <= state.offset:
            return StepResult(offset=state.offset, at_ms=state.at_ms)
        if (due := self.samples_due(facts.at_ms)) is not None:
            raise UsageError(f"facts of day {due} came before its samples: expected provide_samples({due}, …) first")
        day = self._new_day(facts.at_ms)
        gap_ms = facts.at_ms - state.at_ms if state.at_ms else 0
        state.offset, state.at_ms = facts.offset, facts.at_ms
        if day is None and not self._has_work(facts):
            return StepResult(offset=facts.offset, at_ms=facts.at_ms)
        unit = UnitOfWork(state, self.catalogue, facts, self._quotes, min(gap_ms / DAY_MS, EVALUATION_GAP_DAYS_MAX))
        if day is not None:
            self._activate_samples(unit, day)
        self._handle(unit, facts)
        self.catalogue = unit.view.catalogue
        return unit.result()

    def _has_work(self, facts: Facts) -> bool:
        """Whether the facts hold anything to handle, or a timer is due."""
        if facts.events or facts.refills or facts.needs:
            return True
        due_ms = self.state.next_due_ms()
        return due_ms is not None and due_ms <= facts.at_ms

    def _handle(self, unit: UnitOfWork, facts: Facts) -> None:
        """Events, refills, timers, evaluations: each decided on the state that those before it left."""
        view = unit.view
        for event in facts.events:
            apply(unit, events.handle(view, event))
        for refill in facts.refills:
            apply(unit, refills.detected(view, refill))
        while (timer := self.state.next_due_timer(facts.at_ms)) is not None:
            unit.clear_timer(timer.kind, timer.subject)
            apply(unit, timers.handle(view, timer))
        for item in sorted(unit.to_reevaluate | view.observed_needs.keys()):
            if item in view.observed_needs:
                apply(unit, evaluation.recover_overdue(view, item))
            apply(unit, evaluation.evaluate(view, item, view.at_ms))

    def _new_day(self, at_ms: int) -> int | None:
        """The day that begins with facts at at_ms; None where it is that of the facts before them."""
        day = utc_day(at_ms)
        return day if day > utc_day(self.state.at_ms) else None

    def _activate_samples(self, unit: UnitOfWork, day: int) -> None:
        """Puts in force what was learned EFFECT_DELAY_DAYS ago and before."""
        _, others = self._provided_samples or (day, ())
        self._provided_samples = None
        apply(unit, activate_samples(unit.view, day, others))
