"""A neighbourhood for the console's tests: a real catalogue, read model, reactions and receipts; only the log is a list.

What pages do is kept in `said` and answered by hand here (an accepted offer becomes an order), so that a journey can be
followed; the reactor's own answers are the reactor's tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from config.catalogue import Catalogue
from config.fleet_change import change_catalogue
from config.profile_file import load_profiles
from console.backend import DeliveryStatus, LevelPoint, NeedView, QuarantineView, ReactionView, find_item
from console.read_model import ReadModel
from console.reorder_point import reorder_point
from star.analyse import Forecast
from star.errors import BadPayload
from star.react import Decision, ReactionType
from star.repeat import NeedState
from star.times import HOUR_MS
from tests.support.console.sample_fleet import LEVELS, NOW_MS, catalogue_of, forecast_of, past_shares
from tests.support.console.sample_history import add_history, quarantined


class FakeBackend:
    """The backend of the tests: the whole protocol, over real classes."""

    def __init__(self, folder: Path, days: int = 90) -> None:
        self.profiles = load_profiles()
        self._catalogue = catalogue_of()
        self.projection = ReadModel(folder / "console.db")
        self.now = NOW_MS
        self.unready: str | None = None
        self.submissions: list[tuple[str, Any]] = []
        self.catalogue_hook: Callable[[], None] = lambda: None
        self.needs_hook: Callable[[], None] = lambda: None
        self.needs_by_id: dict[str, NeedView] = {}
        self.reactions_by_id: dict[str, ReactionView] = {}
        self.decisions_made: list[Decision] = []
        self.delivery_statuses: dict[str, list[DeliveryStatus]] = {}
        self.quarantined = quarantined()
        if not self.projection.next_offsets():  # a copied read model has its past already
            for key in LEVELS:
                points = past_shares(key, days)
                self.projection.apply_forecasts(
                    [forecast_of(self._catalogue, key, at, share) for at, share in points], {("forecasts", 0): 1}
                )
        add_history(self)

    def close(self) -> None:
        self.projection.close()

    def now_ms(self) -> int:
        return self.now

    def unready_reason(self) -> str | None:
        return self.unready

    def catalogue(self) -> Catalogue:
        self.catalogue_hook()
        return self._catalogue

    def empty_fleet(self) -> None:
        """Empties the fleet."""
        self._catalogue = catalogue_of({"customers": [{"id": "tom"}]})

    def latest_forecasts(self, items: Collection[str] | None = None) -> Mapping[str, Forecast]:
        return self.projection.latest_forecasts(items)

    def level_history(self, item: str, start_ms: int, end_ms: int) -> Sequence[LevelPoint]:
        return self.projection.level_history(item, start_ms, end_ms)

    def reorder_point(self, item: str) -> float | None:
        slot = self._catalogue.slots.get(item)
        if slot is None:
            return None
        price = self._catalogue.suppliers[slot.suppliers[0]].price / slot.pack if slot.suppliers else 0.0
        return reorder_point(slot, self.latest_forecasts([item]).get(item), self.lead_time_days(item), price)

    def lead_time_days(self, item: str) -> tuple[float, float] | None:
        found = find_item(self._catalogue, item)
        if found is None or not found.suppliers:
            return None
        return self._catalogue.suppliers[found.suppliers[0]].lead_time_days

    def needs(
        self,
        *,
        item: str | None = None,
        customers: Collection[str] | None = None,
        living: bool = True,
        limit: int = 200,
    ) -> Sequence[NeedView]:
        self.needs_hook()
        found = [
            need
            for need in self.needs_by_id.values()
            if item in (None, need.item)
            and (customers is None or self._catalogue.customer_of(need.item).id in customers)
            and not (living and need.closed_ms)
        ]
        return sorted(found, key=lambda need: -need.opened_ms)[:limit]

    def need(self, id: str) -> NeedView | None:
        return self.needs_by_id.get(id)

    def reactions(
        self,
        *,
        item: str | None = None,
        need: str | None = None,
        customers: Collection[str] | None = None,
        before_ms: int | None = None,
        limit: int = 50,
    ) -> Sequence[ReactionView]:
        found = [
            shown
            for shown in self.reactions_by_id.values()
            if item in (None, f"{shown.reaction.device}/{shown.reaction.item}")
            and need in (None, shown.reaction.need)
            and (customers is None or shown.reaction.customer in customers)
            and (before_ms is None or shown.reaction.at_ms < before_ms)
        ]
        return sorted(found, key=lambda shown: -shown.reaction.at_ms)[:limit]

    def reaction(self, id: str) -> ReactionView | None:
        return self.reactions_by_id.get(id)

    def decisions(self, need: str, limit: int = 50) -> Sequence[Decision]:
        found = [decision for decision in self.decisions_made if decision.need == need]
        return sorted(found, key=lambda decision: -decision.at_ms)[:limit]

    def decision(self, reaction: str) -> Decision | None:
        return next((decision for decision in self.decisions_made if decision.reaction == reaction), None)

    def deliveries(self, reaction: str) -> Sequence[DeliveryStatus]:
        return self.delivery_statuses.get(reaction, [])

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> Sequence[QuarantineView]:
        rows = [row for row in self.quarantined if before is None or row.offset < before]
        return sorted(rows, key=lambda row: -row.offset)[:limit]

    async def submit_telemetry(self, device: str, payload: bytes) -> None:
        if b"bad" in payload:
            raise BadPayload("values.oil is 'bad': expected a number")
        self.submissions.append(("telemetry", (device, payload)))

    async def submit_outcome(self, outcome: dict[str, Any]) -> None:
        if outcome.get("result") == "nonsense":
            raise BadPayload("result is 'nonsense': expected one of accepted, declined")
        self.submissions.append(("outcome", outcome))
        shown = self.reactions_by_id.get(outcome.get("reaction", ""))
        if shown is not None:
            _answer(self, shown, outcome)

    async def submit_request(self, request: dict[str, Any]) -> None:
        self.submissions.append(("request", request))

    async def submit_fleet_change(self, tables: dict[str, Any]) -> None:
        self._catalogue = change_catalogue(self._catalogue, tables, self.profiles)
        self.submissions.append(("fleet", json.loads(json.dumps(tables))))


def _answer(world: FakeBackend, shown: ReactionView, outcome: dict[str, Any]) -> None:
    """The reactor's reaction to an answer, as far as the tests need it."""
    timing = outcome.get("feedback", {}).get("timing")
    if timing:
        world.reactions_by_id[shown.reaction.id] = replace(shown, timing=timing)
        return
    world.reactions_by_id[shown.reaction.id] = replace(shown, result=outcome["result"], result_ms=world.now)
    need = world.needs_by_id[shown.reaction.need]
    if outcome["result"] == "accepted":
        order = replace(
            shown.reaction,
            id=f"{need.id}/order/1",
            type=ReactionType.ORDER_REQUESTED,
            at_ms=world.now + 1000,
            options=(),
            supplier=shown.reaction.supplier or "roastery",
            quantity=outcome.get("quantity") or shown.reaction.quantity,
            because="You accepted it, so it is ordered.",
            cancel_before_ms=world.now + 2 * HOUR_MS,
        )
        world.reactions_by_id[order.id] = ReactionView(reaction=order)
        world.needs_by_id[need.id] = replace(need, state=NeedState.ORDERED)
    elif outcome["result"] in ("declined", "cancelled"):
        world.needs_by_id[need.id] = replace(need, state=NeedState.REFUSED)
