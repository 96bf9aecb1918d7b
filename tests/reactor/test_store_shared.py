"""The store shared by several processes: one decides, names are numbered once, tables are migrated once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, func, select, text

from reactor.engine import Engine
from reactor.learning_sync import utc_day
from reactor.state import ItemRecord, LeadTimeSample, SupplierRecord
from reactor.store import MemoryStore, SqlStore, schema
from reactor.unit_of_work import Changes, StepResult
from star.errors import StoreError, StoreFenced
from star.times import DAY_MS
from tests.support.household import Household, catalogue_of, household_of
from tests.support.store_race_process import NAMES, NEEDS, lived_year

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "reactor" / "store" / "migrations"


def race(what: str, url: str, racers: int) -> list[tuple[int, int]]:
    """Starts several processes at one moment and returns what each prints."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.support.store_race_process", what, url],
                    cwd=ROOT,
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            for _ in range(racers)
        ]
        for process in processes:
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=120) for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors
    return [(int(out.split()[0]), int(out.split()[1])) for out, _ in said]


def step_of(offset: int, item: str = "tank-7/oil", at_ms: int = 0) -> StepResult:
    """A step that changes an item's record."""
    changed: Changes = {("items", item): ItemRecord(item=item, cycle=offset)}
    return StepResult(offset=offset, at_ms=at_ms or offset, changed=changed)


def everything(store: SqlStore | MemoryStore) -> list[object]:
    """Needs, reactions, receipts and outbox rows."""
    needs = store.needs(limit=10_000)
    receipts = [receipt for need in needs for receipt in store.decisions(need.id, 1_000)]
    sending = [store.deliveries(row.reaction.id) for row in store.reactions(limit=10_000)]
    return [needs, store.reactions(limit=10_000), receipts, sending]


def test_a_need_is_decided_once_however_many_reactors_race_for_it(url: str) -> None:
    """Two processes consume the same facts at full speed and leave what one alone would have left."""
    alone, home = MemoryStore(), lived_year()
    for step in home.steps:
        alone.commit(step, home.engine.catalogue)
    SqlStore(url).close()
    said = race("reactor", url, 2)
    assert sum(decided for _, decided in said) == NEEDS
    assert sum(fenced for fenced, _ in said) > 0
    with SqlStore(url) as store:
        assert everything(store) == everything(alone)
        assert store.load().offset == home.facts[-1].offset
        assert store.waiting_count() == alone.waiting_count() == NEEDS


def test_an_instance_that_was_fenced_writes_nothing_until_it_loads_again(url: str) -> None:
    """Neither a step nor the offset of an empty one; in another partition it continues."""
    with SqlStore(url) as one, SqlStore(url) as other:
        for store in (one, other):
            store.load(0)
            store.load(1)
        one.commit(step_of(5), catalogue_of(), 0)
        with pytest.raises(StoreFenced, match="partition 0") as fenced:
            other.commit(step_of(5, "tank-8/oil"), catalogue_of(), 0)
        assert fenced.value.partitions == {0}
        with pytest.raises(StoreFenced):
            other.commit(StepResult(offset=9, at_ms=9), catalogue_of(), 0)
        other.commit(step_of(6), catalogue_of(), 1)
        assert other.progress() == {0: (5, 5), 1: (6, 6)}
        state = other.load(0)
        assert list(state.items) == ["tank-7/oil"]
        other.commit(step_of(7), catalogue_of(), 0)
        with pytest.raises(StoreFenced):
            one.commit(step_of(7), catalogue_of(), 0)


def test_a_pending_offset_is_fenced_too(url: str) -> None:
    """It never overwrites a newer one, nor on close; the offsets of other partitions are written."""
    with SqlStore(url) as one, SqlStore(url) as other:
        for store in (one, other):
            store.load(0)
            store.load(1)
            store.commit(StepResult(offset=3, at_ms=3), catalogue_of(), 0)
        other.commit(StepResult(offset=8, at_ms=8), catalogue_of(), 1)
        one.commit(step_of(4), catalogue_of(), 0)
        with pytest.raises(StoreFenced) as fenced:
            other.flush()
        assert fenced.value.partitions == {0}
        assert one.progress() == {0: (4, 4), 1: (8, 8)}
        other.load(0)
        other.commit(StepResult(offset=5, at_ms=5), catalogue_of(), 0)
        one.commit(step_of(6), catalogue_of(), 0)
        other.release(0)
    with SqlStore(url) as store:
        assert store.progress() == {0: (6, 6), 1: (8, 8)}


