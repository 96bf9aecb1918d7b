"""Coach: a reminder in time. It orders nothing unasked; a reminder accepted at its stated price is an authorization."""

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
    """Reminds when it is time to think of ordering."""
    kind = ReactionType.REMINDER_SENT
    if not contact_policy.may_prompt(context.need, kind, context.at_ms, imminent=True):
        return ()
    if contact_policy.is_on_hold(context):
        return ()
    quotes = context.view.quotes(context.item)
    quote = quotes[0] if quotes else None
    timing = evaluate_slot(context, quote, contact_policy.RESPONSE_DAYS)
    if not timing.act:
        return contact_policy.close_if_resolved(context)
    ways = ("remind", "ready") if quote else ("remind_only", "ready_only")
    return contact_policy.prompt_or_hold(
        context,
        kind,
        lambda way: context.translate(ways[0] if way is kind else ways[1], **context.message_fields(quote)),
        () if quote is None else (option_of(quote, context.language),),
        rules=(
            check_consent(context.customer, context.kind),
            check_experience(context.customer, context.item.experience, kind),
        ),
        timing=timing,
        arrival_windows_days=contact_policy.arrival_windows(quotes),
    )
