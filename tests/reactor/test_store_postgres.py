"""The store on PostgreSQL: its errors while the server can't be used, and how it continues afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from structlog.testing import capture_logs

from reactor.delivery.limits import DeliveryLimits
from reactor.delivery.outbox_dispatcher import OutboxDispatcher
from reactor.store import MemoryStore, SqlStore
from reactor.store.database import check_version
from reactor.unit_of_work import StepResult
from star.errors import ConfigError, StoreDamaged, StoreError, StoreFenced
from tests.reactor.test_store_shared import everything, step_of
from tests.support.delivery_fleet import ManualClock, RecordingChannel, fleet_of, reaction_of, router_of
from tests.support.household import catalogue_of, household_of
from tests.support.servers import Postgres, PostgresOfTest

PASSWORD = "s3cret-und-lang"


def changed(url: str, **parts: object) -> str:
    """The URL with other parts."""
    return make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


@pytest.fixture
def guarded(postgres: PostgresOfTest, postgres_server: Postgres) -> str:
    """A user with a password who may only connect to the database."""
    libpq = postgres.url.replace("+psycopg", "")
    with psycopg.connect(libpq, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'guarded'").fetchone():
            connection.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'".encode())
            row = connection.execute("SHOW hba_file").fetchone()
            assert row is not None
            rules = Path(row[0])
            rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        connection.execute("SELECT pg_reload_conf()")
    return "guarded"


def said_of(url: str) -> str:
    """The one-line error of opening it; no password is in it, in the log or in its causes."""
    with pytest.raises(StoreError) as found:
        SqlStore(url)
    assert not isinstance(found.value, StoreDamaged)
    said = str(found.value)
    assert "\n" not in said
    assert PASSWORD not in said + repr(found.value) + repr(found.value.__cause__) + str(found.value.__cause__)
    return said


def test_a_database_that_cannot_be_used_says_where_why_and_what_to_do(
    postgres: PostgresOfTest, guarded: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Connection refused, a wrong password, none, no such database, user or host, no rights: each with its own remedy."""
    caplog.set_level(logging.DEBUG)
    name = postgres.database
    port = make_url(postgres.url).port
    assert isinstance(port, int)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        refused = said_of(changed(postgres.url, port=nobody.getsockname()[1], username=guarded, password=PASSWORD))
    assert "guarded:***@127.0.0.1:" in refused
    assert "Connection refused" in refused
    assert "start the server" in refused
    wrong = said_of(changed(postgres.url, username=guarded, password=PASSWORD + "x"))
    assert f"127.0.0.1:{port}/{name}" in wrong
    assert "guarded:***@" in wrong
    assert "correct user and password" in wrong
    assert "correct user and password" in said_of(changed(postgres.url, username=guarded))
    missing = said_of(changed(postgres.url, database="nowhere", username="starloop"))
    assert "CREATE DATABASE nowhere OWNER starloop" in missing
    assert "correct user and password" in said_of(changed(postgres.url, username="nobody"))
    assert "grant the user" in said_of(changed(postgres.url, username=guarded, password=PASSWORD))
    assert "start the server" in said_of(changed(postgres.url, host="no-such-host.invalid"))
    assert PASSWORD not in caplog.text


def test_the_error_of_an_invalid_url_shows_no_password() -> None:
    """Also with a driver that is not installed, and with the password among its options."""
    for url in (
        f"postgresql+psycopg//me:{PASSWORD}@host/x",
        f"postgresql+psycopg://me:{PASSWORD}@host:port/x",
        f"postgresql+psycopg://me:/@:{PASSWORD}@host:port/x?password={PASSWORD}",
        f"mysql://me:{PASSWORD}@host/x",
        f"postgresql+psycopg2://me:{PASSWORD}@host/x",
    ):
        with pytest.raises(ConfigError, match="expected a URL") as found:
            SqlStore(url)
        assert PASSWORD not in str(found.value)
    assert "Connection refused" in said_of(f"postgresql://127.0.0.1:1/x?user=me&password={PASSWORD}")


def test_a_server_that_is_too_old_is_refused() -> None:
    """Before anything is written into it."""
    with pytest.raises(StoreError, match=r"PostgreSQL 9\.6 is too old: expected 14 or newer"):
        check_version((9, 6), "db.example/x")
    check_version((14, 0), "db.example/x")
    check_version((17, 2), "db.example/x")


