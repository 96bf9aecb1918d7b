"""The real servers that tests run against: Kafka, InfluxDB, PostgreSQL, mosquitto; what each needs to start, stop and start again.

Nothing starts at import. Each process of a parallel test run has servers of its own, on free ports of loopback, with their
data in a folder of their own under the system's temporary folder, which goes when they stop for good. A server dies with the
process that started it, however that one ended. `make servers` puts what is not a system package into $STARLOOP_SERVERS.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import TypeVar

import httpx
import psycopg
import pytest

KAFKA_VERSION = "4.3.1"
INFLUX_VERSION = "2.7.12"
START_S_MAX = 90.0
"""A start takes 10 s at most on a quiet machine; one that builds and tests at once may be nine times slower."""
STOP_S_MAX = 30.0
POLL_S = 0.02
PORTS = range(15_000, 32_000)
"""Below the ports that systems give to outgoing connections, so that none of these takes a stopped server's port."""
SYSTEM_PROGRAMS = ":/usr/sbin:/usr/local/sbin"

_starter = ThreadPoolExecutor(1, thread_name_prefix="servers")
"""Starts every server: a child's "die with your parent" means the thread that started it, and this one ends last."""
_numbers = itertools.count(1)


def absent(what: str) -> None:
    """Skips with the reason; in continuous integration it fails, so that no test is silently lost there."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def find_program(name: str, package: str, *folders: str) -> str:
    """The path of a program, else the test is skipped (CI: fails) with the package that holds it."""
    path = shutil.which(name, path=":".join((os.environ.get("PATH", ""), *folders)) + SYSTEM_PROGRAMS)
    if path is None:
        absent(f"{name} is not installed: make servers as root, or sudo apt install {package}")
    return str(path)


def servers_folder() -> Path:
    """Where `make servers` puts Kafka and InfluxDB."""
    return Path(os.environ.get("STARLOOP_SERVERS") or Path.home() / ".cache" / "starloop" / "servers")


def free_port() -> int:
    """A port on loopback that nothing listens on, and that the system gives to nobody else."""
    choice = random.SystemRandom()
    while True:
        port = choice.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def fresh_name() -> str:
    """A short name that no other test has: for a topic's prefix, a group, a bucket, a database."""
    return f"t{os.getpid()}x{next(_numbers)}"