def test_a_partition_is_handed_over_without_loss(url: str) -> None:
    """Releasing writes the pending offset; an instance that never loaded the partition can't write into it."""
    with SqlStore(url) as one, SqlStore(url) as other:
        one.load(2)
        one.commit(StepResult(offset=3, at_ms=3), catalogue_of(), 2)
        one.release(2)
        with pytest.raises(StoreFenced):
            other.commit(step_of(4), catalogue_of(), 2)
        assert other.load(2).offset == 3
        other.commit(step_of(4), catalogue_of(), 2)


def test_a_pending_offset_is_written_between_the_steps_of_other_partitions(url: str) -> None:
    """A quiet partition's progress is visible although a busy one commits all the time."""
    clock = [0.0]
    with SqlStore(url, monotonic=lambda: clock[0]) as store, SqlStore(url) as other:
        store.commit(StepResult(offset=1, at_ms=1), catalogue_of(), 1)
        for offset in range(1, 15):
            clock[0] += 0.1
            store.commit(step_of(offset), catalogue_of(), 0)
        assert other.progress()[1] == (1, 1)


def test_names_that_two_processes_add_have_one_number_each(url: str) -> None:
    """Dense, in the order of adding, the same for all."""
    SqlStore(url).close()
    assert race("names", url, 3) == [(NAMES, 0)] * 3
    with SqlStore(url) as store, store._read() as connection:
        rows = list(connection.execute(select(schema.names.c.number, schema.names.c.name).order_by(text("number"))))
    assert [number for number, _ in rows] == list(range(NAMES))
    assert {name for _, name in rows} == {f"tank-{number}/oil" for number in range(NAMES)}


def test_names_of_others_are_known_after_a_refresh(url: str) -> None:
    """Before it their numbers have no name here; by name they are found at once."""
    with SqlStore(url) as one, SqlStore(url) as other:
        one.names.add(["a/x", "b/x"])
        with pytest.raises(KeyError):
            other.names.name(1)
        assert other.names.refresh() == ["a/x", "b/x"]
        assert other.names.name(1) == "b/x"
        assert other.names.refresh() == []
        one.names.number("c/x")
        assert other.names.add(["d/x", "c/x"]) == [3, 2]
        assert one.names.number("d/x") == 3


def test_a_hundred_thousand_names_are_added(url: str) -> None:
    """A large fleet's first start registers them together."""
    with SqlStore(url) as store:
        store.names.add(f"device-{number}/oil" for number in range(100_000))
    with SqlStore(url) as store:
        assert store.names.name(99_999) == "device-99999/oil"


def test_processes_that_start_at_once_migrate_once(url: str) -> None:
    """All of them find the tables in place."""
    assert race("open", url, 4) == [(0, 0)] * 4
    with SqlStore(url) as store:
        assert store.names.add(["a/x"]) == [0]


@contextmanager
def tables_of_version(url: str, revision: str) -> Iterator[None]:
    """A database with the tables of an earlier version, for the block to fill."""
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.execute(
            text("INSERT INTO needs VALUES ('a/x/1', 3, 'a/x', 'maria', 'closed', 1, '{}'), ('b/x/1', 0, 'b/x', 'leo', 'closed', 1, '{}')")
        )  # fmt: skip
        connection.execute(
            text(
                "INSERT INTO outbox (reaction, need, target, state, due_ms, tries) VALUES"
                " ('a/x/1/order/1', 'a/x/1', 'mqtt', 'waiting', 5, 0), ('b/x/1/order/1', 'b/x/1', 'mqtt', 'waiting', 4, 0)"
            )
        )
        connection.execute(text("INSERT INTO consumed VALUES (3, 7, 70)"))
    engine.dispose()
    yield


def test_deliveries_decided_before_partitions_belong_to_that_of_their_need(url: str) -> None:
    """The tables of the previous revision are migrated with their rows."""
    with tables_of_version(url, "0001"), SqlStore(url) as store:
        assert store.outbox_backlog() == (2, 4, 0)
        assert store.outbox_backlog({3}) == (1, 5, 0)
        assert store.load(3).offset == 7
        store.commit(step_of(8), catalogue_of(), 3)


def test_each_process_gets_the_deliveries_of_its_own_partitions(url: str) -> None:
    """Rows of other partitions are left to their owners, and a row that was sent stays sent."""
    home = household_of()
    home.sees(6.0).tick()
    with SqlStore(url) as store:
        store.commit(home.steps[-1], home.engine.catalogue, partition=3)
        assert store.due(home.now_ms, 10, {0, 1}) == store.due(home.now_ms, 10, ()) == []
        row = store.due(home.now_ms, 10, {3, 4})[0]
        assert row.partition == 3
        assert store.due(home.now_ms, 10) == [row]
        assert store.outbox_backlog() == (1, home.now_ms, 0)
        store.mark_sent(row.id, home.now_ms)
        store.mark_failed(row.id, "no answer", next_try_ms=None)
        assert [delivery.state for delivery in store.deliveries(row.reaction.id)] == ["sent"]
        assert store.outbox_backlog() == (0, None, 0)


