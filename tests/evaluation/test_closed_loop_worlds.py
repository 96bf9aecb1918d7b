"""The worlds of the evaluation: nothing is made or lost in them, and every policy meets the same chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from evaluation.closed_loop import REFERENCE_POLICIES
from evaluation.policies.reference_policies import FilteredNewsvendorPolicy
from evaluation.worlds.closed_loop_world import ClosedLoopWorld, OrderRequest, OutcomeKind, OutcomeNotice, RunTotals
from evaluation.worlds.scenario_families import FAMILIES, FAMILY_NAMES, ScenarioFamily, family_named
from evaluation.worlds.scenarios import ScenarioBatch, draw_scenarios
from evaluation.worlds.sensor_faults import HourlyReadings, draw_sensor_faults
from evaluation.worlds.supply_draws import OrderOption

SEED = 4_242


class Weekly:
    """Orders a pack of everything each week, and keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[OutcomeNotice] = []
        self.values = 0

    def on_readings(self, hour: int, readings: HourlyReadings) -> None:
        """Counts."""
        self.values += len(readings.rows) + len(readings.late)

    def on_outcome(self, hour: int, notice: OutcomeNotice) -> None:
        """Keeps."""
        self.heard.append(notice)

    def decide(self, hour: int, world: ClosedLoopWorld) -> Sequence[OrderRequest]:
        """Every 168 hours."""
        return (
            [OrderRequest(row, OrderOption(0, 1, 1.0)) for row in range(len(world.scenarios))]
            if hour % 168 == 0
            else []
        )


def drawn(name: str | ScenarioFamily, items: int = 4, days: int = 120) -> ScenarioBatch:
    """A small world of the family."""
    return draw_scenarios(family_named(name) if isinstance(name, str) else name, [SEED], items, days)


def lived(lives_: ScenarioBatch, policy: str) -> RunTotals:
    """What came of the life under a reference policy."""
    return ClosedLoopWorld(lives_, REFERENCE_POLICIES[policy](lives_), draw_sensor_faults(lives_)).run()


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_what_came_in_was_used_or_spilled_or_is_left(name: str) -> None:
    """In every family level + delivered = used + spilled + left, for each item, and no level is below nothing."""
    of = drawn(name)
    policy = Weekly()
    world = ClosedLoopWorld(of, policy, draw_sensor_faults(of))
    world.run()
    assert world.imbalance() < 1e-9
    assert (world.level >= 0.0).all()
    assert (world.consumed <= of.cumulative_use[:, of.hours] + 1e-9 * of.capacity).all()
    assert world.delivered.sum() > 0.0
    assert policy.values > 0


def test_there_is_a_family_for_each_kind_of_trouble() -> None:
    """At least twenty, with names and descriptions of their own."""
    assert len(FAMILIES) >= 20
    assert len(set(FAMILY_NAMES)) == len(FAMILY_NAMES)
    assert len({one.description for one in FAMILIES}) == len(FAMILIES)


def test_the_same_seed_is_the_same_life_to_the_last_reading() -> None:
    """Use, faults, deliveries and money are the same when drawn again; another seed gives others."""
    costs = []
    for seed in (SEED, SEED, SEED + 1):
        of = draw_scenarios(family_named("spikes"), [seed], 4, 90)
        costs.append(ClosedLoopWorld(of, FilteredNewsvendorPolicy(of), draw_sensor_faults(of)).run().cost(of).tolist())
    assert costs[0] == costs[1]
    assert costs[0] != costs[2]


def test_a_seed_lives_the_same_alone_and_beside_another_one() -> None:
    """Seeds that share arrays do not share chance."""
    alone = draw_scenarios(family_named("late"), [SEED], 4, 60)
    beside = draw_scenarios(family_named("late"), [SEED, SEED + 1], 4, 60)
    assert np.array_equal(alone.hourly_use, beside.hourly_use[:4])
    assert np.array_equal(alone.supply_draws.lead_days, beside.supply_draws.lead_days[:4])
    first = ClosedLoopWorld(alone, FilteredNewsvendorPolicy(alone), draw_sensor_faults(alone)).run().cost(alone)
    assert np.array_equal(
        first,
        ClosedLoopWorld(beside, FilteredNewsvendorPolicy(beside), draw_sensor_faults(beside)).run().cost(beside)[:4],
    )


