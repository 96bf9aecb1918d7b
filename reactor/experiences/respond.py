"""Respond: a request is made ready, and one tap of the customer sends it. Nobody is contacted."""

from __future__ import annotations

from config.catalogue import SlotItem
from reactor.commands import Commands
from reactor.decision.decision_context import DecisionContext, evaluate_slot
from reactor.decision.quotes import option_of
from reactor.experiences import contact_policy
from reactor.rules.consent import check_consent
from reactor.rules.experience import check_experience
from star.react import ReactionType


def decide(context: DecisionContext[SlotItem]) -> Commands:
    """Makes a request ready when it is time to think of ordering."""
    kind = ReactionType.REQUEST_READY
    if not contact_policy.may_prompt(context.need, kind, context.at_ms, imminent=True):
        return ()
    if contact_policy.is_on_hold(context):
        return ()
    quotes = context.view.quotes(context.item)
    quote = quotes[0] if quotes else None
    timing = evaluate_slot(context, quote, contact_policy.UNNOTIFIED_RESPONSE_DAYS)
    if not timing.act:
        return contact_policy.close_if_resolved(context)
    return contact_policy.prompt_or_hold(
        context,
        kind,
        lambda _: context.translate("ready" if quote else "ready_only", **context.message_fields(quote)),
        () if quote is None else (option_of(quote, context.language),),
        rules=(
            check_consent(context.customer, context.kind),
            check_experience(context.customer, context.item.experience, kind),
        ),
        timing=timing,
        arrival_windows_days=contact_policy.arrival_windows(quotes),
    )
