"""One step at work: the memory, what this tick tells, and what is gathered on the way - changes, reactions, receipts.

The hands of the engine: opening and moving needs, making reactions and receipts, timers. What is to be done is decided in
experiences/, outcomes.py and order_lifecycle.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from config.catalogue import Catalogue, PartItem, SlotItem
from config.fleet import Customer
from reactor.decision.quotes import Quote, quotes_of
from reactor.rules.contact_limit import add_contact
from reactor.state import (
    ENTITY_TABLES,
    RETENTION_DAYS,
    Entity,
    ItemRecord,
    Need,
    Order,
    PendingPrompt,
    State,
    SupplierRecord,
    Timer,
    TimerKind,
    entity_key,
)
from star.analyse import DetectedNeed, Facts, Forecast, NeedKind
from star.react import ID_VERBS, Decision, Option, Reaction, ReactionType, RuleVerdict, need_id, reaction_id
from star.repeat import NEED_TRANSITIONS, NeedState, OrderState, Outcome, transition
from star.times import DAY_MS

Changes = dict[tuple[str, str], Entity | None]
"""(table, key) -> the entity as it is now, None where it is gone."""

WAIT, REFUSED = "wait", "refused"
"""Verdicts of receipts without a reaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one tick brought about. offset, at_ms: of the facts consumed.

    changed: entities as they are now; closed needs whole. said: outcomes by the reaction they speak of, in order. unmatched:
    events that speak of nothing known, one sentence each.
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
        """Whether nothing but the offset is to be kept."""
        return not (self.changed or self.reactions or self.decisions or self.outcomes or self.unmatched)


