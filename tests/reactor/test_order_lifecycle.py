"""The life of an order: delivered, cancelled, failed, lost; refills and requests beside it."""

from __future__ import annotations

from typing import Any

import pytest

from star.analyse import RefillStage
from star.react import ReactionType
from star.repeat import NeedState, OrderState
from tests.support.household import ACME, Household, catalogue_of, household_of

ORDER = "tank-7/oil/1/order/1"
BOLT: dict[str, Any] = {"id": "bolt", "lead_time_days": [0.5, 1.0], "price": 640.0}


def ordered(**choices: Any) -> Household:
    """A home whose order went out just now."""
    home = household_of(**choices)
    home.sees(8.0).tick()
    assert home.verbs() == ["oil/1/order/1"]
    return home


def state_of(home: Household) -> NeedState | None:
    """Of the first need, None where it is over."""
    need = home.engine.state.needs.get("tank-7/oil/1")
    return None if need is None else need.state


def test_a_delivery_ends_the_need_and_the_next_one_has_the_next_number() -> None:
    """The same delivery reported twice counts once."""
    home = ordered()
    home.passes(days=3).says(ORDER, "delivered").tick()
    assert state_of(home) is None
    home.passes(days=1).says(ORDER, "delivered").sees(8.0).tick()
    assert home.verbs() == ["oil/2/order/1"]
    assert sum(lesson.seen for lesson in home.engine.state.lead_time_samples.values()) == 1


def test_nothing_more_is_ordered_while_an_order_is_outstanding() -> None:
    """However low it gets, until it is late beyond what the supplier's lead times allow."""
    home = ordered()
    for _ in range(7):
        assert home.passes(days=1).sees(0.1).tick() == ()


def test_an_order_long_overdue_is_given_up_as_lost_and_replaced() -> None:
    """Half as late again as the 90 % lead time of five days, with nothing left; the replacement is a new attempt, and the
    receipt says why."""
    home = ordered()
    home.passes(days=7.4).sees(0.1).tick()
    assert home.verbs() == []
    home.passes(days=0.2).sees(0.1).tick()
    assert home.verbs() == ["oil/1/order/2"]
    verdicts = [decision.verdict for decision in home.steps[-1].decisions]
    assert verdicts == ["lost", "starloop.order.requested"]
    assert home.engine.state.orders[ORDER].state is OrderState.LOST
    assert sum(lesson.lost for lesson in home.engine.state.lead_time_samples.values()) == 1


def test_a_refill_presumed_to_be_the_delivery_teaches_its_lead_time() -> None:
    """Once, also when the delivery is reported later."""
    home = ordered()
    home.passes(days=3).rises(480.0).tick()
    home.passes(days=1).says(ORDER, "delivered").tick()
    lessons = home.engine.state.lead_time_samples.values()
    assert sum(lesson.seen for lesson in lessons) == 1


def test_an_overdue_order_is_waited_for_while_nothing_presses() -> None:
    """Until twice the 90 % lead time: it is given up then, and nothing is ordered that is not needed yet."""
    home = ordered()
    for _ in range(9):
        assert home.passes(days=1).sees(60.0).tick() == ()
    assert home.engine.state.orders[ORDER].state is OrderState.OUTSTANDING
    home.passes(days=1.1).sees(60.0).tick()
    assert home.verbs() == []
    assert home.engine.state.orders[ORDER].state is OrderState.LOST


def test_a_lost_order_is_replaced_from_another_supplier_where_there_is_one() -> None:
    """The one who lost it is not asked first again."""
    catalogue = catalogue_of(slot={"suppliers": ["acme", "bolt"], "price_max": 700.0}, suppliers=[ACME, BOLT])
    home = household_of(catalogue)
    home.sees(8.0).tick()
    home.passes(days=8).sees(0.1).tick()
    assert home.steps[-1].reactions[-1].supplier == "bolt"


def test_a_lost_order_still_counts_towards_the_budget() -> None:
    """It may yet arrive and be charged: an order over the budget is offered instead."""
    home = ordered(budget_per_month=700.0)
    home.passes(days=10.1).sees(0.1).tick()
    assert [r.type for r in home.steps[-1].reactions] == [ReactionType.OFFER_MADE]


