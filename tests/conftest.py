"""Fixtures for every test: programs and data that may not be on a user's machine, and must be in continuous integration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import server_process
from tests.support.server_process import find_program, served
from tests.support.servers import Influx, InfluxOfTest, Kafka, Mosquitto, Postgres, PostgresOfTest

ROOT = Path(__file__).parents[1]

# The first text that a fresh clone draws takes more than a second, as tables of all characters are made for it.
settings.register_profile("starloop", settings.default, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("starloop")


@pytest.fixture
def program() -> Callable[[str], str]:
    """`program("mosquitto")`: the path of a program from the system's packages; skips (CI: fails) where it is not installed."""

    def find(name: str) -> str:
        return find_program(name, name)

    return find


@pytest.fixture
def data() -> Callable[[str], Path]:
    """`data("consumption/weusedto_water")`: a folder or file of the public data sets, which are not in the repository.

    They are looked for in $STARLOOP_DATA, then in ../shared/data beside the repository; a test skips where they are not.
    """

    def find(name: str) -> Path:
        for folder in (os.environ.get("STARLOOP_DATA"), str(ROOT.parent / "shared" / "data")):
            if folder and (Path(folder) / name).exists():
                return Path(folder) / name
        pytest.skip(f"the data set {name} is not here: set STARLOOP_DATA to the folder of the data sets")

    return find


@pytest.fixture
def free_port() -> Callable[[], int]:
    """`free_port()`: a TCP port on loopback that nothing listens on now."""

    return server_process.free_port


@pytest.fixture
def promtool() -> str:
    """The path of Prometheus's tool for checking its rules."""
    return find_program("promtool", "prometheus")


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    """A broker of the test's own: `.port`, `.stop()`, `.start()`, `.restart()`."""
    with served(Mosquitto) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[Kafka]:
    """The session's Kafka, for fixtures of a wider scope than one test; a test asks for `kafka`."""
    with served(Kafka) as server:
        yield server


@pytest.fixture
def kafka(kafka_server: Kafka) -> Kafka:
    """Kafka, running: `.bootstrap`, `.prefix()` (a fresh name for the test's topics and groups), `.stop()`, `.start()`, `.restart()`.

    Topics stay for the whole session. `.stop("kill")` is kill -9.
    """
    kafka_server.start()
    return kafka_server


@pytest.fixture(scope="session")
def influx_server() -> Iterator[Influx]:
    """The session's InfluxDB, for fixtures of a wider scope than one test; a test asks for `influx`."""
    with served(Influx) as server:
        server.set_up()
        yield server


@pytest.fixture
def influx(influx_server: Influx) -> InfluxOfTest:
    """InfluxDB, running, with an empty bucket: `.url`, `.org`, `.bucket`, `.token`, `.stop()`, `.start()`, `.restart()`."""
    return InfluxOfTest(influx_server)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The session's PostgreSQL, for fixtures of a wider scope than one test; a test asks for `postgres`."""
    with served(Postgres) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[PostgresOfTest]:
    """PostgreSQL, running, with an empty database: `.url` (SQLAlchemy's, by psycopg), `.stop()`, `.start()`, `.restart()`.

    `.stop("fast")` is the usual way; "smart" waits for clients, "immediate" and "kill" leave the recovery to the next start.
    """
    one = PostgresOfTest(postgres_server)
    yield one
    one.drop()
