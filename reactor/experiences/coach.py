"""Coach: a reminder in time. It never orders by itself; a reminder accepted at its stated price is the customer's mandate."""

from __future__ import annotations

from config.catalogue import SlotItem
from reactor.decision.decision_context import DecisionContext, evaluate_slot
from reactor.decision.quotes import option_of
from reactor.decision.reorder_policy import Timing
from reactor.experiences import contact_policy
from reactor.rules.consent import check_consent
from reactor.rules.experience import check_experience
from star.react import ReactionType, RuleVerdict


def decide(context: DecisionContext[SlotItem]) -> None:
    """Reminds when ordering should be thought of."""
    if not contact_policy.may_prompt(context.need, ReactionType.REMINDER_SENT, context.at_ms, imminent=True):
        return
    if contact_policy.is_on_hold(context):
        return
    quotes = context.unit.quotes(context.item)
    timing = evaluate_slot(context, quotes[0] if quotes else None, contact_policy.RESPONSE_DAYS)
    if not timing.act:
        contact_policy.close_if_resolved(context)
        return
    remind(context, timing, (check_consent(context.customer, context.kind),))


def remind(context: DecisionContext[SlotItem], timing: Timing, rules: tuple[RuleVerdict, ...]) -> None:
    """Reminds, within the contact rules."""
    quotes = context.unit.quotes(context.item)
    quote = quotes[0] if quotes else None
    kind = ReactionType.REMINDER_SENT
    ways = ("remind", "ready") if quote else ("remind_only", "ready_only")
    contact_policy.prompt_or_hold(
        context,
        kind,
        lambda way: context.translate(ways[0] if way is kind else ways[1], **context.message_fields(quote)),
        () if quote is None else (option_of(quote, context.language),),
        rules=(*rules, check_experience(context.customer, context.item.experience, kind)),
        timing=timing,
        arrival_windows_days=contact_policy.arrival_windows(quotes),
    )