class UnitOfWork:
    """The working set of one step."""

    def __init__(
        self,
        state: State,
        catalogue: Catalogue,
        facts: Facts,
        quote_cache: dict[str, tuple[Quote, ...]],
        evaluation_gap_days: float,
    ) -> None:
        self.state = state
        self.catalogue = catalogue
        self.at_ms = facts.at_ms
        self.offset = facts.offset
        self.evaluation_gap_days = evaluation_gap_days
        self.observed_needs: dict[str, DetectedNeed] = {need.item: need for need in facts.needs}
        self.to_reevaluate: set[str] = set()
        self.reactions: list[Reaction] = []
        self.decisions: list[Decision] = []
        self.changed: Changes = {}
        self.outcomes: list[tuple[str, Outcome]] = []
        self.unmatched: list[str] = []
        self._quotes = quote_cache

    def result(self) -> StepResult:
        """What was gathered. Reactions in order of their time: those of holds that ended earlier come first."""
        return StepResult(
            offset=self.offset,
            at_ms=self.at_ms,
            reactions=tuple(sorted(self.reactions, key=lambda reaction: reaction.at_ms)),
            decisions=tuple(self.decisions),
            changed=self.changed,
            outcomes=tuple(self.outcomes),
            unmatched=tuple(self.unmatched),
        )

    # What is in force.

    def item(self, key: str) -> SlotItem | PartItem | None:
        """The item, or None where the fleet no longer has it."""
        return self.catalogue.slots.get(key) or self.catalogue.parts.get(key)

    def customer(self, item: SlotItem | PartItem) -> Customer:
        """The item's customer."""
        return self.catalogue.customers[item.customer]

    def quotes(self, item: SlotItem) -> tuple[Quote, ...]:
        """One order from each accepted supplier, best first."""
        quotes = self._quotes.get(item.key)
        if quotes is None:
            quotes = self._quotes[item.key] = quotes_of(item, self.catalogue, self.state)
        return quotes

    def invalidate_quotes(self) -> None:
        """Terms, lead times or the fleet changed."""
        self._quotes.clear()

    def item_record(self, item: str) -> ItemRecord:
        """What stays of the item."""
        return self.state.items.get(item) or ItemRecord(item=item)

    def supplier_record(self, supplier: str) -> SupplierRecord:
        """What stays of the supplier."""
        return self.state.suppliers.get(supplier) or SupplierRecord(supplier=supplier)

    def orders(self, customer: str) -> list[Order]:
        """The customer's orders that are remembered."""
        return [self.state.orders[id_] for id_ in sorted(self.state.orders_by_customer.get(customer, ()))]

    # Changes.

    def upsert(self, entity: Entity) -> None:
        """Keeps the entity, new or changed."""
        self.state.upsert(entity)
        self.changed[ENTITY_TABLES[type(entity)], entity_key(entity)] = entity

    def delete(self, entity: Entity) -> None:
        """Lets the entity go."""
        self.state.delete(entity)
        self.changed[ENTITY_TABLES[type(entity)], entity_key(entity)] = None

    def set_timer(self, kind: TimerKind, subject: str, due_ms: int) -> None:
        """Sets or moves the subject's timer of this kind."""
        id_ = f"{kind}:{subject}"
        before = self.state.timers.get(id_)
        if before is None or before.due_ms != due_ms:
            self.upsert(Timer(id=id_, kind=kind, subject=subject, due_ms=due_ms))

    def clear_timer(self, kind: TimerKind, subject: str) -> None:
        """Takes the subject's timer of this kind away, if it has one."""
        timer = self.state.timers.get(f"{kind}:{subject}")
        if timer is not None:
            self.delete(timer)

    def schedule_expiry(self, subject: str) -> None:
        """An ended order or question stays in the memory for late words about it."""
        self.set_timer(TimerKind.EXPIRE, subject, self.at_ms + round(RETENTION_DAYS * DAY_MS))

    # Needs.

    def open_need(self, item: SlotItem | PartItem, kind: NeedKind, cause: str, at_ms: int) -> Need:
        """A new need of the item, which has none."""
        record = self.item_record(item.key)
        cycle = record.cycle + 1
        self.upsert(replace(record, cycle=cycle))
        need = Need(
            id=need_id(item.key, cycle),
            item=item.key,
            customer=item.customer,
            kind=kind,
            cause=cause,
            cycle=cycle,
            state=NeedState.OPEN,
            opened_ms=at_ms,
        )
        self.upsert(need)
        return need

    def transition(self, need: Need, to: NeedState) -> Need:
        """The need in its new state, kept. Staying is no move."""
        if need.state is not to:
            need = replace(need, state=transition(need.state, to))
            self.upsert(need)
        return need

    def transition_order(self, order: Order, to: OrderState) -> Order:
        """The order in its new state, kept. Staying is no move."""
        if order.state is not to:
            order = replace(order, state=transition(order.state, to))
            self.upsert(order)
        return order

    def transition_via_open(self, need: Need, to: NeedState) -> Need:
        """The need in state `to`, over "open" where the table has no direct move."""
        if need.state is not to and to not in NEED_TRANSITIONS[need.state]:
            need = self.transition(need, NeedState.OPEN)
        return self.transition(need, to)

    def close_need(self, need: Need, at_ms: int) -> None:
        """Ends the need: its questions and timers end with it."""
        self.close_prompts(need)
        self.clear_need_timers(need)
        self.upsert(replace(need, state=transition(need.state, NeedState.CLOSED), closed_ms=at_ms))

    def close_prompts(self, need: Need) -> None:
        """An answer on one closes the question on all."""
        for id_ in sorted(self.state.prompts_by_need.get(need.id, ())):
            self.upsert(replace(self.state.prompts[id_], open=False))
            self.schedule_expiry(id_)

    def clear_need_timers(self, need: Need) -> None:
        """No hold and no later look is left of what was decided before."""
        self.clear_timer(TimerKind.HOLD, need.id)
        self.clear_timer(TimerKind.REEVALUATE, need.id)

    # Reactions and receipts.

    def add_reaction(
        self,
        need: Need,
        kind: ReactionType,
        at_ms: int,
        because: str,
        *,
        option: Option | None = None,
        options: tuple[Option, ...] = (),
        forecast: Forecast | None = None,
        cancel_before_ms: int | None = None,
    ) -> tuple[Need, Reaction]:
        """Makes the need's next reaction of this kind; the need is kept with the attempt counted."""
        verb = ID_VERBS[kind]
        attempt = need.attempts.get(verb, 0) + 1
        need = replace(need, attempts={**need.attempts, verb: attempt})
        self.upsert(need)
        device, name = need.item.split("/", 1)
        reaction = Reaction(
            id=reaction_id(need.id, kind, attempt),
            type=kind,
            at_ms=at_ms,
            need=need.id,
            attempt=attempt,
            device=device,
            item=name,
            customer=need.customer,
            because=because,
            supplier=option.supplier or None if option else None,
            sku=option.sku or None if option else None,
            quantity=option.quantity if option else None,
            price=option.price if option else None,
            options=options,
            forecast=forecast,
            cancel_before_ms=cancel_before_ms,
        )
        self.reactions.append(reaction)
        return need, reaction

    def add_cancellation(self, order: Order, because: str) -> Reaction:
        """Makes the cancellation of an order: it has the order's number, as an order is called off at most once."""
        attempt = int(order.id.rsplit("/", 1)[1])
        device, name = order.item.split("/", 1)
        reaction = Reaction(
            id=reaction_id(order.need, ReactionType.ORDER_CANCELLED, attempt),
            type=ReactionType.ORDER_CANCELLED,
            at_ms=self.at_ms,
            need=order.need,
            attempt=attempt,
            device=device,
            item=name,
            customer=order.customer,
            because=because,
            supplier=order.supplier,
            sku=order.sku,
            quantity=order.quantity,
            price=order.price,
            order=order.id,
        )
        self.reactions.append(reaction)
        return reaction

    def add_prompt(self, need: Need, reaction: Reaction, options: tuple[Option, ...]) -> None:
        """Remembers what the customer can answer now."""
        self.upsert(
            PendingPrompt(
                id=reaction.id,
                need=need.id,
                item=need.item,
                customer=need.customer,
                type=reaction.type,
                at_ms=reaction.at_ms,
                options=options,
            )
        )

    def record_contact(self, customer: str, at_ms: int) -> None:
        """A contact was made."""
        self.upsert(add_contact(self.state.contacts.get(customer), customer, at_ms))

    def record_decision(
        self,
        need: Need,
        verdict: str,
        because: str,
        at_ms: int,
        *,
        rules: tuple[RuleVerdict, ...] = (),
        forecast: Forecast | None = None,
        alternative: str = "",
        figures: dict[str, float] | None = None,
        reaction: str | None = None,
        dedup_key: str = "",
    ) -> Need:
        """Writes a receipt, and gives the need with it counted.

        key: what the verdict is about, for one without a reaction: the same verdict about the same thing again is no news.
        """
        said = f"{verdict}:{dedup_key}"
        if reaction is None and dedup_key and need.verdict == said:
            return need
        number = need.decisions + 1
        self.decisions.append(
            Decision(
                id=f"{need.id}/decision/{number}",
                need=need.id,
                at_ms=at_ms,
                verdict=verdict,
                because=because,
                rules=rules,
                forecast=forecast,
                alternative=alternative,
                figures=figures or {},
                reaction=reaction,
            )
        )
        need = replace(need, decisions=number, verdict=said, forecast=forecast or need.forecast)
        self.upsert(need)
        return need
