"""Reactions and receipts, numbered as they are made."""

from __future__ import annotations

from dataclasses import replace

from reactor.commands import Rationale
from reactor.state import Need, Order
from reactor.unit_of_work import UnitOfWork
from star.analyse import Forecast
from star.ids import DecisionId, ItemId, NeedId, ReactionId
from star.react import ID_VERBS, Decision, Option, Reaction, ReactionType


def add_reaction(
    unit: UnitOfWork,
    need: Need,
    kind: ReactionType,
    at_ms: int,
    because: str,
    *,
    option: Option | None = None,
    options: tuple[Option, ...] = (),
    forecast: Forecast | None = None,
    cancel_before_ms: int | None = None,
) -> tuple[Need, Reaction]:
    """Makes the need's next reaction of this kind. The need is kept with its attempt counted."""
    verb = ID_VERBS[kind]
    attempt = need.attempts.get(verb, 0) + 1
    need = replace(need, attempts={**need.attempts, verb: attempt})
    unit.upsert(need)
    id_ = ReactionId(NeedId.parse(need.id), kind, attempt)
    reaction = Reaction(
        id=str(id_),
        type=kind,
        at_ms=at_ms,
        need=need.id,
        attempt=attempt,
        device=id_.need.item.device,
        item=id_.need.item.name,
        customer=need.customer,
        because=because,
        supplier=option.supplier or None if option else None,
        sku=option.sku or None if option else None,
        quantity=option.quantity if option else None,
        price=option.price if option else None,
        options=options,
        forecast=forecast,
        cancel_before_ms=cancel_before_ms,
    )
    unit.reactions.append(reaction)
    return need, reaction


def add_cancellation(unit: UnitOfWork, order: Order, because: str) -> Reaction:
    """Makes the cancellation of an order, with the order's attempt, as an order is cancelled at most once."""
    ordered, item = ReactionId.parse(order.id), ItemId.parse(order.item)
    cancelled = ReactionId(NeedId.parse(order.need), ReactionType.ORDER_CANCELLED, ordered.attempt)
    reaction = Reaction(
        id=str(cancelled),
        type=ReactionType.ORDER_CANCELLED,
        at_ms=unit.at_ms,
        need=order.need,
        attempt=ordered.attempt,
        device=item.device,
        item=item.name,
        customer=order.customer,
        because=because,
        supplier=order.supplier,
        sku=order.sku,
        quantity=order.quantity,
        price=order.price,
        order=order.id,
    )
    unit.reactions.append(reaction)
    return reaction


def record_decision(
    unit: UnitOfWork,
    need: Need,
    verdict: str,
    rationale: Rationale,
    at_ms: int,
    *,
    forecast: Forecast | None = None,
    reaction: str | None = None,
    dedup_key: str = "",
) -> Need:
    """Writes the receipt, and keeps the need with it counted. dedup_key: as in the command RecordDecision."""
    latest = f"{verdict}:{dedup_key}"
    if reaction is None and dedup_key and need.verdict == latest:
        return need
    number = need.decisions + 1
    unit.decisions.append(
        Decision(
            id=str(DecisionId(NeedId.parse(need.id), number)),
            need=need.id,
            at_ms=at_ms,
            verdict=verdict,
            because=rationale.because,
            rules=rationale.rules,
            forecast=forecast,
            alternative=rationale.alternative,
            figures=rationale.figures,
            reaction=reaction,
        )
    )
    need = replace(need, decisions=number, verdict=latest, forecast=forecast or need.forecast)
    unit.upsert(need)
    return need
