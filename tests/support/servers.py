"""The real servers that tests run against: Kafka, InfluxDB, PostgreSQL, mosquitto; what each needs to run.

Nothing starts at import. Each process of a parallel test run has servers of its own. `make servers` installs them; what is
not a package of the system goes to $STARLOOP_SERVERS.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import psycopg

from tests.support.server_process import Server, absent, dies_with_its_parent, find_program, free_port, fresh_name

SCRIPTS = Path(__file__).parents[2] / "scripts" / "servers"
VERSIONS = dict(line.split("=") for line in (SCRIPTS / "versions").read_text().split())
"""Those that `make servers` installs."""


def servers_folder() -> Path:
    """Where `make servers` puts Kafka and InfluxDB."""
    return Path(os.environ.get("STARLOOP_SERVERS") or Path.home() / ".cache" / "starloop" / "servers")


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
            *dies_with_its_parent(),
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
        jars = servers_folder() / f"kafka-{VERSIONS['KAFKA_VERSION']}"
        if not jars.is_dir():
            absent(f"Apache Kafka {VERSIONS['KAFKA_VERSION']} is not in {jars}: make servers")
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
            # Who comes back after a kill is refused until its old session ends, 9 s unless said otherwise.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 300,
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
        self._program = servers_folder() / f"influxd-{VERSIONS['INFLUX_VERSION']}" / "influxd"
        if not self._program.exists():
            absent(f"InfluxDB {VERSIONS['INFLUX_VERSION']} is not at {self._program}: make servers")
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
