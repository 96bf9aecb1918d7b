"""What each experience does on its own, when it is asked, and what it falls back to."""

from __future__ import annotations

from typing import Any

import pytest

from star.react import ReactionType
from star.repeat import NeedState
from star.times import DAY_MS, HOUR_MS, parse_time_ms
from tests.support.household import ACME, ITEM, START_MS, Household, catalogue_of, household_of

BOLT: dict[str, Any] = {"id": "bolt", "lead_time_days": [0.5, 1.0], "price": 640.0}


def verbs_over(home: Household, days: list[float]) -> list[str]:
    """The reactions at evaluations a quarter of a day apart."""
    found: list[str] = []
    for left in days:
        home.passes(hours=6).sees(left).tick()
        found += home.verbs()
    return found


@pytest.mark.parametrize(
    ("experience", "done"),
    [
        ("respond", "oil/1/request/1"),
        ("offer", "oil/1/offer/1"),
        ("coach", "oil/1/reminder/1"),
        ("auto", "oil/1/order/1"),
    ],
)
def test_each_experience_does_its_own_once(experience: str, done: str) -> None:
    """Far from empty nothing; near it one reaction, and not again at the next evaluations."""
    home = household_of(experience=experience)
    assert verbs_over(home, [90.0, 60.0, 50.0]) == []
    assert verbs_over(home, [6.0, 5.8, 5.5]) == [done]


def test_a_customer_is_prompted_earlier_than_an_order_would_go_out() -> None:
    """An answer takes time: at some level of the tank the offer is out and the order not yet."""
    first: dict[str, float] = {}
    for experience in ("offer", "auto"):
        home = household_of(experience=experience)
        for tenth in range(400, 0, -1):
            home.passes(hours=2).sees(tenth / 10)
            if home.tick():
                first[experience] = tenth / 10
                break
    assert first["offer"] > first["auto"] > 5.0


@pytest.mark.parametrize("result", ["offer", "respond", "coach"])
def test_what_is_accepted_is_ordered_at_the_stated_price(result: str) -> None:
    """Although the supplier has raised its price since, over the customer's own limit."""
    home = household_of(experience=result)
    asked = home.sees(6.0).tick()[0]
    assert asked.price == 610.0
    home.passes(hours=3).terms(price=700.0).tick()
    home.passes(hours=3).says(asked.id, "accepted")
    order = home.tick()[0]
    assert order.type is ReactionType.ORDER_REQUESTED
    assert (order.price, order.supplier, order.quantity) == (610.0, "acme", 500.0)
    assert home.passes(hours=1).says(asked.id, "accepted").sees(6.0).tick() == ()


def test_an_offer_is_a_choice_and_the_quantity_says_which() -> None:
    """Suppliers in the customer's order, then other sizes; an acceptance with a quantity takes the one of that size."""
    acme = ACME | {
        "products": [
            {"sku": "oil-500", "quantity": 500.0, "price": 610.0},
            {"sku": "oil-1000", "quantity": 1000.0, "price": 1150.0},
        ]
    }
    home = household_of(catalogue_of({"experience": "offer"}, {"suppliers": ["acme", "bolt"]}, [acme, BOLT]))
    offer = home.sees(6.0).tick()[0]
    assert [(o.sku, o.supplier, o.price) for o in offer.options] == [
        ("oil-500", "acme", 610.0),
        ("", "bolt", 640.0),
        ("oil-1000", "acme", 1150.0),
    ]
    assert all(option.why for option in offer.options)
    order = home.passes(hours=1).says(offer.id, "accepted", quantity=1000.0).tick()[0]
    assert (order.sku, order.quantity, order.price) == ("oil-1000", 1000.0, 1150.0)


def test_quiet_hours_hold_a_contact_until_they_end() -> None:
    """It is then decided again, with the latest forecast, and carries the moment the quiet hours ended."""
    home = household_of(experience="offer", quiet_hours=["22:00", "07:30"], start="2026-03-02T23:00:00Z")
    assert home.sees(6.0).tick() == ()
    assert home.steps[-1].decisions[0].verdict == "wait"
    offer = home.passes(hours=12).sees(5.5, level=250.0).tick()[0]
    assert offer.at_ms == parse_time_ms("2026-03-03T07:30:00Z")
    assert offer.forecast is not None
    assert offer.forecast.level == 250.0


def test_quiet_hours_do_not_hold_an_automatic_order() -> None:
    """It contacts nobody."""
    home = household_of(quiet_hours=["22:00", "07:30"], start="2026-03-02T23:00:00Z")
    assert home.sees(6.0).tick()[0].type is ReactionType.ORDER_REQUESTED


