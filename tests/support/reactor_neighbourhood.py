"""A street of customers who buy from the same suppliers, lived through for months at one engine, and the facts it was given.

Levels fall, orders come late, lose their way or are seen to arrive without a word; people answer, refuse, ask and buy
elsewhere; suppliers change their terms in mid-year, the fleet changes, and once the service stands still for days.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Fleet
from config.profile_file import load_profiles
from config.profile_schema import Profile
from reactor.engine import Engine
from star.analyse import DetectedNeed, Facts, NeedKind, RefillStage, RefillUpdate
from star.react import Reaction, ReactionType
from star.records import Event, FleetChange, Request, SupplierTerms
from star.repeat import Outcome
from star.times import DAY_MS, HOUR_MS
from tests.support.household import START_MS, forecast_of

CUSTOMERS = 14
SUPPLIERS: dict[str, tuple[float, float]] = {"acme": (2.0, 5.0), "bolt": (0.5, 1.0), "crow": (1.0, 9.0)}
TRUE_DAYS = {"acme": 6.5, "bolt": 2.2, "crow": 1.4}
"""What each supplier takes in the middle, whatever it says."""
HORIZON_DAYS = 25.0
"""Items that run out within so long are seen at each tick, as analysis does."""
TICK_MS = 6 * HOUR_MS
BREAK_DAY = 100
BREAK_DAYS = 4
"""The service stands still: no tick for so long, then one that stands for all of them."""
EXPERIENCES = ("auto", "auto", "offer", "coach", "respond")
PROFILE: dict[str, Any] = {
    "name": "both",
    "description": "A tank with a part",
    "slots": {"*": {"signal": "level"}},
    "parts": {
        "descaling": {
            "failure_cost": 180.0,
            "service_cost": 80.0,
            "intervals": [{"cause": "months", "days": 91.0}],
        }
    },
}


@cache
def neighbourhood_catalogue() -> Catalogue:
    """The customers, with two slots and a part each, and their three suppliers."""
    accepted = (["acme"], ["acme", "bolt"], ["crow", "acme"], ["bolt", "crow"])
    slot = {"capacity": 1500.0, "pack": 500.0, "price_max": 680.0, "stockout_cost": 400.0}
    tables = {
        "customers": [
            {
                "id": f"c{number}",
                "experience": EXPERIENCES[number % len(EXPERIENCES)],
                "contacts_per_week_max": 1 + number % 3,
                "quiet_hours": ["22:00", "07:30"] if number % 2 else None,
                "timezone": ("Europe/Paris", "America/New_York", "Asia/Kathmandu")[number % 3],
                "budget_per_month": None if number % 4 else 1900.0,
                "consents": ["replenishment", "maintenance"],
            }
            for number in range(CUSTOMERS)
        ],
        "devices": [
            {
                "id": f"tank-{number}",
                "customer": f"c{number}",
                "profile": "both",
                "slots": {
                    name: {**slot, "suppliers": accepted[(number + shift) % len(accepted)]}
                    for shift, name in enumerate(("oil", "salt"))
                },
                "parts": {"descaling": {"suppliers": ["bolt"]}},
            }
            for number in range(CUSTOMERS)
        ],
        "suppliers": [
            {"id": name, "lead_time_days": list(days), "price": 600.0 + 20.0 * place}
            for place, (name, days) in enumerate(SUPPLIERS.items())
        ],
    }
    profiles = load_profiles()
    profiles["both"] = Profile.model_validate(PROFILE)
    return resolve_catalogue(Fleet.model_validate(tables), profiles)


@dataclass
class RecordedHistory:
    """What a street was told, tick by tick, and what came of it."""

    facts: list[Facts] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)


class Neighbourhood:
    """One engine and its customers, from one seed."""

    def __init__(self, seed: int) -> None:
        self.engine = Engine(neighbourhood_catalogue())
        self._rng = np.random.default_rng([seed, 7])
        slots = sorted(self.engine.catalogue.slots)
        self._levels = {item: float(self._rng.uniform(200.0, 1500.0)) for item in slots}
        self._rates = {item: float(self._rng.uniform(20.0, 70.0)) for item in slots}
        self._parts = dict.fromkeys(sorted(self.engine.catalogue.parts), 60.0)
        self._scheduled: list[tuple[int, int, Event | RefillUpdate]] = []
        self._event_count = 0
        self._history = RecordedHistory()

    def run(self, days: int) -> RecordedHistory:
        """All of it."""
        for number in range(1, days * 4):
            at_ms = START_MS + number * TICK_MS
            if BREAK_DAY * 4 <= number < (BREAK_DAY + BREAK_DAYS) * 4:
                continue
            self._schedule_events(number, at_ms)
            self._tick(at_ms)
        return self._history

    def _tick(self, at_ms: int) -> None:
        elapsed_days = TICK_MS / DAY_MS
        for item in self._levels:
            used = self._rates[item] * elapsed_days * float(self._rng.uniform(0.4, 1.6))
            self._levels[item] = max(self._levels[item] - used, 0.0)
        for item in self._parts:
            self._parts[item] = max(self._parts[item] - elapsed_days, 0.0)
        events: list[Event] = []
        refills: list[RefillUpdate] = []
        while self._scheduled and self._scheduled[0][0] <= at_ms:
            _, _, one = heapq.heappop(self._scheduled)
            if isinstance(one, RefillUpdate):
                self._levels[one.item] = min(self._levels[one.item] + one.quantity, 1500.0)
                refills.append(one)
            else:
                events.append(one)
        number = len(self._history.facts) + 1
        facts = Facts(
            offset=number,
            at_ms=at_ms,
            events=tuple(events),
            refills=tuple(refills),
            needs=tuple(self._observed_needs(at_ms)),
        )
        self._history.facts.append(facts)
        for reaction in self.engine.step(facts).reactions:
            self._history.reactions.append(reaction)
            self._respond(reaction, at_ms)

    def _observed_needs(self, at_ms: int) -> list[DetectedNeed]:
        found = []
        for item in sorted([*self._levels, *self._parts]):
            part = item in self._parts
            days = self._parts[item] if part else self._levels[item] / self._rates[item]
            if days <= HORIZON_DAYS:
                kind = NeedKind.SERVICE_DUE if part else NeedKind.RUN_OUT
                level = 0.1 if part else self._levels[item]
                forecast = forecast_of(max(days, 0.01), at_ms, item=item, level=level)
                found.append(DetectedNeed(item=item, at_ms=at_ms, kind=kind, cause="level", forecast=forecast))
        return found

    def _respond(self, reaction: Reaction, at_ms: int) -> None:
        """What people and suppliers do about a reaction."""
        fate, rng = float(self._rng.random()), self._rng
        item = f"{reaction.device}/{reaction.item}"
        soon_ms = at_ms + round(float(rng.uniform(0.5, 40.0)) * HOUR_MS)
        match reaction.type:
            case ReactionType.ORDER_REQUESTED:
                days = TRUE_DAYS[str(reaction.supplier)] * float(np.exp(rng.normal(0.0, 0.3)))
                arrives_ms = at_ms + round(days * DAY_MS)
                if fate < 0.04:
                    self._schedule_outcome(soon_ms, reaction.id, "failed")
                elif fate > 0.07:
                    rise = RefillUpdate(
                        item=item, at_ms=arrives_ms, stage=RefillStage.CONFIRMED, quantity=reaction.quantity or 500.0
                    )
                    self._schedule(arrives_ms + HOUR_MS, rise)
                    if fate > 0.15:
                        timing = "late" if fate > 0.95 else None
                        self._schedule_outcome(arrives_ms, reaction.id, "delivered", timing=timing)
            case ReactionType.MAINTENANCE_BOOKED:
                self._parts[item] = 91.0
                self._schedule_outcome(soon_ms, reaction.id, "serviced")
            case ReactionType.ORDER_CANCELLED:
                self._schedule_outcome(soon_ms, reaction.id, "cancelled" if fate < 0.8 else "failed")
            case ReactionType.OFFER_MADE | ReactionType.REQUEST_READY | ReactionType.REMINDER_SENT:
                if fate < 0.75:
                    self._schedule_outcome(soon_ms, reaction.id, "accepted")
                elif fate < 0.85:
                    self._schedule_outcome(soon_ms, reaction.id, "declined")
            case _:
                pass

    def _schedule_outcome(self, at_ms: int, reaction: str, result: Any, **fields: Any) -> None:
        self._event_count += 1
        said = Outcome(
            at_ms=at_ms, arrived_ms=at_ms, id=f"said-{self._event_count}", result=result, reaction=reaction, **fields
        )
        self._schedule(at_ms, said)

    def _schedule(self, at_ms: int, one: Event | RefillUpdate) -> None:
        self._event_count += 1
        heapq.heappush(self._scheduled, (at_ms, self._event_count, one))

    def _schedule_events(self, number: int, at_ms: int) -> None:
        """Now and then somebody asks or buys elsewhere; on some days suppliers or the fleet change."""
        items = sorted(self._levels)
        if self._rng.random() < 0.05:
            item = items[int(self._rng.integers(len(items)))]
            self._schedule(at_ms, Request(at_ms=at_ms, id=f"asked-{number}", item=item, quantity=None))
        if self._rng.random() < 0.05:
            item = items[int(self._rng.integers(len(items)))]
            rise = RefillUpdate(item=item, at_ms=at_ms, stage=RefillStage.CONFIRMED, quantity=500.0)
            self._schedule(at_ms, rise)
        said_ms = at_ms - HOUR_MS  # before midnight, and taken in after it, where the tick is midnight's
        terms: dict[int, SupplierTerms] = {
            130: SupplierTerms(at_ms=said_ms, supplier="acme", lead_time_days=(4.0, 9.0)),
            242: SupplierTerms(at_ms=said_ms, supplier="bolt", price=655.0),
            310: SupplierTerms(at_ms=said_ms, supplier="bolt", price=640.0, lead_time_days=(1.5, 3.0)),
            452: SupplierTerms(at_ms=said_ms, supplier="acme", lead_time_days=(2.0, 5.0)),
        }
        changes: dict[int, dict[str, Any]] = {
            214: {"suppliers": [{"id": "crow", "lead_time_days": [1.0, 4.0], "price": 630.0}]},
            355: {"customers": [{"id": "c3", "experience": "auto"}]},
            490: {"suppliers": [{"id": "acme", "lead_time_days": [3.0, 8.0], "price": 610.0}]},
        }
        if number in terms:
            self._schedule(at_ms, terms[number])
        if number in changes:
            self._schedule(at_ms, FleetChange(at_ms=said_ms, tables=json.dumps(changes[number])))
