"""A household whose every event is drawn from a list: outcomes that fit or not, requests, refills, terms, fleet changes, pauses.

The draw is an argument (`Choose`), so that one history serves hypothesis, which shrinks it, and a seeded generator.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from config.catalogue import Catalogue
from reactor.engine import Engine
from reactor.state import Entity, Need, Order, State
from reactor.unit_of_work import StepResult
from star.analyse import DetectedNeed, Facts, NeedKind, RefillStage, RefillUpdate
from star.records import Event, FleetChange, Request, SupplierTerms
from star.repeat import NEED_TRANSITIONS, ORDER_TRANSITIONS, RESULTS, Outcome
from star.times import HOUR_MS
from tests.support.household import ACME, START_MS, catalogue_of, forecast_of
from tests.support.reactor_neighbourhood import PROFILE

Choose = Callable[[Sequence[Any]], Any]
"""Draws one of the options."""
Move = tuple[str, str, str]
"""(kind of entity, state before, state after)."""

ITEMS = ("tank-7/oil", "tank-7/salt", "tank-7/descaling")
SUPPLIERS = (
    ACME,
    {"id": "bolt", "lead_time_days": [0.5, 1.0], "price": 640.0},
    {"id": "crow", "lead_time_days": [1.0, 9.0], "price": 600.0},
)
EXPERIENCES = ("respond", "offer", "coach", "auto")
CONSENTS = (["replenishment", "maintenance"], ["replenishment", "maintenance"], ["replenishment"], [])
AWAY: tuple[list[list[str]], ...] = ([], [], [["2026-03-10", "2026-03-20"]])
EVENTS = (
    "outcome",
    "outcome",
    "answer",
    "answer",
    "delivery",
    "declared",
    "request",
    "terms",
    "change",
    "refill",
    None,
)
PAUSES_HOURS = (0.1, 1.0, 6.0, 24.0, 24.0, 72.0, 168.0)
LISTED_MOVES: frozenset[Move] = frozenset(
    [("Need", str(one), str(other)) for one, others in NEED_TRANSITIONS.items() for other in others]
    + [("Order", str(one), str(other)) for one, others in ORDER_TRANSITIONS.items() for other in others]
)


class MoveRecorder(State):
    """A state that notes every change of a need's or an order's state, by whatever code it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: set[Move] = set()

    def upsert(self, entity: Entity) -> None:
        """Keeps the entity, and notes its move."""
        before = self.needs.get(entity.id) if isinstance(entity, Need) else None
        if isinstance(entity, Order):
            before = self.orders.get(entity.id)
        if before is not None and isinstance(entity, Need | Order) and before.state is not entity.state:
            self.moves.add((type(entity).__name__, str(before.state), str(entity.state)))
        super().upsert(entity)


def random_catalogue(choose: Choose) -> Catalogue:
    """A home with two slots and a part; the customer's choices are drawn."""
    customer = {
        "experience": choose((*EXPERIENCES, "auto")),
        "contacts_per_week_max": choose((0, 1, 2, 3)),
        "quiet_hours": choose((None, ["22:00", "07:30"])),
        "budget_per_month": choose((None, 700.0, 1500.0)),
        "consents": choose(CONSENTS[:3]),
        "away": choose(AWAY),
    }
    slot = {
        "capacity": 1500.0,
        "pack": 500.0,
        "price_max": choose((None, 630.0, 650.0)),
        "stockout_cost": 400.0,
        "spare_packs": choose((True, False)),
        "suppliers": choose((["acme"], ["acme", "bolt"], ["crow", "acme", "bolt"], [])),
    }
    device = {
        "id": "tank-7",
        "customer": "maria",
        "profile": "both",
        "slots": {"oil": slot, "salt": {**slot, "suppliers": choose((["acme"], ["bolt", "crow"]))}},
        "parts": {"descaling": {"suppliers": ["bolt"]}},
    }
    return catalogue_of(customer, suppliers=SUPPLIERS, device=device, own_profile=PROFILE)


