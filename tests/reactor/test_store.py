"""The store: one transaction for each step, its queries, its errors; the same in memory, in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from reactor.engine import Engine
from reactor.state import ItemRecord, State
from reactor.store import MemoryStore, SqlStore, schema
from reactor.unit_of_work import Changes, StepResult
from star.errors import ConfigError, NewerFormat, StoreAhead, StoreDamaged, StoreError
from star.records import Quarantined
from star.repeat import NeedState
from tests.support.household import START_MS, Household, catalogue_of, household_of

ORDER = "tank-7/oil/1/order/1"
Store = MemoryStore | SqlStore


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind."""
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = SqlStore(f"sqlite:///{tmp_path / 'store.db'}")
    else:
        made = SqlStore(request.getfixturevalue("postgres").url)
    yield made
    made.close()


def keep(store: Store, home: Household) -> None:
    """Commits the home's last step."""
    store.commit(home.steps[-1], home.engine.catalogue)


def lived(store: Store, home: Household) -> Household:
    """An offer accepted over the budget, a delivery praised, another need opened, an outcome about nothing."""
    offer = home.sees(6.0).tick()[0]
    keep(store, home)
    home.passes(hours=2).says(offer.id, "accepted").tick()
    keep(store, home)
    home.passes(days=3).says(ORDER, "delivered", timing="late", csat=5).says("no/such/1/order/1", "failed").tick()
    keep(store, home)
    home.passes(days=9).terms(price=640.0).sees(6.0).tick()
    keep(store, home)
    return home


def same(one: State, other: State) -> bool:
    """Whether two states are equal."""
    names = ("needs", "orders", "prompts", "contacts", "items", "suppliers", "fleet_overrides", "timers")
    indexes = ("need_by_item", "open_order_by_item", "orders_by_customer", "prompts_by_need", "offset", "at_ms")
    return all(getattr(one, name) == getattr(other, name) for name in (*names, *indexes))


def test_a_loaded_state_equals_the_engines_state(store: Store) -> None:
    """After every step, to the last digit."""
    home = household_of(experience="offer", language="fr")
    for step in range(30):
        home.passes(hours=7.3).sees(30.0 - step)
        if step == 20:
            home.changes(customers=[{"id": "maria", "contacts_per_week_max": 1}])
        home.tick()
        keep(store, home)
        store.flush()
        assert same(store.load(), home.engine.state)


def test_a_restarted_engine_continues_as_without_a_restart(store: Store) -> None:
    """An engine on the loaded state makes the same steps from the same facts."""
    home = lived(store, household_of(experience="offer", budget_per_month=600.0))
    again = Household(Engine(catalogue_of({"experience": "offer", "budget_per_month": 600.0}), store.load()))
    again.now_ms, again.offset, again.event_count = home.now_ms, home.offset, home.event_count
    for one in (home, again):
        one.passes(days=1).says("tank-7/oil/2/offer/1", "accepted").sees(5.0).tick()
    assert home.steps[-1] == again.steps[-1]
    assert home.steps[-1].reactions


def test_facts_that_were_consumed_change_nothing(store: Store) -> None:
    """A kill between the commit and the log's offset delivers them a second time."""
    home = lived(store, household_of(experience="offer"))
    again = Engine(home.engine.catalogue, store.load())
    for facts in home.facts:
        assert again.step(facts).is_empty


def test_needs_reactions_and_receipts_can_be_queried(store: Store) -> None:
    """By item, customer and need, newest first; each reaction with its outcome."""
    lived(store, household_of(experience="offer"))
    assert [need.id for need in store.needs()] == ["tank-7/oil/2", "tank-7/oil/1"]
    assert [need.id for need in store.needs(item="tank-7/oil", customers=["maria"], open_only=True)] == ["tank-7/oil/2"]
    assert store.needs(customers=[]) == []
    assert store.need_state("tank-7/oil/1") is NeedState.CLOSED
    assert store.need_state("tank-7/oil/9") is store.need("tank-7/oil/9") is store.reaction("x/y/1/order/1") is None
    rows = store.reactions(item="tank-7/oil")
    assert [row.reaction.id for row in rows] == ["tank-7/oil/2/offer/1", ORDER, "tank-7/oil/1/offer/1"]
    assert [row.result for row in rows] == [None, "delivered", "accepted"]
    assert [row.reaction.id for row in store.reactions(need="tank-7/oil/1", before_ms=rows[1].reaction.at_ms)] == [
        "tank-7/oil/1/offer/1"
    ]
    assert store.reactions(customers=["nobody"]) == []
    delivered = store.reaction(ORDER)
    assert delivered is not None
    assert (delivered.timing, delivered.result_ms) == ("late", rows[1].result_ms)
    receipts = store.decisions("tank-7/oil/1")
    assert [receipt.id[-1] for receipt in receipts] == ["3", "2", "1"]
    assert store.decisions(ORDER) == store.decisions("tank-7/oil/1/decision/2") == [receipts[1]]
    assert "no/such/1/order/1" in store.quarantine()[0].reason


