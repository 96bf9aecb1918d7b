"""Offer: a choice of options, each with its reason; ordered when one is accepted. Auto falls back to it."""

from __future__ import annotations

from config.catalogue import SlotItem
from reactor.commands import Commands
from reactor.decision.decision_context import DecisionContext, evaluate_slot
from reactor.decision.quotes import options_of
from reactor.decision.reorder_policy import Timing
from reactor.experiences import contact_policy, respond
from reactor.rules.consent import check_consent
from reactor.rules.experience import check_experience
from star.react import ReactionType, RuleVerdict


def decide(context: DecisionContext[SlotItem]) -> Commands:
    """Makes an offer when it is time to think of ordering; a ready request where no supplier can be asked."""
    quotes = context.view.quotes(context.item)
    if not quotes:
        return respond.decide(context)
    if not contact_policy.may_prompt(context.need, ReactionType.OFFER_MADE, context.at_ms, imminent=True):
        return ()
    if contact_policy.is_on_hold(context):
        return ()
    timing = evaluate_slot(context, quotes[0], contact_policy.RESPONSE_DAYS)
    if not timing.act:
        return contact_policy.close_if_resolved(context)
    return propose(context, timing, (check_consent(context.customer, context.kind),))


def propose(context: DecisionContext[SlotItem], timing: Timing, rules: tuple[RuleVerdict, ...]) -> Commands:
    """The offer, within the contact rules."""
    quotes = context.view.quotes(context.item)
    kind = ReactionType.OFFER_MADE
    return contact_policy.prompt_or_hold(
        context,
        kind,
        lambda way: context.translate("offer" if way is kind else "ready", **context.message_fields(quotes[0])),
        options_of(context.item, quotes, context.view.catalogue, context.language),
        rules=(*rules, check_experience(context.customer, context.item.experience, kind)),
        timing=timing,
        arrival_windows_days=contact_policy.arrival_windows(quotes),
    )
