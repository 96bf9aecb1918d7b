"""The life cycles of needs and orders: two tables that no history leaves, and no row of which is idle."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from star.errors import IllegalTransition
from star.repeat import NeedState, OrderState, transition
from tests.support.random_history import LISTED_MOVES, RandomHistory

WALKS = 80
"""Seeded histories that together make every listed move; 30 are enough today."""
WALK_TICKS = 160


def test_a_move_that_no_table_lists_raises_illegal_transition() -> None:
    """The message names the kind, both states and what is allowed."""
    with pytest.raises(IllegalTransition, match="a need can't move from closed to open: expected one of none"):
        transition(NeedState.CLOSED, NeedState.OPEN)
    with pytest.raises(
        IllegalTransition, match="an order can't move from lost to outstanding: expected one of delivered"
    ):
        transition(OrderState.LOST, OrderState.OUTSTANDING)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_history_of_a_household_leaves_the_tables(data: Any) -> None:
    """Whatever outcomes, refills, cancellations, changes and pauses come in whatever order, every move is a listed one."""
    history = RandomHistory(lambda options: data.draw(st.sampled_from(options)))
    for _ in range(data.draw(st.integers(1, 30))):
        history.advance()
    assert history.state.moves <= LISTED_MOVES


def test_every_listed_move_is_made_by_some_history() -> None:
    """No row of a table is there for nothing: seeded histories together make all of them."""
    missing = set(LISTED_MOVES)
    for seed in range(WALKS):
        history = RandomHistory(random.Random(seed).choice)
        for _ in range(WALK_TICKS):
            history.advance()
        assert history.state.moves <= LISTED_MOVES, f"seed {seed}"
        missing -= history.state.moves
        if not missing:
            return
    assert missing == set()
