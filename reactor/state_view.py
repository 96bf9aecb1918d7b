"""What a decision may read: the state, the fleet and the facts of one tick, with no way to change any of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from config.catalogue import Catalogue, PartItem, SlotItem
from config.fleet import Customer
from reactor.decision.quotes import PriceForecasts, Quote, price_forecasts_of, quotes_for, quotes_of
from reactor.state import (
    ContactHistory,
    ItemRecord,
    LeadTimeSample,
    Need,
    Order,
    PendingPrompt,
    State,
    SupplierRecord,
    TimerKind,
    timer_id,
)
from star.analyse import DetectedNeed, Facts

QuoteCache = dict[str, tuple[Quote, ...]]
"""Quotes by item, until terms, lead times or the fleet change."""


class StateView:
    """Read access for experiences and handlers. It follows the state, so that each command sees what those before it did.

    at_ms: the tick's moment. evaluation_gap_days: from the tick before. observed_needs: this tick's, by item.
    """

    def __init__(
        self,
        state: State,
        catalogue: Catalogue,
        facts: Facts,
        quote_cache: QuoteCache,
        evaluation_gap_days: float,
    ) -> None:
        self.catalogue = catalogue
        self.at_ms = facts.at_ms
        self.evaluation_gap_days = evaluation_gap_days
        self.observed_needs: Mapping[str, DetectedNeed] = {need.item: need for need in facts.needs}
        self._state = state
        self._quotes = quote_cache

    # The fleet.

    def item(self, key: str) -> SlotItem | PartItem | None:
        """The item, or None where the fleet no longer has it."""
        return self.catalogue.slots.get(key) or self.catalogue.parts.get(key)

    def customer(self, item: SlotItem | PartItem) -> Customer:
        """The item's customer."""
        return self.catalogue.customers[item.customer]

    # Quotes.

    def quotes(self, item: SlotItem) -> tuple[Quote, ...]:
        """One order from each accepted supplier, the customer's first choice first."""
        quotes = self._quotes.get(item.key)
        if quotes is None:
            quotes = self._quotes[item.key] = quotes_of(item, self.catalogue, self._state)
        return quotes

    def quotes_for(self, item: SlotItem, quantity: float) -> tuple[Quote, ...]:
        """The same for a quantity, in the slot's unit."""
        return quotes_for(item, quantity, self.catalogue, self._state)

    def price_forecasts(self, item: SlotItem, at_ms: int) -> PriceForecasts:
        """What a pack will cost, by supplier; empty where no price ever moved."""
        return price_forecasts_of(item, self.quotes(item), self.catalogue, self._state, at_ms)

    # Needs, prompts and orders.

    def needs(self) -> Iterable[Need]:
        """All live needs."""
        return self._state.needs.values()

    def need(self, id_: str) -> Need | None:
        """The need, while it lives."""
        return self._state.needs.get(id_)

    def live_need(self, item: str) -> Need | None:
        """The item's live need."""
        return self._state.live_need(item)

    def prompt(self, id_: str) -> PendingPrompt | None:
        """The prompt, while it is kept."""
        return self._state.prompts.get(id_)

    def order(self, id_: str) -> Order | None:
        """The order, while it is kept."""
        return self._state.orders.get(id_)

    def open_order(self, item: str) -> Order | None:
        """The item's order that may still arrive."""
        return self._state.open_order(item)

    def orders_of(self, customer: str) -> list[Order]:
        """The customer's orders that are kept, by id."""
        return [self._state.orders[id_] for id_ in sorted(self._state.orders_by_customer.get(customer, ()))]

    def timer_due_ms(self, kind: TimerKind, subject: str) -> int | None:
        """When the subject's timer of this kind is due, None where none is set."""
        timer = self._state.timers.get(timer_id(kind, subject))
        return None if timer is None else timer.due_ms

    # Records.

    def contacts(self, customer: str) -> ContactHistory | None:
        """When the customer was contacted lately."""
        return self._state.contacts.get(customer)

    def item_record(self, item: str) -> ItemRecord:
        """What is kept of the item between needs."""
        return self._state.items.get(item) or ItemRecord(item=item)

    def supplier_record(self, supplier: str) -> SupplierRecord:
        """What is kept of the supplier."""
        return self._state.suppliers.get(supplier) or SupplierRecord(supplier=supplier)

    def recorded_suppliers(self) -> Iterable[str]:
        """The suppliers of which anything is kept."""
        return self._state.suppliers.keys()

    def lead_time_samples(self) -> Iterable[LeadTimeSample]:
        """What this partition's deliveries have taught, by supplier and day."""
        return self._state.lead_time_samples.values()
