"""The reactor's state: needs, orders, prompts, contacts, timers, and records of items and suppliers.

Frozen entities in dictionaries by id; a change replaces an entity, so that what a step changed can be committed while the next
step runs. Nothing is decided here. Closed needs, and orders and prompts that ended long ago, are dropped; the store keeps them as
history. Indexes are derived and never stored. The store writes entities by field name, so that the names of fields stay.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from star.analyse import Forecast, NeedKind
from star.react import Option, ReactionType
from star.repeat import NeedState, OrderState

RETENTION_DAYS = 120.0
"""Days that an ended order or prompt is kept for late outcomes; one that comes later is reported as unmatched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """An order or booking that the customer asked for or accepted. quantity: in the slot's unit; 1 of a part.

    price: of the whole order, as accepted; None: asked for without a stated price, so price and budget rules hold.
    """

    reason: str  # "request" or "accepted"
    quantity: float
    price: float | None = None
    supplier: str | None = None
    sku: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One need of an item: it runs low or is due for a service.

    attempts: reactions made, by verb. contacted_ms: when its customer was last contacted about it; contacts: how often.
    declined: how often they said no. failures: orders failed or lost; tried: by which suppliers. met: a refill was detected while
    its order is being cancelled. refused: its order was declined. verdict: of the last receipt, with what it is about, so that
    the same one is not written again. forecast: the latest that a receipt rests on.
    """

    id: str
    item: str
    customer: str
    kind: NeedKind
    cause: str
    cycle: int
    state: NeedState
    opened_ms: int
    closed_ms: int | None = None
    forecast: Forecast | None = None
    attempts: dict[str, int] = field(default_factory=dict)
    contacts: int = 0
    contacted_ms: int | None = None
    readied_ms: int | None = None
    declined: int = 0
    declined_ms: int | None = None
    failures: int = 0
    tried: tuple[str, ...] = ()
    retry_ms: int | None = None
    snoozed_ms: int | None = None
    mandate: Authorization | None = None
    met: bool = False
    refused: bool = False
    verdict: str = ""
    decisions: int = 0


OPEN_ORDER_STATES = frozenset({OrderState.OUTSTANDING, OrderState.CANCELLING, OrderState.PRESUMED})
"""An order in these may still arrive: no other order of the item is placed."""
IN_PROGRESS_STATES = frozenset({NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED})
"""Nothing is decided about a need in these: its order or booking is under way."""
ANSWERABLE_STATES = frozenset(NeedState) - IN_PROGRESS_STATES - {NeedState.CLOSED}
"""A need in these can be accepted, declined or asked for."""
BUDGET_RELEASED_STATES = frozenset({OrderState.CANCELLED, OrderState.FAILED})
"""An order in these no longer counts towards the budget. A lost one does: it may yet arrive, and be charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order, or with `booking` a booked service. price: of the whole order.

    lead_days: the 10 % and 90 % lead times when it was placed. called_off: its cancellation was sent, which happens at most once.
    """

    id: str
    need: str
    item: str
    customer: str
    supplier: str | None
    sku: str | None
    quantity: float
    price: float
    at_ms: int
    lead_days: tuple[float, float]
    state: OrderState = OrderState.OUTSTANDING
    cancel_before_ms: int | None = None
    ended_ms: int | None = None
    booking: bool = False
    called_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPrompt:
    """A prompt that the customer can answer: an offer, a ready request, a reminder. The first option is the default."""

    id: str
    need: str
    item: str
    customer: str
    type: ReactionType
    at_ms: int
    options: tuple[Option, ...] = ()
    open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactHistory:
    """The times of a customer's contacts, as far back as the contact limit counts."""

    customer: str
    at_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord:
    """The record of an item across its needs. cycle: needs so far.

    shift: by the customer's feedback, in doublings of cost: above 0 deliveries were late, below 0 early. declared_ms, declared:
    when a delivery or refill was declared whose rise of the level may still be detected, and its quantity.
    """

    item: str
    cycle: int = 0
    shift: float = 0.0
    declared_ms: int | None = None
    declared: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTimeSample:
    """One day's lead times of one supplier, of this partition's customers (lead_time_stats.py).

    day: the UTC day, counted from 1970, of the tick that recorded them; of merged samples, the last one's. seen: deliveries.
    log_sum, log_squares: sums of the natural logarithms of their lead times in days and of the squares of those, in whole
    LOG_UNITs and SQUARE_UNITs, so that a sum is the same in any order. bins: deliveries by bin of the logarithm (lead_time.py).
    lost: orders given up, less those that arrived after all; failed: orders that the supplier could not deliver.
    """

    supplier: str
    day: int
    seen: int = 0
    log_sum: int = 0
    log_squares: int = 0
    bins: tuple[tuple[int, int], ...] = ()
    lost: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """How far this partition has come, for the others: all facts before this UTC day are consumed, their samples kept."""

    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierRecord:
    """The record of a supplier: terms stated by event, in force over the fleet file's, and lead times learned of deliveries.

    terms_day: the UTC day of the latest lead times stated; samples of days up to it do not count. learned: the samples in force of
    every partition, merged. price_first_ms: when a price was first stated; price_moves, price_sum, price_squares: how many other
    ones since, with their sums (price_model.py).
    """

    supplier: str
    price: float | None = None
    price_first_ms: int | None = None
    price_moves: int = 0
    price_sum: float = 0.0
    price_squares: float = 0.0
    lead_days: tuple[float, float] | None = None
    terms_day: int | None = None
    learned: LeadTimeSample | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOverride:
    """A row of the fleet as it is after a change. id: such as "customers/maria"; row: JSON text."""

    id: str
    row: str


