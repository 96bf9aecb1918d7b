"""History of the neighbourhood: orders, questions, a booked service, decisions to wait, and quarantined payloads."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from console.backend import DeliveryStatus, NeedView, QuarantineView, ReactionView
from star.analyse import NeedKind
from star.react import Decision, Option, Reaction, ReactionType, RuleVerdict
from star.records import Quarantined
from star.repeat import NeedState
from star.times import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support.console.sample_fleet import NOW_MS, forecast_of, past_shares

if TYPE_CHECKING:
    from tests.support.console.fake_backend import FakeBackend


def add_history(world: FakeBackend) -> None:
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
    _book(world)
    _wait(world)


def _book(world: FakeBackend) -> None:
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
    world.reactions_by_id[booking.id] = ReactionView(reaction=booking)
    world.needs_by_id[booking.need] = NeedView(
        id=booking.need,
        item="tank-7/burner",
        kind=NeedKind.SERVICE_DUE,
        cause="months",
        state=NeedState.BOOKED,
        opened_ms=NOW_MS - 2 * DAY_MS,
    )


def _wait(world: FakeBackend) -> None:
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
    world.needs_by_id["rack-007/paper_towels/1"] = NeedView(
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


def _reaction(world: FakeBackend, need: str, type_: ReactionType, verb: str, at_ms: int, **fields: Any) -> Reaction:
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
    world: FakeBackend, need: str, at_ms: int, delivered_ms: int | None = None, cancel_before_ms: int | None = None
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
    world.reactions_by_id[reaction.id] = ReactionView(
        reaction=reaction, result="delivered" if delivered_ms else None, result_ms=delivered_ms
    )
    world.needs_by_id[need] = NeedView(
        id=need,
        item=item,
        kind=NeedKind.RUN_OUT,
        cause="level",
        state=NeedState.CLOSED if delivered_ms else NeedState.ORDERED,
        opened_ms=at_ms - HOUR_MS,
        closed_ms=delivered_ms,
    )
    world.delivery_statuses[reaction.id] = [
        DeliveryStatus(target="mqtt", state="sent", tries=1),
        DeliveryStatus(target="supplier:acme", state="given-up", tries=12, error="acme.example answers 503"),
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
    world: FakeBackend,
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
    world.reactions_by_id[reaction.id] = ReactionView(reaction=reaction)
    world.needs_by_id[need] = NeedView(
        id=need, item=need.rsplit("/", 1)[0], kind=kind, cause=cause, state=state, opened_ms=at_ms
    )
    world.decisions_made.append(_receipt(reaction, need, at_ms))


def quarantined() -> list[QuarantineView]:
    rows = [
        ("starloop/v1/tank-7/telemetry", b'{"values": {"oil": NaN}}', "not JSON: NaN is no JSON number"),
        ("starloop/v1/ghost-1/telemetry", b'{"values": {"oil": 12}}', "device is 'ghost-1': it is not in the fleet"),
        ("starloop/v1/tank-7/telemetry", b"<script>alert('level')</script>", "not JSON: expected value at 1"),
        ("starloop/v1/tank-7/telemetry", bytes(range(256)) * 5, "not JSON: invalid UTF-8 at byte 0"),
        (None, b"", "a line has none of topic, outcome, request, supplier, fleet, tick"),
    ]
    return [
        QuarantineView(
            offset=place,
            row=Quarantined(at_ms=NOW_MS - place * 7 * MINUTE_MS, topic=topic, payload=payload, reason=reason),
        )
        for place, (topic, payload, reason) in enumerate(rows)
    ]