def test_a_lost_order_that_arrives_after_all_cancels_its_replacement() -> None:
    """Where that is still free; the need closes when the supplier confirms."""
    home = ordered()
    home.passes(days=10.1).sees(2.0).tick()
    home.passes(hours=0.5).says(ORDER, "delivered").tick()
    cancelled = home.steps[-1].reactions[0]
    assert (cancelled.type, cancelled.order) == (ReactionType.ORDER_CANCELLED, "tank-7/oil/1/order/2")
    assert home.passes(days=1).sees(8.0).tick() == ()
    home.passes(days=1).says("tank-7/oil/1/order/2", "cancelled").tick()
    assert state_of(home) is None
    assert home.passes(days=1).sees(8.0).tick()[0].id == "tank-7/oil/2/order/1"


def test_a_supplier_that_fails_is_replaced_at_once_and_later_after_waits() -> None:
    """The same one at once, then after one hour, two, four."""
    home = ordered()
    attempts: list[int] = []
    for hour in range(12):
        last = f"tank-7/oil/1/order/{len(attempts) + 1}"
        if home.engine.state.orders[last].state is OrderState.OUTSTANDING:
            home.says(last, "failed")
        if home.sees(5.0).tick():
            attempts.append(hour)
        home.passes(hours=1)
    assert attempts == [0, 2, 5, 10]


def test_a_customers_cancellation_is_passed_on_and_holds_for_a_day() -> None:
    """Its supplier gets a cancellation; the need orders again only when the day is over."""
    home = ordered()
    home.passes(hours=2).says(ORDER, "cancelled").sees(8.0).tick()
    assert home.verbs() == ["oil/1/cancel/1"]
    for _ in range(23):
        assert home.passes(hours=1).sees(2.0).tick() == ()
    home.passes(hours=1).sees(2.0).tick()
    assert home.verbs() == ["oil/1/order/2"]


def test_a_cancelled_order_no_longer_counts_towards_the_budget() -> None:
    """The next order fits the budget."""
    home = ordered(budget_per_month=700.0)
    home.passes(hours=2).says(ORDER, "cancelled").tick()
    home.passes(days=1.1).sees(2.0).tick()
    assert home.verbs() == ["oil/1/order/2"]


def test_an_order_declined_is_cancelled_and_its_need_refused() -> None:
    """It counts as outstanding until the supplier confirms."""
    home = ordered()
    home.passes(hours=1).says(ORDER, "declined").tick()
    assert home.verbs() == ["oil/1/cancel/1"]
    assert state_of(home) is NeedState.CANCELLING
    home.passes(hours=1).says(ORDER, "cancelled").tick()
    assert state_of(home) is NeedState.REFUSED


def test_a_matching_refill_in_time_is_presumed_to_be_the_delivery() -> None:
    """Nothing else is ordered until the 90 % lead time is over; a delivery reported later changes nothing."""
    home = ordered()
    home.passes(days=3).rises(480.0).tick()
    assert state_of(home) is None
    assert home.engine.state.orders[ORDER].state is OrderState.PRESUMED
    assert home.passes(days=1).sees(2.0).tick() == ()
    home.passes(days=1.01).sees(2.0).tick()
    assert home.verbs() == ["oil/2/order/1"]
    home.passes(hours=1).says(ORDER, "delivered").tick()
    assert home.engine.state.needs["tank-7/oil/2"].state is NeedState.ORDERED


def test_a_refill_from_elsewhere_cancels_a_superfluous_order_while_that_is_free() -> None:
    """Too early to be the delivery; the level is far from low now."""
    home = ordered()
    home.passes(hours=3).rises(1100.0).tick()
    assert home.verbs() == ["oil/1/cancel/1"]
    assert home.passes(days=1).sees(8.0).tick() == ()
    home.passes(hours=1).says(ORDER, "cancelled").tick()
    assert state_of(home) is None


