"""A neighbourhood for the console's tests: a real catalogue, read model, reactions and receipts; only the log is a list.

What pages do is kept in `said` and answered by hand here (an accepted offer becomes an order), so that a journey can be
followed; the reactor's own answers are the reactor's tests.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from config.change import apply_checked
from config.fleet import Fleet
from config.profile_file import load_profiles
from config.resolve import Catalogue, resolve
from console.backend import Delivery, NeedShown, Point, QuarantineShown, ReactionShown, find_item
from console.order_point import order_point
from console.views import Projection
from star.analyse import QUANTILES, Forecast, NeedKind
from star.errors import BadPayload
from star.react import Decision, Option, Reaction, ReactionType, RuleVerdict
from star.records import Quarantined
from star.repeat import NeedState
from star.times import DAY_MS, HOUR_MS, MINUTE_MS

NOW_MS = 1_764_000_000_000  # 24 November 2025, 16:00 UTC
MODEL = "run-out@1.0.0:9f2c41d07ab3"
_SPREAD = (0.45, 0.56, 0.64, 0.8, 1.0, 1.25, 1.55, 1.78, 2.3)

FLEET: dict[str, Any] = {
    "customers": [
        {
            "id": "maria",
            "name": "Maria Duval",
            "language": "fr",
            "timezone": "Europe/Paris",
            "experience": "auto",
            "quiet_hours": ["22:00", "07:30"],
            "budget_per_month": 900.0,
            "consents": ["replenishment", "maintenance"],
            "away": [["2026-08-01", "2026-08-21"]],
        },
        {
            "id": "harbour",
            "name": "Harbour Office",
            "timezone": "Europe/London",
            "experience": "offer",
            "consents": ["replenishment"],
            "channels": ["mqtt", "ntfy://push.example/harbour"],
        },
        {"id": "tom", "experience": "coach", "consents": ["replenishment", "maintenance"]},
    ],
    "devices": [
        {
            "id": "tank-7",
            "customer": "maria",
            "profile": "heating-oil",
            "slots": {"oil": {"suppliers": ["acme"], "price_max": 650.0}},
        },
        {
            "id": "brew-1",
            "customer": "maria",
            "profile": "coffee-machine",
            "slots": {"beans": {"suppliers": ["roastery", "acme"], "experience": "offer"}},
        },
        {
            "id": "inkjet-3",
            "customer": "harbour",
            "profile": "printer",
            "slots": {"black": {"suppliers": ["papers"], "experience": "respond"}, "cyan": {"suppliers": ["papers"]}},
        },
        {
            "id": "rack-007",
            "customer": "harbour",
            "profile": "level-tank",
            "slots": {"paper_towels": {"capacity": 24.0, "suppliers": ["papers"]}, "soap<b>5l": {"capacity": 5.0}},
        },
        {
            "id": "filter-2",
            "customer": "tom",
            "profile": "water-filter",
            "slots": {"filter": {"suppliers": ["acme"]}},
        },
    ],
    "suppliers": [
        {"id": "acme", "lead_time_days": [2.0, 5.0], "price": 610.0, "secret": "whsec_c2VjcmV0"},
        {"id": "roastery", "kind": "producer", "lead_time_days": [1.0, 3.0], "price": 24.0},
        {"id": "papers", "kind": "retailer", "lead_time_days": [1.0, 4.0], "price": 31.5},
    ],
}

# item -> level of the capacity now, use a day of the capacity, trust
LEVELS = {
    "tank-7/oil": (0.62, 0.022, 0.94),
    "tank-7/burner": (0.41, 0.00274, 0.97),
    "brew-1/beans": (0.18, 0.047, 0.91),
    "brew-1/descaling": (0.06, 0.011, 0.88),
    "inkjet-3/black": (0.05, 0.011, 0.83),
    "inkjet-3/cyan": (0.54, 0.008, 0.42),
    "inkjet-3/magenta": (0.71, 0.006, 0.79),
    "rack-007/paper_towels": (0.11, 0.03, 0.88),
    "rack-007/soap<b>5l": (0.868, 0.0135, 0.97),
    "filter-2/filter": (0.07, 0.0095, 0.9),
    "filter-2/cartridge": (0.3, 0.0055, 0.95),
}


def catalogue_of(tables: dict[str, Any] = FLEET) -> Catalogue:
    """The catalogue of the neighbourhood."""
    return resolve(Fleet.model_validate(tables), load_profiles())


def forecast_of(catalogue: Catalogue, key: str, at_ms: int = NOW_MS, share: float | None = None) -> Forecast:
    """A forecast of the item, as its level and use of LEVELS give it."""
    now_share, use, trust = LEVELS[key]
    share = now_share if share is None else share
    slot = catalogue.slots.get(key)
    capacity = slot.capacity if slot else 1.0
    return Forecast(
        item=key,
        at_ms=at_ms,
        level=share * capacity,
        days=tuple(min(3650.0, share / use * spread) for spread in _SPREAD[: len(QUANTILES)]),
        rate_per_day=use * capacity,
        trust=trust,
        model=MODEL,
        readings=1843,
        reading_ms=at_ms - 12 * MINUTE_MS,
        reading=share * capacity,
    )


def past_shares(key: str, days: int, every_ms: int = 3 * HOUR_MS) -> list[tuple[int, float]]:
    """A sawtooth that ends at the item's level now, oldest first: (at_ms, share)."""
    share, use, _ = LEVELS[key]
    rng = random.Random(key)
    found = []
    for step in range(int(days * DAY_MS / every_ms)):
        found.append((NOW_MS - step * every_ms, share))
        share += use * every_ms / DAY_MS * rng.uniform(0.3, 1.7)
        if share > 0.97:
            share = rng.uniform(0.1, 0.17)
    return found[::-1]


