"""Outcomes of prompts: offers, reminders and ready requests."""

from __future__ import annotations

from enum import StrEnum

from reactor.commands import (
    REFUSED,
    WAIT,
    AuthorizeNeed,
    Commands,
    NeedTarget,
    Rationale,
    RecordDecision,
    RefuseNeed,
    SettlePrompts,
    WithdrawAuthorization,
)
from reactor.handlers import refills
from reactor.handlers.messages import customer_message
from reactor.state import ANSWERABLE_STATES, Authorization, Need, PendingPrompt
from reactor.state_view import StateView
from star.repeat import Outcome


class PromptState(StrEnum):
    """Whether a prompt still asks for an answer."""

    ANSWERABLE = "answerable"
    SETTLED = "settled"  # it was answered, or its need's order is under way
    ENDED = "ended"  # its need is closed


def prompt_state(view: StateView, prompt: PendingPrompt) -> PromptState:
    """The state of the prompt, by its need's."""
    need = view.need(prompt.need)
    if need is None:
        return PromptState.ENDED
    if prompt.open and need.state in ANSWERABLE_STATES:
        return PromptState.ANSWERABLE
    return PromptState.SETTLED


def accepted(view: StateView, prompt: PendingPrompt, outcome: Outcome) -> Commands:
    """The customer accepts: the option of the outcome's quantity, else the first."""
    need = _need_of(view, prompt)
    settled = SettlePrompts(need=need.id)
    if not prompt.options:
        return (settled,)
    chosen = next((option for option in prompt.options if option.quantity == outcome.quantity), prompt.options[0])
    authorization = Authorization(
        reason="accepted",
        quantity=chosen.quantity,
        price=chosen.price,
        supplier=chosen.supplier or None,
        sku=chosen.sku or None,
    )
    return (settled, authorize(view, need, authorization))


def accepted_again(view: StateView, prompt: PendingPrompt, outcome: Outcome) -> Commands:
    """The customer accepts what was answered before: recorded, and nothing else."""
    del outcome
    return (already_under_way(view, _need_of(view, prompt), prompt.id),)


def declined(view: StateView, prompt: PendingPrompt, outcome: Outcome) -> Commands:
    """The customer says no."""
    del outcome
    need = _need_of(view, prompt)
    rationale = Rationale(because=customer_message(view, need, "declined"))
    return (
        SettlePrompts(need=need.id),
        WithdrawAuthorization(need=need.id),
        RefuseNeed(need=need.id),
        RecordDecision(need=need.id, verdict=REFUSED, rationale=rationale, at_ms=view.at_ms),
    )


def refilled(view: StateView, prompt: PendingPrompt, outcome: Outcome) -> Commands:
    """The customer met the need by other means."""
    return refills.declared(view, outcome, prompt.item)


def authorize(view: StateView, need: Need, authorization: Authorization) -> AuthorizeNeed:
    """The authorization of a live need."""
    target = NeedTarget(item=need.item, customer=need.customer, kind=need.kind, cause=need.cause, at_ms=view.at_ms)
    return AuthorizeNeed(target=target, authorization=authorization)


def already_under_way(view: StateView, need: Need, about: str) -> RecordDecision:
    """The receipt that an order of the need is under way. about: the prompt or request, recorded once."""
    rationale = Rationale(because=customer_message(view, need, "already"))
    return RecordDecision(need=need.id, verdict=WAIT, rationale=rationale, at_ms=view.at_ms, dedup_key=about)


def _need_of(view: StateView, prompt: PendingPrompt) -> Need:
    need = view.need(prompt.need)
    assert need is not None, f"the need of {prompt.id} has ended"
    return need
