"""Offer: a curated choice with reasons; ordered when it is accepted. Also what auto falls back to."""

from __future__ import annotations

from config.resolve import SlotItem
from reactor.experiences import asking, coach, respond
from reactor.experiences.case import Case, slot_timing
from reactor.policy import Timing
from reactor.quotes import options_of
from reactor.rules.consent import consent
from reactor.rules.experience import experience
from star.react import ReactionType, RuleVerdict


def decide(case: Case[SlotItem]) -> None:
    """Makes an offer when ordering should be thought of."""
    quotes = case.turn.quotes(case.item)
    if not quotes:
        respond.decide(case)
        return
    if not asking.may_ask(case.need, ReactionType.OFFER_MADE, case.at_ms, imminent=True):
        return
    if asking.waits_for_its_time(case):
        return
    timing = slot_timing(case, quotes[0], asking.ANSWER_DAYS)
    if not timing.act:
        asking.passed(case)
        return
    propose(case, timing, (consent(case.customer, case.kind),))


def propose(case: Case[SlotItem], timing: Timing, rules: tuple[RuleVerdict, ...]) -> None:
    """Makes the offer, within the contact rules."""
    quotes = case.turn.quotes(case.item)
    if not quotes:
        coach.remind(case, timing, rules)
        return
    kind = ReactionType.OFFER_MADE
    asking.put(
        case,
        kind,
        lambda way: case.say("offer" if way is kind else "ready", **case.words(quotes[0])),
        options_of(case.item, quotes, case.turn.catalogue, case.language),
        rules=(*rules, experience(case.customer, case.item.experience, kind)),
        timing=timing,
        leads=asking.leads_of(quotes),
    )