class Neighbourhood:
    """The backend of the tests: the whole protocol, over real classes."""

    def __init__(self, folder: Path, days: int = 90) -> None:
        self.profiles = load_profiles()
        self._catalogue = catalogue_of()
        self.projection = Projection(folder / "console.db")
        self.now = NOW_MS
        self.trouble: str | None = None
        self.said: list[tuple[str, Any]] = []
        self.catalogue_hook: Callable[[], None] = lambda: None
        self.needs_hook: Callable[[], None] = lambda: None
        self.needs_by_id: dict[str, NeedShown] = {}
        self.reactions_by_id: dict[str, ReactionShown] = {}
        self.decisions_made: list[Decision] = []
        self.sendings: dict[str, list[Delivery]] = {}
        self.quarantined = _quarantined()
        if not self.projection.next_offset():  # a copied read model has its past already
            for key in LEVELS:
                points = past_shares(key, days)
                self.projection.take([forecast_of(self._catalogue, key, at, share) for at, share in points], 1)
        _furnish(self)

    def close(self) -> None:
        self.projection.close()

    def now_ms(self) -> int:
        return self.now

    def problem(self) -> str | None:
        return self.trouble

    def catalogue(self) -> Catalogue:
        self.catalogue_hook()
        return self._catalogue

    def empty_fleet(self) -> None:
        """Nothing is watched any more."""
        self._catalogue = catalogue_of({"customers": [{"id": "tom"}]})

    def latest(self, items: Collection[str] | None = None) -> Mapping[str, Forecast]:
        return self.projection.latest(items)

    def history(self, item: str, start_ms: int, end_ms: int) -> Sequence[Point]:
        return self.projection.history(item, start_ms, end_ms)

    def order_point(self, item: str) -> float | None:
        slot = self._catalogue.slots.get(item)
        if slot is None:
            return None
        price = self._catalogue.suppliers[slot.suppliers[0]].price / slot.pack if slot.suppliers else 0.0
        return order_point(slot, self.latest([item]).get(item), self.lead_time_days(item), price)

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
    ) -> Sequence[NeedShown]:
        self.needs_hook()
        found = [
            need
            for need in self.needs_by_id.values()
            if item in (None, need.item)
            and (customers is None or self._catalogue.customer_of(need.item).id in customers)
            and not (living and need.closed_ms)
        ]
        return sorted(found, key=lambda need: -need.opened_ms)[:limit]

    def need(self, id: str) -> NeedShown | None:
        return self.needs_by_id.get(id)

    def reactions(
        self,
        *,
        item: str | None = None,
        need: str | None = None,
        customers: Collection[str] | None = None,
        before_ms: int | None = None,
        limit: int = 50,
    ) -> Sequence[ReactionShown]:
        found = [
            shown
            for shown in self.reactions_by_id.values()
            if item in (None, f"{shown.reaction.device}/{shown.reaction.item}")
            and need in (None, shown.reaction.need)
            and (customers is None or shown.reaction.customer in customers)
            and (before_ms is None or shown.reaction.at_ms < before_ms)
        ]
        return sorted(found, key=lambda shown: -shown.reaction.at_ms)[:limit]

    def reaction(self, id: str) -> ReactionShown | None:
        return self.reactions_by_id.get(id)

    def decisions(self, need: str, limit: int = 50) -> Sequence[Decision]:
        found = [decision for decision in self.decisions_made if decision.need == need]
        return sorted(found, key=lambda decision: -decision.at_ms)[:limit]

    def decision(self, reaction: str) -> Decision | None:
        return next((decision for decision in self.decisions_made if decision.reaction == reaction), None)

    def deliveries(self, reaction: str) -> Sequence[Delivery]:
        return self.sendings.get(reaction, [])

    def quarantine(self, *, before: int | None = None, limit: int = 50) -> Sequence[QuarantineShown]:
        rows = [row for row in self.quarantined if before is None or row.offset < before]
        return sorted(rows, key=lambda row: -row.offset)[:limit]

    async def submit_telemetry(self, device: str, payload: bytes) -> None:
        if b"bad" in payload:
            raise BadPayload("values.oil is 'bad': expected a number")
        self.said.append(("telemetry", (device, payload)))

    async def submit_outcome(self, outcome: dict[str, Any]) -> None:
        if outcome.get("result") == "nonsense":
            raise BadPayload("result is 'nonsense': expected one of accepted, declined")
        self.said.append(("outcome", outcome))
        shown = self.reactions_by_id.get(outcome.get("reaction", ""))
        if shown is not None:
            _answer(self, shown, outcome)

    async def submit_request(self, request: dict[str, Any]) -> None:
        self.said.append(("request", request))

    async def submit_fleet_change(self, tables: dict[str, Any]) -> None:
        self._catalogue = apply_checked(self._catalogue, tables, self.profiles)
        self.said.append(("fleet", json.loads(json.dumps(tables))))


