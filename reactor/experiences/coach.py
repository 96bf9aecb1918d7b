"""Coach: a reminder in time. It never orders by itself; a reminder accepted at its stated price is the customer's mandate."""

from __future__ import annotations

from config.resolve import SlotItem
from reactor.experiences import asking
from reactor.experiences.case import Case, slot_timing
from reactor.policy import Timing
from reactor.quotes import option_of
from reactor.rules.consent import consent
from reactor.rules.experience import experience
from star.react import ReactionType, RuleVerdict


def decide(case: Case[SlotItem]) -> None:
    """Reminds when ordering should be thought of."""
    if not asking.may_ask(case.need, ReactionType.REMINDER_SENT, case.at_ms, imminent=True):
        return
    if asking.waits_for_its_time(case):
        return
    quotes = case.turn.quotes(case.item)
    timing = slot_timing(case, quotes[0] if quotes else None, asking.ANSWER_DAYS)
    if not timing.act:
        asking.passed(case)
        return
    remind(case, timing, (consent(case.customer, case.kind),))


def remind(case: Case[SlotItem], timing: Timing, rules: tuple[RuleVerdict, ...]) -> None:
    """Reminds, within the contact rules."""
    quotes = case.turn.quotes(case.item)
    quote = quotes[0] if quotes else None
    kind = ReactionType.REMINDER_SENT
    ways = ("remind", "ready") if quote else ("remind_only", "ready_only")
    asking.put(
        case,
        kind,
        lambda way: case.say(ways[0] if way is kind else ways[1], **case.words(quote)),
        () if quote is None else (option_of(quote, case.language),),
        rules=(*rules, experience(case.customer, case.item.experience, kind)),
        timing=timing,
        leads=asking.leads_of(quotes),
    )
