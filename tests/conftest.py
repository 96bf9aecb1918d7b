"""Fixtures for every test: programs and data that may not be on a user's machine, and must be in continuous integration."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _absent(what: str) -> None:
    """Skips with the reason; in continuous integration it fails, so that no test is silently lost there."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture
def program() -> Callable[[str], str]:
    """`program("mosquitto")`: the path of a program from the system's packages; skips (CI: fails) where it is not installed."""

    def find(name: str) -> str:
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if path is None:
            _absent(f"{name} is not installed: sudo apt install {name}")
        return str(path)

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

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        return port

    return find
