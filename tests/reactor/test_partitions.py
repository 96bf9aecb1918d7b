"""Customers split over engines get what they would get from one: what is learned across them takes effect by the day."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from reactor.engine import Engine
from reactor.learning import learned_lead_time, together, with_delivery
from reactor.lessons import day_of
from reactor.state import Lesson
from reactor.store import MemoryStore, SqlStore
from reactor.store.rows import write
from star.analyse import Facts
from star.errors import UsageError
from star.times import DAY_MS, HOUR_MS
from tests.reactor.cluster import Cluster, parts_of, said_by_one
from tests.reactor.homes import START_MS, Home, catalogue_of, home_of
from tests.reactor.neighbours import BREAK_DAY, BREAK_DAYS, SUPPLIERS, Lived, Street, street

DAYS = 130


@cache
def lived(seed: int) -> Lived:
    """A street's months, told once."""
    return Street(seed).live(DAYS)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("partitions", [1, 2, 5])
def test_customers_get_the_same_from_any_number_of_engines(partitions: int, seed: int) -> None:
    """Every reaction and receipt, byte for byte, though engines run apart, are killed, and hear of each other by the day."""
    cluster = Cluster(street(), parts_of(street(), lived(seed).facts, partitions), seed)
    cluster.run()
    expected = said_by_one(street(), lived(seed).facts)
    assert set(cluster.said) == set(expected) == set(street().customers)
    for customer, words in expected.items():
        assert cluster.said[customer] == words, customer
    assert cluster.kills > 10
    assert partitions == 1 or cluster.waits > 10
    for name in SUPPLIERS:
        assert len({write(engine.state.suppliers[name]) for engine in cluster.engines}) == 1


def test_engines_over_one_database_agree_as_well(tmp_path: Path) -> None:
    """What they remember, and learn of each other, goes through its tables."""
    told = lived(2).facts[: 60 * 4]
    with SqlStore(f"sqlite:///{tmp_path / 'store.db'}") as store:
        cluster = Cluster(street(), parts_of(street(), told, 3), 2, store=store)
        cluster.run()
    assert cluster.said == said_by_one(street(), told)


def test_what_is_learned_of_suppliers_decides_and_is_shared() -> None:
    """Engines that keep what they learn to themselves decide otherwise: the exchange is what makes them agree."""
    cluster = Cluster(street(), parts_of(street(), lived(1).facts, 5), 1, exchange=False)
    cluster.run()
    expected = said_by_one(street(), lived(1).facts)
    assert any(cluster.said[customer] != words for customer, words in expected.items())


def test_a_street_has_all_that_teaches() -> None:
    """Deliveries, orders lost and failed, terms and a break: what the other tests rest on."""
    engine, lost = Engine(street()), 0
    orders = set()
    for facts in lived(1).facts:
        step = engine.step(facts)
        orders |= {key for (table, key), one in step.changed.items() if table == "orders" and one is not None}
        lost = max(lost, *(lesson.lost for lesson in engine.state.lessons.values()), 0)
    assert len(orders) > 200
    assert lost > 0
    assert all(memory.terms_day is not None and memory.learned for memory in engine.state.suppliers.values())
    gaps = [later.at_ms - one.at_ms for one, later in zip(lived(1).facts, lived(1).facts[1:], strict=False)]
    assert max(gaps) == BREAK_DAYS * DAY_MS + gaps[0]
    assert BREAK_DAY < DAYS


def delivered(home: Home, days: float = 8.0) -> Home:
    """An order, and its delivery after so many days."""
    home.sees(6.0).tick()
    order = home.steps[-1].reactions[0].id
    home.passes(days=days).says(order, "delivered").tick()
    return home


def test_a_delivery_counts_from_the_second_day_after_it() -> None:
    """At the first tick of that UTC day, not a moment before; the fleet file's lead times are in force until then."""
    home = delivered(home_of(start="2026-03-02T12:00:00Z"))  # delivered on the 10th at noon, in force from the 12th on
    for _ in range(7):
        home.passes(hours=5).tick()
        assert home.engine.lead_time("tank-7/oil") == (2.0, 5.0)
    home.passes(hours=1).tick()
    assert home.now_ms % DAY_MS == 0
    low, high = home.engine.lead_time("tank-7/oil")
    assert low * high > 2.0 * 5.0


def test_what_is_in_force_outlives_a_restart_in_the_middle_of_a_day() -> None:
    """Remembered, not worked out anew: nothing is due, and nothing else is decided by."""
    home = delivered(home_of())
    home.passes(days=3).tick()
    store = MemoryStore()
    for step in home.steps:
        store.commit(step, home.engine.catalogue)
    again = Engine(home.engine.catalogue, store.load(), alone=False)
    assert again.lessons_due(home.now_ms + 1) is None
    assert again.lead_time("tank-7/oil") == home.engine.lead_time("tank-7/oil") != (2.0, 5.0)
    assert again.lessons_due(home.now_ms + DAY_MS) == day_of(home.now_ms) + 1