class TimerKind(StrEnum):
    """What a timer is for."""

    HOLD = "hold"  # a rule holds a need's prompt or order until then
    REEVALUATE = "again"  # a need is evaluated again
    DEADLINE = "deadline"  # an order may be lost, or a presumed one counts as delivered
    EXPIRE = "forget"  # an ended order or prompt is deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A timer. subject: the id of a need, an order or a prompt, which has one timer of each kind at most."""

    id: str
    kind: TimerKind
    subject: str
    due_ms: int


def timer_id(kind: TimerKind, subject: str) -> str:
    """The id of the subject's timer of this kind."""
    return f"{kind}:{subject}"


Entity = (
    Need
    | Order
    | PendingPrompt
    | ContactHistory
    | ItemRecord
    | SupplierRecord
    | LeadTimeSample
    | Watermark
    | FleetOverride
    | Timer
)
ENTITY_TABLES: dict[type[Entity], str] = {
    Need: "needs",
    Order: "orders",
    PendingPrompt: "questions",
    ContactHistory: "contacts",
    ItemRecord: "items",
    SupplierRecord: "suppliers",
    LeadTimeSample: "lessons",
    Watermark: "reached",
    FleetOverride: "settings",
    Timer: "timers",
}
"""The store's table of each kind of entity."""


def entity_key(entity: Entity) -> str:
    """The entity's key in its table."""
    match entity:
        case ContactHistory():
            return entity.customer
        case ItemRecord():
            return entity.item
        case SupplierRecord():
            return entity.supplier
        case LeadTimeSample():
            return f"{entity.supplier}/{entity.day}"
        case Watermark():
            return "day"
        case _:
            return entity.id


