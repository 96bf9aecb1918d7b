"""A server process of the tests: its port, its folder, its start and its end; which servers there are is in tests/support/servers.py.

A server has a free port of loopback and a folder of its own under the system's temporary folder, which goes when it stops for
good. It dies with the process that started it, however that one ended.
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

import pytest

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


def _sweep() -> None:
    """Removes the folders of test runs that were killed, which could not do so themselves."""
    for folder in Path(tempfile.gettempdir()).glob("starloop-[0-9]*-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


class Server:
    """One server process, with the folder and the port that it keeps over restarts."""

    name = "server"
    stop_signals: Mapping[str, signal.Signals] = {"term": signal.SIGTERM, "kill": signal.SIGKILL}
    """The ways to stop it; the first is the usual one."""

    def __init__(self) -> None:
        self.port = free_port()
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f"starloop-{os.getpid()}-{self.name}-"))
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
        wrapped = [*dies_with_its_parent(), *self.command()]

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


def dies_with_its_parent() -> list[str]:
    """What goes before a command; nothing on a system without setpriv, where only the usual end stops a server."""
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