class RandomHistory:
    """An engine and what happens to its household."""

    def __init__(self, choose: Choose) -> None:
        self.state = MoveRecorder()
        self.engine = Engine(random_catalogue(choose), self.state)
        self._choose = choose
        self._now_ms = START_MS
        self._number = 0
        self._reactions: list[str] = []

    def advance(self) -> StepResult:
        """One tick of drawn events, refills and forecasts, and a drawn pause before it."""
        self._now_ms += round(self._choose(PAUSES_HOURS) * HOUR_MS)
        events: list[Event] = []
        refills: list[RefillUpdate] = []
        for _ in range(self._choose((0, 1, 2, 3))):
            self._number += 1
            drawn = self._draw_event()
            if isinstance(drawn, RefillUpdate):
                refills.append(drawn)
            elif drawn is not None:
                events.append(drawn)
        self._number += 1
        facts = Facts(
            offset=self._number,
            at_ms=self._now_ms,
            events=tuple(events),
            refills=tuple(refills),
            needs=tuple(self._draw_need(item) for item in sorted(ITEMS) if self._choose((True, True, False))),
        )
        step = self.engine.step(facts)
        self._reactions += [reaction.id for reaction in step.reactions]
        return step

    def _draw_need(self, item: str) -> DetectedNeed:
        kind = NeedKind.SERVICE_DUE if item.endswith("descaling") else NeedKind.RUN_OUT
        forecast = forecast_of(self._choose((0.1, 2.0, 5.0, 8.0, 40.0)), self._now_ms, item=item)
        return DetectedNeed(item=item, at_ms=self._now_ms, kind=kind, cause="level", forecast=forecast)

    def _draw_event(self) -> Event | RefillUpdate | None:
        choose = self._choose
        match choose(EVENTS):
            case "outcome":
                return self._draw_outcome((), RESULTS)
            case "answer":
                return self._draw_outcome(("offer", "request", "reminder"), ("accepted", "accepted", "declined"))
            case "delivery":
                return self._draw_outcome(("order", "booking"), ("delivered",))
            case "declared":
                return self._outcome(choose(("refilled", "serviced", "done")), item=choose(ITEMS))
            case "request":
                quantity = choose((None, 700.0))
                return Request(at_ms=self._now_ms, id=f"r{self._number}", item=choose(ITEMS), quantity=quantity)
            case "terms":
                price, lead = choose((None, 600.0, 655.0)), choose((None, (2.0, 5.0), (4.0, 9.0)))
                supplier = choose(("acme", "bolt", "crow"))
                return SupplierTerms(at_ms=self._now_ms, supplier=supplier, price=price, lead_time_days=lead)
            case "change":
                choice = choose(({"experience": choose(EXPERIENCES)}, {"consents": choose(CONSENTS)}))
                tables = json.dumps({"customers": [{"id": "maria", **choice}]})
                return FleetChange(at_ms=self._now_ms, tables=tables)
            case "refill":
                quantity, item = choose((30.0, 300.0, 480.0, 1100.0)), choose(ITEMS[:2])
                return RefillUpdate(item=item, at_ms=self._now_ms, stage=RefillStage.CONFIRMED, quantity=quantity)
            case _:
                return None

    def _draw_outcome(self, verbs: tuple[str, ...], results: Sequence[Any]) -> Outcome | None:
        """Of one of the latest reactions with one of the verbs (none given: any), or of a cancellation that never was."""
        known = [id_ for id_ in self._reactions if not verbs or id_.split("/")[3] in verbs][-12:]
        if not known:
            return None
        reaction = self._choose(known)
        if not verbs and self._choose((True, False, False)):
            reaction = reaction.replace("/order/", "/cancel/").replace("/booking/", "/cancel/")
        return self._outcome(self._choose(results), reaction=reaction)

    def _outcome(self, result: Any, **fields: Any) -> Outcome:
        quantity = self._choose((None, 500.0, 50.0))
        id_ = f"o{self._number}"
        return Outcome(at_ms=self._now_ms, arrived_ms=self._now_ms, id=id_, result=result, quantity=quantity, **fields)
