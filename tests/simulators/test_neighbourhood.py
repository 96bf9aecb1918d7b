"""The simulated neighbourhood: reproducible from its seed in any steps, and consistent with its own truth."""

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

CERTAIN = ResponseModel(
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
    """The line of a reaction: an order of 50 units, now."""
    device, slot = item.split("/")
    table = next(d for d in neighbourhood.fleet.devices if d.id == device)
    at = epoch_seconds(neighbourhood.now_ms)
    supplier = table.slots[slot].suppliers[0]
    body = {"device": device, "item": slot, "supplier": supplier, "quantity": 50.0, "cancel_before": at + 3600.0}
    return {"at": at, "type": "starloop.order.requested", "id": f"{item}/{number}/order/1", "data": body | data}


def outcomes(events: list[SimulatedEvent], reaction: str) -> list[dict[str, Any]]:
    """The outcomes of a reaction."""
    return [event.payload for event in events if event.payload.get("reaction") == reaction]


@pytest.mark.parametrize("faults", [NO_FAULTS, ROUGH_FAULTS])
def test_a_neighbourhood_is_the_same_in_one_step_or_in_thousands(faults: Any) -> None:
    """Events and true levels are equal, purchases elsewhere included."""
    end_ms = START_MS + 50 * DAY_MS
    whole, steps = Neighbourhood(3, 8, faults=faults), Neighbourhood(3, 8, faults=faults)
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
    """Its events differ."""
    end_ms = START_MS + 5 * DAY_MS
    assert Neighbourhood(1, 5).advance(end_ms) != Neighbourhood(2, 5).advance(end_ms)


def test_its_fleet_is_valid_and_complete() -> None:
    """All four experiences in both languages, and every kind of device."""
    fleet = Neighbourhood(1, 20).fleet
    catalogue = resolve_catalogue(fleet, load_profiles())
    assert len(catalogue.slots) > 40
    met = {(customer.experience, customer.language) for customer in fleet.customers}
    assert met == {(experience, language) for experience in Experience for language in ("en", "fr")}
    assert len({device.profile for device in fleet.devices}) == 6


def test_an_order_is_delivered_and_its_delivery_is_declared() -> None:
    """One delivery after the cancellation period, with feedback on its timing."""
    neighbourhood = Neighbourhood(5, 8, responses=CERTAIN, faults=NO_FAULTS)
    neighbourhood.advance(START_MS + 2 * DAY_MS)
    item = next(item for item in neighbourhood.items if item.endswith("/beans"))
    line = order(neighbourhood, item)
    neighbourhood.handle_reaction(line)
    neighbourhood.handle_reaction(line)  # a retry of the same attempt counts once
    results = outcomes(neighbourhood.advance(START_MS + 40 * DAY_MS), line["id"])
    assert [outcome["result"] for outcome in results] == ["delivered"]
    assert results[0]["at"] > line["data"]["cancel_before"]
    assert results[0]["feedback"]["timing"] in {"early", "right", "late"}
    assert neighbourhood.delivered_orders[item] == 1


def test_a_lost_order_is_never_delivered() -> None:
    """Silently, or with a report of the failure."""
    neighbourhood = Neighbourhood(5, 8, responses=ResponseModel(lost_orders=1.0, cancels=0.0), faults=NO_FAULTS)
    results = set()
    for item in neighbourhood.items:
        line = order(neighbourhood, item)
        neighbourhood.handle_reaction(line)
        results |= {
            o["result"] for o in outcomes(neighbourhood.advance(neighbourhood.now_ms + 30 * DAY_MS), line["id"])
        }
    assert results <= {"failed"}
    assert neighbourhood.delivered_orders == {}


def test_a_customer_who_cancels_in_time_gets_nothing() -> None:
    """The outcome is reported before the cancellation period ends."""
    neighbourhood = Neighbourhood(5, 8, responses=ResponseModel(cancels=1.0), faults=NO_FAULTS)
    neighbourhood.advance(START_MS + DAY_MS)
    line = order(neighbourhood, neighbourhood.items[0])
    neighbourhood.handle_reaction(line)
    results = outcomes(neighbourhood.advance(START_MS + 30 * DAY_MS), line["id"])
    assert [outcome["result"] for outcome in results] == ["cancelled"]
    assert results[0]["at"] < line["data"]["cancel_before"]


def test_a_cancellation_succeeds_only_before_the_parcel_has_shipped() -> None:
    """Either the supplier confirms it and nothing is delivered, or it does not and the parcel arrives."""
    ended = []
    for seed in range(12):
        neighbourhood = Neighbourhood(seed, 3, responses=CERTAIN, faults=NO_FAULTS)
        neighbourhood.advance(START_MS + DAY_MS)
        line = order(neighbourhood, neighbourhood.items[0])
        neighbourhood.handle_reaction(line)
        neighbourhood.advance(neighbourhood.now_ms + 30 * HOUR_MS)
        cancel = line["id"].replace("/order/", "/cancel/")
        data = {"device": line["data"]["device"], "item": line["data"]["item"], "order": line["id"]}
        neighbourhood.handle_reaction(
            {"at": epoch_seconds(neighbourhood.now_ms), "type": "starloop.order.cancelled", "id": cancel, "data": data}
        )
        events = neighbourhood.advance(neighbourhood.now_ms + 40 * DAY_MS)
        confirmed, delivered = outcomes(events, cancel), outcomes(events, line["id"])
        assert not (confirmed and delivered)
        ended.append(bool(confirmed))
    assert any(ended)
    assert not all(ended)


def test_offers_and_prepared_requests_are_answered_and_reminders_followed() -> None:
    """By people who always respond; a reminder's refill raises the true level."""
    neighbourhood = Neighbourhood(6, 8, responses=CERTAIN, faults=NO_FAULTS)
    neighbourhood.advance(START_MS + 3 * DAY_MS)
    item = next(item for item in neighbourhood.items if item.endswith("/oil"))
    device, slot = item.split("/")
    at, before = epoch_seconds(neighbourhood.now_ms), neighbourhood.true_level(item)
    options = [{"sku": "a", "supplier": "oil-direct", "quantity": 500.0, "price": 590.0, "why": "cheapest"}]
    for verb, kind in (("offer", "offer.made"), ("request", "request.ready"), ("reminder", "reminder.sent")):
        data = {"device": device, "item": slot, "options": options, "quantity": 500.0}
        neighbourhood.handle_reaction({"at": at, "type": f"starloop.{kind}", "id": f"{item}/1/{verb}/1", "data": data})
    events = neighbourhood.advance(neighbourhood.now_ms + 8 * DAY_MS)
    assert [o["result"] for o in outcomes(events, f"{item}/1/offer/1")] == ["accepted"]
    assert [o["result"] for o in outcomes(events, f"{item}/1/request/1")] == ["accepted"]
    assert neighbourhood.true_level(item) > before + 200.0


def test_a_booked_service_is_done_and_declared() -> None:
    """Some days later, and recorded in the truth."""
    neighbourhood = Neighbourhood(6, 8, responses=CERTAIN, faults=NO_FAULTS)
    device = next(d for d in neighbourhood.fleet.devices if d.parts)
    part = next(iter(device.parts))
    line = {"at": epoch_seconds(neighbourhood.now_ms), "type": "starloop.maintenance.booked", "id": "x/1/booking/1"}
    neighbourhood.handle_reaction(line | {"data": {"device": device.id, "item": part}})
    events = neighbourhood.advance(START_MS + 15 * DAY_MS)
    assert [o["result"] for o in outcomes(events, "x/1/booking/1")] == ["done"]
    assert len(neighbourhood.service_times[f"{device.id}/{part}"]) == 1


def test_other_reactions_and_lines_are_ignored() -> None:
    """A shared broker carries messages of others."""
    neighbourhood = Neighbourhood(6, 2)
    neighbourhood.handle_reaction(
        {"at": 1.0, "type": "starloop.order.requested", "id": "a", "data": {"device": "elsewhere"}}
    )
    neighbourhood.handle_reaction({"at": 1.0, "type": "forecast", "device": "x"})
    neighbourhood.handle_reaction({"at": 1.0, "tick": True})


def test_run_outs_are_recorded_and_people_buy_elsewhere() -> None:
    """Without any service most slots run out within a year, and people refill them."""
    neighbourhood = Neighbourhood(1, 6, faults=NO_FAULTS)
    events = neighbourhood.advance(START_MS + 365 * DAY_MS)
    ran_out = [item for item in neighbourhood.items if neighbourhood.times_ran_out(item)]
    assert len(ran_out) > 0.7 * len(neighbourhood.items)
    for item in ran_out:
        assert neighbourhood.times_ran_low(item) >= neighbourhood.times_ran_out(item)
        assert neighbourhood.ran_out_days(item) > 0
        assert neighbourhood.times_ran_low(item, below=0.0) == 0
    assert any(event.payload.get("result") == "refilled" for event in events)


def test_events_are_lines_of_a_readings_file() -> None:
    """Telemetry by topic, outcomes and requests with the full name of the item."""
    neighbourhood = Neighbourhood(1, 10)
    kinds = {}
    for event in neighbourhood.advance(START_MS + 120 * DAY_MS):
        kinds.setdefault(event.topic.split("/")[3], event.replay_line())
    assert kinds["telemetry"].keys() == {"at", "topic", "payload"}
    assert "/" in kinds["requests"]["request"]["item"]
    assert "/" in kinds["outcomes"]["outcome"]["item"]
    assert kinds["telemetry"]["topic"].endswith("/telemetry")
