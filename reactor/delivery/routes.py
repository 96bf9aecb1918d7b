"""Routes: the targets of a reaction's outbox rows, as a pure function of the reaction and the catalogue.

A target names the receiver only. Addresses, secrets and channels are looked up when it is sent (channel_router.py), so that a
corrected endpoint or a changed choice of the customer applies at once, also to what is waiting.
"""

from __future__ import annotations

from config.catalogue import Catalogue
from config.fleet import Customer, Supplier
from star.react import Reaction, ReactionType

MQTT = "mqtt"
"""Target of every reaction: the reactions topic of its device. Also an endpoint of suppliers and a channel of customers."""
RECORD_ONLY = "log"
"""Endpoint of suppliers to whom nothing is sent: the reaction is recorded."""

_SUPPLIER = "supplier:"
_CUSTOMER = "customer:"

SUPPLIER_REACTIONS = frozenset(
    {ReactionType.ORDER_REQUESTED, ReactionType.ORDER_CANCELLED, ReactionType.MAINTENANCE_BOOKED}
)
"""Types that are sent to the supplier named in the reaction."""
PUSHED_CONTACTS = frozenset(
    {
        ReactionType.OFFER_MADE,
        ReactionType.REMINDER_SENT,
        ReactionType.ADVICE_GIVEN,
        ReactionType.MAINTENANCE_BOOKED,
    }
)
"""Types that are pushed to the customer. A ready request is not: it waits until the customer looks."""


def targets_of(reaction: Reaction, catalogue: Catalogue) -> list[str]:
    """The reaction's targets: "mqtt", then "supplier:ID" and "customer:ID" where it is sent to them by other channels.

    A supplier with endpoint "mqtt" reads the reactions topic; to one with endpoint "log" nothing is sent.
    """
    targets = [MQTT]
    supplier = _supplier(reaction, catalogue)
    if reaction.type in SUPPLIER_REACTIONS and supplier is not None and supplier.endpoint not in (MQTT, RECORD_ONLY):
        targets.append(_SUPPLIER + supplier.id)
    customer = catalogue.customers.get(reaction.customer)
    if reaction.type in PUSHED_CONTACTS and customer is not None and pushed_channels(customer):
        targets.append(_CUSTOMER + customer.id)
    return targets


def pushed_channels(customer: Customer) -> tuple[str, ...]:
    """The customer's channels other than the reactions topic, best first."""
    return tuple(channel for channel in customer.channels if channel != MQTT)


def supplier_of_target(target: str) -> str | None:
    """The id in a target "supplier:ID"; None for another target."""
    return target[len(_SUPPLIER) :] if target.startswith(_SUPPLIER) else None


def customer_of_target(target: str) -> str | None:
    """The id in a target "customer:ID"; None for another target."""
    return target[len(_CUSTOMER) :] if target.startswith(_CUSTOMER) else None


def is_supplier_route(target: str, reaction: Reaction, catalogue: Catalogue) -> bool:
    """Whether the target is the one that reaches the reaction's supplier: an order that can't be delivered there has failed."""
    if reaction.type not in SUPPLIER_REACTIONS or reaction.supplier is None:
        return False
    supplier = _supplier(reaction, catalogue)
    return supplier_of_target(target) == reaction.supplier or (
        target == MQTT and supplier is not None and supplier.endpoint == MQTT
    )


def _supplier(reaction: Reaction, catalogue: Catalogue) -> Supplier | None:
    return None if reaction.supplier is None else catalogue.suppliers.get(reaction.supplier)