def _answer(world: Neighbourhood, shown: ReactionShown, outcome: dict[str, Any]) -> None:
    """What the reactor would make of an answer, as far as the journeys look at it."""
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
        world.reactions_by_id[order.id] = ReactionShown(reaction=order)
        world.needs_by_id[need.id] = replace(need, state=NeedState.ORDERED)
    elif outcome["result"] in ("declined", "cancelled"):
        world.needs_by_id[need.id] = replace(need, state=NeedState.REFUSED)


def _furnish(world: Neighbourhood) -> None:
    """Orders past and under way, questions, a reminder, and their receipts."""
    days = [at for at, share in _refills("tank-7/oil")]
    for cycle, at_ms in enumerate(days, 1):
        _order(world, f"tank-7/oil/{cycle}", at_ms - 3 * DAY_MS, delivered_ms=at_ms)
    _order(world, "filter-2/filter/1", NOW_MS - 5 * HOUR_MS, cancel_before_ms=NOW_MS + 19 * HOUR_MS)
    _ask(
        world,
        "brew-1/beans/4",
        ReactionType.OFFER_MADE,
        NeedState.OFFERED,
        "Il reste du café en grains pour environ 4 jours ; une livraison en prend jusqu’à 3.",
        options=(
            Option(sku="beans-1kg", supplier="roastery", quantity=100.0, price=24.0, why="votre café habituel"),
            Option(sku="beans-3kg", supplier="roastery", quantity=300.0, price=63.0, why="12 % moins cher la tasse"),
            Option(sku="house", supplier="acme", quantity=100.0, price=19.5, why="le moins cher, livré en 5 jours"),
        ),
    )
    _ask(
        world,
        "inkjet-3/black/2",
        ReactionType.REQUEST_READY,
        NeedState.READIED,
        "Black ink lasts about 5 more days, and a delivery takes up to 4: a request is ready for you to send.",
        supplier="papers",
        sku="ink-black",
        quantity=100.0,
        price=31.5,
    )
    _ask(
        world,
        "brew-1/descaling/1",
        ReactionType.REMINDER_SENT,
        NeedState.REMINDED,
        "La machine a fait 282 tasses depuis le dernier détartrage ; elle en demande un toutes les 300.",
        kind=NeedKind.SERVICE_DUE,
        cause="cups",
    )
    booking = _reaction(
        world,
        "tank-7/burner/1",
        ReactionType.MAINTENANCE_BOOKED,
        "booking",
        NOW_MS - 20 * HOUR_MS,
        because="L’entretien annuel du brûleur est réservé, comme vous l’avez accepté.",
        supplier="acme",
        price=140.0,
    )
    world.reactions_by_id[booking.id] = ReactionShown(reaction=booking)
    world.needs_by_id[booking.need] = NeedShown(
        id=booking.need,
        item="tank-7/burner",
        kind=NeedKind.SERVICE_DUE,
        cause="months",
        state=NeedState.BOOKED,
        opened_ms=NOW_MS - 2 * DAY_MS,
    )
    world.decisions_made.append(
        Decision(
            id="rack-007/paper_towels/1/1",
            need="rack-007/paper_towels/1",
            at_ms=NOW_MS - 2 * HOUR_MS,
            verdict="wait",
            because="Paper towels run low, but you asked for quiet until 07:30.",
            rules=(
                RuleVerdict(rule="quiet_hours", allowed=False, reason="quiet until 07:30", until_ms=NOW_MS + DAY_MS),
            ),
        )
    )
    world.needs_by_id["rack-007/paper_towels/1"] = NeedShown(
        id="rack-007/paper_towels/1",
        item="rack-007/paper_towels",
        kind=NeedKind.RUN_OUT,
        cause="level",
        state=NeedState.OPEN,
        opened_ms=NOW_MS - 2 * HOUR_MS,
    )