def test_two_policies_meet_the_same_lead_times_and_use() -> None:
    """An item's second order takes as long for who orders early as for who orders late."""
    of = drawn("steady")
    leads = []
    for policy in ("clairvoyant", "threshold"):
        world = ClosedLoopWorld(of, REFERENCE_POLICIES[policy](of), draw_sensor_faults(of))
        world.run()
        second = [[order for order in world.orders if order.row == row][1] for row in range(len(of))]
        leads.append([order.arrives_hour - order.hour for order in second])
    assert leads[0] == leads[1]


def test_what_is_lost_is_not_paid_for_and_the_customer_may_hear_of_it() -> None:
    """Half of the lost orders fail aloud, the others vanish; neither fills anything."""
    supply = replace(family_named("lost").supply, lost_share=1.0)
    of = drawn(replace(family_named("lost"), supply=supply))
    policy = Weekly()
    world = ClosedLoopWorld(of, policy, draw_sensor_faults(of))
    account = world.run()
    assert world.delivered.sum() == 0.0
    assert account.premium.sum() == 0.0
    assert {told.kind for told in policy.heard} == {OutcomeKind.FAILED}
    assert len(policy.heard) < len(world.orders)


def test_what_does_not_fit_is_paid_for_and_is_not_held() -> None:
    """A pack that comes to a full tank costs its price, and no day of holding."""
    of = drawn("steady", items=20)
    of = replace(
        of,
        stores_spares=np.zeros(20, dtype=bool),
        initial_level=of.capacity.copy(),
        hourly_use=np.zeros_like(of.hourly_use),
    )
    world = ClosedLoopWorld(of, Weekly(), draw_sensor_faults(of))
    account = world.run()
    assert account.packs.sum() > 0.0
    assert np.allclose(account.wasted, account.packs * 20.0)
    assert account.pack_days_early.sum() == 0.0


def test_a_meter_beside_the_level_counts_what_was_used() -> None:
    """Its increments add up to the use, within what the meter is wrong by, and the level is told as ever."""
    of = drawn("level-and-flow")
    told = np.zeros(len(of))

    class Adding(Weekly):
        def on_readings(self, hour: int, readings: HourlyReadings) -> None:
            assert readings.used is not None
            assert (readings.values >= 0.0).all()
            told[readings.rows] += readings.used

    world = ClosedLoopWorld(of, Adding(), draw_sensor_faults(of))
    world.run()
    share = told / world.consumed
    assert ((share > 0.8) & (share < 1.16)).all()
    assert np.abs(share - 1.0).max() > 0.01


def test_the_true_time_to_empty_is_when_the_level_is_used_up() -> None:
    """Used up to the level and no further, at the hour told."""
    of = drawn("lumpy")
    rows = np.arange(len(of))
    empty = of.empty_hour(rows, 30, of.initial_level)
    for row in rows:
        hour = int(np.ceil(empty[row]))
        used = of.cumulative_use[row] - of.cumulative_use[row, 30]
        assert used[hour] >= of.initial_level[row] - 1e-9 * of.capacity[row]
        assert used[hour - 1] <= of.initial_level[row] + 1e-9 * of.capacity[row]


def test_a_gauge_that_sticks_repeats_itself_and_one_that_is_offline_tells_later() -> None:
    """Readings of a stuck gauge are equal for days; what was measured offline arrives with its old hours."""
    stuck = drawn("stuck", days=300)
    faults = draw_sensor_faults(stuck)
    said: dict[int, list[float]] = {}

    class Noting(Weekly):
        def on_readings(self, hour: int, readings: HourlyReadings) -> None:
            for row, value in zip(readings.rows, readings.values, strict=True):
                if faults.stuck[row, hour]:
                    said.setdefault(int(row), []).append(float(value))

    ClosedLoopWorld(stuck, Noting(), faults).run()
    assert said
    assert all(len(set(values)) <= len(values) / 10 for values in said.values())
    of = drawn("offline", days=200)

    class Listening(Weekly):
        late: int = 0

        def on_readings(self, hour: int, readings: HourlyReadings) -> None:
            assert all(one.hour < hour for one in readings.late)
            self.late += len(readings.late)

    policy = Listening()
    ClosedLoopWorld(of, policy, draw_sensor_faults(of)).run()
    assert policy.late > 0
