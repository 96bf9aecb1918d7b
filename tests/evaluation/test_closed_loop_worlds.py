"""The simulated worlds of the evaluation: stock balances, and every policy meets the same random draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from evaluation.closed_loop import REFERENCE_POLICIES
from evaluation.policies.reference_policies import FilteredNewsvendorPolicy
from evaluation.worlds.closed_loop_world import ClosedLoopWorld, OrderRequest, OutcomeKind, OutcomeNotice
from evaluation.worlds.scenario_families import FAMILIES, FAMILY_NAMES, ScenarioFamily, family_named
from evaluation.worlds.scenarios import ScenarioBatch, draw_scenarios
from evaluation.worlds.sensor_faults import HourlyReadings, draw_sensor_faults
from evaluation.worlds.supply_draws import OrderOption

SEED = 4_242


class WeeklyPolicy:
    """Orders a pack of every item each week, and keeps the outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[OutcomeNotice] = []
        self.readings_count = 0

    def on_readings(self, hour: int, readings: HourlyReadings) -> None:
        """Counts the readings."""
        self.readings_count += len(readings.rows) + len(readings.late)

    def on_outcome(self, hour: int, notice: OutcomeNotice) -> None:
        """Keeps the outcome."""
        self.outcomes.append(notice)

    def decide(self, hour: int, world: ClosedLoopWorld) -> Sequence[OrderRequest]:
        """Every 168 hours."""
        return (
            [OrderRequest(row, OrderOption(0, 1, 1.0)) for row in range(len(world.scenarios))]
            if hour % 168 == 0
            else []
        )


def scenarios_of(name: str | ScenarioFamily, items: int = 4, days: int = 120) -> ScenarioBatch:
    """A few items of the family."""
    return draw_scenarios(family_named(name) if isinstance(name, str) else name, [SEED], items, days)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_stock_balances_for_every_item_in_every_family(name: str) -> None:
    """Initial level + delivered = consumed + spilled + final level, and no level is negative."""
    scenarios = scenarios_of(name)
    policy = WeeklyPolicy()
    world = ClosedLoopWorld(scenarios, policy, draw_sensor_faults(scenarios))
    world.run()
    assert world.imbalance() < 1e-9
    assert (world.level >= 0.0).all()
    assert (world.consumed <= scenarios.cumulative_use[:, scenarios.hours] + 1e-9 * scenarios.capacity).all()
    assert world.delivered.sum() > 0.0
    assert policy.readings_count > 0


def test_families_have_names_and_descriptions_of_their_own() -> None:
    """There are at least twenty, and no two are described alike."""
    assert len(FAMILIES) >= 20
    assert len(set(FAMILY_NAMES)) == len(FAMILY_NAMES)
    assert len({family.description for family in FAMILIES}) == len(FAMILIES)


def test_the_same_seed_gives_the_same_simulation() -> None:
    """Costs are the same to the last digit when drawn again; another seed gives others."""
    costs = []
    for seed in (SEED, SEED, SEED + 1):
        scenarios = draw_scenarios(family_named("spikes"), [seed], 4, 90)
        costs.append(
            ClosedLoopWorld(scenarios, FilteredNewsvendorPolicy(scenarios), draw_sensor_faults(scenarios))
            .run()
            .cost(scenarios)
            .tolist()
        )
    assert costs[0] == costs[1]
    assert costs[0] != costs[2]


def test_a_seed_is_not_affected_by_other_seeds() -> None:
    """Seeds that share arrays do not share random numbers."""
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
    """An item's second order takes as long for a policy that orders early as for one that orders late."""
    scenarios = scenarios_of("steady")
    leads = []
    for policy in ("clairvoyant", "threshold"):
        world = ClosedLoopWorld(scenarios, REFERENCE_POLICIES[policy](scenarios), draw_sensor_faults(scenarios))
        world.run()
        second = [[order for order in world.orders if order.row == row][1] for row in range(len(scenarios))]
        leads.append([order.arrives_hour - order.hour for order in second])
    assert leads[0] == leads[1]


