"""Respond: a request is made ready, and one tap of the customer sends it. Nobody is contacted."""

from __future__ import annotations

from config.resolve import SlotItem
from reactor.experiences import asking
from reactor.experiences.case import Case, slot_timing
from reactor.quotes import option_of
from reactor.rules.consent import consent
from reactor.rules.experience import experience
from star.react import ReactionType


def decide(case: Case[SlotItem]) -> None:
    """Makes a request ready when ordering should be thought of."""
    quotes = case.turn.quotes(case.item)
    quote = quotes[0] if quotes else None
    kind = ReactionType.REQUEST_READY
    if not asking.may_ask(case.need, kind, case.at_ms, imminent=True) or asking.waits_for_its_time(case):
        return
    timing = slot_timing(case, quote, asking.LOOKING_DAYS)
    if not timing.act:
        asking.passed(case)
        return
    asking.put(
        case,
        kind,
        lambda _: case.say("ready" if quote else "ready_only", **case.words(quote)),
        () if quote is None else (option_of(quote, case.language),),
        rules=(consent(case.customer, case.kind), experience(case.customer, case.item.experience, kind)),
        timing=timing,
        leads=asking.leads_of(quotes),
    )
