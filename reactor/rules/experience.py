"""The experience: what may be done unasked. Each allows what those of lower rank do."""

from __future__ import annotations

from config.fleet import Customer, Experience
from reactor.i18n import translate
from star.react import ReactionType, RuleVerdict

LEAST_EXPERIENCE: dict[ReactionType, Experience] = {
    ReactionType.REQUEST_READY: Experience.RESPOND,
    ReactionType.OFFER_MADE: Experience.OFFER,
    ReactionType.REMINDER_SENT: Experience.COACH,
    ReactionType.ADVICE_GIVEN: Experience.COACH,
    ReactionType.ORDER_REQUESTED: Experience.AUTO,
    ReactionType.MAINTENANCE_BOOKED: Experience.AUTO,
}
"""The lowest experience that allows a reaction without a request or an acceptance."""


def check_experience(customer: Customer, allowed: Experience, reaction: ReactionType) -> RuleVerdict:
    """The verdict about an unasked reaction."""
    reason = translate(customer.language, "experience_yes", experience=str(allowed))
    return RuleVerdict(rule="experience", allowed=allowed.rank >= LEAST_EXPERIENCE[reaction].rank, reason=reason)
