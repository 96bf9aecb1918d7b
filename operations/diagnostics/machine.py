"""Checks of the machine: Python, SQLite, installed packages, time zones, clock, open file limit."""

from __future__ import annotations

import re
import resource
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok, warn

PYTHON_MIN = (3, 11)
PYTHON_TESTED = (3, 11), (3, 13)
"""Oldest and newest Python of the test matrix."""
SQLITE_MIN = (3, 35, 0)
"""Oldest supported SQLite: every supported distribution has a newer one."""
CLOCK_EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
"""A clock that shows an earlier time is wrong: no release is older."""
RESERVED_OPEN_FILES = 200
"""Open files besides MQTT connections: databases, HTTP connections, log files; an upper estimate."""

_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?P<bound>(?:>=|==)\s*[0-9.]+)?")


def machine_findings(settings: Settings, now: datetime) -> Iterator[Finding]:
    """All findings of the machine. now: aware, by the clock of this machine."""
    yield python_finding(sys.version_info[:3])
    yield sqlite_finding(sqlite3.sqlite_version_info)
    yield packages_finding(requires("starloop") or [])
    yield time_zone_finding()
    yield clock_finding(now)
    yield open_files_finding(settings.connections_max, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def python_finding(found: tuple[int, ...]) -> Finding:
    """Whether this Python version is supported."""
    text = ".".join(map(str, found))
    least, most = (".".join(map(str, one)) for one in PYTHON_TESTED)
    if found[:2] < PYTHON_MIN:
        return fail("python", text, f"install Python {least} or newer, and Starloop into it")
    if found[:2] > PYTHON_TESTED[1]:
        return warn(
            "python", f"{text}, newer than the tested versions", f"use Python {least} to {most} if problems occur"
        )
    return ok("python", text)


def sqlite_finding(found: tuple[int, ...]) -> Finding:
    """Whether the SQLite of this Python is new enough for the log and the store."""
    text = ".".join(map(str, found))
    if found < SQLITE_MIN:
        return fail("sqlite", text, f"use a Python built with SQLite {'.'.join(map(str, SQLITE_MIN))} or newer")
    return ok("sqlite", text)


def packages_finding(requirements: list[str]) -> Finding:
    """Whether all packages that Starloop requires are installed in a sufficient version."""
    wrong: list[str] = []
    needed = [one for one in requirements if "extra ==" not in one]
    for one in needed:
        parsed = _REQUIREMENT.match(one)
        if parsed is None:
            continue
        name, bound = parsed["name"], (parsed["bound"] or "").replace(" ", "")
        try:
            found = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if bound and not _satisfies(found, bound):
            wrong.append(f"{name} is {found}, expected {bound}")
    if wrong:
        return fail("packages", "; ".join(wrong), "reinstall: pip install --force-reinstall starloop")
    return ok("packages", f"{len(needed)} installed in a sufficient version")


def time_zone_finding() -> Finding:
    """Whether time zone data is installed, which quiet hours and budgets of customers need."""
    try:
        ZoneInfo("Europe/Paris")
    except ZoneInfoNotFoundError:
        return fail("time zones", "Europe/Paris is unknown", "install the system's tzdata, or `pip install tzdata`")
    return ok("time zones", "installed")


def clock_finding(now: datetime) -> Finding:
    """Whether the clock shows a plausible time."""
    text = now.isoformat(timespec="seconds")
    if now < CLOCK_EARLIEST:
        return fail("clock", f"shows {text}", "set it (timedatectl set-ntp true): it dates the readings")
    return ok("clock", f"shows {text}")


def open_files_finding(connections_max: int, files_max: int) -> Finding:
    """Whether the open file limit allows the configured number of connections."""
    need = connections_max + RESERVED_OPEN_FILES
    if files_max != resource.RLIM_INFINITY and files_max < need:
        said = f"limit {files_max}, but STARLOOP_CONNECTIONS_MAX={connections_max} needs {need}"
        return warn("open files", said, f"ulimit -n {need} (systemd: LimitNOFILE={need}), or lower the setting")
    return ok("open files", f"limit {'none' if files_max == resource.RLIM_INFINITY else files_max}")


def _satisfies(found: str, bound: str) -> bool:
    have, want = _numbers(found), _numbers(bound[2:])
    return have == want if bound.startswith("==") else have >= want


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(one) for one in re.findall(r"\d+", text.split("+")[0])[:3])
    return (*numbers, 0, 0, 0)[:3]
