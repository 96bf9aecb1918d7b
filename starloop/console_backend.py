"""Adapter of the service for the console: console.backend.Backend over read model, store and ingest gateway."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from config.catalogue import Catalogue
from console.backend import DeliveryStatus, LevelPoint, NeedView, QuarantineView, ReactionView
from console.read_model import ReadModel
from console.reorder_point import reorder_point
from edge.decoder import Decoder, KnownItems
from edge.events import parse_outcome, parse_request
from edge.mqtt_broker.broker import Arrival
from reactor.engine import Engine
from reactor.state import Need, State
from reactor.store.memory import MemoryMetricRegistry
from reactor.store.rows import ReactionRow
from star.analyse import Forecast
from star.errors import BadPayload
from star.react import Decision
from star.records import Quarantined
from star.repeat import NeedState
from starloop.roles.context import RoleContext
from starloop.roles.ingest_gateway import IngestGateway
from stream.partition.partitioner import decode_quarantined

LEAD_TIME_CACHE_S = 30.0
"""Cache lifetime of learned lead times in seconds: they change daily, and reading them loads all supplier records."""


class ServiceBackend:
    """Implements console.backend.Backend, where the methods are documented."""

    def __init__(self, context: RoleContext, gateway: IngestGateway, projection: ReadModel) -> None:
        self._context = context
        self._gateway = gateway
        self._projection = projection
        self._lead_time_cache: tuple[float, Catalogue, Engine] | None = None

    def now_ms(self) -> int:
        return self._gateway.ingest.now_ms()

    def unready_reason(self) -> str | None:
        return self._context.problem()

    def catalogue(self) -> Catalogue:
        return self._context.fleet.current

    def latest_forecasts(self, items: Collection[str] | None = None) -> Mapping[str, Forecast]:
        return self._projection.latest_forecasts(items)

    def level_history(self, item: str, start_ms: int, end_ms: int) -> Sequence[LevelPoint]:
        return self._projection.level_history(item, start_ms, end_ms)

    def reorder_point(self, item: str) -> float | None:
        catalogue = self.catalogue()
        slot = catalogue.slots.get(item)
        if slot is None:
            return None
        forecast = self.latest_forecasts([item]).get(item)
        supplier = catalogue.suppliers[slot.suppliers[0]] if slot.suppliers else None
        unit_price = None if supplier is None else supplier.price / slot.pack
        return reorder_point(slot, forecast, self.lead_time_days(item), unit_price=unit_price)

    def lead_time_days(self, item: str) -> tuple[float, float] | None:
        catalogue = self.catalogue()
        slot = catalogue.slots.get(item)
        if slot is None or not slot.suppliers:
            return None
        cached = self._lead_time_cache
        if cached is None or cached[1] is not catalogue or time.monotonic() - cached[0] > LEAD_TIME_CACHE_S:
            state = State(self._context.store.supplier_records().values())
            cached = self._lead_time_cache = (time.monotonic(), catalogue, Engine(catalogue, state))
        return cached[2].lead_days_of(item)

    def needs(
        self,
        *,
        item: str | None = None,
        customers: Collection[str] | None = None,
        living: bool = True,
        limit: int = 200,
    ) -> Sequence[NeedView]:
        found = self._context.store.needs(item=item, customers=customers, open_only=living, limit=limit)
        return [_need(need) for need in found]

    def need(self, id: str) -> NeedView | None:
        found = self._context.store.need(id)
        return None if found is None else _need(found)

    def reactions(
        self,
        *,
        item: str | None = None,
        need: str | None = None,
        customers: Collection[str] | None = None,
        before_ms: int | None = None,
        limit: int = 50,
    ) -> Sequence[ReactionView]:
        rows = self._context.store.reactions(
            item=item, need=need, customers=customers, before_ms=before_ms, limit=limit
        )
        return [_reaction(row) for row in rows]

    def reaction(self, id: str) -> ReactionView | None:
        row = self._context.store.reaction(id)
        return None if row is None else _reaction(row)

    def decisions(self, need: str, limit: int = 50) -> Sequence[Decision]:
        return self._context.store.decisions(need, limit)

    def decision(self, reaction: str) -> Decision | None:
        found = self._context.store.decisions(reaction, 1)
        return found[0] if found else None

    def deliveries(self, reaction: str) -> Sequence[DeliveryStatus]:
        return [
            DeliveryStatus(target=row.target, state=row.state, tries=row.tries, error=row.error)
            for row in self._context.store.deliveries(reaction)
        ]

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> Sequence[QuarantineView]:
        rows = self._projection.quarantine(before, limit)
        return [QuarantineView(offset=offset, row=decode_quarantined(wire)) for offset, wire in rows]

    async def submit_telemetry(self, device: str, payload: bytes) -> None:
        topic = f"starloop/v1/{device}/telemetry"
        now_ms = self.now_ms()
        trial = Decoder(self.catalogue(), MemoryMetricRegistry(), adapters=self._gateway.adapters)
        trial.ingest(topic, payload, now_ms)
        for record in trial.drain():
            if isinstance(record, Quarantined):
                raise BadPayload(record.reason)
        await self._gateway.append_message(Arrival(topic, payload, self.now_ms(), True))

    async def submit_outcome(self, outcome: dict[str, Any]) -> None:
        items = KnownItems(self.catalogue())
        await self._gateway.append_record(parse_outcome(outcome, self.now_ms(), items))

    async def submit_request(self, request: dict[str, Any]) -> None:
        items = KnownItems(self.catalogue())
        await self._gateway.append_record(parse_request(request, self.now_ms(), items))

    async def submit_fleet_change(self, tables: dict[str, Any]) -> None:
        await self._gateway.change_fleet(tables)


def _need(need: Need) -> NeedView:
    return NeedView(
        id=need.id,
        item=need.item,
        kind=need.kind,
        cause=need.cause,
        state=need.state,
        opened_ms=need.opened_ms,
        closed_ms=need.closed_ms if need.state is NeedState.CLOSED else None,
    )


def _reaction(row: ReactionRow) -> ReactionView:
    return ReactionView(reaction=row.reaction, result=row.result, result_ms=row.result_ms, timing=row.timing)
