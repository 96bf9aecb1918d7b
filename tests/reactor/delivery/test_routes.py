"""The targets of a reaction."""

from __future__ import annotations

import pytest

from reactor.delivery.routes import is_supplier_route, targets_of
from star.react import ReactionType
from tests.support.delivery_fleet import fleet_of, reaction_of

PHONE = "json://127.0.0.1:9/phone"
ORDERS = [ReactionType.ORDER_REQUESTED, ReactionType.ORDER_CANCELLED]
PUSHED = [
    ReactionType.OFFER_MADE,
    ReactionType.REMINDER_SENT,
    ReactionType.ADVICE_GIVEN,
    ReactionType.MAINTENANCE_BOOKED,
]


@pytest.mark.parametrize("kind", list(ReactionType))
def test_every_reaction_goes_to_the_topic_of_its_device(kind: ReactionType) -> None:
    """The device, and whoever subscribes to it, always gets it."""
    assert targets_of(reaction_of(kind), fleet_of())[0] == "mqtt"


@pytest.mark.parametrize("kind", ORDERS)
def test_an_order_and_its_cancellation_go_to_the_same_place(kind: ReactionType) -> None:
    """They form one line, in which neither overtakes the other."""
    assert targets_of(reaction_of(kind), fleet_of(channels=("mqtt", PHONE))) == ["mqtt", "supplier:acme"]


@pytest.mark.parametrize("kind", PUSHED)
def test_a_contact_goes_to_the_customer_s_own_channels(kind: ReactionType) -> None:
    """They are one target: the first that accepts it completes the delivery."""
    assert targets_of(reaction_of(kind), fleet_of(channels=(PHONE, "mqtt", PHONE + "2"))) == ["mqtt", "customer:maria"]


@pytest.mark.parametrize("kind", PUSHED)
def test_a_customer_without_other_channels_is_reached_by_mqtt_alone(kind: ReactionType) -> None:
    """No row is written that no channel could deliver."""
    assert targets_of(reaction_of(kind), fleet_of(channels=("mqtt",))) == ["mqtt"]


def test_a_ready_request_is_not_pushed_at_people() -> None:
    """It waits until the customer looks."""
    assert targets_of(reaction_of(ReactionType.REQUEST_READY), fleet_of(channels=(PHONE,))) == ["mqtt"]


def test_a_booking_reaches_the_firm_that_does_the_work_and_the_customer() -> None:
    """Each is a target of its own."""
    booking = reaction_of(ReactionType.MAINTENANCE_BOOKED, supplier="acme")
    assert targets_of(booking, fleet_of(channels=(PHONE,))) == ["mqtt", "supplier:acme", "customer:maria"]


@pytest.mark.parametrize("endpoint", ["mqtt", "log"])
def test_a_supplier_on_mqtt_or_the_log_gets_no_copy_of_its_own(endpoint: str) -> None:
    """It reads the reactions topic, or is only recorded: nothing is sent twice."""
    assert targets_of(reaction_of(), fleet_of(endpoint)) == ["mqtt"]


def test_an_order_has_failed_when_the_target_that_carries_it_has() -> None:
    """A webhook supplier's order survives a dead broker, an MQTT supplier's does not; a contact is no order."""
    webhook, mqtt, recorded = fleet_of(), fleet_of("mqtt"), fleet_of("log")
    order = reaction_of()
    assert is_supplier_route("supplier:acme", order, webhook)
    assert not is_supplier_route("mqtt", order, webhook)
    assert is_supplier_route("mqtt", order, mqtt)
    assert not is_supplier_route("mqtt", order, recorded)
    assert not is_supplier_route("customer:maria", reaction_of(ReactionType.OFFER_MADE), webhook)


def test_what_left_the_fleet_is_no_target() -> None:
    """A reaction about a supplier or customer that is gone goes to the topic alone."""
    assert targets_of(reaction_of(supplier="gone", customer="gone"), fleet_of()) == ["mqtt"]
