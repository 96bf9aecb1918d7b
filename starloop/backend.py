"""What the console sees of the service, and what it does to it: console.backend.Backend over the real parts."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from config.resolve import Catalogue
from console.backend import (
    Delivery,
    NeedShown,
    Point,
    QuarantineShown,
    ReactionShown,
)
from console.order_point import order_point
from console.views import Projection
from edge.events import parse_outcome, parse_request
from edge.gate.hub import Arrival
from edge.intake import Intake, Items
from reactor.engine import Engine
from reactor.state import Need, State
from reactor.store.memory import MemoryNames
from reactor.store.rows import ReactionRow
from star.analyse import Forecast
from star.errors import BadPayload
from star.react import Decision
from star.records import Quarantined
from star.repeat import NeedState
from starloop.roles.base import Base
from starloop.roles.door import Door
from stream.inlet import decode_quarantined

LEAD_TIMES_S = 30.0
"""How long learned lead times are shown before the store is asked again."""


class ServiceBackend:
    """See console.backend.Backend, which says what each call means."""

    def __init__(self, base: Base, door: Door, projection: Projection) -> None:
        self._base = base
        self._door = door
        self._projection = projection
        self._teller: tuple[float, Catalogue, Engine] | None = None

    def now_ms(self) -> int:
        return self._door.inlet.now_ms()

    def problem(self) -> str | None:
        return self._base.problem()

    def catalogue(self) -> Catalogue:
        return self._base.fleet.current

    def latest(self, items: Collection[str] | None = None) -> Mapping[str, Forecast]:
        return self._projection.latest(items)

    def history(self, item: str, start_ms: int, end_ms: int) -> Sequence[Point]:
        return self._projection.history(item, start_ms, end_ms)

    def order_point(self, item: str) -> float | None:
        catalogue = self.catalogue()
        slot = catalogue.slots.get(item)
        if slot is None:
            return None
        forecast = self.latest([item]).get(item)
        supplier = catalogue.suppliers[slot.suppliers[0]] if slot.suppliers else None
        unit_price = None if supplier is None else supplier.price / slot.pack
        return order_point(slot, forecast, self.lead_time_days(item), unit_price=unit_price)

    def lead_time_days(self, item: str) -> tuple[float, float] | None:
        catalogue = self.catalogue()
        slot = catalogue.slots.get(item)
        if slot is None or not slot.suppliers:
            return None
        known = self._teller
        if known is None or known[1] is not catalogue or time.monotonic() - known[0] > LEAD_TIMES_S:
            state = State(self._base.store.suppliers().values())
            known = self._teller = (time.monotonic(), catalogue, Engine(catalogue, state))
        return known[2].lead_time(item)

    def needs(
        self,
        *,
        item: str | None = None,
        customers: Collection[str] | None = None,
        living: bool = True,
        limit: int = 200,
    ) -> Sequence[NeedShown]:
        found = self._base.store.needs(item=item, customers=customers, open_only=living, limit=limit)
        return [_need(need) for need in found]

    def need(self, id: str) -> NeedShown | None:
        found = self._base.store.need(id)
        return None if found is None else _need(found)

    def reactions(
        self,
        *,
        item: str | None = None,
        need: str | None = None,
        customers: Collection[str] | None = None,
        before_ms: int | None = None,
        limit: int = 50,
    ) -> Sequence[ReactionShown]:
        rows = self._base.store.reactions(item=item, need=need, customers=customers, before_ms=before_ms, limit=limit)
        return [_reaction(row) for row in rows]

    def reaction(self, id: str) -> ReactionShown | None:
        row = self._base.store.reaction(id)
        return None if row is None else _reaction(row)

    def decisions(self, need: str, limit: int = 50) -> Sequence[Decision]:
        return self._base.store.decisions(need, limit)

    def decision(self, reaction: str) -> Decision | None:
        found = self._base.store.decisions(reaction, 1)
        return found[0] if found else None

    def deliveries(self, reaction: str) -> Sequence[Delivery]:
        return [
            Delivery(target=row.target, state=row.state, tries=row.tries, error=row.error)
            for row in self._base.store.deliveries(reaction)
        ]

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> Sequence[QuarantineShown]:
        rows = self._projection.quarantine(before, limit)
        return [QuarantineShown(offset=offset, row=decode_quarantined(wire)) for offset, wire in rows]

    async def submit_telemetry(self, device: str, payload: bytes) -> None:
        topic = f"starloop/v1/{device}/telemetry"
        now_ms = self.now_ms()
        trial = Intake(self.catalogue(), MemoryNames(), readers=self._door.readers)
        trial.take(topic, payload, now_ms)
        for record in trial.drain():
            if isinstance(record, Quarantined):
                raise BadPayload(record.reason)
        await self._door.offer(Arrival(topic, payload, self.now_ms(), True))

    async def submit_outcome(self, outcome: dict[str, Any]) -> None:
        items = Items(self.catalogue())
        await self._door.put(parse_outcome(outcome, self.now_ms(), items))

    async def submit_request(self, request: dict[str, Any]) -> None:
        items = Items(self.catalogue())
        await self._door.put(parse_request(request, self.now_ms(), items))

    async def submit_fleet_change(self, tables: dict[str, Any]) -> None:
        await self._door.change_fleet(tables)


def _need(need: Need) -> NeedShown:
    return NeedShown(
        id=need.id,
        item=need.item,
        kind=need.kind,
        cause=need.cause,
        state=need.state,
        opened_ms=need.opened_ms,
        closed_ms=need.closed_ms if need.state is NeedState.CLOSED else None,
    )


def _reaction(row: ReactionRow) -> ReactionShown:
    return ReactionShown(reaction=row.reaction, result=row.result, result_ms=row.result_ms, timing=row.timing)