def test_with_the_contacts_used_up_a_request_is_made_ready_and_the_offer_waits() -> None:
    """The offer follows when the week's oldest contact no longer counts; one order answers both."""
    catalogue = catalogue_of(
        {"experience": "offer", "contacts_per_week_max": 1},
        device={
            "id": "tank-7",
            "customer": "maria",
            "profile": "level-tank",
            "slots": {
                name: {"capacity": 1500.0, "pack": 500.0, "suppliers": ["acme"], "stockout_cost": 400.0}
                for name in ("oil", "salt")
            },
        },
    )
    home = household_of(catalogue)
    home.sees(6.0).tick()
    assert home.passes(days=1).sees(6.0, item="tank-7/salt").tick()[0].type is ReactionType.REQUEST_READY
    for _ in range(5):
        home.passes(days=1).sees(5.0, item="tank-7/salt")
        assert home.tick() == ()
    offer = home.passes(days=2).sees(4.0, item="tank-7/salt").tick()[0]
    assert offer.id == "tank-7/salt/1/offer/1"
    assert offer.at_ms == START_MS + 7 * DAY_MS + 1
    home.passes(hours=1).says("tank-7/salt/1/request/1", "accepted").tick()
    assert home.verbs() == ["salt/1/order/1"]
    assert home.passes(hours=1).says(offer.id, "accepted").tick() == ()


def test_someone_who_allows_no_contact_finds_a_request_ready() -> None:
    """No contact, ever, and no need forgotten."""
    home = household_of(experience="coach", contacts_per_week_max=0)
    assert verbs_over(home, [6.0, 5.0, 4.0]) == ["oil/1/request/1"]


def test_nothing_is_done_without_consent() -> None:
    """Not even a need is opened on the customer's data; with the consent given, it is acted on at the next evaluation."""
    home = household_of(consents=["maintenance"])
    assert home.sees(3.0).tick() == ()
    assert home.steps[-1].is_empty
    home.passes(hours=1).asks().tick()
    assert home.steps[-1].reactions == ()
    assert home.steps[-1].decisions[-1].verdict == "refused"
    home.changes(customers=[{"id": "maria", "consents": ["replenishment"]}]).passes(hours=1).sees(3.0)
    assert [reaction.type for reaction in home.tick()] == [ReactionType.ORDER_REQUESTED]


def test_over_the_price_an_offer_is_made_and_never_an_order() -> None:
    """Under auto; when the price falls again the order goes out at that tick, and the offer is over."""
    home = household_of()
    home.terms(price=651.0).sees(6.0)
    assert [r.type for r in home.tick()] == [ReactionType.OFFER_MADE]
    assert verbs_over(home, [5.5, 5.0]) == []
    home.passes(hours=1).terms(price=600.0).tick()
    assert home.verbs() == ["oil/1/order/1"]
    home.passes(hours=1).says("tank-7/oil/1/offer/1", "accepted").tick()
    assert home.verbs() == []


def test_over_the_budget_an_offer_is_made_and_its_acceptance_authorizes_it() -> None:
    """The budget is of whole orders; what is accepted is ordered over it."""
    home = household_of(budget_per_month=600.0)
    offer = home.sees(6.0).tick()[0]
    assert offer.type is ReactionType.OFFER_MADE
    refused = home.steps[-1].decisions[-1]
    assert [rule.rule for rule in refused.rules if not rule.allowed] == ["budget"]
    assert refused.alternative
    assert home.passes(hours=1).says(offer.id, "accepted").tick()[0].type is ReactionType.ORDER_REQUESTED


def test_with_the_next_month_at_hand_an_order_waits_for_its_budget() -> None:
    """Where hardly anything can run out until then, nobody is bothered with an offer."""
    home = household_of(budget_per_month=700.0, start="2026-03-20T12:00:00Z")
    order = home.sees(8.0).tick()[0]
    home.passes(days=3).says(order.id, "delivered").tick()
    home.now_ms = parse_time_ms("2026-03-30T12:00:00Z")
    assert home.sees(14.0).tick() == ()
    assert home.steps[-1].decisions[-1].verdict == "wait"
    home.now_ms = parse_time_ms("2026-04-01T00:00:00Z")
    assert home.sees(12.5).tick()[0].type is ReactionType.ORDER_REQUESTED


