"""Roles as processes of their own on a real Kafka and PostgreSQL, for tests that start, kill, stop and ask them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson

from reactor.store.sql import SqlStore
from stream.topics import FORECASTS, topic_specs
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.kafka_log.options import KafkaOptions
from tests.support.server_process import dies_with_its_parent

READY_S_MAX = 60.0
SETTLE_S = 3.0


class Role:
    """One process. `ready` is what it said when it was."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name}.log"
        self.ready = ""
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        starloop = [sys.executable, "-m", "starloop", *self._arguments, "--data", str(self._folder / self.name)]
        command = [*dies_with_its_parent(), *starloop]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment, "STARLOOP_INSTANCE": self.name},
            )
        self._said = threading.Event()
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.ready = line.decode().strip()
            self._said.set()

    def wait_ready(self) -> Role:
        """Waits until it says that it is ready."""
        until_s = time.monotonic() + READY_S_MAX
        while not self._said.wait(0.05):
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-3_000:]}"
            assert time.monotonic() < until_s, f"{self.name} was never ready: {self.log.read_text()[-3_000:]}"
        return self

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def start_again(self) -> Role:
        """Another process in its place."""
        self.process = self._started()
        return self

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=40)

    def health(self) -> str:
        """Where its health endpoint is."""
        return self.ready.rsplit("health ", 1)[1].removesuffix("/readyz")

    def get(self, path: str) -> httpx.Response:
        """Its health endpoint's answer."""
        return httpx.get(f"{self.health()}{path}", trust_env=False, timeout=5.0)


class Cluster:
    """An installation on one Kafka and one database: its settings, and the roles that a test starts."""

    def __init__(
        self, folder: Path, fleet: str, bootstrap: str, prefix: str, store: str, partitions: int = 4, **settings: str
    ) -> None:
        self.folder = folder
        self.store_url = store
        self.environment = {
            "STARLOOP_LOG": f"kafka://{bootstrap}",
            "STARLOOP_LOG_PREFIX": f"{prefix}-",
            "STARLOOP_PARTITIONS": str(partitions),
            "STARLOOP_STORE": store,
            "STARLOOP_HEALTH_PORT": "0",
            "STARLOOP_MQTT_PORT": "0",
            "STARLOOP_HTTP_PORT": "0",
            "STARLOOP_LOG_LEVEL": "info",
            **settings,
        }
        self.roles: dict[str, Role] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.fleet = folder / "fleet.toml"
        self.fleet.write_text(fleet)

    def command(self, *arguments: str) -> str:
        """Runs a command with the installation's settings; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "starloop", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask_doctor(self) -> list[str]:
        """What `starloop doctor` says is wrong, a line each."""
        asked = subprocess.run(
            [sys.executable, "-m", "starloop", "doctor", "--json"],
            env={**os.environ, **self.environment, "STARLOOP_DATA_DIR": str(self.folder / "doctor")},
            capture_output=True,
            check=False,
            timeout=120,
        )
        report = orjson.loads(asked.stdout)
        return [orjson.dumps(one).decode() for one in report["findings"] if one["state"] == "fail"]

    def run(self, role: str, *options: str, name: str | None = None) -> Role:
        """Starts a role; it may not be ready yet."""
        name = name or role
        self.roles[name] = Role(name, ["run", role, *options], self.environment, self.folder)
        return self.roles[name]

    def reactions(self) -> list[bytes]:
        """The reactions in the store, as lines, sorted."""
        with SqlStore(self.store_url) as store:
            rows = store.reactions(limit=1_000_000)
        return sorted(orjson.dumps(row.reaction.replay_line()) for row in rows)

    def progress(self) -> dict[int, tuple[int, int]]:
        """How far each partition is decided: (offset, at_ms)."""
        with SqlStore(self.store_url) as store:
            return store.progress()

    def forecasts(self) -> dict[str, tuple[int, float]]:
        """The latest forecast of each item in the log: (at_ms, level)."""
        return asyncio.run(self._forecasts())

    async def _forecasts(self) -> dict[str, tuple[int, float]]:
        options = KafkaOptions(
            brokers=KafkaOptions.parse_brokers(self.environment["STARLOOP_LOG"]),
            prefix=self.environment["STARLOOP_LOG_PREFIX"],
        )
        client = KafkaClient(options, topic_specs())
        await client.start()
        follower = client.subscribe([FORECASTS])
        await follower.start()
        found: dict[str, tuple[int, float]] = {}
        try:
            while rows := await follower.fetch(10_000, wait_s=2.0):
                for row in rows:
                    for one in orjson.loads(row.value):
                        if one["at_ms"] >= found.get(one["item"], (0, 0.0))[0]:
                            found[one["item"]] = (one["at_ms"], one["level"])
        finally:
            await follower.close()
            await client.stop()
        return found

    def settled(self, last_ms: int, timeout_s: float = 180.0) -> None:
        """Waits until every partition has been decided up to `last_ms`."""
        partitions = int(self.environment["STARLOOP_PARTITIONS"])

        def there() -> bool:
            found = self.progress()
            return len(found) == partitions and all(at_ms >= last_ms for _, at_ms in found.values())

        until(there, timeout_s, self._tails)

    def stop(self) -> dict[str, int]:
        """Stops every role; the exit statuses."""
        for role in self.roles.values():
            if role.process.poll() is None:
                role.process.terminate()
        return {name: role.process.wait(timeout=40) for name, role in self.roles.items()}

    def _tails(self) -> str:
        tails = "\n".join(f"--- {role.name}\n{role.log.read_text()[-1_500:]}" for role in self.roles.values())
        return f"{self.progress()}\n{tails}"


def until(there: Callable[[], Any], timeout_s: float, told: Callable[[], str]) -> None:
    """Waits until `there` holds."""
    end_s = time.monotonic() + timeout_s
    while not there():
        assert time.monotonic() < end_s, told()
        time.sleep(0.2)
