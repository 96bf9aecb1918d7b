"""The console's backend protocol: queries and submissions, implemented by starloop/console_backend.py.

Queries are called from worker threads and on the event loop: they are thread-safe and fast. Submissions are async and
return once the record is on disk in the input log; the console does not write to the store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from config.catalogue import Catalogue, PartItem, SlotItem
from star.analyse import Forecast, NeedKind
from star.react import Decision, Reaction
from star.records import Quarantined
from star.repeat import NeedState, Result

Item = SlotItem | PartItem

ASKING_REACTIONS: Mapping[NeedState, str] = {
    NeedState.READIED: "starloop.request.ready",
    NeedState.OFFERED: "starloop.offer.made",
    NeedState.REMINDED: "starloop.reminder.sent",
}
"""States of a need in which the customer is asked something -> the type of the reaction that asks."""

OUTSTANDING_STATES = frozenset({NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED})
"""States of a need with an outstanding order or service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPoint:
    """An estimated level, in the unit of the item (a part: 0 to 1)."""

    at_ms: int
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedView:
    """A need from the store. closed_ms: None while it is open."""

    id: str
    item: str
    kind: NeedKind
    cause: str
    state: NeedState
    opened_ms: int
    closed_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionView:
    """A reaction with its last outcome. timing: the customer's feedback on when it arrived."""

    reaction: Reaction
    result: Result | None = None
    result_ms: int | None = None
    timing: Literal["early", "right", "late"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """State of the delivery of a reaction to one target. error: of the last failure, or empty."""

    target: str
    state: Literal["waiting", "sent", "given-up"]
    tries: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineView:
    """A payload in quarantine with its offset in the topic."""

    offset: int
    row: Quarantined


class Backend(Protocol):
    """The service, as the console sees it."""

    def now_ms(self) -> int:
        """The service's time; in a demo with sped-up time, that time."""
        ...

    def unready_reason(self) -> str | None:
        """Why the service is not ready, or None where it is."""
        ...

    def catalogue(self) -> Catalogue:
        """The catalogue in force."""
        ...

    def latest_forecasts(self, items: Collection[str] | None = None) -> Mapping[str, Forecast]:
        """The latest forecast of each of `items` (None: of all) that has one."""
        ...

    def level_history(self, item: str, start_ms: int, end_ms: int) -> Sequence[LevelPoint]:
        """The item's level over time, oldest first."""
        ...

    def reorder_point(self, item: str) -> float | None:
        """The level at which an order would go out, in the slot's unit; None where it is unknown."""
        ...

    def lead_time_days(self, item: str) -> tuple[float, float] | None:
        """The 10 % and 90 % lead times in force of the item's first supplier, or None without one."""
        ...

    def needs(
        self,
        *,
        item: str | None = None,
        customers: Collection[str] | None = None,
        living: bool = True,
        limit: int = 200,
    ) -> Sequence[NeedView]:
        """Needs, newest first; `living` leaves the closed ones out; customers None: of all."""
        ...

    def need(self, id: str) -> NeedView | None:
        """The need with this id."""
        ...

    def reactions(
        self,
        *,
        item: str | None = None,
        need: str | None = None,
        customers: Collection[str] | None = None,
        before_ms: int | None = None,
        limit: int = 50,
    ) -> Sequence[ReactionView]:
        """Reactions, newest first; customers None: of all; before_ms: only earlier ones."""
        ...

    def reaction(self, id: str) -> ReactionView | None:
        """The reaction with this id."""
        ...

    def decisions(self, need: str, limit: int = 50) -> Sequence[Decision]:
        """The decisions about a need, newest first."""
        ...

    def decision(self, reaction: str) -> Decision | None:
        """The decision behind a reaction."""
        ...

    def deliveries(self, reaction: str) -> Sequence[DeliveryStatus]:
        """The deliveries of a reaction, one for each target."""
        ...

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> Sequence[QuarantineView]:
        """Payloads in quarantine, newest first; before: only those of a smaller offset."""
        ...

    async def submit_telemetry(self, device: str, payload: bytes) -> None:
        """Ingests a payload like one over MQTT; returns once it is on disk. Raises BadPayload with the reason."""
        ...

    async def submit_outcome(self, outcome: dict[str, Any]) -> None:
        """Appends an outcome (CONTRACT section 3), with `item` as `device/name`. Raises BadPayload with the reason."""
        ...

    async def submit_request(self, request: dict[str, Any]) -> None:
        """Appends a request (CONTRACT section 3), with `item` as `device/name`. Raises BadPayload with the reason."""
        ...

    async def submit_fleet_change(self, tables: dict[str, Any]) -> None:
        """Changes tables of the fleet, in force on return. Raises ConfigError with every problem, without effect."""
        ...


def find_item(catalogue: Catalogue, key: str) -> Item | None:
    """The slot or part named `device/name`."""
    return catalogue.slots.get(key) or catalogue.parts.get(key)


def items_of(catalogue: Catalogue, customers: Collection[str] | None) -> list[Item]:
    """The items of these customers (None: of all), by customer, device and name; slots before parts of a device."""
    found: list[Item] = [*catalogue.slots.values(), *catalogue.parts.values()]
    seen = [item for item in found if customers is None or item.customer in customers]
    return sorted(seen, key=lambda item: (item.customer, item.device))
