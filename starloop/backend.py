"""What the console sees of the service, and what it does to it: console.backend.Backend over the real parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from config.resolve import Catalogue
from console.backend import (
    Delivery,
    NeedShown,
    Point,
    QuarantineShown,
    ReactionShown,
)
from console.order_point import order_point
from edge.events import parse_outcome, parse_request
from edge.gate.hub import Arrival
from edge.intake import Intake, Items
from reactor.state import Need
from reactor.store.memory import MemoryNames
from reactor.store.rows import ReactionRow
from star.analyse import Forecast
from star.errors import BadPayload
from star.react import Decision
from star.records import Quarantined
from star.repeat import NeedState
from stream.inlet import decode_quarantined
from stream.topics import QUARANTINE

if TYPE_CHECKING:
    from starloop.service import Service


class ServiceBackend:
    """See console.backend.Backend, which says what each call means."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def now_ms(self) -> int:
        return self._service.inlet.now_ms()

    def problem(self) -> str | None:
        return self._service.trouble

    def catalogue(self) -> Catalogue:
        return self._service.catalogue

    def latest(self, items: Collection[str] | None = None) -> Mapping[str, Forecast]:
        return self._service.projection.latest(items)

    def history(self, item: str, start_ms: int, end_ms: int) -> Sequence[Point]:
        return self._service.projection.history(item, start_ms, end_ms)

    def order_point(self, item: str) -> float | None:
        slot = self._service.catalogue.slots.get(item)
        if slot is None:
            return None
        forecast = self.latest([item]).get(item)
        supplier = self._service.catalogue.suppliers[slot.suppliers[0]] if slot.suppliers else None
        unit_price = None if supplier is None else supplier.price / slot.pack
        return order_point(slot, forecast, self.lead_time_days(item), unit_price=unit_price)

    def lead_time_days(self, item: str) -> tuple[float, float] | None:
        slot = self._service.catalogue.slots.get(item)
        return self._service.reactor.lead_time(item) if slot is not None and slot.suppliers else None

    def needs(
        self,
        *,
        item: str | None = None,
        customers: Collection[str] | None = None,
        living: bool = True,
        limit: int = 200,
    ) -> Sequence[NeedShown]:
        found = self._service.store.needs(item=item, customers=customers, open_only=living, limit=limit)
        return [_need(need) for need in found]

    def need(self, id: str) -> NeedShown | None:
        found = self._service.store.need(id)
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
        rows = self._service.store.reactions(
            item=item, need=need, customers=customers, before_ms=before_ms, limit=limit
        )
        return [_reaction(row) for row in rows]

    def reaction(self, id: str) -> ReactionShown | None:
        row = self._service.store.reaction(id)
        return None if row is None else _reaction(row)

    def decisions(self, need: str, limit: int = 50) -> Sequence[Decision]:
        return self._service.store.decisions(need, limit)

    def decision(self, reaction: str) -> Decision | None:
        found = self._service.store.decisions(reaction, 1)
        return found[0] if found else None

    def deliveries(self, reaction: str) -> Sequence[Delivery]:
        return [
            Delivery(target=row.target, state=row.state, tries=row.tries, error=row.error)
            for row in self._service.store.deliveries(reaction)
        ]

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> Sequence[QuarantineShown]:
        log = self._service.log
        end = log.end(QUARANTINE) if before is None else before
        start = max(end - limit, 0)
        rows = log.read(QUARANTINE, start, end - start)
        return [QuarantineShown(offset=offset, row=decode_quarantined(wire)) for offset, wire in reversed(rows)]

    async def submit_telemetry(self, device: str, payload: bytes) -> None:
        topic = f"starloop/v1/{device}/telemetry"
        now_ms = self._service.inlet.now_ms()
        trial = Intake(self._service.catalogue, MemoryNames(), readers=self._service.readers)
        trial.take(topic, payload, now_ms)
        for record in trial.drain():
            if isinstance(record, Quarantined):
                raise BadPayload(record.reason)
        await self._service.offer(Arrival(topic, payload, self._service.inlet.now_ms(), True))

    async def submit_outcome(self, outcome: dict[str, Any]) -> None:
        items = Items(self._service.catalogue)
        await self._service.put(parse_outcome(outcome, self._service.inlet.now_ms(), items))

    async def submit_request(self, request: dict[str, Any]) -> None:
        items = Items(self._service.catalogue)
        await self._service.put(parse_request(request, self._service.inlet.now_ms(), items))

    async def submit_fleet_change(self, tables: dict[str, Any]) -> None:
        await self._service.change_fleet(tables)


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
