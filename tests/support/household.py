"""A small home for tests of the reactor: a fleet from keywords, forecasts with a given time to empty, and simulated days."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Fleet
from config.profile_file import load_profiles
from config.profile_schema import Profile
from reactor.engine import Engine
from reactor.unit_of_work import StepResult
from star.analyse import DAYS_MAX, DetectedNeed, Facts, Forecast, NeedKind, RefillStage, RefillUpdate
from star.react import Reaction
from star.records import Event, FleetChange, Request, SupplierTerms
from star.repeat import Outcome
from star.times import DAY_MS, HOUR_MS, parse_time_ms

START_MS = parse_time_ms("2026-03-02T12:00:00Z")
"""A Monday noon."""
ITEM = "tank-7/oil"
QUANTILE_FACTORS = (0.5, 0.65, 0.75, 0.88, 1.0, 1.15, 1.35, 1.5, 1.8)
"""Quantiles of the forecasts here, relative to their median."""

CUSTOMER: dict[str, Any] = {
    "id": "maria",
    "experience": "auto",
    "contacts_per_week_max": 3,
    "consents": ["replenishment", "maintenance"],
}
SLOT: dict[str, Any] = {
    "capacity": 1500.0,
    "pack": 500.0,
    "suppliers": ["acme"],
    "price_max": 650.0,
    "stockout_cost": 400.0,
    "stockout_cost_per_day": 40.0,
    "holding_cost_per_day": 0.05,
}
ACME: dict[str, Any] = {"id": "acme", "lead_time_days": [2.0, 5.0], "price": 610.0}


def catalogue_of(
    customer: dict[str, Any] | None = None,
    slot: dict[str, Any] | None = None,
    suppliers: Sequence[dict[str, Any]] = (ACME,),
    profile: str = "level-tank",
    device: dict[str, Any] | None = None,
    own_profile: dict[str, Any] | None = None,
) -> Catalogue:
    """The home's catalogue; arguments override the defaults."""
    tables = {
        "customers": [{**CUSTOMER, **(customer or {})}],
        "devices": [
            {"id": "tank-7", "customer": "maria", "profile": profile, "slots": {"oil": {**SLOT, **(slot or {})}}}
            if device is None
            else device
        ],
        "suppliers": list(suppliers),
    }
    profiles = load_profiles()
    if own_profile is not None:
        profiles[own_profile["name"]] = Profile.model_validate(own_profile)
    return resolve_catalogue(Fleet.model_validate(tables), profiles)


def forecast_of(days: float, at_ms: int, *, item: str = ITEM, level: float = 300.0, trust: float = 1.0) -> Forecast:
    """A forecast with a median of `days` to empty."""
    return Forecast(
        item=item,
        at_ms=at_ms,
        level=level,
        days=tuple(min(days * factor, DAYS_MAX) for factor in QUANTILE_FACTORS),
        rate_per_day=level / max(days, 0.01),
        trust=trust,
        model="hand@1:0",
        readings=10,
        reading_ms=at_ms,
        reading=level,
    )


@dataclass
class Household:
    """An engine with the facts of its next tick. Time advances by `passes` only."""

    engine: Engine
    now_ms: int = START_MS
    offset: int = 0
    events: list[Event] = field(default_factory=list)
    refills: list[RefillUpdate] = field(default_factory=list)
    needs: list[DetectedNeed] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    event_count: int = 0

    def sees(
        self, days: float, *, item: str = ITEM, level: float = 300.0, trust: float = 1.0, cause: str = "level"
    ) -> Household:
        """Adds a detected need: a forecast of `days` to empty."""
        part = item in self.engine.catalogue.parts
        self.needs.append(
            DetectedNeed(
                item=item,
                at_ms=self.now_ms,
                kind=NeedKind.SERVICE_DUE if part else NeedKind.RUN_OUT,
                cause=cause,
                forecast=forecast_of(days, self.now_ms, item=item, level=level, trust=trust),
            )
        )
        return self

    def passes(self, days: float = 0.0, hours: float = 0.0) -> Household:
        """Advances the time; to be called before `sees`."""
        self.now_ms += round(days * DAY_MS + hours * HOUR_MS)
        return self

    def says(self, reaction: str | None, result: str, **fields: Any) -> Household:
        """Adds an outcome."""
        self.event_count += 1
        at_ms = fields.pop("at_ms", self.now_ms)
        outcome = Outcome(
            at_ms=at_ms,
            arrived_ms=self.now_ms,
            id=f"said-{self.event_count}",
            result=result,  # type: ignore[arg-type]
            reaction=reaction,
            **fields,
        )
        self.events.append(outcome)
        return self

    def asks(self, item: str = ITEM, quantity: float | None = None) -> Household:
        """Adds a customer's request."""
        self.event_count += 1
        self.events.append(Request(at_ms=self.now_ms, id=f"asked-{self.event_count}", item=item, quantity=quantity))
        return self

    def terms(
        self, supplier: str = "acme", price: float | None = None, lead: tuple[float, float] | None = None
    ) -> Household:
        """Adds a change of a supplier's terms."""
        self.events.append(SupplierTerms(at_ms=self.now_ms, supplier=supplier, price=price, lead_time_days=lead))
        return self

    def changes(self, **tables: Any) -> Household:
        """Adds a change of the fleet."""
        self.events.append(FleetChange(at_ms=self.now_ms, tables=json.dumps(tables)))
        return self

    def rises(self, quantity: float, item: str = ITEM, stage: RefillStage = RefillStage.CONFIRMED) -> Household:
        """Adds a refill that the level shows."""
        self.refills.append(RefillUpdate(item=item, at_ms=self.now_ms, stage=stage, quantity=quantity))
        return self

    def tick(self) -> tuple[Reaction, ...]:
        """Runs a step on the facts added since the last one; its reactions."""
        self.offset += 1
        facts = Facts(
            offset=self.offset,
            at_ms=self.now_ms,
            events=tuple(self.events),
            refills=tuple(self.refills),
            needs=tuple(sorted(self.needs, key=lambda need: need.item)),
        )
        self.events, self.refills, self.needs = [], [], []
        self.facts.append(facts)
        self.steps.append(self.engine.step(facts))
        return self.steps[-1].reactions

    def verbs(self) -> list[str]:
        """The ids of the last step's reactions without the device, such as `oil/1/order/1`."""
        return [reaction.id.split("/", 1)[1] for reaction in self.steps[-1].reactions]


def household_of(catalogue: Catalogue | None = None, start: str | None = None, **choices: Any) -> Household:
    """A home. choices: fields of the customer; start: an RFC 3339 time."""
    engine = Engine(catalogue_of(choices) if catalogue is None else catalogue)
    return Household(engine, now_ms=START_MS if start is None else parse_time_ms(start))