def test_a_lost_order_is_not_paid_for_and_fills_nothing() -> None:
    """Half of the lost orders are reported as failed, the others never; nothing is delivered."""
    supply = replace(family_named("lost").supply, lost_share=1.0)
    scenarios = scenarios_of(replace(family_named("lost"), supply=supply))
    policy = WeeklyPolicy()
    world = ClosedLoopWorld(scenarios, policy, draw_sensor_faults(scenarios))
    totals = world.run()
    assert world.delivered.sum() == 0.0
    assert totals.premium.sum() == 0.0
    assert {notice.kind for notice in policy.outcomes} == {OutcomeKind.FAILED}
    assert len(policy.outcomes) < len(world.orders)


def test_overflow_is_paid_for_and_has_no_holding_cost() -> None:
    """A pack delivered to a full tank costs its price, and no day of holding."""
    scenarios = scenarios_of("steady", items=20)
    scenarios = replace(
        scenarios,
        stores_spares=np.zeros(20, dtype=bool),
        initial_level=scenarios.capacity.copy(),
        hourly_use=np.zeros_like(scenarios.hourly_use),
    )
    world = ClosedLoopWorld(scenarios, WeeklyPolicy(), draw_sensor_faults(scenarios))
    totals = world.run()
    assert totals.packs.sum() > 0.0
    assert np.allclose(totals.wasted, totals.packs * 20.0)
    assert totals.pack_days_early.sum() == 0.0


def test_a_flow_meter_beside_the_level_reports_consumption() -> None:
    """Its increments add up to the consumption, within the meter's error, and levels are reported as usual."""
    scenarios = scenarios_of("level-and-flow")
    reported = np.zeros(len(scenarios))

    class AddingPolicy(WeeklyPolicy):
        def on_readings(self, hour: int, readings: HourlyReadings) -> None:
            assert readings.used is not None
            assert (readings.values >= 0.0).all()
            reported[readings.rows] += readings.used

    world = ClosedLoopWorld(scenarios, AddingPolicy(), draw_sensor_faults(scenarios))
    world.run()
    share = reported / world.consumed
    assert ((share > 0.8) & (share < 1.16)).all()
    assert np.abs(share - 1.0).max() > 0.01


def test_the_true_time_to_empty_is_when_the_level_is_used_up() -> None:
    """The consumption up to the hour returned equals the level."""
    scenarios = scenarios_of("lumpy")
    rows = np.arange(len(scenarios))
    empty = scenarios.empty_hour(rows, 30, scenarios.initial_level)
    for row in rows:
        hour = int(np.ceil(empty[row]))
        used = scenarios.cumulative_use[row] - scenarios.cumulative_use[row, 30]
        assert used[hour] >= scenarios.initial_level[row] - 1e-9 * scenarios.capacity[row]
        assert used[hour - 1] <= scenarios.initial_level[row] + 1e-9 * scenarios.capacity[row]


def test_a_stuck_sensor_repeats_itself_and_an_offline_one_reports_later() -> None:
    """Readings of a stuck sensor are equal for days; those made offline arrive later, with their old hours."""
    stuck = scenarios_of("stuck", days=300)
    faults = draw_sensor_faults(stuck)
    readings_by_row: dict[int, list[float]] = {}

    class StuckReadingsPolicy(WeeklyPolicy):
        def on_readings(self, hour: int, readings: HourlyReadings) -> None:
            for row, value in zip(readings.rows, readings.values, strict=True):
                if faults.stuck[row, hour]:
                    readings_by_row.setdefault(int(row), []).append(float(value))

    ClosedLoopWorld(stuck, StuckReadingsPolicy(), faults).run()
    assert readings_by_row
    assert all(len(set(values)) <= len(values) / 10 for values in readings_by_row.values())
    scenarios = scenarios_of("offline", days=200)

    class LateReadingsPolicy(WeeklyPolicy):
        late: int = 0

        def on_readings(self, hour: int, readings: HourlyReadings) -> None:
            assert all(one.hour < hour for one in readings.late)
            self.late += len(readings.late)

    policy = LateReadingsPolicy()
    ClosedLoopWorld(scenarios, policy, draw_sensor_faults(scenarios)).run()
    assert policy.late > 0
