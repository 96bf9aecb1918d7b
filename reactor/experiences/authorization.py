"""Authorized orders: what the customer asked for or accepted, whatever the experience.

Accepted at a stated price, it is ordered over the price limit and the budget too: the acceptance authorizes it, and covers a
replacement that costs no more. Asked for without a stated price, it is ordered within both, else a request is made ready that
states the price. Absence puts either off to the first safe moment.
"""

from __future__ import annotations

from dataclasses import replace

from config.catalogue import SlotItem
from reactor.commands import Commands, WithdrawAuthorization
from reactor.decision.decision_context import DecisionContext
from reactor.decision.quotes import Quote, option_of
from reactor.experiences import contact_policy
from reactor.experiences.command_factory import hold_decision, place_order, prompt_customer
from reactor.rules.absence import check_absence
from reactor.rules.budget import check_budget
from reactor.rules.consent import check_consent
from reactor.rules.price_limit import check_price_limit
from reactor.state import Authorization, TimerKind
from star.react import ReactionType, RuleVerdict

ACCEPTED = "accepted"
"""The reason of an authorization at a stated price."""


def execute(context: DecisionContext[SlotItem], authorization: Authorization) -> Commands:
    """Orders what is authorized, as soon as no rule forbids it."""
    refusal = contact_policy.blocking_verdict(context)
    if refusal is not None:
        return (hold_decision(context, refusal, (refusal,), timer=TimerKind.REEVALUATE),)
    quotes = _authorized_quotes(context, authorization)
    rules: tuple[RuleVerdict, ...] = (check_consent(context.customer, context.kind),)
    if not quotes:
        return _make_ready(context, authorization, rules)
    open_now = tuple(
        q for q in quotes if check_absence(context.customer, context.at_ms, q.arrival_window_days()).allowed
    )
    quote = (open_now or quotes)[0] if authorization.reason == ACCEPTED else _first_untried(context, open_now or quotes)
    absent = check_absence(context.customer, context.at_ms, quote.arrival_window_days())
    authorized = RuleVerdict(rule="mandate", allowed=True, reason=context.translate("mandate_yes"))
    if not absent.allowed:
        return (hold_decision(context, absent, (*rules, authorized, absent), timer=TimerKind.HOLD),)
    again = context.need is not None and context.need.failures > 0
    key = "order_again" if again else f"order_{authorization.reason}"
    because = context.translate(key, **context.message_fields(quote))
    return (place_order(context, quote, because, rules=(*rules, authorized, absent)),)


def _first_untried(context: DecisionContext[SlotItem], quotes: tuple[Quote, ...]) -> Quote:
    """The customer's first choice among those that have not failed this need."""
    tried = () if context.need is None else context.need.tried
    return next((quote for quote in quotes if quote.supplier not in tried), quotes[0])


def _authorized_quotes(context: DecisionContext[SlotItem], authorization: Authorization) -> tuple[Quote, ...]:
    """The orders that are authorized. Accepted: that one first, then what costs no more. Asked for: what the rules allow."""
    offered = context.view.quotes_for(context.item, authorization.quantity)
    if authorization.reason != ACCEPTED:
        spent = context.spent_this_month()
        return tuple(
            quote
            for quote in offered
            if check_price_limit(context.customer, context.item, quote).allowed
            and check_budget(context.customer, spent, quote.price, context.at_ms).allowed
        )
    price = authorization.price or 0.0
    tried = () if context.need is None else context.need.tried
    named = [quote for quote in offered if quote.supplier == authorization.supplier]
    accepted = [replace(q, sku=authorization.sku, quantity=authorization.quantity, price=price) for q in named]
    others = [q for q in offered if q.supplier != authorization.supplier and q.price <= price + 1e-9]
    others = [q for q in others if abs(q.quantity - authorization.quantity) < 1e-9]
    fresh = [quote for quote in (*accepted, *others) if quote.supplier not in tried]
    return tuple(fresh or accepted)


def _make_ready(
    context: DecisionContext[SlotItem], authorization: Authorization, rules: tuple[RuleVerdict, ...]
) -> Commands:
    """Nothing can be ordered on the authorization: the customer is shown what there is, as a ready request."""
    assert context.need is not None
    offered = context.view.quotes_for(context.item, authorization.quantity)
    quote = offered[0] if offered else None
    if quote is not None:
        price = check_price_limit(context.customer, context.item, quote)
        rules = (*rules, price, check_budget(context.customer, context.spent_this_month(), quote.price, context.at_ms))
    because = context.translate("ready" if quote else "ready_only", **context.message_fields(quote))
    options = () if quote is None else (option_of(quote, context.language),)
    return (
        WithdrawAuthorization(need=context.need.id, forget_contacts=True),
        prompt_customer(context, ReactionType.REQUEST_READY, because, options, rules=rules),
    )