def _refills(key: str) -> list[tuple[int, float]]:
    points = past_shares(key, 90)
    return [after for before, after in pairwise(points) if after[1] - before[1] > 0.3]


def _reaction(world: Neighbourhood, need: str, type_: ReactionType, verb: str, at_ms: int, **fields: Any) -> Reaction:
    device, item, _ = need.split("/")
    return Reaction(
        id=f"{need}/{verb}/1",
        type=type_,
        at_ms=at_ms,
        need=need,
        attempt=1,
        device=device,
        item=item,
        customer=world.catalogue().customer_of(f"{device}/{item}").id,
        forecast=forecast_of(world.catalogue(), f"{device}/{item}", at_ms, 0.14),
        **fields,
    )


def _order(
    world: Neighbourhood, need: str, at_ms: int, delivered_ms: int | None = None, cancel_before_ms: int | None = None
) -> None:
    item = need.rsplit("/", 1)[0]
    slot = world.catalogue().slots[item]
    reaction = _reaction(
        world,
        need,
        ReactionType.ORDER_REQUESTED,
        "order",
        at_ms,
        because=f"{slot.label['en'].capitalize()} lasts 4 to 9 more days and a delivery takes 2 to 5: waiting for the next"
        " look would risk a run-out, so one pack is ordered now.",
        supplier="acme",
        sku="standard",
        quantity=slot.pack,
        price=610.0,
        cancel_before_ms=cancel_before_ms,
    )
    world.reactions_by_id[reaction.id] = ReactionShown(
        reaction=reaction, result="delivered" if delivered_ms else None, result_ms=delivered_ms
    )
    world.needs_by_id[need] = NeedShown(
        id=need,
        item=item,
        kind=NeedKind.RUN_OUT,
        cause="level",
        state=NeedState.CLOSED if delivered_ms else NeedState.ORDERED,
        opened_ms=at_ms - HOUR_MS,
        closed_ms=delivered_ms,
    )
    world.sendings[reaction.id] = [
        Delivery(target="mqtt", state="sent", tries=1),
        Delivery(target="supplier:acme", state="given-up", tries=12, error="acme.example answers 503"),
    ]
    world.decisions_made.append(_receipt(reaction, need, at_ms))


