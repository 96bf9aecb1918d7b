"""The neighbourhood: the same from its seed whatever the steps, and true to what it tells of itself."""

from __future__ import annotations

from typing import Any

import pytest

from config.catalogue import resolve_catalogue
from config.fleet import Experience
from config.profile_file import load_profiles
from simulators.neighbourhood.fault_profile import NO_FAULTS, ROUGH_FAULTS
from simulators.neighbourhood.response_model import ResponseModel
from simulators.neighbourhood.simulation import START_MS, Neighbourhood, SimulatedEvent
from star.times import DAY_MS, HOUR_MS, epoch_seconds

SURE = ResponseModel(
    lost_orders=0.0,
    short_deliveries=0.0,
    late=0.0,
    cancels=0.0,
    accepts=1.0,
    declines=0.0,
    acts_on_reminder=1.0,
    feedback=1.0,
)


def order(neighbourhood: Neighbourhood, item: str, number: int = 1, **data: Any) -> dict[str, Any]:
    """A reaction's line: an order of a pack, now."""
    device, slot = item.split("/")
    table = next(d for d in neighbourhood.fleet.devices if d.id == device)
    at = epoch_seconds(neighbourhood.now_ms)
    supplier = table.slots[slot].suppliers[0]
    body = {"device": device, "item": slot, "supplier": supplier, "quantity": 50.0, "cancel_before": at + 3600.0}
    return {"at": at, "type": "starloop.order.requested", "id": f"{item}/{number}/order/1", "data": body | data}


def outcomes(events: list[SimulatedEvent], reaction: str) -> list[dict[str, Any]]:
    """What came of a reaction."""
    return [event.payload for event in events if event.payload.get("reaction") == reaction]


@pytest.mark.parametrize("troubles", [NO_FAULTS, ROUGH_FAULTS])
def test_a_neighbourhood_is_the_same_in_one_step_or_in_thousands(troubles: Any) -> None:
    """Events and truth, with people who buy for themselves."""
    end_ms = START_MS + 50 * DAY_MS
    whole, steps = Neighbourhood(3, 8, faults=troubles), Neighbourhood(3, 8, faults=troubles)
    events = whole.advance(end_ms)
    pieces: list[SimulatedEvent] = []
    at_ms = START_MS
    while at_ms < end_ms:
        at_ms = min(at_ms + 37 * 60_000, end_ms)
        pieces += steps.advance(at_ms)
    assert pieces == events
    assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)
    assert [steps.true_level(item) for item in steps.items] == [whole.true_level(item) for item in whole.items]


def test_another_seed_is_another_neighbourhood() -> None:
    """Nothing is shared but the street."""
    end_ms = START_MS + 5 * DAY_MS
    assert Neighbourhood(1, 5).advance(end_ms) != Neighbourhood(2, 5).advance(end_ms)


def test_its_fleet_is_one_that_the_service_takes_with_everyone_in_it() -> None:
    """All four experiences in both languages, every shipped kind of device, and no mistake in the tables."""
    fleet = Neighbourhood(1, 20).fleet
    catalogue = resolve_catalogue(fleet, load_profiles())
    assert len(catalogue.slots) > 40
    met = {(customer.experience, customer.language) for customer in fleet.customers}
    assert met == {(experience, language) for experience in Experience for language in ("en", "fr")}
    assert len({device.profile for device in fleet.devices}) == 6


def test_an_order_arrives_and_fills_the_shelf_and_is_said_to_have_come() -> None:
    """The level rises by the quantity at the moment of the outcome, within the supplier's times."""
    street = Neighbourhood(5, 8, responses=SURE, faults=NO_FAULTS)
    street.advance(START_MS + 2 * DAY_MS)
    item = next(item for item in street.items if item.endswith("/beans"))
    line = order(street, item)
    street.handle_reaction(line)
    street.handle_reaction(line)  # a retry of the same attempt counts once
    came = outcomes(street.advance(START_MS + 40 * DAY_MS), line["id"])
    assert [outcome["result"] for outcome in came] == ["delivered"]
    assert came[0]["at"] > line["data"]["cancel_before"]
    assert came[0]["feedback"]["timing"] in {"early", "right", "late"}
    assert street.delivered_orders[item] == 1


def test_a_lost_order_never_fills_a_shelf() -> None:
    """In silence, or said to have failed."""
    street = Neighbourhood(5, 8, responses=ResponseModel(lost_orders=1.0, cancels=0.0), faults=NO_FAULTS)
    results = set()
    for item in street.items:
        line = order(street, item)
        street.handle_reaction(line)
        results |= {o["result"] for o in outcomes(street.advance(street.now_ms + 30 * DAY_MS), line["id"])}
    assert results <= {"failed"}
    assert street.delivered_orders == {}


def test_a_customer_who_cancels_in_time_gets_nothing() -> None:
    """The outcome comes before the window closes."""
    street = Neighbourhood(5, 8, responses=ResponseModel(cancels=1.0), faults=NO_FAULTS)
    street.advance(START_MS + DAY_MS)
    line = order(street, street.items[0])
    street.handle_reaction(line)
    came = outcomes(street.advance(START_MS + 30 * DAY_MS), line["id"])
    assert [outcome["result"] for outcome in came] == ["cancelled"]
    assert came[0]["at"] < line["data"]["cancel_before"]


