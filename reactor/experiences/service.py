"""Care of parts: a service is made ready, offered, reminded of, or booked, as the experience allows.

A booking takes of the budget like an order. Made unasked it waits for the end of quiet hours, as somebody has to be told.
"""

from __future__ import annotations

from dataclasses import replace

from config.fleet import Experience
from config.resolve import PartItem
from reactor import acts
from reactor.experiences import asking
from reactor.experiences.case import Case, part_timing
from reactor.policy import Timing
from reactor.quotes import LEAD_DAYS_DEFAULT, stated_lead_days
from reactor.rules.away import away
from reactor.rules.budget import budget
from reactor.rules.consent import consent
from reactor.rules.experience import experience
from reactor.rules.quiet_hours import quiet_hours
from reactor.state import Mandate, TimerKind
from star.react import Option, ReactionType, RuleVerdict

SKU = "service"
ASKED_BY = {
    Experience.RESPOND: ReactionType.REQUEST_READY,
    Experience.OFFER: ReactionType.OFFER_MADE,
    Experience.COACH: ReactionType.REMINDER_SENT,
    Experience.AUTO: ReactionType.OFFER_MADE,
}
"""How a service is proposed under each experience; auto proposes only what it may not book."""
_SENTENCES = {
    ReactionType.REQUEST_READY: "ready_service",
    ReactionType.OFFER_MADE: "offer_service",
    ReactionType.REMINDER_SENT: "remind_service",
}


def decide(case: Case[PartItem]) -> None:
    """Books or proposes the service when waiting would cost more."""
    kind = ASKED_BY[case.item.experience]
    if asking.waits_for_its_time(case):
        return
    automatic = case.item.experience is Experience.AUTO and not asking.said_no(case.need, case.at_ms)
    if not automatic and not asking.may_ask(case.need, kind, case.at_ms, imminent=True):
        return
    answer_days = asking.LOOKING_DAYS if kind is ReactionType.REQUEST_READY else asking.ANSWER_DAYS
    timing = part_timing(case, lead_days(case), answer_days)
    if not timing.act:
        asking.passed(case)
        return
    money = budget(case.customer, case.spent(), case.item.service_cost, case.at_ms)
    rules: tuple[RuleVerdict, ...] = (consent(case.customer, case.kind), money)
    if automatic and money.allowed:
        _book(case, timing, rules)
        return
    asking.put(
        case,
        kind,
        lambda way: case.say(_SENTENCES[way], **case.words(price=case.item.service_cost)),
        (option(case),),
        rules=(*rules, experience(case.customer, case.item.experience, kind)),
        timing=timing,
        leads=(lead_days(case),),
    )


def _book(case: Case[PartItem], timing: Timing, rules: tuple[RuleVerdict, ...]) -> None:
    refusal = asking.standing(case)
    if refusal is not None:
        acts.hold(case, refusal, (*rules, refusal), kind=TimerKind.AGAIN)
        return
    quiet = quiet_hours(case.customer, case.at_ms)
    absent = away(case.customer, case.at_ms, lead_days(case))
    rules = (*rules, experience(case.customer, case.item.experience, ReactionType.MAINTENANCE_BOOKED), quiet, absent)
    for rule in (absent, quiet):
        if not rule.allowed:
            acts.hold(case, rule, rules, kind=TimerKind.HOLD)
            return
    acts.book(
        case, case.say("book", **case.words(price=case.item.service_cost)), option(case), rules=rules, timing=timing
    )


def carry_out(case: Case[PartItem], mandate: Mandate) -> None:
    """Books what was accepted, or asked for within the budget; else a booking is made ready that states its price."""
    refusal = asking.standing(case)
    if refusal is not None:
        acts.hold(case, refusal, (refusal,), kind=TimerKind.AGAIN)
        return
    price = case.item.service_cost if mandate.price is None else mandate.price
    money = budget(case.customer, case.spent(), price, case.at_ms)
    absent = away(case.customer, case.at_ms, lead_days(case))
    rules: tuple[RuleVerdict, ...] = (consent(case.customer, case.kind), money, absent)
    if not absent.allowed:
        acts.hold(case, absent, rules, kind=TimerKind.HOLD)
        return
    if mandate.price is None and not money.allowed:
        _make_ready(case, rules)
        return
    said = RuleVerdict(rule="mandate", allowed=True, reason=case.say("mandate_yes"))
    because = case.say(f"book_{mandate.reason}", **case.words(price=price))
    acts.book(case, because, replace(option(case), price=price), rules=(*rules, said))


def _make_ready(case: Case[PartItem], rules: tuple[RuleVerdict, ...]) -> None:
    need = replace(case.opened(), mandate=None)
    case.turn.put(need)
    case.need = need
    because = case.say("ready_service", **case.words(price=case.item.service_cost))
    acts.ask(case, ReactionType.REQUEST_READY, because, (option(case),), rules=rules)


def option(case: Case[PartItem]) -> Option:
    """The service, by the customer's first supplier where one is named."""
    supplier = next((name for name in case.item.suppliers if name in case.turn.catalogue.suppliers), "")
    return Option(sku=SKU, supplier=supplier, quantity=1.0, price=case.item.service_cost, why=case.say("why_best"))


def lead_days(case: Case[PartItem]) -> tuple[float, float]:
    """When somebody could come, 10 % and 90 %."""
    supplier = case.turn.catalogue.suppliers.get(option(case).supplier)
    if supplier is None:
        return LEAD_DAYS_DEFAULT
    return stated_lead_days(supplier, case.turn.state.suppliers.get(supplier.id))
