"""Services of parts: made ready, offered, reminded of, or booked, as the experience allows.

A booking counts towards the budget like an order. Made unasked it waits for the end of quiet hours, as someone has to be notified.
"""

from __future__ import annotations

from dataclasses import replace

from config.catalogue import PartItem
from config.fleet import Experience
from reactor.commands import Commands, WithdrawAuthorization
from reactor.decision.decision_context import DecisionContext, evaluate_part
from reactor.decision.quotes import LEAD_DAYS_DEFAULT, stated_lead_days
from reactor.decision.reorder_policy import Timing
from reactor.experiences import contact_policy
from reactor.experiences.command_factory import book_service, hold_decision, prompt_customer
from reactor.rules.absence import check_absence
from reactor.rules.budget import check_budget
from reactor.rules.consent import check_consent
from reactor.rules.experience import check_experience
from reactor.rules.quiet_hours import check_quiet_hours
from reactor.state import Authorization, TimerKind
from star.react import Option, ReactionType, RuleVerdict

SERVICE_SKU = "service"
PROPOSAL_TYPE = {
    Experience.RESPOND: ReactionType.REQUEST_READY,
    Experience.OFFER: ReactionType.OFFER_MADE,
    Experience.COACH: ReactionType.REMINDER_SENT,
    Experience.AUTO: ReactionType.OFFER_MADE,
}
"""How a service is proposed under each experience; auto proposes only what it may not book."""
_MESSAGE_KEYS = {
    ReactionType.REQUEST_READY: "ready_service",
    ReactionType.OFFER_MADE: "offer_service",
    ReactionType.REMINDER_SENT: "remind_service",
}


def decide(context: DecisionContext[PartItem]) -> Commands:
    """Books or proposes the service when waiting would cost more."""
    kind = PROPOSAL_TYPE[context.item.experience]
    if contact_policy.is_on_hold(context):
        return ()
    automatic = context.item.experience is Experience.AUTO and not contact_policy.has_declined(
        context.need, context.at_ms
    )
    if not automatic and not contact_policy.may_prompt(context.need, kind, context.at_ms, imminent=True):
        return ()
    answer_days = (
        contact_policy.UNNOTIFIED_RESPONSE_DAYS if kind is ReactionType.REQUEST_READY else contact_policy.RESPONSE_DAYS
    )
    timing = evaluate_part(context, service_lead_days(context), answer_days)
    if not timing.act:
        return contact_policy.close_if_resolved(context)
    money = check_budget(context.customer, context.spent_this_month(), context.item.service_cost, context.at_ms)
    rules: tuple[RuleVerdict, ...] = (check_consent(context.customer, context.kind), money)
    if automatic and money.allowed:
        return _book(context, timing, rules)
    return contact_policy.prompt_or_hold(
        context,
        kind,
        lambda way: context.translate(_MESSAGE_KEYS[way], **context.message_fields(price=context.item.service_cost)),
        (service_option(context),),
        rules=(*rules, check_experience(context.customer, context.item.experience, kind)),
        timing=timing,
        arrival_windows_days=(service_lead_days(context),),
    )


def _book(context: DecisionContext[PartItem], timing: Timing, rules: tuple[RuleVerdict, ...]) -> Commands:
    refusal = contact_policy.blocking_verdict(context)
    if refusal is not None:
        return (hold_decision(context, refusal, (*rules, refusal), timer=TimerKind.REEVALUATE),)
    quiet = check_quiet_hours(context.customer, context.at_ms)
    absent = check_absence(context.customer, context.at_ms, service_lead_days(context))
    rules = (
        *rules,
        check_experience(context.customer, context.item.experience, ReactionType.MAINTENANCE_BOOKED),
        quiet,
        absent,
    )
    for rule in (absent, quiet):
        if not rule.allowed:
            return (hold_decision(context, rule, rules, timer=TimerKind.HOLD),)
    because = context.translate("book", **context.message_fields(price=context.item.service_cost))
    return (book_service(context, because, service_option(context), rules=rules, timing=timing),)


def execute(context: DecisionContext[PartItem], authorization: Authorization) -> Commands:
    """Books what was accepted, or asked for within the budget; else a booking is made ready that states its price."""
    refusal = contact_policy.blocking_verdict(context)
    if refusal is not None:
        return (hold_decision(context, refusal, (refusal,), timer=TimerKind.REEVALUATE),)
    price = context.item.service_cost if authorization.price is None else authorization.price
    money = check_budget(context.customer, context.spent_this_month(), price, context.at_ms)
    absent = check_absence(context.customer, context.at_ms, service_lead_days(context))
    rules: tuple[RuleVerdict, ...] = (check_consent(context.customer, context.kind), money, absent)
    if not absent.allowed:
        return (hold_decision(context, absent, rules, timer=TimerKind.HOLD),)
    if authorization.price is None and not money.allowed:
        return _make_ready(context, rules)
    authorized = RuleVerdict(rule="mandate", allowed=True, reason=context.translate("mandate_yes"))
    because = context.translate(f"book_{authorization.reason}", **context.message_fields(price=price))
    option = replace(service_option(context), price=price)
    return (book_service(context, because, option, rules=(*rules, authorized)),)


def _make_ready(context: DecisionContext[PartItem], rules: tuple[RuleVerdict, ...]) -> Commands:
    """The booking asked for is over the budget: the customer is shown its price, as a ready request."""
    assert context.need is not None
    because = context.translate("ready_service", **context.message_fields(price=context.item.service_cost))
    return (
        WithdrawAuthorization(need=context.need.id),
        prompt_customer(context, ReactionType.REQUEST_READY, because, (service_option(context),), rules=rules),
    )


def service_option(context: DecisionContext[PartItem]) -> Option:
    """The service, by the customer's first supplier where one is named."""
    supplier = next((name for name in context.item.suppliers if name in context.view.catalogue.suppliers), "")
    return Option(
        sku=SERVICE_SKU,
        supplier=supplier,
        quantity=1.0,
        price=context.item.service_cost,
        why=context.translate("why_best"),
    )


def service_lead_days(context: DecisionContext[PartItem]) -> tuple[float, float]:
    """When somebody could come, 10 % and 90 %."""
    supplier = context.view.catalogue.suppliers.get(service_option(context).supplier)
    if supplier is None:
        return LEAD_DAYS_DEFAULT
    return stated_lead_days(supplier, context.view.supplier_record(supplier.id))
