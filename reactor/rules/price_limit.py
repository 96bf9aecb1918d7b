"""The price limit: no order above the highest price that the customer set for one pack."""

from __future__ import annotations

from config.catalogue import SlotItem
from config.fleet import Customer
from reactor.decision.quotes import Quote
from reactor.i18n import format_money, translate
from star.react import RuleVerdict


def within_price(item: SlotItem, quote: Quote) -> bool:
    """Whether a pack costs no more than the customer's highest price."""
    return item.price_max is None or quote.pack_price(item.pack) <= item.price_max + 1e-9


def check_price_limit(customer: Customer, item: SlotItem, quote: Quote) -> RuleVerdict:
    """The verdict about an order like `quote`."""
    if item.price_max is None:
        return RuleVerdict(rule="price", allowed=True, reason=translate(customer.language, "price_any"))
    allowed = within_price(item, quote)
    price, most = (format_money(value, customer.language) for value in (quote.pack_price(item.pack), item.price_max))
    reason = translate(customer.language, "price_yes" if allowed else "price_no", price=price, most=most)
    return RuleVerdict(rule="price", allowed=allowed, reason=reason)
