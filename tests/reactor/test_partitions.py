"""Customers split over engines get what they would get from one: what is learned across them takes effect by the day."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from reactor.decision.lead_time_stats import add_delivery, learned_lead_time, merge_samples
from reactor.engine import Engine
from reactor.learning_sync import utc_day
from reactor.state import LeadTimeSample
from reactor.store import MemoryStore, SqlStore
from reactor.store.rows import to_json
from star.analyse import Facts
from star.errors import UsageError
from star.times import DAY_MS, HOUR_MS
from tests.support.engine_cluster import EngineCluster, single_engine_journal, split_facts
from tests.support.household import START_MS, Household, catalogue_of, household_of
from tests.support.reactor_neighbourhood import (
    BREAK_DAY,
    BREAK_DAYS,
    SUPPLIERS,
    Neighbourhood,
    RecordedHistory,
    neighbourhood_catalogue,
)

DAYS = 130


@cache
def lived(seed: int) -> RecordedHistory:
    """A neighbourhood's months, simulated once."""
    return Neighbourhood(seed).run(DAYS)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("partitions", [1, 2, 5])
def test_customers_get_the_same_from_any_number_of_engines(partitions: int, seed: int) -> None:
    """Every reaction and receipt, byte for byte, though engines run apart, are killed, and exchange samples once a day."""
    cluster = EngineCluster(
        neighbourhood_catalogue(), split_facts(neighbourhood_catalogue(), lived(seed).facts, partitions), seed
    )
    cluster.run()
    expected = single_engine_journal(neighbourhood_catalogue(), lived(seed).facts)
    assert set(cluster.journal) == set(expected) == set(neighbourhood_catalogue().customers)
    for customer, words in expected.items():
        assert cluster.journal[customer] == words, customer
    assert cluster.kills > 10
    assert partitions == 1 or cluster.waits > 10
    for name in SUPPLIERS:
        assert len({to_json(engine.state.suppliers[name]) for engine in cluster.engines}) == 1


def test_engines_over_one_database_agree_as_well(tmp_path: Path) -> None:
    """Their state, and the samples they exchange, go through its tables."""
    told = lived(2).facts[: 60 * 4]
    with SqlStore(f"sqlite:///{tmp_path / 'store.db'}") as store:
        cluster = EngineCluster(
            neighbourhood_catalogue(), split_facts(neighbourhood_catalogue(), told, 3), 2, store=store
        )
        cluster.run()
    assert cluster.journal == single_engine_journal(neighbourhood_catalogue(), told)


def test_what_is_learned_of_suppliers_decides_and_is_shared() -> None:
    """Engines that keep what they learn to themselves decide otherwise: the exchange is what makes them agree."""
    cluster = EngineCluster(
        neighbourhood_catalogue(), split_facts(neighbourhood_catalogue(), lived(1).facts, 5), 1, exchange=False
    )
    cluster.run()
    expected = single_engine_journal(neighbourhood_catalogue(), lived(1).facts)
    assert any(cluster.journal[customer] != words for customer, words in expected.items())


def test_a_neighbourhood_has_every_kind_of_sample() -> None:
    """Deliveries, orders lost and failed, terms and a break: what the other tests rest on."""
    engine, lost = Engine(neighbourhood_catalogue()), 0
    orders = set()
    for facts in lived(1).facts:
        step = engine.step(facts)
        orders |= {key for (table, key), one in step.changed.items() if table == "orders" and one is not None}
        lost = max(lost, *(lesson.lost for lesson in engine.state.lead_time_samples.values()), 0)
    assert len(orders) > 200
    assert lost > 0
    assert all(memory.terms_day is not None and memory.learned for memory in engine.state.suppliers.values())
    gaps = [later.at_ms - one.at_ms for one, later in zip(lived(1).facts, lived(1).facts[1:], strict=False)]
    assert max(gaps) == BREAK_DAYS * DAY_MS + gaps[0]
    assert BREAK_DAY < DAYS


def delivered(home: Household, days: float = 8.0) -> Household:
    """An order, and its delivery after so many days."""
    home.sees(6.0).tick()
    order = home.steps[-1].reactions[0].id
    home.passes(days=days).says(order, "delivered").tick()
    return home


def test_a_delivery_counts_from_the_second_day_after_it() -> None:
    """At the first tick of that UTC day, not a moment before; the fleet file's lead times are in force until then."""
    home = delivered(
        household_of(start="2026-03-02T12:00:00Z")
    )  # delivered on the 10th at noon, in force from the 12th on
    for _ in range(7):
        home.passes(hours=5).tick()
        assert home.engine.lead_days_of("tank-7/oil") == (2.0, 5.0)
    home.passes(hours=1).tick()
    assert home.now_ms % DAY_MS == 0
    low, high = home.engine.lead_days_of("tank-7/oil")
    assert low * high > 2.0 * 5.0


def test_what_is_in_force_outlives_a_restart_in_the_middle_of_a_day() -> None:
    """It is kept, not computed anew: no samples are due, and decisions rest on the same."""
    home = delivered(household_of())
    home.passes(days=3).tick()
    store = MemoryStore()
    for step in home.steps:
        store.commit(step, home.engine.catalogue)
    again = Engine(home.engine.catalogue, store.load(), standalone=False)
    assert again.samples_due(home.now_ms + 1) is None
    assert again.lead_days_of("tank-7/oil") == home.engine.lead_days_of("tank-7/oil") != (2.0, 5.0)
    assert again.samples_due(home.now_ms + DAY_MS) == utc_day(home.now_ms) + 1