@pytest.mark.parametrize("answer", ["cancelled", "failed"])
def test_a_supplier_may_answer_the_cancellation_by_its_own_id(answer: str) -> None:
    """It is confirmed; or it came too late, and the order is outstanding until it arrives."""
    home = ordered()
    home.passes(hours=3).rises(1100.0).tick()
    home.passes(hours=3).says("tank-7/oil/1/cancel/1", answer).tick()
    assert home.steps[-1].unmatched == ()
    assert state_of(home) is None
    home.passes(days=1).sees(6.0).tick()
    assert home.verbs() == (["oil/2/order/1"] if answer == "cancelled" else [])
    home.passes(days=2).says(ORDER, "delivered").sees(6.0).tick()
    assert home.verbs() == ([] if answer == "cancelled" else ["oil/2/order/1"])


def test_an_order_declined_too_late_goes_on() -> None:
    """The supplier rejected the cancellation."""
    home = ordered()
    home.passes(hours=1).says(ORDER, "declined").tick()
    home.passes(hours=1).says("tank-7/oil/1/cancel/1", "failed").tick()
    assert state_of(home) is NeedState.ORDERED


def test_a_refill_from_elsewhere_leaves_an_order_that_cannot_be_cancelled() -> None:
    """The need is met; still nothing else is ordered until the order has arrived or is lost."""
    home = ordered()
    home.passes(hours=20).rises(1100.0).tick()
    assert home.verbs() == []
    assert state_of(home) is None
    assert home.passes(days=2).sees(3.0).tick() == ()
    home.passes(days=1).says(ORDER, "delivered").sees(3.0).tick()
    assert home.verbs() == ["oil/2/order/1"]


def test_a_small_refill_leaves_the_need_and_its_order_as_they_are() -> None:
    """It is still about to run out."""
    home = ordered()
    home.passes(hours=3).rises(30.0).sees(8.5).tick()
    assert home.verbs() == []
    assert state_of(home) is NeedState.ORDERED


def test_packs_that_are_stored_unopened_are_not_cancelled() -> None:
    """With spare packs nothing is lost by one more."""
    home = household_of(catalogue_of(slot={"spare_packs": True}))
    home.sees(8.0).tick()
    home.passes(hours=3).rises(1100.0).tick()
    assert home.verbs() == []


def test_a_provisional_refill_changes_nothing_yet() -> None:
    """Nor does one that is retracted."""
    home = ordered()
    home.passes(days=3).rises(480.0, stage=RefillStage.PROVISIONAL).tick()
    home.passes(hours=3).rises(480.0, stage=RefillStage.RETRACTED).tick()
    assert state_of(home) is NeedState.ORDERED


def test_the_refill_of_a_declared_delivery_is_not_counted_again() -> None:
    """It is detected hours later; a need that opened in between is not met by it."""
    home = ordered()
    home.passes(days=3).says(ORDER, "delivered", quantity=200.0).tick()
    home.passes(hours=3).sees(3.0).tick()
    assert home.verbs() == ["oil/2/order/1"]
    home.passes(hours=3).rises(200.0).tick()
    assert home.engine.state.needs["tank-7/oil/2"].state is NeedState.ORDERED


@pytest.mark.parametrize("experience", ["respond", "offer", "coach", "auto"])
def test_a_request_orders_at_once_whatever_the_experience(experience: str) -> None:
    """And is recorded as met where an order is under way already."""
    home = household_of(experience=experience)
    home.asks().tick()
    assert home.verbs() == ["oil/1/order/1"]
    home.passes(hours=1).asks().tick()
    assert home.verbs() == []
    assert home.steps[-1].decisions[-1].verdict == "wait"


def test_a_request_comes_in_whole_packs() -> None:
    """At the price of so many packs."""
    home = household_of()
    order = home.asks(quantity=700.0).tick()[0]
    assert (order.quantity, order.price) == (1000.0, 1220.0)


def test_a_request_over_price_or_budget_is_made_ready_with_its_price() -> None:
    """No price was stated before; accepted, it is ordered."""
    for choices, terms in (({}, 700.0), ({"budget_per_month": 600.0}, None)):
        home = household_of(**choices)
        if terms is not None:
            home.terms(price=terms)
        ready = home.asks().tick()[0]
        assert ready.type is ReactionType.REQUEST_READY
        order = home.passes(hours=1).says(ready.id, "accepted").tick()[0]
        assert (order.type, order.price) == (ReactionType.ORDER_REQUESTED, ready.price)


