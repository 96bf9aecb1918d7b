"""Auto: ordered unasked, with a time of free cancellation. Where price or budget forbid it, an offer is made instead.

An order contacts nobody, so quiet hours and the contact limit do not hold it; consent, price, budget and absence do.
"""

from __future__ import annotations

import numpy as np

from config.catalogue import SlotItem
from reactor.commands import Commands
from reactor.decision.decision_context import DecisionContext, evaluate_slot
from reactor.decision.quotes import Quote
from reactor.decision.reorder_policy import Timing
from reactor.decision.sourcing import best_order
from reactor.decision.time_to_empty import TimeToEmpty
from reactor.experiences import coach, contact_policy, offer
from reactor.experiences.command_factory import hold_decision, place_order
from reactor.rules.absence import check_absence
from reactor.rules.budget import check_budget
from reactor.rules.consent import check_consent
from reactor.rules.experience import check_experience
from reactor.rules.price_limit import check_price_limit, within_price
from reactor.state import TimerKind
from star.react import ReactionType, RuleVerdict
from star.repeat import NeedState
from star.times import DAY_MS

NEXT_MONTH_DAYS = 3.0
"""Days to the next month within which an order over the budget may wait for it."""
NEXT_MONTH_RISK = 0.05
"""Probability of a run-out up to which it does, instead of an offer now. It trades a run-out against a contact."""


def decide(context: DecisionContext[SlotItem]) -> Commands:
    """Orders when waiting would cost more. Reminds where no supplier can be asked; offers after a no."""
    quotes = context.view.quotes(context.item)
    if not quotes:
        return coach.decide(context)
    if contact_policy.has_declined(context.need, context.at_ms):
        return offer.decide(context)
    priced = tuple(quote for quote in quotes if within_price(context.item, quote))
    early = [evaluate_slot(context, quote, contact_policy.RESPONSE_DAYS) for quote in priced or quotes]
    if not any(timing.act for timing in early):
        return contact_policy.close_if_resolved(context)
    spent = context.spent_this_month()
    payable = tuple(
        quote for quote in priced if check_budget(context.customer, spent, quote.price, context.at_ms).allowed
    )
    if not payable:
        return _handle_over_limit(context, priced or quotes, spent, early[0]) if early[0].act else ()

    def allowed(quote: Quote) -> bool:
        return (
            within_price(context.item, quote)
            and check_budget(context.customer, spent, quote.price, context.at_ms).allowed
        )

    open_now = tuple(
        q for q in payable if check_absence(context.customer, context.at_ms, q.arrival_window_days()).allowed
    )
    quote, timing = best_order(context, open_now or payable, allowed)
    return _order(context, quote, spent, timing) if timing.act else ()


def _order(context: DecisionContext[SlotItem], quote: Quote, spent: float, timing: Timing) -> Commands:
    refusal = contact_policy.blocking_verdict(context)
    if refusal is not None:
        return (hold_decision(context, refusal, (refusal,), timer=TimerKind.REEVALUATE),)
    absent = check_absence(context.customer, context.at_ms, quote.arrival_window_days())
    rules = (
        check_consent(context.customer, context.kind),
        check_experience(context.customer, context.item.experience, ReactionType.ORDER_REQUESTED),
        check_price_limit(context.customer, context.item, quote),
        check_budget(context.customer, spent, quote.price, context.at_ms),
        absent,
    )
    if not absent.allowed:
        return (hold_decision(context, absent, rules, timer=TimerKind.HOLD),)
    again = context.need is not None and context.need.failures > 0
    because = context.translate("order_again" if again else "order", **context.message_fields(quote))
    return (place_order(context, quote, because, rules=rules, timing=timing),)


def _handle_over_limit(
    context: DecisionContext[SlotItem], quotes: tuple[Quote, ...], spent: float, timing: Timing
) -> Commands:
    """Price or budget forbid the order: wait for a near month, or offer."""
    if contact_policy.is_on_hold(context):
        return ()
    quote = quotes[0]
    price = check_price_limit(context.customer, context.item, quote)
    money = check_budget(context.customer, spent, quote.price, context.at_ms)
    rules: tuple[RuleVerdict, ...] = (check_consent(context.customer, context.kind), price, money)
    if price.allowed and money.until_ms is not None and _can_wait_for_budget(context, quote, money.until_ms):
        if context.need is None or context.need.state is NeedState.OPEN:
            return (hold_decision(context, money, rules, timer=TimerKind.REEVALUATE),)
        return ()
    return offer.propose(context, timing, rules)


def _can_wait_for_budget(context: DecisionContext[SlotItem], quote: Quote, until_ms: int) -> bool:
    """Whether an order at until_ms, soon, would hardly come too late."""
    assert context.forecast is not None
    wait_days = (until_ms - context.at_ms) / DAY_MS
    if wait_days > NEXT_MONTH_DAYS:
        return False
    latest = np.array([wait_days + quote.lead_days[1]])
    return float(TimeToEmpty(context.forecast, context.at_ms).p_empty_by(latest)[0]) < NEXT_MONTH_RISK