class State:
    """All entities, with indexes that `upsert` and `delete` keep. No result depends on the order of a dictionary."""

    def __init__(self, entities: Iterable[Entity] = (), *, offset: int = -1, at_ms: int = 0) -> None:
        self.offset = offset
        self.at_ms = at_ms
        self.needs: dict[str, Need] = {}
        self.orders: dict[str, Order] = {}
        self.prompts: dict[str, PendingPrompt] = {}
        self.contacts: dict[str, ContactHistory] = {}
        self.items: dict[str, ItemRecord] = {}
        self.suppliers: dict[str, SupplierRecord] = {}
        self.lead_time_samples: dict[str, LeadTimeSample] = {}
        self.watermarks: dict[str, Watermark] = {}
        self.fleet_overrides: dict[str, FleetOverride] = {}
        self.timers: dict[str, Timer] = {}
        self.need_by_item: dict[str, str] = {}  # item -> its live need
        self.open_order_by_item: dict[str, str] = {}  # item -> its order that may still arrive
        self.orders_by_customer: dict[str, set[str]] = {}  # customer -> ids
        self.prompts_by_need: dict[str, set[str]] = {}  # need -> ids of open ones
        self._queue: list[tuple[int, str]] = []
        self._tables: dict[type[Entity], dict[str, Any]] = {
            Need: self.needs,
            Order: self.orders,
            PendingPrompt: self.prompts,
            ContactHistory: self.contacts,
            ItemRecord: self.items,
            SupplierRecord: self.suppliers,
            LeadTimeSample: self.lead_time_samples,
            Watermark: self.watermarks,
            FleetOverride: self.fleet_overrides,
            Timer: self.timers,
        }
        for entity in entities:
            self.upsert(entity)

    def upsert(self, entity: Entity) -> None:
        """Adds the entity, or replaces the one with its key. A closed need is deleted."""
        self._unindex(entity)
        if isinstance(entity, Need) and entity.state is NeedState.CLOSED:
            self.needs.pop(entity.id, None)
            return
        self._tables[type(entity)][entity_key(entity)] = entity
        self._index(entity)

    def delete(self, entity: Entity) -> None:
        """Takes the entity out of the memory."""
        self._unindex(entity)
        self._tables[type(entity)].pop(entity_key(entity), None)

    def next_due_ms(self) -> int | None:
        """When the next timer is due."""
        queue = self._queue
        while queue:
            due_ms, id_ = queue[0]
            timer = self.timers.get(id_)
            if timer is not None and timer.due_ms == due_ms:
                return due_ms
            heapq.heappop(queue)
        return None

    def next_due_timer(self, at_ms: int) -> Timer | None:
        """The first timer due by at_ms, or None. It stays until it is deleted or set anew."""
        due_ms = self.next_due_ms()
        if due_ms is None or due_ms > at_ms:
            return None
        return self.timers[self._queue[0][1]]

    def live_need(self, item: str) -> Need | None:
        """The item's live need."""
        id_ = self.need_by_item.get(item)
        return None if id_ is None else self.needs[id_]

    def open_order(self, item: str) -> Order | None:
        """The item's order that may still arrive."""
        id_ = self.open_order_by_item.get(item)
        return None if id_ is None else self.orders[id_]

    def _index(self, entity: Entity) -> None:
        match entity:
            case Need():
                self.need_by_item[entity.item] = entity.id
            case Order():
                self.orders_by_customer.setdefault(entity.customer, set()).add(entity.id)
                if entity.state in OPEN_ORDER_STATES:
                    self.open_order_by_item[entity.item] = entity.id
            case PendingPrompt() if entity.open:
                self.prompts_by_need.setdefault(entity.need, set()).add(entity.id)
            case Timer():
                heapq.heappush(self._queue, (entity.due_ms, entity.id))
            case _:
                pass

    def _unindex(self, entity: Entity) -> None:
        match entity:
            case Need():
                if self.need_by_item.get(entity.item) == entity.id:
                    del self.need_by_item[entity.item]
            case Order():
                if self.open_order_by_item.get(entity.item) == entity.id:
                    del self.open_order_by_item[entity.item]
                _discard(self.orders_by_customer, entity.customer, entity.id)
            case PendingPrompt():
                _discard(self.prompts_by_need, entity.need, entity.id)
            case _:
                pass


def _discard(index: dict[str, set[str]], key: str, id_: str) -> None:
    ids = index.get(key)
    if ids is not None:
        ids.discard(id_)
        if not ids:
            del index[key]