def test_our_cancellation_holds_only_where_the_parcel_has_not_left() -> None:
    """Either the supplier says cancelled and nothing comes, or it says nothing and the parcel comes."""
    ended = []
    for seed in range(12):
        street = Neighbourhood(seed, 3, responses=SURE, faults=NO_FAULTS)
        street.advance(START_MS + DAY_MS)
        line = order(street, street.items[0])
        street.handle_reaction(line)
        street.advance(street.now_ms + 30 * HOUR_MS)
        cancel = line["id"].replace("/order/", "/cancel/")
        data = {"device": line["data"]["device"], "item": line["data"]["item"], "order": line["id"]}
        street.handle_reaction(
            {"at": epoch_seconds(street.now_ms), "type": "starloop.order.cancelled", "id": cancel, "data": data}
        )
        events = street.advance(street.now_ms + 40 * DAY_MS)
        agreed, came = outcomes(events, cancel), outcomes(events, line["id"])
        assert not (agreed and came)
        ended.append(bool(agreed))
    assert any(ended)
    assert not all(ended)


def test_offers_and_ready_requests_are_answered_and_reminders_acted_on() -> None:
    """By people who always do; a reminder's refill is real."""
    street = Neighbourhood(6, 8, responses=SURE, faults=NO_FAULTS)
    street.advance(START_MS + 3 * DAY_MS)
    item = next(item for item in street.items if item.endswith("/oil"))
    device, slot = item.split("/")
    at, before = epoch_seconds(street.now_ms), street.true_level(item)
    options = [{"sku": "a", "supplier": "oil-direct", "quantity": 500.0, "price": 590.0, "why": "cheapest"}]
    for verb, kind in (("offer", "offer.made"), ("request", "request.ready"), ("reminder", "reminder.sent")):
        data = {"device": device, "item": slot, "options": options, "quantity": 500.0}
        street.handle_reaction({"at": at, "type": f"starloop.{kind}", "id": f"{item}/1/{verb}/1", "data": data})
    events = street.advance(street.now_ms + 8 * DAY_MS)
    assert [o["result"] for o in outcomes(events, f"{item}/1/offer/1")] == ["accepted"]
    assert [o["result"] for o in outcomes(events, f"{item}/1/request/1")] == ["accepted"]
    assert street.true_level(item) > before + 200.0


def test_a_booked_service_is_done_and_said_to_be_done() -> None:
    """Some days later; the truth remembers it."""
    street = Neighbourhood(6, 8, responses=SURE, faults=NO_FAULTS)
    device = next(d for d in street.fleet.devices if d.parts)
    part = next(iter(device.parts))
    line = {"at": epoch_seconds(street.now_ms), "type": "starloop.maintenance.booked", "id": "x/1/booking/1"}
    street.handle_reaction(line | {"data": {"device": device.id, "item": part}})
    events = street.advance(START_MS + 15 * DAY_MS)
    assert [o["result"] for o in outcomes(events, "x/1/booking/1")] == ["done"]
    assert len(street.service_times[f"{device.id}/{part}"]) == 1


def test_reactions_for_others_and_other_lines_are_no_concern_of_it() -> None:
    """A shared broker carries more than ours."""
    street = Neighbourhood(6, 2)
    street.handle_reaction({"at": 1.0, "type": "starloop.order.requested", "id": "a", "data": {"device": "elsewhere"}})
    street.handle_reaction({"at": 1.0, "type": "forecast", "device": "x"})
    street.handle_reaction({"at": 1.0, "tick": True})


def test_what_ran_low_and_ran_out_is_known_and_people_help_themselves() -> None:
    """Without any service every shelf that is used runs out in a year, and is filled again by its people."""
    street = Neighbourhood(1, 6, faults=NO_FAULTS)
    events = street.advance(START_MS + 365 * DAY_MS)
    used_up = [item for item in street.items if street.times_ran_out(item)]
    assert len(used_up) > 0.7 * len(street.items)
    for item in used_up:
        assert street.times_ran_low(item) >= street.times_ran_out(item)
        assert street.ran_out_days(item) > 0
        assert street.times_ran_low(item, below=0.0) == 0
    assert any(event.payload.get("result") == "refilled" for event in events)


def test_events_are_lines_of_a_readings_file() -> None:
    """Telemetry by topic, outcomes and requests by name with the item in full."""
    street = Neighbourhood(1, 10)
    kinds = {}
    for event in street.advance(START_MS + 120 * DAY_MS):
        kinds.setdefault(event.topic.split("/")[3], event.replay_line())
    assert kinds["telemetry"].keys() == {"at", "topic", "payload"}
    assert "/" in kinds["requests"]["request"]["item"]
    assert "/" in kinds["outcomes"]["outcome"]["item"]
    assert kinds["telemetry"]["topic"].endswith("/telemetry")
