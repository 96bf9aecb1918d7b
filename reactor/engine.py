"""REACT and REPEAT as a function: (what is remembered, what a tick tells) -> what is done, and what is remembered then.

Pure: no I/O, no clock, no randomness, and nothing depends on the order of a dictionary. In a step: events in their order, then
refills, then timers due, then needs by item name. Cycles of needs are numbered here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from config.change import apply_checked, parse_change
from config.fleet import Experience
from config.resolve import Catalogue, PartItem
from reactor import orders, outcomes
from reactor.experiences import auto, coach, mandate, offer, overdue, respond, service
from reactor.experiences.case import Case
from reactor.lead_time import LeadTime
from reactor.lessons import day_of, start_over, take_effect
from reactor.quotes import LEAD_TIME_DEFAULT, Quote, quotes_of, stated_lead_days
from reactor.rules.consent import PURPOSES, consent, has_consent
from reactor.rules.price import within_price
from reactor.settings import settings_of, tables_of
from reactor.state import TABLES, Lesson, Need, OrderState, Reached, State, Timer, TimerKind, key_of
from reactor.texts import say
from reactor.turn import REFUSED, Changes, Step, Turn
from star.analyse import Facts, Forecast, NeedKind, NeedSeen, RefillStage
from star.errors import ConfigError, UsageError
from star.records import Event, FleetChange, Request, SupplierTerms
from star.repeat import NeedState, Outcome
from star.times import DAY_MS

LOOK_GAP_DAYS_MAX = 2.0
"""Ticks further apart are an interruption, not a rhythm that decisions have to reckon with."""
FORECAST_AGE_MS = DAY_MS // 2
"""A living need keeps a forecast no older than this, for decisions at moments without a look."""
FORECAST_STALE_MS = 2 * DAY_MS
"""An item that no look saw for so long has left the net: it is not due, and nothing is decided on what was said before."""

_SLOTS = {
    Experience.RESPOND: respond.decide,
    Experience.OFFER: offer.decide,
    Experience.COACH: coach.decide,
    Experience.AUTO: auto.decide,
}
_SETTLED = frozenset({NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED})
"""Nothing is decided about a need in these: its order or booking is under way."""


class Engine:
    """The reactor's core. catalogue: the fleet file's; settings that the state remembers stand over it.

    alone: there is no other engine, so nothing is to be learned from others. Else, before the first facts of a UTC day, the
    caller hands in what the others learned (lessons.py):

        due = engine.lessons_due(facts.at_ms)
        if due is not None:
            commit(engine.reach(due))
            engine.learn(due, lessons of days up to due - LATE_DAYS, once all partitions have reached day due - 1)
    """

    def __init__(self, catalogue: Catalogue, state: State | None = None, *, alone: bool = True) -> None:
        """Raises ConfigError where remembered settings and the fleet file contradict each other."""
        self.state = State() if state is None else state
        if self.state.settings:
            tables = tables_of(self.state.settings.values())
            catalogue = apply_checked(catalogue, tables, catalogue.profiles, source="settings changed since")
        self.catalogue = catalogue
        self._quotes: dict[str, tuple[Quote, ...]] = {}
        self._alone = alone
        self._handed_in: tuple[int, tuple[Lesson, ...]] | None = None

    def lead_time(self, item: str) -> tuple[float, float]:
        """The 10 % and 90 % lead times, in days, of an order of the item placed now, as learned."""
        return self.lead(item).outer

    def lead(self, item: str) -> LeadTime:
        """How long an order of the item placed now takes, as learned."""
        slot = self.catalogue.slots.get(item)
        if slot is None:
            return LEAD_TIME_DEFAULT
        quotes = self._quotes.get(item)
        if quotes is None:
            quotes = self._quotes[item] = quotes_of(slot, self.catalogue, self.state)
        chosen = next((quote for quote in quotes if within_price(slot, quote)), quotes[0] if quotes else None)
        return LEAD_TIME_DEFAULT if chosen is None else chosen.lead

    def lessons_due(self, at_ms: int) -> int | None:
        """The UTC day for which `learn` is to be called before facts at at_ms; None: what is in force is right."""
        day = self._day_begun(at_ms)
        handed_in = self._handed_in is not None and self._handed_in[0] == day
        return None if self._alone or handed_in else day

    def reach(self, day: int) -> Step:
        """To be committed before the lessons of the others are asked for: all before this day is consumed here.

        Without it, partitions after a break of more than a day would wait for each other for ever.
        """
        reached = Reached(day=day)
        self.state.put(reached)
        changed: Changes = {(TABLES[Reached], key_of(reached)): reached}
        return Step(offset=self.state.offset, at_ms=self.state.at_ms, changed=changed)

    def learn(self, day: int, others: Iterable[Lesson]) -> None:
        """Hands in the lessons of all other partitions, in any order, to take effect at the first tick of this day."""
        self._handed_in = (day, tuple(others))

    def _day_begun(self, at_ms: int) -> int | None:
        """The day that begins with facts at at_ms; None where it is the one of the facts before them."""
        day = day_of(at_ms)
        return day if day > day_of(self.state.at_ms) else None

    def _take_effect(self, turn: Turn, day: int) -> None:
        """What was learned two days ago and before is in force from now on."""
        _, others = self._handed_in or (day, ())
        self._handed_in = None
        take_effect(turn, day, others)

    def step(self, facts: Facts) -> Step:
        """Takes the facts of one tick. Facts that were consumed before change nothing.

        Raises UsageError where lessons are due (`lessons_due`).
        """
        state = self.state
        if facts.offset <= state.offset:
            return Step(offset=state.offset, at_ms=state.at_ms)
        if (due := self.lessons_due(facts.at_ms)) is not None:
            raise UsageError(f"facts of day {due} without its lessons: expected learn({due}, …) before them")
        day = self._day_begun(facts.at_ms)
        gap_ms = facts.at_ms - state.at_ms if state.at_ms else 0
        state.offset, state.at_ms = facts.offset, facts.at_ms
        if day is None and not (facts.events or facts.refills or facts.needs):
            due_ms = state.next_due_ms()
            if due_ms is None or due_ms > facts.at_ms:
                return Step(offset=facts.offset, at_ms=facts.at_ms)
        turn = Turn(state, self.catalogue, facts, self._quotes, min(gap_ms / DAY_MS, LOOK_GAP_DAYS_MAX))
        if day is not None:
            self._take_effect(turn, day)
        for event in facts.events:
            self._take(turn, event)
        for refill in facts.refills:
            if refill.stage is RefillStage.CONFIRMED:
                orders.rise_seen(turn, refill)
        while (timer := state.take_due(facts.at_ms)) is not None:
            self._ring(turn, timer)
        for item in sorted(turn.again | turn.seen.keys()):
            self._look(turn, item, item in turn.again)
        return turn.step()

    def _take(self, turn: Turn, event: Event) -> None:
        match event:
            case Outcome():
                outcomes.take_outcome(turn, event)
            case Request():
                outcomes.take_request(turn, event)
            case SupplierTerms():
                outcomes.take_terms(turn, event)
            case FleetChange():
                self._change(turn, event)

    def _change(self, turn: Turn, change: FleetChange) -> None:
        """The customer's choices take effect at once: what was held is decided again."""
        try:
            tables = parse_change(change.tables)
            catalogue = apply_checked(self.catalogue, tables, self.catalogue.profiles)
        except ConfigError as error:
            turn.unmatched.append(f"a change of the fleet was not taken: {str(error).splitlines()[0]}")
            return
        before, self.catalogue = self.catalogue, catalogue
        turn.catalogue = catalogue
        for setting in settings_of(tables, catalogue):
            turn.put(setting)
        for row in tables.get("suppliers", []):
            self._take_supplier(turn, before, str(row["id"]), change.at_ms)
        turn.forget_quotes()
        customers = {str(row["id"]) for row in tables.get("customers", [])}
        customers |= {catalogue.devices[str(row["id"])].customer for row in tables.get("devices", [])}
        everyone = bool(tables.get("suppliers"))
        outcomes.decide_again(turn, lambda need: everyone or need.customer in customers)

    def _take_supplier(self, turn: Turn, before: Catalogue, id_: str, said_ms: int) -> None:
        """A supplier's row stands over what was said by event; other lead times than those in force are learned anew."""
        memory = turn.state.suppliers.get(id_)
        if memory is not None:
            turn.put(replace(memory, price=None, lead_days=None))
        known = before.suppliers.get(id_)
        now = self.catalogue.suppliers[id_].lead_time_days
        if known is not None and stated_lead_days(known, memory) != now:
            start_over(turn, id_, said_ms)

    def _ring(self, turn: Turn, timer: Timer) -> None:
        """A timer is due: it is over before what it was set for happens, which may set it again."""
        turn.drop(timer)
        match timer.kind:
            case TimerKind.FORGET:
                forgotten = self.state.orders.get(timer.subject) or self.state.questions.get(timer.subject)
                if forgotten is not None:
                    turn.drop(forgotten)
            case TimerKind.DEADLINE:
                orders.deadline(turn, self.state.orders[timer.subject])
            case TimerKind.AGAIN:
                turn.again.add(_item_of(timer))
            case TimerKind.HOLD:
                need = self.state.needs.get(timer.subject)
                if need is not None:
                    self._decide(turn, need.item, need, turn.seen.get(need.item), timer.due_ms)

    def _look(self, turn: Turn, item: str, again: bool) -> None:
        """An item that a look saw in the net, or that something happened to."""
        need = self.state.living(item)
        seen = turn.seen.get(item)
        if need is not None and need.state is NeedState.ORDERED and seen is not None:
            self._overdue(turn, item, need, seen)
            need = self.state.living(item)
        if need is not None and need.state in _SETTLED:
            return
        if seen is not None or (again and need is not None):
            self._decide(turn, item, need, seen, turn.at_ms)

    def _overdue(self, turn: Turn, key: str, need: Need, seen: NeedSeen) -> None:
        """An item that would be ordered unasked, with an order under way: is it too late to be waited for?"""
        item, order = turn.catalogue.slots.get(key), self.state.arriving(key)
        if item is None or order is None or order.state is not OrderState.OUTSTANDING or order.need != need.id:
            return
        customer = turn.customer(item)
        if item.experience is Experience.AUTO and has_consent(customer, NeedKind.RUN_OUT) and not need.refused:
            case = Case(
                turn=turn,
                item=item,
                customer=customer,
                need=need,
                forecast=seen.forecast,
                at_ms=turn.at_ms,
                kind=NeedKind.RUN_OUT,
                cause=seen.cause,
            )
            overdue.decide(case, order)

    def _decide(self, turn: Turn, key: str, need: Need | None, seen: NeedSeen | None, at_ms: int) -> None:
        item = turn.item(key)
        if item is None or (need is not None and need.state in _SETTLED):
            return
        customer = turn.customer(item)
        kind = NeedKind.SERVICE_DUE if isinstance(item, PartItem) else NeedKind.RUN_OUT
        if not has_consent(customer, kind):
            if need is not None:
                verdict = consent(customer, kind)
                because = say(customer.language, "consent_no", purpose=say(customer.language, PURPOSES[kind]))
                need = turn.receipt(need, REFUSED, because, at_ms, rules=(verdict,), key="consent")
                if need.mandate is not None:
                    turn.put(replace(need, mandate=None))
            return
        forecast = _forecast(turn, need, seen)
        if need is not None and forecast is not None and forecast is not need.forecast:
            need = self._refreshed(turn, need, forecast)
        case = Case(
            turn=turn,
            item=item,
            customer=customer,
            need=need,
            forecast=forecast,
            at_ms=at_ms,
            kind=kind,
            cause=seen.cause if seen is not None else "",
        )
        if need is not None and need.mandate is not None:
            mandate.carry_out(case, need.mandate)  # type: ignore[arg-type]
        elif forecast is None:
            return
        elif isinstance(item, PartItem):
            service.decide(case)  # type: ignore[arg-type]
        else:
            _SLOTS[item.experience](case)  # type: ignore[arg-type]

    def _refreshed(self, turn: Turn, need: Need, forecast: Forecast) -> Need:
        """The need with the newer forecast, kept where the old one has aged."""
        if need.forecast is not None and forecast.at_ms - need.forecast.at_ms < FORECAST_AGE_MS:
            return need
        need = replace(need, forecast=forecast)
        turn.put(need)
        return need


def _forecast(turn: Turn, need: Need | None, seen: NeedSeen | None) -> Forecast | None:
    """This tick's look, else what the need remembers."""
    if seen is not None:
        return seen.forecast
    if need is None or need.forecast is None:
        return None
    stale = turn.at_ms - need.forecast.at_ms > FORECAST_STALE_MS
    return None if stale and need.mandate is None else need.forecast


def _item_of(timer: Timer) -> str:
    """The item of a need's timer: its subject is `device/name/cycle`."""
    return timer.subject.rsplit("/", 1)[0]
