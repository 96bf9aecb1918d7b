"""Offer: a curated choice with reasons; ordered when it is accepted. Also what auto falls back to."""

from __future__ import annotations

from config.catalogue import SlotItem
from reactor.decision.decision_context import DecisionContext, evaluate_slot
from reactor.decision.quotes import options_of
from reactor.decision.reorder_policy import Timing
from reactor.experiences import coach, contact_policy, respond
from reactor.rules.consent import check_consent
from reactor.rules.experience import check_experience
from star.react import ReactionType, RuleVerdict


def decide(context: DecisionContext[SlotItem]) -> None:
    """Makes an offer when ordering should be thought of."""
    quotes = context.unit.quotes(context.item)
    if not quotes:
        respond.decide(context)
        return
    if not contact_policy.may_prompt(context.need, ReactionType.OFFER_MADE, context.at_ms, imminent=True):
        return
    if contact_policy.is_on_hold(context):
        return
    timing = evaluate_slot(context, quotes[0], contact_policy.RESPONSE_DAYS)
    if not timing.act:
        contact_policy.close_if_resolved(context)
        return
    propose(context, timing, (check_consent(context.customer, context.kind),))


def propose(context: DecisionContext[SlotItem], timing: Timing, rules: tuple[RuleVerdict, ...]) -> None:
    """Makes the offer, within the contact rules."""
    quotes = context.unit.quotes(context.item)
    if not quotes:
        coach.remind(context, timing, rules)
        return
    kind = ReactionType.OFFER_MADE
    contact_policy.prompt_or_hold(
        context,
        kind,
        lambda way: context.translate("offer" if way is kind else "ready", **context.message_fields(quotes[0])),
        options_of(context.item, quotes, context.unit.catalogue, context.language),
        rules=(*rules, check_experience(context.customer, context.item.experience, kind)),
        timing=timing,
        arrival_windows_days=contact_policy.arrival_windows(quotes),
    )