def test_new_lead_times_take_effect_at_once_and_old_samples_never_come_back() -> None:
    """Those of the days before, of the same day, and those of other engines that do not know the terms yet."""
    home = delivered(household_of())
    home.passes(days=3).tick()
    home.passes(hours=1).terms(lead=(3.0, 4.0)).tick()
    assert home.engine.lead_days_of("tank-7/oil") == (3.0, 4.0)
    said = utc_day(home.now_ms)
    for _ in range(10):
        home.passes(days=1)
        home.engine.provide_samples(utc_day(home.now_ms), samples_of(range(said - 9, said + 1)))
        home.tick()
        assert home.engine.lead_days_of("tank-7/oil") == (3.0, 4.0)
    assert home.engine.state.lead_time_samples == {}
    home.passes(days=1)
    home.engine.provide_samples(utc_day(home.now_ms), samples_of(range(said - 9, said + 2)))
    home.tick()
    assert home.engine.lead_days_of("tank-7/oil") != (3.0, 4.0)


def samples_of(days: Iterable[int]) -> list[LeadTimeSample]:
    """One delivery on each of the days, after ten days."""
    return [add_delivery(LeadTimeSample(supplier="acme", day=day), 0, 10 * DAY_MS) for day in days]


def test_another_row_of_a_supplier_starts_over_only_where_its_lead_times_are_others() -> None:
    """A price that changed is no new lead time."""
    home = delivered(household_of())
    home.passes(days=3).tick()
    learned = home.engine.lead_days_of("tank-7/oil")
    home.passes(hours=1).changes(suppliers=[{"id": "acme", "lead_time_days": [2.0, 5.0], "price": 600.0}]).tick()
    assert home.engine.lead_days_of("tank-7/oil") == learned
    home.passes(hours=1).changes(suppliers=[{"id": "acme", "lead_time_days": [2.0, 6.0], "price": 600.0}]).tick()
    assert home.engine.lead_days_of("tank-7/oil") == (2.0, 6.0)


def test_facts_before_their_samples_are_refused_and_change_nothing() -> None:
    """An engine among others never decides a day by what only it knows."""
    engine = Engine(catalogue_of(), standalone=False)
    day = utc_day(START_MS)
    with pytest.raises(UsageError, match=f"provide_samples\\({day}"):
        engine.step(Facts(offset=1, at_ms=START_MS))
    assert engine.state.offset == -1
    engine.provide_samples(day, samples_of([day - 2, day - 1]))
    assert engine.samples_due(START_MS) is None
    engine.step(Facts(offset=1, at_ms=START_MS))
    memory = engine.state.suppliers["acme"]
    assert memory.learned == samples_of([day - 2])[0]
    assert engine.samples_due(START_MS + 1) is None


def test_sums_are_exact_in_any_order() -> None:
    """Ten thousand deliveries, shuffled and merged by twos and threes: the same sample, and the same lead times."""
    rng = np.random.default_rng(5)
    lessons = [
        add_delivery(LeadTimeSample(supplier="acme", day=int(day)), 0, int(took))
        for day, took in zip(rng.integers(0, 99, 10_000), rng.integers(1, 40 * DAY_MS, 10_000), strict=True)
    ]
    whole = merge_samples(lessons)
    assert whole is not None
    left = list(lessons)
    while len(left) > 1:
        rng.shuffle(left)
        size = int(rng.integers(2, 4))
        left = [one for at in range(0, len(left), size) if (one := merge_samples(left[at : at + size])) is not None]
    assert left == [whole]
    assert learned_lead_time((2.0, 5.0), whole).p_later_than(20.0) == pytest.approx(0.5, abs=0.02)


def test_the_store_gives_samples_of_others_only_once_all_partitions_are_there() -> None:
    """A partition that has not come so far may still learn; on the first day and after a break all say how far they are."""
    store, catalogue = MemoryStore(), catalogue_of()
    engines = [Engine(catalogue, standalone=False) for _ in range(3)]
    for number, engine in enumerate(engines[:2]):
        store.commit(engine.record_watermark(100), catalogue, number)
    assert store.lead_time_samples(98, except_partition=0, partitions=3) is None
    store.commit(engines[2].record_watermark(99), catalogue, 2)
    assert store.lead_time_samples(98, except_partition=0, partitions=3) == []
    assert store.lead_time_samples(99, except_partition=0, partitions=3) is None


def test_terms_stated_before_midnight_are_of_that_day_in_every_partition() -> None:
    """A partition whose tick comes after midnight counts the same samples as one whose tick came before it."""
    engines = []
    for tick_ms in (-HOUR_MS // 4, HOUR_MS // 4):
        home = household_of()
        midnight_ms = (utc_day(home.now_ms) + 1) * DAY_MS
        home.now_ms = midnight_ms - HOUR_MS // 2
        home.terms(lead=(3.0, 4.0))
        home.now_ms = midnight_ms + tick_ms
        home.tick()
        home.passes(days=3)
        home.engine.provide_samples(utc_day(home.now_ms), samples_of([utc_day(midnight_ms) - 1, utc_day(midnight_ms)]))
        home.tick()
        home.passes(days=1).tick()
        engines.append(home.engine)
    assert engines[0].state.suppliers == engines[1].state.suppliers
    assert engines[0].state.suppliers["acme"].terms_day == utc_day(START_MS)