def test_a_restart_of_the_server_costs_only_the_outage(postgres: PostgresOfTest) -> None:
    """Calls fail during the outage; afterwards connections return by themselves and the same step is stored, also after a kill."""
    home = household_of()
    home.sees(6.0).tick()
    catalogue = home.engine.catalogue
    with SqlStore(postgres.url) as store:
        store.load()
        for how in ("fast", "kill"):
            postgres.stop(how)
            for call in (lambda: store.commit(home.steps[-1], catalogue), store.waiting_count, store.names.refresh):
                with pytest.raises(StoreError, match=r"(start the server|see that the server runs)") as found:
                    call()
                assert not isinstance(found.value, StoreDamaged)
            postgres.start()
            store.commit(home.steps[-1], catalogue)
            home.passes(hours=1).says("tank-7/oil/1/order/1", "accepted").tick()
        alone = MemoryStore()
        for step in home.steps[:2]:
            alone.commit(step, catalogue)
        assert everything(store) == everything(alone)


class Breaker:
    """A proxy that drops the connection, once armed, after the server has committed and before it answers."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.armed = False
        self.broke = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._server))
                cut = threading.Event()
                for source, target, up in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._carry, args=(source, target, up, cut), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, up: bool, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while wire := source.recv(65536):
                if up and self.armed and b"COMMIT" in wire:
                    self.armed = False
                    cut.set()
                if not up and cut.is_set() and b"COMMIT\0" in wire:
                    self.broke += 1
                    break
                target.sendall(wire)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Accepts no more connections."""
        self._listening.close()


@pytest.fixture
def breaker(postgres: PostgresOfTest) -> Iterator[Breaker]:
    """A proxy to the server of this test."""
    port = make_url(postgres.url).port
    assert port is not None
    made = Breaker(port)
    yield made
    made.close()


def test_a_step_whose_commit_is_in_doubt_is_stored_once(postgres: PostgresOfTest, breaker: Breaker) -> None:
    """The server committed and could not answer: the retry recognizes its own work and is not fenced."""
    home = household_of()
    home.sees(6.0).tick()
    home.passes(hours=1).says("tank-7/oil/1/order/1", "cancelled").tick()
    catalogue = home.engine.catalogue
    alone = MemoryStore()
    with SqlStore(changed(postgres.url, port=breaker.port)) as store:
        store.load()
        for number, step in enumerate(home.steps):
            breaker.armed = True
            with pytest.raises(StoreError, match="see that the server runs") as found:
                store.commit(step, catalogue)
            assert not isinstance(found.value, StoreFenced)
            assert breaker.broke == number + 1
            store.commit(step, catalogue)
            alone.commit(step, catalogue)
        assert everything(store) == everything(alone)
        store.commit(StepResult(offset=7, at_ms=7), catalogue)
        breaker.armed = True
        with pytest.raises(StoreError):
            store.flush()
        store.commit(StepResult(offset=8, at_ms=8), catalogue)
        store.flush()
        assert store.load().offset == 8


def test_a_step_in_doubt_is_refused_when_another_took_over(postgres: PostgresOfTest, breaker: Breaker) -> None:
    """During the outage the partition went to another process, which continued."""
    catalogue = catalogue_of()
    with SqlStore(changed(postgres.url, port=breaker.port)) as one, SqlStore(postgres.url) as other:
        one.load()
        breaker.armed = True
        with pytest.raises(StoreError):
            one.commit(step_of(1), catalogue)
        assert other.load().offset == 1
        other.commit(step_of(2), catalogue)
        with pytest.raises(StoreFenced):
            one.commit(step_of(1), catalogue)
        assert other.progress() == {0: (2, 2)}


async def test_the_dispatcher_waits_out_the_stores_outage(postgres: PostgresOfTest) -> None:
    """It keeps running, sends nothing twice, and sends what waits when the store is back."""
    clock, supplier = ManualClock(), RecordingChannel()
    with SqlStore(postgres.url) as store:
        limits = DeliveryLimits(poll_s=0.05)
        dispatcher = OutboxDispatcher(
            store,
            router_of(fleet_of(), webhook=supplier),
            catalogue=fleet_of,
            report=RecordingChannel().report,
            need_state=store.need_state,
            clock=clock,
            limits=limits,
            partitions=lambda: {0},
        )
        order = reaction_of()
        store.commit(StepResult(offset=1, at_ms=clock.at_ms, reactions=(order,)), fleet_of())
        await asyncio.to_thread(postgres.stop, "kill")
        with capture_logs() as logs:
            running = asyncio.create_task(dispatcher.run())
            async with asyncio.timeout(30):
                while not any(one["event"] == "found_store_away" for one in logs):  # noqa: ASYNC110 - as an operator would look
                    await asyncio.sleep(0.01)
        assert not running.done()
        await asyncio.to_thread(postgres.start)
        async with asyncio.timeout(30):
            while await asyncio.to_thread(store.waiting_count):  # noqa: ASYNC110 - the store is the only one to ask
                await asyncio.sleep(0.02)
        running.cancel()
        assert [one.id for one in supplier.sent] == [order.id]