def test_new_lead_times_are_believed_at_once_and_old_lessons_never_come_back() -> None:
    """Those of the days before, of the same day, and those of other engines that do not know the terms yet."""
    home = delivered(home_of())
    home.passes(days=3).tick()
    home.passes(hours=1).terms(lead=(3.0, 4.0)).tick()
    assert home.engine.lead_time("tank-7/oil") == (3.0, 4.0)
    said = day_of(home.now_ms)
    for _ in range(10):
        home.passes(days=1)
        home.engine.learn(day_of(home.now_ms), lessons_of(range(said - 9, said + 1)))
        home.tick()
        assert home.engine.lead_time("tank-7/oil") == (3.0, 4.0)
    assert home.engine.state.lessons == {}
    home.passes(days=1)
    home.engine.learn(day_of(home.now_ms), lessons_of(range(said - 9, said + 2)))
    home.tick()
    assert home.engine.lead_time("tank-7/oil") != (3.0, 4.0)


def lessons_of(days: Iterable[int]) -> list[Lesson]:
    """One delivery on each of the days, after ten days."""
    return [with_delivery(Lesson(supplier="acme", day=day), 0, 10 * DAY_MS) for day in days]


def test_another_row_of_a_supplier_starts_over_only_where_its_lead_times_are_others() -> None:
    """A price that changed says nothing about how long it takes."""
    home = delivered(home_of())
    home.passes(days=3).tick()
    learned = home.engine.lead_time("tank-7/oil")
    home.passes(hours=1).changes(suppliers=[{"id": "acme", "lead_time_days": [2.0, 5.0], "price": 600.0}]).tick()
    assert home.engine.lead_time("tank-7/oil") == learned
    home.passes(hours=1).changes(suppliers=[{"id": "acme", "lead_time_days": [2.0, 6.0], "price": 600.0}]).tick()
    assert home.engine.lead_time("tank-7/oil") == (2.0, 6.0)


def test_facts_before_their_lessons_are_refused_and_change_nothing() -> None:
    """An engine among others never decides a day by what only it knows."""
    engine = Engine(catalogue_of(), alone=False)
    day = day_of(START_MS)
    with pytest.raises(UsageError, match=f"learn\\({day}"):
        engine.step(Facts(offset=1, at_ms=START_MS))
    assert engine.state.offset == -1
    engine.learn(day, lessons_of([day - 2, day - 1]))
    assert engine.lessons_due(START_MS) is None
    engine.step(Facts(offset=1, at_ms=START_MS))
    memory = engine.state.suppliers["acme"]
    assert memory.learned == lessons_of([day - 2])[0]
    assert engine.lessons_due(START_MS + 1) is None


def test_sums_are_exact_in_any_order() -> None:
    """Ten thousand deliveries, shuffled and put together by twos and threes: the same lesson, and the same lead times."""
    rng = np.random.default_rng(5)
    lessons = [
        with_delivery(Lesson(supplier="acme", day=int(day)), 0, int(took))
        for day, took in zip(rng.integers(0, 99, 10_000), rng.integers(1, 40 * DAY_MS, 10_000), strict=True)
    ]
    whole = together(lessons)
    assert whole is not None
    left = list(lessons)
    while len(left) > 1:
        rng.shuffle(left)
        size = int(rng.integers(2, 4))
        left = [one for at in range(0, len(left), size) if (one := together(left[at : at + size])) is not None]
    assert left == [whole]
    assert learned_lead_time((2.0, 5.0), whole).later_than(20.0) == pytest.approx(0.5, abs=0.02)


def test_partitions_ask_the_store_for_lessons_of_others_only_when_all_are_there() -> None:
    """A partition that has not come so far may still learn; on the first day and after a break all say how far they are."""
    store, catalogue = MemoryStore(), catalogue_of()
    engines = [Engine(catalogue, alone=False) for _ in range(3)]
    for number, engine in enumerate(engines[:2]):
        store.commit(engine.reach(100), catalogue, number)
    assert store.lessons(98, except_partition=0, partitions=3) is None
    store.commit(engines[2].reach(99), catalogue, 2)
    assert store.lessons(98, except_partition=0, partitions=3) == []
    assert store.lessons(99, except_partition=0, partitions=3) is None


def test_terms_said_before_midnight_are_of_that_day_wherever_they_are_taken_in() -> None:
    """A partition whose tick comes after midnight counts the same lessons as one whose tick came before it."""
    engines = []
    for tick_ms in (-HOUR_MS // 4, HOUR_MS // 4):
        home = home_of()
        midnight_ms = (day_of(home.now_ms) + 1) * DAY_MS
        home.now_ms = midnight_ms - HOUR_MS // 2
        home.terms(lead=(3.0, 4.0))
        home.now_ms = midnight_ms + tick_ms
        home.tick()
        home.passes(days=3)
        home.engine.learn(day_of(home.now_ms), lessons_of([day_of(midnight_ms) - 1, day_of(midnight_ms)]))
        home.tick()
        home.passes(days=1).tick()
        engines.append(home.engine)
    assert engines[0].state.suppliers == engines[1].state.suppliers
    assert engines[0].state.suppliers["acme"].terms_day == day_of(START_MS)
