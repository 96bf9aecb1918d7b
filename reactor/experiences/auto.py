"""Auto: ordered before the customer asks, with a window to cancel. Where price or budget forbid it, an offer is made instead.

Orders disturb nobody, so quiet hours and the contact limit do not hold them; consent, price, budget and absence do.
"""

from __future__ import annotations

import numpy as np

from config.resolve import SlotItem
from reactor import acts
from reactor.curve import TimeToEmpty
from reactor.experiences import asking, coach, offer
from reactor.experiences.case import Case, slot_timing
from reactor.experiences.choice import best_order
from reactor.policy import Timing
from reactor.quotes import Quote
from reactor.rules.away import away
from reactor.rules.budget import budget
from reactor.rules.consent import consent
from reactor.rules.experience import experience
from reactor.rules.price import price_mandate, within_price
from reactor.state import TimerKind
from star.react import ReactionType, RuleVerdict
from star.repeat import NeedState
from star.times import DAY_MS

NEXT_MONTH_DAYS = 3.0
NEXT_MONTH_RISK = 0.05
"""With the budget used up, an order waits for the next month when it is so near and the risk of running out so small."""


def decide(case: Case[SlotItem]) -> None:
    """Orders when waiting would cost more."""
    quotes = case.turn.quotes(case.item)
    if not quotes:
        coach.decide(case)
        return
    if asking.said_no(case.need, case.at_ms):
        offer.decide(case)
        return
    priced = tuple(quote for quote in quotes if within_price(case.item, quote))
    early = [slot_timing(case, quote, asking.ANSWER_DAYS) for quote in priced or quotes]
    if not any(timing.act for timing in early):
        asking.passed(case)
        return
    spent = case.spent()
    payable = tuple(quote for quote in priced if budget(case.customer, spent, quote.price, case.at_ms).allowed)
    if not payable:
        if early[0].act:
            _unpayable(case, priced or quotes, spent, early[0])
        return

    def allowed(quote: Quote) -> bool:
        return within_price(case.item, quote) and budget(case.customer, spent, quote.price, case.at_ms).allowed

    open_now = tuple(q for q in payable if away(case.customer, case.at_ms, q.widest_days()).allowed)
    quote, timing = best_order(case, open_now or payable, allowed)
    if timing.act:
        _order(case, quote, spent, timing)


def _order(case: Case[SlotItem], quote: Quote, spent: float, timing: Timing) -> None:
    refusal = asking.standing(case)
    if refusal is not None:
        acts.hold(case, refusal, (refusal,), kind=TimerKind.AGAIN)
        return
    absent = away(case.customer, case.at_ms, quote.widest_days())
    rules = (
        consent(case.customer, case.kind),
        experience(case.customer, case.item.experience, ReactionType.ORDER_REQUESTED),
        price_mandate(case.customer, case.item, quote),
        budget(case.customer, spent, quote.price, case.at_ms),
        absent,
    )
    if not absent.allowed:
        acts.hold(case, absent, rules, kind=TimerKind.HOLD)
        return
    again = case.need is not None and case.need.failures > 0
    because = case.say("order_again" if again else "order", **case.words(quote))
    acts.order(case, quote, because, rules=rules, timing=timing, cancellable=True)


def _unpayable(case: Case[SlotItem], quotes: tuple[Quote, ...], spent: float, timing: Timing) -> None:
    """Price or budget forbid the order: wait for a near month, or offer."""
    if asking.waits_for_its_time(case):
        return
    quote = quotes[0]
    price = price_mandate(case.customer, case.item, quote)
    money = budget(case.customer, spent, quote.price, case.at_ms)
    rules: tuple[RuleVerdict, ...] = (consent(case.customer, case.kind), price, money)
    if price.allowed and money.until_ms is not None and _can_wait(case, quote, money.until_ms):
        if case.need is None or case.need.state is NeedState.OPEN:
            acts.hold(case, money, rules, kind=TimerKind.AGAIN)
        return
    offer.propose(case, timing, rules)


def _can_wait(case: Case[SlotItem], quote: Quote, until_ms: int) -> bool:
    """Whether an order at until_ms, soon, would hardly come too late."""
    assert case.forecast is not None
    wait_days = (until_ms - case.at_ms) / DAY_MS
    if wait_days > NEXT_MONTH_DAYS:
        return False
    latest = np.array([wait_days + quote.lead_days[1]])
    return float(TimeToEmpty(case.forecast, case.at_ms).empty_by(latest)[0]) < NEXT_MONTH_RISK
