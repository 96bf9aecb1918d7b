"""Display names: an item's label from its profile, a customer's name. Pure."""

from __future__ import annotations

from config.catalogue import Catalogue, SlotItem
from config.fleet import Customer
from console.backend import Item, find_item


def item_title(catalogue: Catalogue, item: Item, language: str) -> str:
    """The label of the item in this language; the slot's own name where the profile has a label for any slot (`*`)."""
    profile = catalogue.profiles.get(item.profile)
    named = profile is not None and (item.name in (profile.slots if isinstance(item, SlotItem) else profile.parts))
    label = (item.label.get(language) or item.label.get("en")) if named else None
    text = label or item.name.replace("_", " ").replace("-", " ")
    return text[:1].upper() + text[1:]


def item_title_by_key(catalogue: Catalogue, key: str, language: str) -> str:
    """The title of the item `device/name`, or its key when it is no longer in the fleet."""
    item = find_item(catalogue, key)
    return key if item is None else item_title(catalogue, item, language)


def customer_name(customer: Customer | None, otherwise: str = "") -> str:
    """The customer's name, or the id."""
    return otherwise if customer is None else customer.name or customer.id


def type_key(type_: str) -> str:
    """The text key of a reaction's type or a decision's verdict: `starloop.order.requested` -> `type.order_requested`."""
    return "type." + type_.removeprefix("starloop.").replace(".", "_").replace("-", "_")