def test_lead_time_samples_are_given_when_no_partition_can_add_to_them(url: str) -> None:
    """Each partition has consumed facts of the next day, or has its watermark; the caller's own progress is written first."""
    day = 20_000
    catalogue = catalogue_of()
    taught = [LeadTimeSample(supplier="acme", day=day - back, seen=1, log_sum=7) for back in (1, 0)]
    late = LeadTimeSample(supplier="acme", day=day + 1, seen=1)
    with SqlStore(url) as one, SqlStore(url) as other:
        one.load(0)
        other.load(1)
        lessons: Changes = {("lessons", f"acme/{lesson.day}"): lesson for lesson in (*taught, late)}
        other.commit(StepResult(offset=1, at_ms=day * DAY_MS, changed=lessons), catalogue, 1)
        assert one.lead_time_samples(day, except_partition=0, partitions=2) is None
        other.commit(StepResult(offset=2, at_ms=(day + 1) * DAY_MS), catalogue, 1)
        assert one.lead_time_samples(day, except_partition=0, partitions=2) is None
        assert other.lead_time_samples(day, except_partition=1, partitions=2) is None
        assert one.lead_time_samples(day, except_partition=0, partitions=2) == taught
        assert one.lead_time_samples(day, except_partition=0, partitions=3) is None
        engine = Engine(catalogue, other.load(2))
        other.commit(engine.record_watermark(utc_day((day + 1) * DAY_MS)), catalogue, 2)
        assert one.lead_time_samples(day, except_partition=0, partitions=3) == taught
        assert one.lead_time_samples(day - 1, except_partition=0, partitions=3) == taught[:1]


def test_supplier_records_come_from_the_furthest_partition(url: str) -> None:
    """For pages on lead times, without an engine."""
    with SqlStore(url) as store:
        assert store.supplier_records() == {}
        for partition, at_ms, price in ((0, 20, 2.0), (1, 30, 3.0), (2, 10, 1.0)):
            memory = SupplierRecord(supplier="acme", price=price)
            changed: Changes = {("suppliers", "acme"): memory}
            store.commit(StepResult(offset=1, at_ms=at_ms, changed=changed), catalogue_of(), partition)
        assert store.supplier_records() == {"acme": SupplierRecord(supplier="acme", price=3.0)}


def test_the_fleet_has_one_base_and_its_changes_one_order(url: str) -> None:
    """Two processes change it at once, each on what it has read: every change is kept, after the one that it was based on."""
    tables = {"customers": [{"id": "maria", "language": "fr"}], "devices": [], "suppliers": []}
    with SqlStore(url) as one, SqlStore(url) as other:
        assert (one.fleet.base(), one.fleet.latest_version()) == (None, None)
        with pytest.raises(StoreError, match="no fleet"):
            one.fleet.append_change("{}", 1)
        assert one.fleet.insert_base(tables, 1) is True
        assert other.fleet.insert_base({}, 2) is False
        assert other.fleet.base() == tables

        def change(store: SqlStore) -> None:
            for _ in range(20):
                with store.fleet.lock():
                    read = store.fleet.latest_version()
                    assert store.fleet.append_change(f'"after {read}"', 3) == (read or 0) + 1

        threads = [threading.Thread(target=change, args=(store,)) for store in (one, other, one)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.fleet.changes() == [(version, f'"after {version - 1}"') for version in range(1, 61)]
        assert other.fleet.changes(58) == [(59, '"after 58"'), (60, '"after 59"')]


def test_the_store_works_on_while_the_fleet_is_locked(url: str) -> None:
    """Steps are stored, by this process and by others."""
    with SqlStore(url) as one, SqlStore(url) as other, one.fleet.lock():
        one.commit(step_of(1), catalogue_of(), 0)
        other.commit(step_of(1), catalogue_of(), 1)
        with one._read() as connection:
            assert connection.execute(select(func.count()).select_from(schema.memory)).scalar() == 2


def test_a_home_that_moves_between_processes_lives_on(url: str) -> None:
    """Another instance takes the partition over at every step: the decisions equal those of one instance."""
    home = household_of(experience="offer")
    for day in range(12):
        home.passes(days=1).sees(14.0 - day).tick()
    alone = MemoryStore()
    for step in home.steps:
        alone.commit(step, home.engine.catalogue, 4)
    with SqlStore(url) as one, SqlStore(url) as other:
        for number, facts in enumerate(home.facts):
            store = (one, other)[number % 2]
            again = Household(Engine(household_of(experience="offer").engine.catalogue, store.load(4)))
            store.commit(again.engine.step(facts), again.engine.catalogue, 4)
            store.release(4)
        assert everything(one) == everything(alone)
