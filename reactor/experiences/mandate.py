"""What the customer asked for or accepted is carried out, whatever the experience.

Accepted at a stated price, it is ordered over price and budget too: the acceptance is the mandate, and it covers a replacement
that costs no more. Asked for without a stated price, it is ordered within price and budget, else a request is made ready that
states the price. Absence puts either off to the first safe moment.
"""

from __future__ import annotations

from dataclasses import replace

from config.resolve import PartItem, SlotItem
from reactor import acts
from reactor.experiences import asking, service
from reactor.experiences.case import Case
from reactor.quotes import Quote, option_of, quotes_for
from reactor.rules.away import away
from reactor.rules.budget import budget
from reactor.rules.consent import consent
from reactor.rules.price import price_mandate
from reactor.state import Mandate, TimerKind
from star.react import ReactionType, RuleVerdict

ACCEPTED = "accepted"


def carry_out(case: Case[SlotItem] | Case[PartItem], mandate: Mandate) -> None:
    """Orders or books what the mandate says, as soon as nothing stands against it."""
    if isinstance(case.item, PartItem):
        service.carry_out(case, mandate)
    else:
        _order(case, mandate)


def _order(case: Case[SlotItem], mandate: Mandate) -> None:
    refusal = asking.standing(case)
    if refusal is not None:
        acts.hold(case, refusal, (refusal,), kind=TimerKind.AGAIN)
        return
    quotes = _quotes(case, mandate)
    rules: tuple[RuleVerdict, ...] = (consent(case.customer, case.kind),)
    if not quotes:
        _void(case, mandate, rules)
        return
    open_now = tuple(q for q in quotes if away(case.customer, case.at_ms, q.widest_days()).allowed)
    quote = (open_now or quotes)[0] if mandate.reason == ACCEPTED else _first(case, open_now or quotes)
    absent = away(case.customer, case.at_ms, quote.widest_days())
    said = RuleVerdict(rule="mandate", allowed=True, reason=case.say("mandate_yes"))
    if not absent.allowed:
        acts.hold(case, absent, (*rules, said, absent), kind=TimerKind.HOLD)
        return
    again = case.need is not None and case.need.failures > 0
    key = "order_again" if again else f"order_{mandate.reason}"
    acts.order(case, quote, case.say(key, **case.words(quote)), rules=(*rules, said, absent), cancellable=True)


def _first(case: Case[SlotItem], quotes: tuple[Quote, ...]) -> Quote:
    """The customer's first choice among those that this need has not tried in vain."""
    tried = () if case.need is None else case.need.tried
    return next((quote for quote in quotes if quote.supplier not in tried), quotes[0])


def _quotes(case: Case[SlotItem], mandate: Mandate) -> tuple[Quote, ...]:
    """What carries the mandate out: what was accepted first, then what is no dearer; asked for: what the rules allow."""
    offered = quotes_for(case.item, mandate.quantity, case.turn.catalogue, case.turn.state)
    if mandate.reason != ACCEPTED:
        spent = case.spent()
        return tuple(
            quote
            for quote in offered
            if price_mandate(case.customer, case.item, quote).allowed
            and budget(case.customer, spent, quote.price, case.at_ms).allowed
        )
    price = mandate.price or 0.0
    tried = () if case.need is None else case.need.tried
    named = [quote for quote in offered if quote.supplier == mandate.supplier]
    accepted = [replace(q, sku=mandate.sku, quantity=mandate.quantity, price=price) for q in named]
    others = [q for q in offered if q.supplier != mandate.supplier and q.price <= price + 1e-9]
    others = [q for q in others if abs(q.quantity - mandate.quantity) < 1e-9]
    fresh = [quote for quote in (*accepted, *others) if quote.supplier not in tried]
    return tuple(fresh or accepted)


def _void(case: Case[SlotItem], mandate: Mandate, rules: tuple[RuleVerdict, ...]) -> None:
    """Nothing carries the mandate out: the customer is shown what there is, as a ready request, which is no contact."""
    need = replace(case.opened(), mandate=None, contacts=0, contacted_ms=None, readied_ms=None)
    case.turn.put(need)
    case.need = need
    offered = quotes_for(case.item, mandate.quantity, case.turn.catalogue, case.turn.state)
    quote = offered[0] if offered else None
    if quote is not None:
        price = price_mandate(case.customer, case.item, quote)
        rules = (*rules, price, budget(case.customer, case.spent(), quote.price, case.at_ms))
    because = case.say("ready" if quote else "ready_only", **case.words(quote))
    options = () if quote is None else (option_of(quote, case.language),)
    acts.ask(case, ReactionType.REQUEST_READY, because, options, rules=rules)
