"""Decisions are returned as commands: deciding changes nothing, and one table applies each kind of command."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import get_args

import pytest

from config.fleet import Experience
from reactor import commands
from reactor.apply import APPLIERS, apply
from reactor.commands import Command, EndOrder, MoveOrder, PlaceOrder, PromptCustomer, RecordOutcome
from reactor.handlers import evaluation, events, outcomes, refills
from reactor.handlers.outcomes import ORDER_HANDLERS, PROMPT_HANDLERS, Subject
from reactor.handlers.prompts import PromptState
from reactor.state import Need, Order
from reactor.store.rows import to_json
from reactor.unit_of_work import UnitOfWork
from star.analyse import DetectedNeed, Facts, NeedKind, RefillStage, RefillUpdate
from star.errors import IllegalTransition
from star.react import ReactionType
from star.repeat import RESULTS, OrderState, Outcome, Result
from tests.support.household import ITEM, Household, forecast_of, household_of

ORDER = "tank-7/oil/1/order/1"


def unit_of(home: Household, *, days: float | None = None) -> UnitOfWork:
    """The home's state, open for a step at its present moment. days: a forecast of the slot in this tick."""
    needs: tuple[DetectedNeed, ...] = ()
    if days is not None:
        forecast = forecast_of(days, home.now_ms)
        needs = (DetectedNeed(item=ITEM, at_ms=home.now_ms, kind=NeedKind.RUN_OUT, cause="level", forecast=forecast),)
    facts = Facts(offset=home.offset + 1, at_ms=home.now_ms, needs=needs)
    return UnitOfWork(home.engine.state, home.engine.catalogue, facts, {}, 1.0)


def outcome_of(home: Household, result: Result, reaction: str) -> Outcome:
    """An outcome that arrives now."""
    return Outcome(at_ms=home.now_ms, arrived_ms=home.now_ms, id="said-1", result=result, reaction=reaction)


def contents(home: Household) -> list[str]:
    """Everything that the state keeps, as it is written to the store."""
    state = home.engine.state
    tables = (state.needs, state.orders, state.prompts, state.contacts, state.items, state.suppliers, state.timers)
    return [to_json(entity) for table in tables for entity in table.values()]  # type: ignore[attr-defined]


def test_every_command_is_frozen_data_and_has_what_applies_it() -> None:
    """The table of appliers lists the union of commands, no more and no less."""
    kinds = set(get_args(Command))
    assert set(APPLIERS) == kinds
    for kind in kinds:
        assert is_dataclass(kind)
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]
        assert kind.__name__ in commands.__all__
        assert fields(kind)


@pytest.mark.parametrize(
    ("experience", "expected"),
    [
        ("respond", ReactionType.REQUEST_READY),
        ("offer", ReactionType.OFFER_MADE),
        ("coach", ReactionType.REMINDER_SENT),
        ("auto", ReactionType.ORDER_REQUESTED),
    ],
)
def test_an_experience_returns_its_reaction_and_changes_nothing(experience: str, expected: ReactionType) -> None:
    """The same context gives the same commands, as often as it is decided; only applying them makes the reaction."""
    home = household_of(experience=experience)
    unit = unit_of(home, days=2.0)
    before = contents(home)
    first = evaluation.evaluate(unit.view, ITEM, unit.at_ms)
    assert evaluation.evaluate(unit.view, ITEM, unit.at_ms) == first
    assert contents(home) == before == []
    (command,) = first
    assert isinstance(command, PlaceOrder | PromptCustomer)
    apply(unit, first)
    assert [reaction.type for reaction in unit.result().reactions] == [expected]


def test_every_experience_of_the_fleet_has_a_decider() -> None:
    """A new one can't be forgotten."""
    assert set(evaluation.SLOT_EXPERIENCES) == set(Experience)


def test_an_outcome_is_decided_from_its_subject_and_state_alone() -> None:
    """A delivery of an outstanding order: recorded, learned, ended, and the need closed, in this order; nothing changes."""
    home = household_of()
    home.sees(2.0).tick()
    home.passes(days=3)
    unit = unit_of(home)
    before = contents(home)
    decided = outcomes.handle(unit.view, outcome_of(home, "delivered", ORDER))
    assert [type(command).__name__ for command in decided] == [
        "RecordOutcome",
        "RecordDelivery",
        "ExpectRefill",
        "EndOrder",
        "RecordDecision",
        "CloseNeed",
    ]
    assert contents(home) == before


@pytest.mark.parametrize("result", RESULTS)
def test_an_outcome_of_a_delivered_order_is_recorded_and_changes_nothing_else(result: Result) -> None:
    """Whatever is reported of it later."""
    home = household_of()
    home.sees(2.0).tick()
    home.passes(days=3).says(ORDER, "delivered").tick()
    unit = unit_of(home)
    decided = outcomes.handle(unit.view, outcome_of(home, result, ORDER))
    assert [type(command) for command in decided] == [RecordOutcome]


def test_the_tables_of_outcomes_name_only_results_and_states_that_exist() -> None:
    """Every state of a prompt has its row; an order has one in every state in which an outcome can still change it."""
    assert set(PROMPT_HANDLERS) == set(PromptState)
    rows = [*ORDER_HANDLERS.values(), *PROMPT_HANDLERS.values()]
    assert {result for row in rows for result in row} <= set(RESULTS)
    listed = {state for subject, state in ORDER_HANDLERS if subject is Subject.ORDER}
    assert listed == set(OrderState) - {OrderState.DELIVERED}


def test_a_refill_is_decided_without_a_change_of_the_state() -> None:
    """The refill that matches an order presumes its delivery."""
    home = household_of()
    home.sees(2.0).tick()
    home.passes(days=3)
    unit = unit_of(home)
    before = contents(home)
    quantity = home.engine.state.orders[ORDER].quantity
    refill = RefillUpdate(item=ITEM, at_ms=home.now_ms, stage=RefillStage.CONFIRMED, quantity=quantity)
    decided = refills.detected(unit.view, refill)
    assert contents(home) == before
    apply(unit, decided)
    assert home.engine.state.orders[ORDER].state is OrderState.PRESUMED


def test_a_command_that_the_state_does_not_allow_is_refused() -> None:
    """A second order while one may arrive, and a move that the table does not list, are bugs and raise."""
    home = household_of()
    unit = unit_of(home, days=2.0)
    decided = evaluation.evaluate(unit.view, ITEM, unit.at_ms)
    apply(unit, decided)
    with pytest.raises(AssertionError, match="has an order under way"):
        apply(unit, decided)
    apply(unit, [EndOrder(order=ORDER, to=OrderState.LOST)])
    with pytest.raises(IllegalTransition):
        apply(unit, [MoveOrder(order=ORDER, to=OrderState.CANCELLING)])


def test_commands_of_one_event_are_seen_by_the_decision_after_it() -> None:
    """The second of two equal outcomes in a tick finds the order delivered."""
    home = household_of()
    home.sees(2.0).tick()
    home.passes(days=3)
    unit = unit_of(home)
    outcome = outcome_of(home, "delivered", ORDER)
    apply(unit, events.handle(unit.view, outcome))
    assert events.handle(unit.view, outcome) == (RecordOutcome(reaction=ORDER, outcome=outcome),)
    changed = unit.result().changed.values()
    assert sorted(str(entity.state) for entity in changed if isinstance(entity, Need | Order)) == [
        "closed",
        "delivered",
    ]
