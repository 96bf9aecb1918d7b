"""`starloop up` in a process of its own, for tests that start, kill, stop and query it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson

from reactor.store.sql import SqlStore
from runtime.data_dir import SERVICE_FILE
from runtime.service_discovery import RunningService, find_running_service

START_S_MAX = 90.0
"""Longest wait for a start: 3 s on a quiet machine, many times as long beside builds and other tests."""


def starloop(*arguments: str) -> bytes:
    """The standard output of a command."""
    return subprocess.run([sys.executable, "-m", "starloop", *arguments], check=True, capture_output=True).stdout


class ServiceUnderTest:
    """The process, with its data in `folder`/data."""

    def __init__(self, folder: Path, mqtt_port: int, fleet: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self.port = mqtt_port
        self._fleet = folder / "fleet.toml"
        self._fleet.write_text(fleet)
        self._log = folder / "log"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the process and waits until it is ready."""
        (self.data / SERVICE_FILE).unlink(missing_ok=True)
        command = [sys.executable, "-m", "starloop", "up", "--fleet", str(self._fleet), "--data", str(self.data)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--mqtt-port", str(self.port), "--http-port", "0"], stdout=log, stderr=log
            )
        until_s = time.monotonic() + START_S_MAX
        while find_running_service(self.data) is None:
            assert self.process.poll() is None, self._log.read_text()[-2_000:]
            assert time.monotonic() < until_s, "the service did not become ready"
            time.sleep(0.02)
        return self.process

    def running(self) -> RunningService:
        """Its process, ports and token."""
        found = find_running_service(self.data)
        assert found is not None
        return found

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Stops it with SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=30)

    def reactions(self) -> list[bytes]:
        """The reactions in the store, as sorted replay lines."""
        with SqlStore(f"sqlite:///{self.data / 'store.db'}") as store:
            rows = store.reactions(limit=1_000_000)
        return sorted(orjson.dumps(row.reaction.replay_line()) for row in rows)

    def replayed(self, folder: Path, emit: str = "reactions,forecasts") -> list[bytes]:
        """The output lines of a replay of the exported log."""
        exported = folder / "exported.jsonl"
        starloop("log", "export", "--data", str(self.data), "--out", str(exported))
        fleet = str(self.data / "fleet.toml")
        return starloop("replay", "--fleet", fleet, "--readings", str(exported), "--emit", emit).splitlines()
