"""Where a reaction goes: the targets of its outbox rows, as a pure function of the reaction and the catalogue.

A target names who is to get it, never how: addresses, secrets and channels are looked up when it is sent, so that a
corrected endpoint or a changed choice of the customer is in force at once, also for what is still waiting. Carrying it
there is reactor/delivery/outbox_dispatcher.py's; `mqtt` stands for the reactions topic of the device, which gets every reaction.
"""

from __future__ import annotations

from config.catalogue import Catalogue
from config.fleet import Customer, Supplier
from star.react import Reaction, ReactionType

MQTT = "mqtt"
"""The target of every reaction: the device's reactions topic. Also a supplier's endpoint and a customer's channel."""
RECORD_ONLY = "log"
"""The endpoint of a supplier for whom a reaction is only recorded: nothing is sent."""

_SUPPLIER = "supplier:"
_CUSTOMER = "customer:"

SUPPLIER_REACTIONS = frozenset(
    {ReactionType.ORDER_REQUESTED, ReactionType.ORDER_CANCELLED, ReactionType.MAINTENANCE_BOOKED}
)
"""Types that the supplier named in the reaction acts on."""
PUSHED_CONTACTS = frozenset(
    {
        ReactionType.OFFER_MADE,
        ReactionType.REMINDER_SENT,
        ReactionType.ADVICE_GIVEN,
        ReactionType.MAINTENANCE_BOOKED,
    }
)
"""Types that are pushed at the customer. A ready request is not: it waits until the customer looks."""


def targets_of(reaction: Reaction, catalogue: Catalogue) -> list[str]:
    """The reaction's targets: "mqtt", then "supplier:ID" (by webhook) and "customer:ID" (by the customer's own
    channels).

    A supplier whose endpoint is "mqtt" is reached by the reactions topic, one whose endpoint is "log" by the record
    alone.
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
    """The customer's channels other than the reactions topic, best first: Apprise URLs."""
    return tuple(channel for channel in customer.channels if channel != MQTT)


def supplier_of_target(target: str) -> str | None:
    """The supplier's id of a target "supplier:ID", else None."""
    return target[len(_SUPPLIER) :] if target.startswith(_SUPPLIER) else None


def customer_of_target(target: str) -> str | None:
    """The customer's id of a target "customer:ID", else None."""
    return target[len(_CUSTOMER) :] if target.startswith(_CUSTOMER) else None


def is_supplier_route(target: str, reaction: Reaction, catalogue: Catalogue) -> bool:
    """Whether the reaction reaches its supplier by this target: if it can't be brought there, it has failed."""
    if reaction.type not in SUPPLIER_REACTIONS or reaction.supplier is None:
        return False
    supplier = _supplier(reaction, catalogue)
    return supplier_of_target(target) == reaction.supplier or (
        target == MQTT and supplier is not None and supplier.endpoint == MQTT
    )


def _supplier(reaction: Reaction, catalogue: Catalogue) -> Supplier | None:
    return None if reaction.supplier is None else catalogue.suppliers.get(reaction.supplier)