def test_of_each_line_only_the_first_row_is_due(store: Store) -> None:
    """A cancellation waits until its order is sent or given up."""
    home = household_of()
    home.sees(8.0).tick()
    keep(store, home)
    home.passes(hours=1).says(ORDER, "cancelled").tick()
    keep(store, home)
    now_ms = home.now_ms
    first = store.due(now_ms, 10)
    assert [row.reaction.id for row in first] == [ORDER]
    assert store.due(START_MS - 1, 10) == []
    store.mark_failed(first[0].id, "no answer", next_try_ms=now_ms + 5_000)
    assert store.due(now_ms, 10) == []
    again = store.due(now_ms + 5_000, 10)[0]
    assert (again.tries, again.error, again.target) == (1, "no answer", "mqtt")
    store.mark_sent(again.id, now_ms + 5_000)
    second = store.due(now_ms + 5_000, 10)[0]
    assert second.reaction.id == "tank-7/oil/1/cancel/1"
    assert store.waiting_count() == 1
    store.mark_failed(second.id, "gone", next_try_ms=None)
    assert store.due(now_ms + 10**9, 10) == []
    assert [(d.state, d.error) for d in store.deliveries("tank-7/oil/1/cancel/1")] == [("given-up", "gone")]
    assert store.deliveries(ORDER)[0].state == "sent"


def test_quarantine_counts_a_payload_once(store: Store) -> None:
    """Its offset in the log identifies it."""
    row = Quarantined(at_ms=5, topic="a/b", payload=b"\x00{", reason="not JSON")
    store.record_quarantined([(7, row), (8, row)])
    store.record_quarantined([(8, row)])
    store.record_quarantined([])
    shown = store.quarantine()
    assert [(found.at_ms, found.topic, found.payload) for found in shown] == [(5, "a/b", b"\x00{")] * 2
    assert len(store.quarantine(before=shown[0].id, limit=5)) == 1


def test_a_number_never_changes_its_name(store: Store) -> None:
    """It is assigned once; unassigned numbers have no name."""
    assert [store.names.number(name) for name in ("t/oil", "t/salt", "t/oil")] == [0, 1, 0]
    with pytest.raises(KeyError):
        store.names.name(2)


def test_a_number_keeps_its_name_over_a_restart(url: str) -> None:
    """Names added together too."""
    with SqlStore(url) as store:
        assert store.names.add(["t/oil", "t/salt"]) == [0, 1]
        assert store.names.add(["t/new", "t/salt", "t/new"]) == [2, 1, 2]
    with SqlStore(url) as again:
        assert again.names.all() == ("t/oil", "t/salt", "t/new")
        assert again.names.name(2) == "t/new"
        assert len(again.names) == 3


def test_a_store_ahead_of_its_log_is_refused(store: Store) -> None:
    """One of the two comes from an older backup."""
    lived(store, household_of(experience="offer"))
    store.flush()
    assert store.load(log_end=5).offset == 4
    with pytest.raises(StoreAhead, match="offset 4"):
        store.load(log_end=4)


def test_partitions_are_kept_apart(store: Store) -> None:
    """Each has its own offset and state."""
    home = household_of()
    home.sees(8.0).tick()
    store.commit(home.steps[-1], home.engine.catalogue, partition=3)
    assert store.load(3).offset == 1
    assert store.load(0).offset == -1
    assert store.load(0).needs == {}


def test_an_empty_step_costs_nothing_and_its_offset_follows_within_a_second(url: str) -> None:
    """Written when a second has passed, with the next step, or at the end."""
    clock = [0.0]
    home = household_of()

    def on_disk() -> int:
        with SqlStore(url) as other:
            return other.load().offset

    with SqlStore(url, monotonic=lambda: clock[0]) as store:
        home.tick()
        keep(store, home)
        assert on_disk() == -1
        clock[0] = 1.0
        home.tick()
        keep(store, home)
        assert on_disk() == 2
        home.tick()
        keep(store, home)
    assert on_disk() == 3


def test_a_damaged_file_gives_one_clear_line(tmp_path: Path) -> None:
    """No database, a truncated database, a missing folder, an invalid URL."""
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreDamaged, match="restore it from a backup") as found:
        SqlStore(f"sqlite:///{path}")
    assert "\n" not in str(found.value)
    path.unlink()
    with SqlStore(f"sqlite:///{path}") as store:
        lived(store, household_of(experience="offer"))
    wire = bytearray(path.read_bytes())
    wire[4096:40960] = b"x" * (40960 - 4096)
    path.write_bytes(wire)
    with pytest.raises(StoreDamaged) as torn:
        SqlStore(f"sqlite:///{path}")
    assert "\n" not in str(torn.value)
    with pytest.raises(StoreError, match="can't be opened"):
        SqlStore(f"sqlite:///{tmp_path / 'none' / 'store.db'}")
    with pytest.raises(ConfigError, match="expected a URL"):
        SqlStore("what is this")


def test_a_body_that_cannot_be_read_is_damage(url: str) -> None:
    """It raises StoreDamaged."""
    with SqlStore(url) as store:
        lived(store, household_of(experience="offer"))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE memory SET body = '{}' WHERE kind = 'questions'"))
    engine.dispose()
    with SqlStore(url) as store, pytest.raises(StoreDamaged, match="PendingPrompt"):
        store.load()


def test_a_store_of_a_newer_build_is_refused_in_words_and_left_alone(url: str) -> None:
    """An older build names the revision that it does not know, and writes nothing."""
    SqlStore(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    newer = (
        r"its tables are of revision 9999, written by a newer Starloop: this one knows revisions up to \d{4}\. Run that"
    )
    with pytest.raises(NewerFormat, match=newer):
        SqlStore(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    engine.dispose()


def test_the_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    """Without a missing or an extra column."""
    SqlStore(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()


def test_a_hundred_thousand_items_are_loaded(url: str) -> None:
    """As at a start."""
    changed: Changes = {("items", f"d{n}/x"): ItemRecord(item=f"d{n}/x", cycle=2) for n in range(100_000)}
    with SqlStore(url) as store:
        store.commit(StepResult(offset=1, at_ms=1, changed=changed), catalogue_of())
        assert len(store.load().items) == 100_000
