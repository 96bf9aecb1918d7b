"""Sentences of receipts about an item or a need, in its customer's language."""

from __future__ import annotations

from reactor.i18n import item_label, translate
from reactor.state import Need
from reactor.state_view import StateView


def item_message(view: StateView, item_key: str, key: str, **figures: str) -> str:
    """The sentence `key` about the item; empty where the fleet no longer has the item."""
    item = view.item(item_key)
    if item is None:
        return ""
    language = view.customer(item).language
    label = item_label(item, view.catalogue, language)
    return translate(language, key, label=label, device=item.device, **figures)


def customer_message(view: StateView, need: Need, key: str) -> str:
    """The sentence `key` in the language of the need's customer; English where the fleet no longer has the customer."""
    customer = view.catalogue.customers.get(need.customer)
    return translate("en" if customer is None else customer.language, key)
