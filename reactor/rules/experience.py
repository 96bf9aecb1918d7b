"""The experience: what the customer lets happen unasked. Each may do what those before it do."""

from __future__ import annotations

from config.fleet import Customer, Experience
from reactor.texts import say
from star.react import ReactionType, RuleVerdict

LEAST: dict[ReactionType, Experience] = {
    ReactionType.REQUEST_READY: Experience.RESPOND,
    ReactionType.OFFER_MADE: Experience.OFFER,
    ReactionType.REMINDER_SENT: Experience.COACH,
    ReactionType.ADVICE_GIVEN: Experience.COACH,
    ReactionType.ORDER_REQUESTED: Experience.AUTO,
    ReactionType.MAINTENANCE_BOOKED: Experience.AUTO,
}
"""The least experience that allows a reaction that nobody asked for or accepted."""


def experience(customer: Customer, allowed: Experience, reaction: ReactionType) -> RuleVerdict:
    """The rule, for an unasked reaction."""
    reason = say(customer.language, "experience_yes", experience=str(allowed))
    return RuleVerdict(rule="experience", allowed=allowed.rank >= LEAST[reaction].rank, reason=reason)