def test_an_order_goes_out_before_an_absence_that_would_hold_it() -> None:
    """A week earlier than otherwise, where the tank would run out while nothing may arrive."""
    away = [["2026-03-20", "2026-04-05"]]
    early, usual = household_of(away=away, start="2026-03-14T12:00:00Z"), household_of(start="2026-03-14T12:00:00Z")
    assert early.sees(25.0).tick()[0].type is ReactionType.ORDER_REQUESTED
    assert usual.sees(25.0).tick() == ()


def test_in_an_absence_an_order_waits_for_the_first_safe_moment() -> None:
    """And carries that moment: two days, the 10 % lead time, before the first day back."""
    home = household_of(away=[["2026-03-03", "2026-03-20"]])
    assert home.sees(1.0).tick() == ()
    home.now_ms = parse_time_ms("2026-03-19T05:00:00Z")
    order = home.sees(0.1).tick()[0]
    assert order.at_ms == parse_time_ms("2026-03-19T00:00:00Z")


def test_a_supplier_that_comes_in_time_is_taken_when_the_first_choice_would_be_late() -> None:
    """The first choice is taken while it costs about the same."""
    catalogue = catalogue_of(slot={"suppliers": ["acme", "bolt"], "price_max": 700.0}, suppliers=[ACME, BOLT])
    assert household_of(catalogue).sees(8.0).tick()[0].supplier == "acme"
    assert household_of(catalogue).sees(2.5).tick()[0].supplier == "bolt"


def test_a_supplier_over_the_price_is_passed_over() -> None:
    """The next accepted one that is within it gets the order."""
    catalogue = catalogue_of(slot={"suppliers": ["acme", "bolt"]}, suppliers=[ACME | {"price": 660.0}, BOLT])
    order = household_of(catalogue).sees(3.0).tick()[0]
    assert (order.supplier, order.price) == ("bolt", 640.0)


def test_without_a_supplier_the_customer_is_reminded_or_finds_a_ready_request() -> None:
    """No supplier can be asked."""
    for experience, done in (("auto", "reminder"), ("coach", "reminder"), ("offer", "request"), ("respond", "request")):
        home = household_of(catalogue_of({"experience": experience}, {"suppliers": []}))
        assert verbs_over(home, [3.0, 2.0]) == [f"oil/1/{done}/1"]


def test_an_unanswered_prompt_is_repeated_after_days() -> None:
    """After three days, then weekly; sooner where the run-out is near."""
    home = household_of(experience="coach", contacts_per_week_max=7)
    home.sees(9.0).tick()
    days = [day for day in range(1, 20) if (home.passes(days=1).sees(8.0), home.tick())[1]]
    assert days == [3, 10, 17]
    home = household_of(experience="coach", contacts_per_week_max=7)
    home.sees(9.0).tick()
    assert [day for day in range(1, 4) if (home.passes(days=1).sees(1.0), home.tick())[1]] == [1]


def test_a_no_is_respected_but_for_one_last_prompt_before_the_run_out() -> None:
    """After that, silence; a refill ends it."""
    home = household_of(experience="offer", contacts_per_week_max=7)
    offer = home.sees(7.0).tick()[0]
    home.passes(hours=1).says(offer.id, "declined").sees(7.0).tick()
    assert home.engine.state.needs["tank-7/oil/1"].state is NeedState.REFUSED
    assert verbs_over(home, [6.0] * 12) == []
    assert verbs_over(home, [1.0] * 12) == ["oil/1/offer/2"]
    home.says("tank-7/oil/1/offer/2", "declined")
    assert verbs_over(home, [0.5] * 24) == []
    home.passes(hours=1).rises(500.0).tick()
    assert verbs_over(home, [6.0]) == ["oil/2/offer/1"]


def test_a_choice_changed_is_in_force_at_once() -> None:
    """From auto to respond: the next need is only made ready; back again: ordered."""
    home = household_of()
    home.changes(customers=[{"id": "maria", "experience": "respond"}]).sees(6.0)
    assert [r.type for r in home.tick()] == [ReactionType.REQUEST_READY]
    home.changes(customers=[{"id": "maria", "experience": "auto"}]).passes(hours=1).sees(6.0)
    assert [r.type for r in home.tick()] == [ReactionType.ORDER_REQUESTED]


def test_what_was_held_and_is_no_longer_pressing_ends() -> None:
    """A forecast that moved away in the night leaves no contact for the morning."""
    home = household_of(experience="offer", quiet_hours=["22:00", "07:30"], start="2026-03-02T23:00:00Z")
    home.sees(6.0).tick()
    assert home.passes(hours=3).sees(60.0).tick() == ()
    assert home.passes(hours=9).sees(60.0).tick() == ()
    assert home.engine.state.needs == {}


