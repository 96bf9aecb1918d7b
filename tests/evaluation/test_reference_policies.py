"""The reference policies are sane: more knowledge costs less, and customers' limits are respected."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from evaluation.closed_loop import REFERENCE_POLICIES
from evaluation.policies.reference_policies import LeadTimeEstimator, gamma_quantiles
from evaluation.policies.stock_tracker import StockTracker
from evaluation.worlds.closed_loop_world import ClosedLoopWorld, RunTotals
from evaluation.worlds.scenario_families import ScenarioFamily, family_named
from evaluation.worlds.scenarios import ScenarioBatch, draw_scenarios
from evaluation.worlds.sensor_faults import HourlyReadings, draw_sensor_faults

SEED = 77_000


def simulate(scenarios: ScenarioBatch, policy: str) -> tuple[ClosedLoopWorld, RunTotals]:
    """A simulation under a reference policy, and its totals."""
    world = ClosedLoopWorld(scenarios, REFERENCE_POLICIES[policy](scenarios), draw_sensor_faults(scenarios))
    return world, world.run()


def cost(name: str, policy: str, seeds: int = 2) -> float:
    """Mean cost per item in the family."""
    scenarios = draw_scenarios(family_named(name), range(SEED, SEED + seeds))
    return float(simulate(scenarios, policy)[1].cost(scenarios).mean())


def test_policies_that_know_more_cost_less() -> None:
    """Clairvoyant < informed < filtered newsvendor < threshold < moving average, each by a tenth at least, in two families."""
    policies = ("clairvoyant", "informed", "newsvendor-filtered", "threshold", "moving-average")
    means = [np.log([cost(name, policy, 1) for name in ("lost", "all-at-once")]).mean() for policy in policies]
    assert all(after - before > 0.1 for before, after in pairwise(means)), means


def test_the_clairvoyant_pays_for_orders_and_little_else() -> None:
    """No run-out with steady demand, and packs arrive within hours of being needed."""
    scenarios = draw_scenarios(family_named("steady"), [SEED], 12)
    _, totals = simulate(scenarios, "clairvoyant")
    assert totals.run_outs.sum() == 0.0
    assert totals.pack_days_early.sum() / totals.packs.sum() < 0.5


def test_a_filter_pays_where_sensors_fail() -> None:
    """Spikes and sticking at least double the cost of the unfiltered newsvendor."""
    for name in ("spikes", "stuck"):
        assert cost(name, "newsvendor-filtered") < 0.5 * cost(name, "newsvendor")


def test_the_informed_policy_does_not_wait_for_a_supplier_over_the_price_limit() -> None:
    """The other supplier's pack is ordered while there is time."""
    drawn = draw_scenarios(family_named("mandate"), [SEED], 4, 60)
    prices = drawn.prices.copy()
    prices[:, 0], prices[:, 1] = 20.0, 30.0  # the fast one is over the limit throughout
    scenarios = replace(drawn, prices=prices)
    world, totals = simulate(scenarios, "informed")
    assert {order.option.supplier for order in world.orders} == {0}
    assert totals.empty_days.sum() == 0.0


def test_the_clairvoyant_orders_before_prices_forbid_it() -> None:
    """From day 20 to 59 both suppliers are over the price limit: it orders before, and hardly runs out."""
    drawn = draw_scenarios(
        replace(family_named("mandate"), pack_days=(30.0, 35.0), initial_level=(0.9, 1.0)), [SEED], 8, 60
    )
    prices = np.full_like(drawn.prices, 20.0)
    prices[:, :, 20:60] = 30.0
    scenarios = replace(drawn, prices=prices, stores_spares=np.ones(8, dtype=bool), pack=drawn.capacity)
    world, totals = simulate(scenarios, "clairvoyant")
    assert world.orders
    assert all(order.hour < 20 * 24 for order in world.orders)
    assert totals.empty_days.sum() < 0.2 * simulate(scenarios, "informed")[1].empty_days.sum()


@pytest.mark.parametrize("policy", list(REFERENCE_POLICIES))
def test_reference_policies_respect_budget_price_and_absence(policy: str) -> None:
    """They are bound by the customer's limits as the service is, so the comparison is fair."""
    scenarios = draw_scenarios(family_named("mandate"), [SEED], 8, 240)
    world, _ = simulate(scenarios, policy)
    listed = scenarios.family.supply.suppliers[0].price
    limit = (scenarios.family.limits.price_max or np.inf) * listed
    assert world.orders
    assert all(order.price / order.option.packs <= limit + 1e-9 for order in world.orders)
    away = draw_scenarios(family_named("away-declared"), [SEED], 8, 240)
    world, _ = simulate(away, policy)
    low, high = away.family.supply.suppliers[0].stated_lead_days
    for order in world.orders:
        first, last = int((order.hour + 24 * low) // 24), int((order.hour + 24 * high) // 24)
        assert not any(first <= end and start <= last for start, end in away.vacations[order.row])


def test_at_most_one_order_of_an_item_is_open() -> None:
    """As for the service, so the comparison is fair."""
    scenarios: ScenarioBatch = draw_scenarios(family_named("shifting"), [SEED], 8, 200)
    for policy in REFERENCE_POLICIES:
        world, _ = simulate(scenarios, policy)
        for row in range(len(scenarios)):
            orders = [order for order in world.orders if order.row == row]
            assert all(before.arrives_hour <= after.hour for before, after in pairwise(orders))


def test_lead_times_are_learned_from_deliveries() -> None:
    """Stated 1.5 to 4 days; after forty deliveries of nine days the mean is near nine."""
    scenarios = draw_scenarios(family_named("steady"), [SEED], 2, 30)
    leads = LeadTimeEstimator(scenarios)
    stated = leads.moments()[0][0, 0]
    for _ in range(40):
        leads.learn(0, 0, 9.0)
    assert stated < 3.5
    assert 7.5 < leads.moments()[0][0, 0] < 9.5


def test_the_filter_rejects_a_spike_and_follows_a_change() -> None:
    """One reading of zero is rejected; three in a row are accepted."""
    scenarios: ScenarioBatch = draw_scenarios(family_named("steady"), [SEED], 1, 30)
    capacity = float(scenarios.capacity[0])
    tracker = StockTracker(scenarios, filtered=True)

    def read(hour: int, share: float) -> float:
        rows, duplicated = np.array([0]), np.array([False])
        tracker.ingest(hour, HourlyReadings(rows=rows, values=np.array([share * capacity]), duplicated=duplicated))
        return float(tracker.level_at(hour)[0]) / capacity

    for hour in range(0, 24, 6):
        read(hour, 0.9 - hour / 2000.0)
    assert read(24, 0.0) > 0.8
    read(30, 0.001)
    assert read(36, 0.0) < 0.1


def test_gamma_quantiles_have_the_mean_that_is_asked_for() -> None:
    """Ascending, with a mean of 1 for narrow and for skewed demand alike."""
    rows = gamma_quantiles(np.array([0.5, 2.0, 50.0]))
    assert (np.diff(rows, axis=1) >= 0.0).all()
    assert np.allclose(rows.mean(axis=1), 1.0, atol=0.06)


def test_an_unknown_family_is_named_in_the_error() -> None:
    """The error lists the known names."""
    with pytest.raises(Exception, match="no family 'nonsense'"):
        family_named("nonsense")
    assert isinstance(family_named("steady"), ScenarioFamily)