def test_a_request_after_a_cancellation_is_another_need() -> None:
    """The cancelled one does not order again that day."""
    home = ordered()
    home.passes(hours=2).says(ORDER, "cancelled").tick()
    home.passes(hours=2).asks().tick()
    assert home.verbs() == ["oil/2/order/1"]


def test_a_request_for_a_time_of_absence_waits_for_the_first_safe_moment() -> None:
    """Nothing is ordered that could arrive while nobody is there."""
    home = household_of(away=[["2026-03-03", "2026-03-20"]])
    assert home.asks().tick() == ()
    home.passes(days=10)
    assert home.tick() == ()
    home.passes(days=8)
    assert home.tick()[0].type is ReactionType.ORDER_REQUESTED


def test_new_lead_times_move_the_day_on_which_an_order_is_lost() -> None:
    """A supplier that states twenty days now is waited for."""
    home = ordered()
    home.passes(days=5).terms(lead=(10.0, 20.0)).sees(3.0).tick()
    for _ in range(24):
        assert home.passes(days=1).sees(0.1).tick() == ()
    home.passes(days=2).sees(0.1).tick()
    assert home.verbs() == ["oil/1/order/2"]


def test_an_event_about_nothing_known_is_reported_as_unmatched() -> None:
    """Nothing else happens."""
    home = household_of()
    home.says("tank-7/oil/9/order/1", "delivered").says(None, "refilled", item="tank-7/gold").terms("nobody", price=1.0)
    home.asks("tank-7/gold").changes(customers=[{"id": "maria", "experience": "wild"}]).tick()
    assert len(home.steps[-1].unmatched) == 5
    assert home.steps[-1].reactions == ()


def test_a_declared_refill_ends_the_need() -> None:
    """Of any need that waits for an answer; its prompt is closed."""
    home = household_of(experience="coach")
    reminder = home.sees(6.0).tick()[0]
    home.passes(hours=5).says(None, "refilled", item="tank-7/oil", quantity=500.0).tick()
    assert state_of(home) is None
    home.passes(hours=5).says(reminder.id, "accepted").tick()
    assert home.verbs() == []
    home.passes(days=9).sees(6.0).tick()
    home.passes(hours=5).says("tank-7/oil/2/reminder/1", "done").tick()
    assert home.engine.state.needs == {}


def test_ended_orders_are_deleted_after_four_months() -> None:
    """So that the state stays bounded; an outcome that comes later is reported as unmatched."""
    home = ordered()
    home.passes(days=3).says(ORDER, "delivered").tick()
    home.passes(days=121).tick()
    assert home.engine.state.orders == {}
    home.says(ORDER, "delivered").tick()
    assert home.steps[-1].unmatched


def test_lead_times_are_learned_from_deliveries() -> None:
    """Ten deliveries of a day and a half draw a stated two to five days down; new terms start over."""
    home = household_of()
    for cycle in range(1, 11):
        home.passes(days=30).sees(6.0).tick()
        home.passes(days=1.5).says(f"tank-7/oil/{cycle}/order/1", "delivered").tick()
    home.passes(days=2).tick()
    low, high = home.engine.lead_days_of("tank-7/oil")
    assert 1.0 < low < 1.7
    assert 1.5 < high < 3.5
    home.passes(days=1).terms(lead=(3.0, 4.0)).tick()
    assert home.engine.lead_days_of("tank-7/oil") == (3.0, 4.0)


def test_changed_rows_override_the_fleet_file_after_a_restart() -> None:
    """A field set back to its default as well."""
    from reactor.engine import Engine
    from reactor.state import State

    catalogue = catalogue_of({"quiet_hours": ["22:00", "07:30"], "language": "fr"})
    home = household_of(catalogue)
    home.changes(customers=[{"id": "maria", "quiet_hours": None, "experience": "coach"}]).tick()
    kept = [entity for entity in home.steps[-1].changed.values() if entity is not None]
    again = Engine(catalogue, State(kept))
    maria = again.catalogue.customers["maria"]
    assert (maria.quiet_hours, maria.experience, maria.language) == (None, "coach", "fr")
