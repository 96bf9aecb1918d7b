"""REACT and REPEAT as a function: (what is remembered, what a tick tells) -> what is done, and what is remembered then.

Pure: no I/O, no clock, no randomness, and nothing depends on the order of a dictionary. In a step: events in their order, then
refills, then timers due, then needs by item name. Cycles of needs are numbered here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from config.catalogue import Catalogue, PartItem
from config.fleet import Experience
from config.fleet_change import change_catalogue, parse_change
from reactor import order_lifecycle, outcomes
from reactor.decision import order_recovery
from reactor.decision.decision_context import DecisionContext
from reactor.decision.lead_time import LeadTime
from reactor.decision.quotes import LEAD_TIME_DEFAULT, Quote, quotes_of, stated_lead_days
from reactor.experiences import authorization, auto, coach, offer, respond, service
from reactor.fleet_overrides import overrides_of, to_tables
from reactor.i18n import translate
from reactor.learning_sync import activate_samples, reset_learning, utc_day
from reactor.rules.consent import PURPOSES, check_consent, has_consent
from reactor.rules.price_limit import within_price
from reactor.state import (
    ENTITY_TABLES,
    LeadTimeSample,
    Need,
    State,
    Timer,
    TimerKind,
    Watermark,
    entity_key,
)
from reactor.unit_of_work import REFUSED, Changes, StepResult, UnitOfWork
from star.analyse import DetectedNeed, Facts, Forecast, NeedKind, RefillStage
from star.errors import ConfigError, UsageError
from star.records import Event, FleetChange, Request, SupplierTerms
from star.repeat import NeedState, OrderState, Outcome
from star.times import DAY_MS

EVALUATION_GAP_DAYS_MAX = 2.0
"""Ticks further apart are an interruption, not a rhythm that decisions have to reckon with."""
FORECAST_AGE_MS = DAY_MS // 2
"""A living need keeps a forecast no older than this, for decisions at moments without a look."""
FORECAST_STALE_MS = 2 * DAY_MS
"""An item that no look saw for so long has left the net: it is not due, and nothing is decided on what was said before."""

_SLOT_EXPERIENCES = {
    Experience.RESPOND: respond.decide,
    Experience.OFFER: offer.decide,
    Experience.COACH: coach.decide,
    Experience.AUTO: auto.decide,
}
_IN_PROGRESS_STATES = frozenset({NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED})
"""Nothing is decided about a need in these: its order or booking is under way."""


class Engine:
    """The reactor's core. catalogue: the fleet file's; settings that the state remembers stand over it.

    alone: there is no other engine, so nothing is to be learned from others. Else, before the first facts of a UTC day, the
    caller hands in what the others learned (learning_sync.py):

        due = engine.lessons_due(facts.at_ms)
        if due is not None:
            commit(engine.reach(due))
            engine.learn(due, lessons of days up to due - LATE_DAYS, once all partitions have reached day due - 1)
    """

    def __init__(self, catalogue: Catalogue, state: State | None = None, *, standalone: bool = True) -> None:
        """Raises ConfigError where remembered settings and the fleet file contradict each other."""
        self.state = State() if state is None else state
        if self.state.fleet_overrides:
            tables = to_tables(self.state.fleet_overrides.values())
            catalogue = change_catalogue(catalogue, tables, catalogue.profiles, source="settings changed since")
        self.catalogue = catalogue
        self._quotes: dict[str, tuple[Quote, ...]] = {}
        self._standalone = standalone
        self._provided_samples: tuple[int, tuple[LeadTimeSample, ...]] | None = None

    def lead_days_of(self, item: str) -> tuple[float, float]:
        """The 10 % and 90 % lead times, in days, of an order of the item placed now, as learned."""
        return self.lead_time_of(item).p10_p90

    def lead_time_of(self, item: str) -> LeadTime:
        """How long an order of the item placed now takes, as learned."""
        slot = self.catalogue.slots.get(item)
        if slot is None:
            return LEAD_TIME_DEFAULT
        quotes = self._quotes.get(item)
        if quotes is None:
            quotes = self._quotes[item] = quotes_of(slot, self.catalogue, self.state)
        chosen = next((quote for quote in quotes if within_price(slot, quote)), quotes[0] if quotes else None)
        return LEAD_TIME_DEFAULT if chosen is None else chosen.lead_time

    def samples_due(self, at_ms: int) -> int | None:
        """The UTC day for which `learn` is to be called before facts at at_ms; None: what is in force is right."""
        day = self._new_day(at_ms)
        handed_in = self._provided_samples is not None and self._provided_samples[0] == day
        return None if self._standalone or handed_in else day

    def record_watermark(self, day: int) -> StepResult:
        """To be committed before the lessons of the others are asked for: all before this day is consumed here.

        Without it, partitions after a break of more than a day would wait for each other for ever.
        """
        reached = Watermark(day=day)
        self.state.upsert(reached)
        changed: Changes = {(ENTITY_TABLES[Watermark], entity_key(reached)): reached}
        return StepResult(offset=self.state.offset, at_ms=self.state.at_ms, changed=changed)

    def provide_samples(self, day: int, other_samples: Iterable[LeadTimeSample]) -> None:
        """Hands in the lessons of all other partitions, in any order, to take effect at the first tick of this day."""
        self._provided_samples = (day, tuple(other_samples))

    def _new_day(self, at_ms: int) -> int | None:
        """The day that begins with facts at at_ms; None where it is the one of the facts before them."""
        day = utc_day(at_ms)
        return day if day > utc_day(self.state.at_ms) else None

    def _activate_samples(self, unit: UnitOfWork, day: int) -> None:
        """What was learned two days ago and before is in force from now on."""
        _, others = self._provided_samples or (day, ())
        self._provided_samples = None
        activate_samples(unit, day, others)

    def step(self, facts: Facts) -> StepResult:
        """Takes the facts of one tick. Facts that were consumed before change nothing.

        Raises UsageError where lessons are due (`lessons_due`).
        """
        state = self.state
        if facts.offset <= state.offset:
            return StepResult(offset=state.offset, at_ms=state.at_ms)
        if (due := self.samples_due(facts.at_ms)) is not None:
            raise UsageError(f"facts of day {due} without its lessons: expected learn({due}, …) before them")
        day = self._new_day(facts.at_ms)
        gap_ms = facts.at_ms - state.at_ms if state.at_ms else 0
        state.offset, state.at_ms = facts.offset, facts.at_ms
        if day is None and not (facts.events or facts.refills or facts.needs):
            due_ms = state.next_due_ms()
            if due_ms is None or due_ms > facts.at_ms:
                return StepResult(offset=facts.offset, at_ms=facts.at_ms)
        unit = UnitOfWork(state, self.catalogue, facts, self._quotes, min(gap_ms / DAY_MS, EVALUATION_GAP_DAYS_MAX))
        if day is not None:
            self._activate_samples(unit, day)
        for event in facts.events:
            self._apply_event(unit, event)
        for refill in facts.refills:
            if refill.stage is RefillStage.CONFIRMED:
                order_lifecycle.apply_refill(unit, refill)
        while (timer := state.next_due_timer(facts.at_ms)) is not None:
            self._fire_timer(unit, timer)
        for item in sorted(unit.to_reevaluate | unit.observed_needs.keys()):
            self._evaluate(unit, item, item in unit.to_reevaluate)
        return unit.result()

    def _apply_event(self, unit: UnitOfWork, event: Event) -> None:
        match event:
            case Outcome():
                outcomes.apply_outcome(unit, event)
            case Request():
                outcomes.apply_request(unit, event)
            case SupplierTerms():
                outcomes.apply_supplier_terms(unit, event)
            case FleetChange():
                self._apply_fleet_change(unit, event)

    def _apply_fleet_change(self, unit: UnitOfWork, change: FleetChange) -> None:
        """The customer's choices take effect at once: what was held is decided again."""
        try:
            tables = parse_change(change.tables)
            catalogue = change_catalogue(self.catalogue, tables, self.catalogue.profiles)
        except ConfigError as error:
            unit.unmatched.append(f"a change of the fleet was not taken: {str(error).splitlines()[0]}")
            return
        before, self.catalogue = self.catalogue, catalogue
        unit.catalogue = catalogue
        for override in overrides_of(tables, catalogue):
            unit.upsert(override)
        for row in tables.get("suppliers", []):
            self._apply_supplier_row(unit, before, str(row["id"]), change.at_ms)
        unit.invalidate_quotes()
        customers = {str(row["id"]) for row in tables.get("customers", [])}
        customers |= {catalogue.devices[str(row["id"])].customer for row in tables.get("devices", [])}
        everyone = bool(tables.get("suppliers"))
        outcomes.reevaluate_needs(unit, lambda need: everyone or need.customer in customers)

    def _apply_supplier_row(self, unit: UnitOfWork, before: Catalogue, id_: str, stated_ms: int) -> None:
        """A supplier's row stands over what was said by event; other lead times than those in force are learned anew."""
        record = unit.state.suppliers.get(id_)
        if record is not None:
            unit.upsert(replace(record, price=None, lead_days=None))
        known = before.suppliers.get(id_)
        now = self.catalogue.suppliers[id_].lead_time_days
        if known is not None and stated_lead_days(known, record) != now:
            reset_learning(unit, id_, stated_ms)

    def _fire_timer(self, unit: UnitOfWork, timer: Timer) -> None:
        """A timer is due: it is over before what it was set for happens, which may set it again."""
        unit.delete(timer)
        match timer.kind:
            case TimerKind.EXPIRE:
                forgotten = self.state.orders.get(timer.subject) or self.state.prompts.get(timer.subject)
                if forgotten is not None:
                    unit.delete(forgotten)
            case TimerKind.DEADLINE:
                order_lifecycle.handle_deadline(unit, self.state.orders[timer.subject])
            case TimerKind.REEVALUATE:
                unit.to_reevaluate.add(_item_of(timer))
            case TimerKind.HOLD:
                need = self.state.needs.get(timer.subject)
                if need is not None:
                    self._decide(unit, need.item, need, unit.observed_needs.get(need.item), timer.due_ms)

    def _evaluate(self, unit: UnitOfWork, item: str, reevaluate: bool) -> None:
        """An item that a look saw in the net, or that something happened to."""
        need = self.state.live_need(item)
        seen = unit.observed_needs.get(item)
        if need is not None and need.state is NeedState.ORDERED and seen is not None:
            self._check_overdue(unit, item, need, seen)
            need = self.state.live_need(item)
        if need is not None and need.state in _IN_PROGRESS_STATES:
            return
        if seen is not None or (reevaluate and need is not None):
            self._decide(unit, item, need, seen, unit.at_ms)

    def _check_overdue(self, unit: UnitOfWork, key: str, need: Need, seen: DetectedNeed) -> None:
        """An item that would be ordered unasked, with an order under way: is it too late to be waited for?"""
        item, order = unit.catalogue.slots.get(key), self.state.open_order(key)
        if item is None or order is None or order.state is not OrderState.OUTSTANDING or order.need != need.id:
            return
        customer = unit.customer(item)
        if item.experience is Experience.AUTO and has_consent(customer, NeedKind.RUN_OUT) and not need.refused:
            context = DecisionContext(
                unit=unit,
                item=item,
                customer=customer,
                need=need,
                forecast=seen.forecast,
                at_ms=unit.at_ms,
                kind=NeedKind.RUN_OUT,
                cause=seen.cause,
            )
            order_recovery.recover_overdue(context, order)

    def _decide(self, unit: UnitOfWork, key: str, need: Need | None, seen: DetectedNeed | None, at_ms: int) -> None:
        item = unit.item(key)
        if item is None or (need is not None and need.state in _IN_PROGRESS_STATES):
            return
        customer = unit.customer(item)
        kind = NeedKind.SERVICE_DUE if isinstance(item, PartItem) else NeedKind.RUN_OUT
        if not has_consent(customer, kind):
            if need is not None:
                verdict = check_consent(customer, kind)
                because = translate(
                    customer.language, "consent_no", purpose=translate(customer.language, PURPOSES[kind])
                )
                need = unit.record_decision(need, REFUSED, because, at_ms, rules=(verdict,), dedup_key="consent")
                if need.mandate is not None:
                    unit.upsert(replace(need, mandate=None))
            return
        forecast = _current_forecast(unit, need, seen)
        if need is not None and forecast is not None and forecast is not need.forecast:
            need = self._refresh_forecast(unit, need, forecast)
        context = DecisionContext(
            unit=unit,
            item=item,
            customer=customer,
            need=need,
            forecast=forecast,
            at_ms=at_ms,
            kind=kind,
            cause=seen.cause if seen is not None else "",
        )
        if need is not None and need.mandate is not None:
            authorization.execute(context, need.mandate)  # type: ignore[arg-type]
        elif forecast is None:
            return
        elif isinstance(item, PartItem):
            service.decide(context)  # type: ignore[arg-type]
        else:
            _SLOT_EXPERIENCES[item.experience](context)  # type: ignore[arg-type]

    def _refresh_forecast(self, unit: UnitOfWork, need: Need, forecast: Forecast) -> Need:
        """The need with the newer forecast, kept where the old one has aged."""
        if need.forecast is not None and forecast.at_ms - need.forecast.at_ms < FORECAST_AGE_MS:
            return need
        need = replace(need, forecast=forecast)
        unit.upsert(need)
        return need


def _current_forecast(unit: UnitOfWork, need: Need | None, seen: DetectedNeed | None) -> Forecast | None:
    """This tick's look, else what the need remembers."""
    if seen is not None:
        return seen.forecast
    if need is None or need.forecast is None:
        return None
    stale = unit.at_ms - need.forecast.at_ms > FORECAST_STALE_MS
    return None if stale and need.mandate is None else need.forecast


def _item_of(timer: Timer) -> str:
    """The item of a need's timer: its subject is `device/name/cycle`."""
    return timer.subject.rsplit("/", 1)[0]