def until(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Waits until it holds; fails the test, saying what, when it doesn't within `timeout_s`."""
    end_s = monotonic() + timeout_s
    pause = threading.Event()
    while not holds():
        if monotonic() > end_s:
            pytest.fail(f"{what} in {timeout_s:g} s")
        pause.wait(POLL_S)


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Server:
    """One server process, with the folder and the port that it keeps over restarts."""

    name = "server"
    stop_signals: Mapping[str, signal.Signals] = {"term": signal.SIGTERM, "kill": signal.SIGKILL}
    """The ways to stop it; the first is the usual one."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"starloop-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """What to run; called once for each start."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether the server, whose process runs, takes work."""
        return listens(self.port)

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """What it printed since its last start."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Starts it on the data it has, and comes back when it takes work; nothing if it runs already."""
        if self.runs:
            return
        self._launch()
        until(self._is_up, START_S_MAX, f"{self.name} did not start")

    def _launch(self) -> None:
        wrapped = [*_dies_with_its_parent(), *self.command()]

        def launch() -> subprocess.Popen[bytes]:
            with self.log.open("wb") as log:
                return subprocess.Popen(
                    wrapped, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )

        self._process = _starter.submit(launch).result()

    def _is_up(self) -> bool:
        if not self.runs:
            pytest.fail(f"{self.name} ended while it started:\n{self.log.read_text(errors='replace')[-2000:]}")
        return self.is_ready()

    def stop(self, how: str = "") -> None:
        """Stops it and waits for its end: the usual way, or `how` ("kill": at once, without a chance to tidy up)."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self.stop_signals[how] if how else next(iter(self.stop_signals.values())))
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self, how: str = "") -> None:
        """Stops it, as `how` says, and starts it on the same data."""
        self.stop(how)
        self.start()

    def close(self) -> None:
        """Stops it for good; its data go."""
        self.stop("kill")
        shutil.rmtree(self.folder, ignore_errors=True)


def _dies_with_its_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


Kind = TypeVar("Kind", bound=Server)


@contextlib.contextmanager
def served(kind: type[Kind]) -> Iterator[Kind]:
    """A server that runs, and is stopped for good at the end however the tests went."""
    server = kind()
    try:
        server.start()
        yield server
    finally:
        server.close()


class Mosquitto(Server):
    """A real MQTT broker that asks for no password, and keeps sessions and retained messages over a restart."""

    name = "mosquitto"

    def __init__(self) -> None:
        self._program = find_program("mosquitto", "mosquitto")
        super().__init__()
        self._config = self.folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.folder}/\nmax_queued_messages 0\nmax_inflight_messages 0\nuser root\n"
        )

    def command(self) -> Sequence[str]:
        """Without -v: a test looks at messages, not at the broker's log."""
        return [self._program, "-c", str(self._config)]


class Postgres(Server):
    """A real PostgreSQL, which trusts whoever connects from this machine; `fsync` is on, so a kill loses no commit.

    It refuses to run as root: there, it runs as the user `postgres` that its package makes.
    """

    name = "postgres"
    stop_signals: Mapping[str, signal.Signals] = {
        "fast": signal.SIGINT,
        "smart": signal.SIGTERM,
        "immediate": signal.SIGQUIT,
        "kill": signal.SIGKILL,
    }

    def __init__(self) -> None:
        where = sorted((str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        self._program = find_program("postgres", "postgresql", *where)
        super().__init__()
        self._data = self.folder / "data"
        self._as: list[str] = []
        if os.geteuid() == 0:
            self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(self.folder, "postgres", "postgres")
        initdb = [find_program("initdb", "postgresql", *where), "--pgdata", str(self._data), "--username=starloop"]
        subprocess.run(
            [*self._as, *initdb, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, cwd="/", stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def command(self) -> Sequence[str]:
        """The parent's death is told after the change of user, which would forget it."""
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.folder), "fsync": "on"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [
            *self._as,
            *_dies_with_its_parent(),
            self._program,
            "-D",
            str(self._data),
            "-p",
            str(self.port),
            *options,
        ]

    def is_ready(self) -> bool:
        """A server in recovery listens and refuses."""
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.address("postgres"), connect_timeout=2).close()
            return True
        return False

    def _is_up(self) -> bool:
        # After a kill its old children go a moment later, and until then a new server finds their memory in use and ends.
        if not self.runs and "shared memory" in self.log.read_text(errors="replace"):
            self._launch()
        return super()._is_up()

    def address(self, database: str) -> str:
        """Of a database of this server, as libpq has it."""
        return f"postgresql://starloop@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str) -> None:
        """Runs one statement of the server's upkeep, outside a transaction."""
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


class Kafka(Server):
    """A real Apache Kafka of one node (KRaft), small, for the whole session; topics are not made by asking for them."""

    name = "kafka"

    def __init__(self) -> None:
        jars = servers_folder() / f"kafka-{KAFKA_VERSION}"
        if not jars.is_dir():
            absent(f"Apache Kafka {KAFKA_VERSION} is not in {jars}: make servers")
        super().__init__()
        self._java = [
            find_program("java", "default-jre-headless"),
            "-cp",
            f"{jars}/*",
            "-Xshare:auto",
            "-XX:+UseSerialGC",
        ]
        self._properties = self.folder / "server.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        log4j = self.folder / "log4j2.properties"
        log4j.write_text(
            "appender.out.type=Console\nappender.out.name=out\nappender.out.layout.type=PatternLayout\n"
            "appender.out.layout.pattern=%d %p %c{1} %m%n\nrootLogger.level=INFO\nrootLogger.appenderRef.out.ref=out\n"
        )
        self._java += [f"-Dlog4j2.configurationFile={log4j}", "-Dlog4j2.disable.jmx=true", "-Xmx384m"]
        tool = ["kafka.tools.StorageTool", "format", "-t", "starloop-of-the-tests", "-c", str(self._properties)]
        subprocess.run([*self._java, "-XX:TieredStopAtLevel=1", *tool], check=True, stdout=subprocess.DEVNULL)

    @property
    def bootstrap(self) -> str:
        """host:port, for clients."""
        return f"127.0.0.1:{self.port}"

    def prefix(self) -> str:
        """A fresh short name, for the topics and groups of one test."""
        return fresh_name()

    def _settings(self) -> dict[str, object]:
        controller = free_port()
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.folder / "log",
            "log.index.size.max.bytes": 524_288,
            "log.cleaner.dedupe.buffer.size": 8_388_608,
            "auto.create.topics.enable": "false",
            "default.replication.factor": 1,
            "min.insync.replicas": 1,
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
        }

    def command(self) -> Sequence[str]:
        """With a small heap: a test writes megabytes."""
        return [*self._java, "kafka.Kafka", str(self._properties)]

    def is_ready(self) -> bool:
        """It listens before it takes work, and says when it does."""
        return b"Kafka Server started" in self.log.read_bytes()


class Influx(Server):
    """A real InfluxDB 2 with one organisation and a token that may do everything."""

    name = "influx"
    org = "starloop"
    token = "test-token"

    def __init__(self) -> None:
        self._program = servers_folder() / f"influxd-{INFLUX_VERSION}" / "influxd"
        if not self._program.exists():
            absent(f"InfluxDB {INFLUX_VERSION} is not at {self._program}: make servers")
        super().__init__()

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """Everything it keeps is in the folder, and it reports to nobody."""
        places = [
            f"--{name}-path={self.folder / place}"
            for name, place in (("bolt", "influx.bolt"), ("engine", "engine"), ("sqlite", "influx.sqlite"))
        ]
        address = f"--http-bind-address=127.0.0.1:{self.port}"
        return [str(self._program), address, *places, "--reporting-disabled", "--log-level=warn"]

    def is_ready(self) -> bool:
        """It says so itself."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health", timeout=2).status_code == httpx.codes.OK
        return False

    def set_up(self) -> None:
        """Makes the organisation and the token, once."""
        what = {
            "username": "test",
            "password": "test-password",
            "org": self.org,
            "bucket": "first",
            "token": self.token,
        }
        httpx.post(f"{self.url}/api/v2/setup", json=what, timeout=30).raise_for_status()

    def make_bucket(self) -> str:
        """Makes a bucket that keeps everything, and gives its name."""
        name = fresh_name()
        asked = {"authorization": f"Token {self.token}"}
        found = httpx.get(
            f"{self.url}/api/v2/orgs", params={"org": self.org}, headers=asked, timeout=30
        ).raise_for_status()
        bucket = {"orgID": found.json()["orgs"][0]["id"], "name": name, "retentionRules": []}
        httpx.post(f"{self.url}/api/v2/buckets", json=bucket, headers=asked, timeout=30).raise_for_status()
        return name


class _OfTest:
    """What one test has on a server of the session: started again if an earlier test left it stopped."""

    def __init__(self, server: Server) -> None:
        server.start()
        self.start, self.stop, self.restart = server.start, server.stop, server.restart


class InfluxOfTest(_OfTest):
    """InfluxDB with a bucket of the test's own."""

    def __init__(self, server: Influx) -> None:
        super().__init__(server)
        self.url, self.org, self.token, self.bucket = server.url, server.org, server.token, server.make_bucket()


class PostgresOfTest(_OfTest):
    """PostgreSQL with a new, empty database of the test's own."""

    def __init__(self, server: Postgres) -> None:
        super().__init__(server)
        self._server = server
        self.database = fresh_name()
        server.run(f"CREATE DATABASE {self.database}")
        self.url = server.address(self.database).replace("postgresql:", "postgresql+psycopg:", 1)

    def drop(self) -> None:
        """Drops the database, with whoever is connected to it."""
        self._server.start()
        self._server.run(f"DROP DATABASE {self.database} WITH (FORCE)")