def _receipt(reaction: Reaction, need: str, at_ms: int) -> Decision:
    return Decision(
        id=f"{need}/1",
        need=need,
        at_ms=at_ms,
        verdict=str(reaction.type),
        because=reaction.because,
        rules=(
            RuleVerdict(rule="consent", allowed=True, reason="replenishment is among the consents"),
            RuleVerdict(rule="quiet_hours", allowed=True, reason="an order wakes nobody"),
            RuleVerdict(rule="budget", allowed=True, reason="610.00 of 900.00 left this month"),
        ),
        forecast=reaction.forecast,
        alternative="Waiting six more hours would have cost 3.80 in expected run-outs against 0.02 of storage saved.",
        figures={
            "order_point": 165.0,
            "cost_now": 1.25,
            "cost_of_waiting": 3.8,
            "p_out_before_delivery": 0.0214,
            "lead_days_90": 5.0,
        },
        reaction=reaction.id,
    )


def _ask(
    world: Neighbourhood,
    need: str,
    type_: ReactionType,
    state: NeedState,
    because: str,
    kind: NeedKind = NeedKind.RUN_OUT,
    cause: str = "level",
    **fields: Any,
) -> None:
    verb = {"offer": "offer", "request": "request", "reminder": "reminder"}[type_.split(".")[1]]
    at_ms = NOW_MS - 40 * MINUTE_MS
    reaction = _reaction(world, need, type_, verb, at_ms, because=because, **fields)
    world.reactions_by_id[reaction.id] = ReactionShown(reaction=reaction)
    world.needs_by_id[need] = NeedShown(
        id=need, item=need.rsplit("/", 1)[0], kind=kind, cause=cause, state=state, opened_ms=at_ms
    )
    world.decisions_made.append(_receipt(reaction, need, at_ms))


def _quarantined() -> list[QuarantineShown]:
    rows = [
        ("starloop/v1/tank-7/telemetry", b'{"values": {"oil": NaN}}', "not JSON: NaN is no JSON number"),
        ("starloop/v1/ghost-1/telemetry", b'{"values": {"oil": 12}}', "device is 'ghost-1': it is not in the fleet"),
        ("starloop/v1/tank-7/telemetry", b"<script>alert('level')</script>", "not JSON: expected value at 1"),
        ("starloop/v1/tank-7/telemetry", bytes(range(256)) * 5, "not JSON: invalid UTF-8 at byte 0"),
        (None, b"", "a line has none of topic, outcome, request, supplier, fleet, tick"),
    ]
    return [
        QuarantineShown(
            offset=place,
            row=Quarantined(at_ms=NOW_MS - place * 7 * MINUTE_MS, topic=topic, payload=payload, reason=reason),
        )
        for place, (topic, payload, reason) in enumerate(rows)
    ]
