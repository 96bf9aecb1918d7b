"""Outcomes: what an outcome is about is looked up, and a table by (what it is, its state) names its handler.

An outcome that the table does not list is recorded, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from reactor.commands import Command, Commands, RecordFeedback, RecordOutcome, ReportUnmatched
from reactor.handlers import orders, prompts, refills
from reactor.handlers.prompts import PromptState, prompt_state
from reactor.state import Order, PendingPrompt
from reactor.state_view import StateView
from star.ids import ReactionId
from star.react import ReactionType
from star.repeat import OrderState, Outcome, Result


class Subject(StrEnum):
    """What an outcome of the life of an order is about."""

    ORDER = "order"
    BOOKING = "booking"
    CANCELLATION = "cancellation"  # of an order, by us


OrderHandlers = Mapping[Result, Callable[[StateView, Order, Outcome], Commands]]
PromptHandlers = Mapping[Result, Callable[[StateView, PendingPrompt, Outcome], Commands]]

_SERVICED: OrderHandlers = {
    "delivered": orders.delivered,
    "done": orders.delivered,
    "refilled": orders.delivered,
    "serviced": orders.delivered,
}
_REFILLED: PromptHandlers = {
    "delivered": prompts.refilled,
    "done": prompts.refilled,
    "refilled": prompts.refilled,
    "serviced": prompts.refilled,
}

ORDER_HANDLERS: Mapping[tuple[Subject, OrderState], OrderHandlers] = {
    (Subject.ORDER, OrderState.OUTSTANDING): {
        "delivered": orders.delivered,
        "done": orders.done,
        "refilled": orders.done,
        "serviced": orders.done,
        "cancelled": orders.cancelled,
        "failed": orders.failed,
        "declined": orders.declined,
    },
    (Subject.ORDER, OrderState.CANCELLING): {
        "delivered": orders.delivered,
        "cancelled": orders.cancelled,
        "failed": orders.failed,
    },
    (Subject.ORDER, OrderState.PRESUMED): {
        "delivered": orders.presumed_delivered,
        "cancelled": orders.cancelled,
        "failed": orders.failed,
    },
    (Subject.ORDER, OrderState.CANCELLED): {"delivered": orders.delivered},
    (Subject.ORDER, OrderState.FAILED): {"delivered": orders.delivered},
    (Subject.ORDER, OrderState.LOST): {"delivered": orders.delivered},
    (Subject.BOOKING, OrderState.OUTSTANDING): {
        **_SERVICED,
        "cancelled": orders.cancelled,
        "failed": orders.failed,
        "declined": orders.booking_declined,
    },
    (Subject.BOOKING, OrderState.CANCELLED): _SERVICED,
    (Subject.BOOKING, OrderState.FAILED): _SERVICED,
    (Subject.BOOKING, OrderState.LOST): _SERVICED,
    (Subject.CANCELLATION, OrderState.CANCELLING): {
        "cancelled": orders.cancelled,
        "failed": orders.cancellation_rejected,
        "declined": orders.cancellation_rejected,
    },
}
"""An order that was accepted goes on as it is; a delivered one can't change any more."""

PROMPT_HANDLERS: Mapping[PromptState, PromptHandlers] = {
    PromptState.ANSWERABLE: {
        **_REFILLED,
        "accepted": prompts.accepted,
        "declined": prompts.declined,
        "cancelled": prompts.declined,
    },
    PromptState.SETTLED: {**_REFILLED, "accepted": prompts.accepted_again},
    PromptState.ENDED: _REFILLED,
}
"""A prompt that "failed" did not reach its customer: nothing changes."""


def handle(view: StateView, outcome: Outcome) -> Commands:
    """The commands that follow from the outcome of a reaction, or from a refill or service that the customer declares."""
    if outcome.reaction is None:
        return refills.declared(view, outcome, outcome.item)
    prompt = view.prompt(outcome.reaction)
    if prompt is not None:
        answer = PROMPT_HANDLERS[prompt_state(view, prompt)].get(outcome.result)
        return (*_recorded(outcome, outcome.reaction, prompt.item), *(answer(view, prompt, outcome) if answer else ()))
    found = find_order(view, outcome.reaction)
    if found is None:
        text = f"outcome {outcome.id!r} speaks of {outcome.reaction!r}, which is not a reaction known here"
        return (ReportUnmatched(text=text),)
    subject, order = found
    handler = ORDER_HANDLERS.get((subject, order.state), {}).get(outcome.result)
    return (*_recorded(outcome, outcome.reaction, order.item), *(handler(view, order, outcome) if handler else ()))


def find_order(view: StateView, reaction: str) -> tuple[Subject, Order] | None:
    """The order or booking of the reaction, or that of which it is the cancellation; None where none is kept."""
    order = view.order(reaction)
    if order is not None:
        return Subject.BOOKING if order.booking else Subject.ORDER, order
    cancellation = ReactionId.try_parse(reaction)
    if cancellation is None or cancellation.kind is not ReactionType.ORDER_CANCELLED:
        return None
    for kind in (ReactionType.ORDER_REQUESTED, ReactionType.MAINTENANCE_BOOKED):
        order = view.order(str(ReactionId(cancellation.need, kind, cancellation.attempt)))
        if order is not None:
            return Subject.CANCELLATION, order
    return None


def _recorded(outcome: Outcome, reaction: str, item: str) -> Commands:
    """The outcome is kept, and its feedback counts, whatever else it changes."""
    decided: list[Command] = [RecordOutcome(reaction=reaction, outcome=outcome)]
    if outcome.timing is not None:
        decided.append(RecordFeedback(item=item, timing=outcome.timing))
    return tuple(decided)
