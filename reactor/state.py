"""What the reactor remembers: needs, orders, questions, contacts, what items and suppliers taught it, timers.

Frozen facts in dictionaries by id; a change puts a new one in the place of the old, so that what a step changed can be
committed while the next step runs. Nothing is decided here. Closed needs, and orders and questions long ended, leave the
memory; the store keeps them as history. Indexes are derived and never stored.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from star.analyse import Forecast, NeedKind
from star.react import Option, ReactionType
from star.repeat import NeedState, OrderState

RETENTION_DAYS = 120.0
"""An ended order or question is remembered so long: what is said of it later is recorded as unmatched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What the customer asked for or accepted. quantity in the slot's unit (a part: 1).

    price: of the whole order, as accepted; None: asked for without a stated price, so price and budget rules hold.
    """

    reason: str  # "request" or "accepted"
    quantity: float
    price: float | None = None
    supplier: str | None = None
    sku: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """An episode of an item's running low or wearing out.

    attempts: how many reactions of each verb were made. contacted_ms: when its customer was last contacted about it, with
    `contacts` their number. declined: how often they said no. failures: orders failed or lost; tried: by which suppliers.
    met: a refill came while its order is being cancelled. verdict: of the last receipt, so that only news is written.
    forecast: the latest that a receipt rests on.
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
"""No other order of the item goes out while one is in these."""
BUDGET_RELEASED_STATES = frozenset({OrderState.CANCELLED, OrderState.FAILED})
"""An order in these no longer takes of the budget. A lost one does: it may yet come, and be charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order, or with `booking` a booked service. price: of the whole. lead_days: in force when it was ordered.

    called_off: a cancellation went out, which happens at most once.
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
    """Something the customer can answer: an offer, a ready request, a reminder. The first option is the default."""

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
    """When a customer was contacted, within the last seven days of the latest."""

    customer: str
    at_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord:
    """What stays of an item between needs. shift: late (+) or early (-) by the customer's word, in doublings of cost.

    declared_ms, declared: a delivery or refill that was said and whose rise may still be seen, and how much of it.
    """

    item: str
    cycle: int = 0
    shift: float = 0.0
    declared_ms: int | None = None
    declared: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTimeSample:
    """What deliveries to this partition's customers taught about one supplier's lead times (lead_time_stats.py).

    day: the UTC day, counted from 1970, of the tick that took them in; of several put together, the last one's. seen:
    deliveries. log_sum, log_squares: of the natural logarithms of their lead times in days and of the squares of those, in
    whole LOG_UNITs and SQUARE_UNITs, so that sums are the same in any order. bins: deliveries by bin of the logarithm
    (lead_time.py). lost: orders given up, less those that came after all; failed: that the supplier could not deliver.
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
    """How far this partition has come, for the others: all facts before this UTC day are consumed, their lessons kept."""

    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierRecord:
    """Terms said by event, in force over the fleet file's, and what deliveries taught about lead times.

    terms_day: the UTC day of the latest lead times that were said; lessons of days up to it do not count. learned: the lessons
    in force, together, those of every partition. price_first_ms: when a price was first said; price_moves, price_sum,
    price_squares: how many other ones since, with their sums (price_model.py).
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
    """A row of the fleet as a change brought it. id: "customers/maria"; row: JSON text."""

    id: str
    row: str


class TimerKind(StrEnum):
    """What a timer is for."""

    HOLD = "hold"  # a need's contact or order was held by a rule until then
    REEVALUATE = "again"  # a need is decided again
    DEADLINE = "deadline"  # an order may be lost
    EXPIRE = "forget"  # an ended order or question leaves the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """Something to do at a moment. id: kind and subject, so that a subject has one of each kind."""

    id: str
    kind: TimerKind
    subject: str
    due_ms: int


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
"""Each kind of entity and its table."""


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
    """All of it, with indexes. `put` and `drop` keep them; the result never depends on the order of dictionaries."""

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
        self.need_by_item: dict[str, str] = {}  # item -> its living need
        self.open_order_by_item: dict[str, str] = {}  # item -> its order that may still arrive
        self.orders_by_customer: dict[str, set[str]] = {}  # customer -> ids
        self.prompts_by_need: dict[str, set[str]] = {}  # need -> ids of open ones
        self._queue: list[tuple[int, str]] = []
        self._tables: dict[type, dict[str, Entity]] = {
            Need: self.needs,  # type: ignore[dict-item]
            Order: self.orders,  # type: ignore[dict-item]
            PendingPrompt: self.prompts,  # type: ignore[dict-item]
            ContactHistory: self.contacts,  # type: ignore[dict-item]
            ItemRecord: self.items,  # type: ignore[dict-item]
            SupplierRecord: self.suppliers,  # type: ignore[dict-item]
            LeadTimeSample: self.lead_time_samples,  # type: ignore[dict-item]
            Watermark: self.watermarks,  # type: ignore[dict-item]
            FleetOverride: self.fleet_overrides,  # type: ignore[dict-item]
            Timer: self.timers,  # type: ignore[dict-item]
        }
        for entity in entities:
            self.upsert(entity)

    def upsert(self, entity: Entity) -> None:
        """Adds the entity, or puts it in the place of the one with its key. A closed need is not kept."""
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
        """The first timer due by at_ms, or None. It stays until it is dropped or set anew."""
        due_ms = self.next_due_ms()
        if due_ms is None or due_ms > at_ms:
            return None
        return self.timers[self._queue[0][1]]

    def live_need(self, item: str) -> Need | None:
        """The item's living need."""
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
