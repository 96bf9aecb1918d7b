"""Services fall due by count or by calendar, whichever comes first, and start again when they are done."""

from __future__ import annotations

import json

from config.fleet import Device, Slot
from config.profile_schema import PartProfile, Profile, ServiceInterval
from star.analyse import NeedKind
from star.records import FleetChange, SupplierTerms
from tests.stream.analysis_bench import AnalysisBench, at_day_ms, tank

COFFEE = Device(
    id="coffee",
    customer="maria",
    profile="coffee-machine",
    slots={"beans": Slot(capacity=100.0, pack=100.0, suppliers=("acme",))},
)


def test_descaling_is_due_by_cups_before_the_months_are_over() -> None:
    """At ten cups a day 300 cups are used in a month: seen in time, by cups, and not in the first days."""
    bench = AnalysisBench(COFFEE)
    bench.send_with_ticks("coffee/beans_used", [(hour / 24, 10.0 / 24) for hour in range(24 * 28)])
    needs = bench.needs("coffee/descaling")
    first = (needs[0].at_ms - at_day_ms(0.0)) / 86_400_000
    assert {(need.kind, need.cause) for need in needs} == {(NeedKind.SERVICE_DUE, "cups")}
    assert 12.0 < first < 20.0
    assert needs[-1].forecast.level < 0.1
    assert 1.0 < needs[-1].forecast.days[4] < 3.0


def test_descaling_is_due_by_months_where_few_cups_are_made() -> None:
    """A machine that is hardly used is seen two weeks before three months are over; a silent one too."""
    bench = AnalysisBench(COFFEE)
    bench.send_with_ticks("coffee/beans_used", [(float(day), 0.5) for day in range(5)])
    for day in range(5, 92):
        bench.tick(float(day))
    needs = bench.needs("coffee/descaling")
    assert {need.cause for need in needs} == {"months"}
    assert 76.0 <= (needs[0].at_ms - at_day_ms(0.0)) / 86_400_000 <= 79.0


def test_a_service_starts_the_interval_again_and_is_told_once() -> None:
    """`serviced` twice with one id is one service; afterwards nothing is due."""
    bench = AnalysisBench(COFFEE)
    bench.send_with_ticks("coffee/beans_used", [(hour / 24, 10.0 / 24) for hour in range(24 * 29)])
    for _ in range(2):
        bench.declare("coffee/descaling", 29.0, "serviced", id="done")
    bench.tick(29.0)
    assert [(r.item, str(r.stage), r.quantity) for r in bench.refills] == [("coffee/descaling", "declared", 1.0)]
    known = len(bench.needs("coffee/descaling"))
    bench.send_with_ticks("coffee/beans_used", [(29.0 + hour / 24, 10.0 / 24) for hour in range(1, 48)])
    assert len(bench.needs("coffee/descaling")) == known
    looked = [f for f in bench.analysis.evaluated_forecasts() if f.item == "coffee/descaling"]
    assert looked[0].level > 0.9


def test_a_done_reminder_of_a_part_is_a_service() -> None:
    """`done` names the reminder's reaction, whose id names the part."""
    bench = AnalysisBench(COFFEE)
    bench.send_with_ticks("coffee/beans_used", [(0.0, 1.0)])
    bench.declare(None, 1.0, "done", reaction="coffee/descaling/1/reminder/1")
    bench.tick(1.0)
    assert [r.item for r in bench.refills] == ["coffee/descaling"]


def test_slower_suppliers_widen_the_net() -> None:
    """An item far from its end is no need, until its supplier says that deliveries take weeks."""
    bench = AnalysisBench(tank("t"))
    bench.send_with_ticks("t/oil", [(day / 4, 900.0 - 2.5 * day) for day in range(80)])
    assert not any(need.at_ms > at_day_ms(10.0) for need in bench.needs("t/oil"))
    bench.ingest(SupplierTerms(at_ms=at_day_ms(20.0), supplier="acme", lead_time_days=(10.0, 40.0)))
    bench.send_with_ticks("t/oil", [(20.0, 700.0), (20.3, 697.0)])
    assert bench.needs("t/oil")[-1].at_ms == at_day_ms(20.3)


def test_a_new_device_is_watched_at_once_and_a_removed_one_no_more() -> None:
    """A fleet change adds a tank, whose readings then count like any other's."""
    bench = AnalysisBench(tank("t"))
    bench.send("new/oil", 0.0, 50.0)  # not in the fleet yet
    tables = {
        "devices": [{"id": "new", "customer": "maria", "profile": "level-tank", "slots": {"oil": {"capacity": 100.0}}}]
    }
    bench.ingest(FleetChange(at_ms=at_day_ms(0.0), tables=json.dumps(tables)))
    bench.send_with_ticks("new/oil", [(0.1, 50.0), (0.2, 50.0)])
    assert bench.forecast("new/oil", 0.2).level > 45.0


def test_a_part_is_due_in_a_fleet_that_has_no_slot() -> None:
    """A calendar needs no counter: a unit whose profile has one part and nothing else is seen when nine tenths of a year are over."""
    interval = ServiceInterval(cause="months", days=365.0)
    profile = Profile(
        name="ventilation", description="A unit with a filter", parts={"filter": PartProfile(intervals=(interval,))}
    )
    unit = Device(id="vent", customer="maria", profile="ventilation")
    bench = AnalysisBench(unit, profiles={"ventilation": profile})
    bench.send("vent/pressure_drop", 0.0, 96.0)
    bench.tick(325.0)
    assert bench.needs("vent/filter") == []
    bench.tick(330.0)
    assert [need.cause for need in bench.needs("vent/filter")] == ["months"]