def test_a_forecast_of_low_trust_places_no_order() -> None:
    """The same early tail places an order at full trust, and none at low trust."""
    assert household_of().sees(20.0, trust=1.0).tick()
    assert household_of().sees(20.0, trust=0.05).tick() == ()


def test_feedback_moves_the_moment() -> None:
    """After "early" an order waits longer than after "late"."""
    first: dict[str, float] = {}
    for timing in ("early", "late"):
        home = household_of()
        order = home.sees(5.0).tick()[0]
        home.passes(days=3).says(order.id, "delivered", timing=timing).tick()
        for tenth in range(400, 0, -1):
            home.passes(hours=2).sees(tenth / 10)
            if home.tick():
                first[timing] = tenth / 10
                break
    assert first["late"] > first["early"]


DESCALER = {"id": "tank-7", "customer": "maria", "profile": "coffee-machine"}
PART = "tank-7/descaling"


@pytest.mark.parametrize(
    ("experience", "done"),
    [("respond", "request"), ("offer", "offer"), ("coach", "reminder"), ("auto", "booking")],
)
def test_a_service_is_proposed_or_booked_as_the_experience_allows(experience: str, done: str) -> None:
    """Accepted, it is booked at its price; done, its need is over."""
    home = household_of(catalogue_of({"experience": experience}, device=DESCALER))
    assert home.sees(100.0, item=PART, cause="cups").tick() == ()
    first = home.passes(days=1).sees(2.0, item=PART, cause="cups").tick()[0]
    assert first.id == f"{PART}/1/{done}/1"
    assert first.price == 8.0
    if experience != "auto":
        booked = home.passes(hours=1).says(first.id, "accepted").tick()[0]
        assert booked.id == f"{PART}/1/booking/1"
        first = booked
    home.passes(days=2).says(first.id, "done").tick()
    assert home.engine.state.needs == {}


def test_a_service_is_not_booked_without_consent_over_the_budget_or_in_the_night() -> None:
    """Consent: nothing. Budget: an offer. Quiet hours: booked when they end."""
    assert (
        household_of(catalogue_of({"consents": ["replenishment"]}, device=DESCALER)).sees(1.0, item=PART).tick() == ()
    )
    home = household_of(catalogue_of({"budget_per_month": 5.0}, device=DESCALER))
    assert home.sees(1.0, item=PART).tick()[0].type is ReactionType.OFFER_MADE
    home = household_of(
        catalogue_of({"quiet_hours": ["22:00", "07:30"]}, device=DESCALER), start="2026-03-02T23:00:00Z"
    )
    assert home.sees(1.0, item=PART).tick() == ()
    assert home.passes(hours=9).sees(1.0, item=PART).tick()[0].at_ms == parse_time_ms("2026-03-03T07:30:00Z")


def test_a_booking_without_an_outcome_is_booked_again() -> None:
    """After forty-five days, as a new attempt."""
    home = household_of(catalogue_of(device=DESCALER))
    home.sees(1.0, item=PART).tick()
    assert home.passes(days=44).sees(1.0, item=PART).tick() == ()
    assert home.passes(days=2).sees(1.0, item=PART).tick()[0].id == f"{PART}/1/booking/2"


def test_the_sentence_is_in_the_customers_language_with_its_numbers() -> None:
    """Decimal commas and dates of French."""
    home = household_of(language="fr", quiet_hours=["22:00", "07:30"], timezone="Europe/Paris", experience="offer")
    offer = home.sees(6.5).tick()[0]
    assert "6,5 jours" in offer.because
    assert "610,00" in offer.because
    home = household_of(language="fr", quiet_hours=["11:00", "14:00"], experience="offer")
    home.sees(6.5).tick()
    assert "2 mars, 14:00" in home.steps[-1].decisions[-1].because


def test_the_window_to_cancel_is_shorter_where_the_order_is_needed_soon() -> None:
    """Twelve hours, or less, and at least one."""
    windows = []
    for days in (14.0, 5.0):
        order = household_of().sees(days).tick()[0]
        assert order.cancel_before_ms is not None
        windows.append((order.cancel_before_ms - order.at_ms) / HOUR_MS)
    assert windows == [12.0, 1.0]


def test_the_item_named_in_a_reaction_is_the_devices_own() -> None:
    """And the id of the item is found again in the reaction's."""
    order = household_of().sees(6.0).tick()[0]
    assert (f"{order.device}/{order.item}", order.need) == (ITEM, "tank-7/oil/1")
