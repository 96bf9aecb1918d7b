"""The machine: Python, the packages that Starloop needs, time zones, the clock, limits on open files."""

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
SQLITE_MIN = (3, 35, 0)
CLOCK_EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
"""No clock that is right shows an earlier time."""
RESERVED_OPEN_FILES = 200
"""Open files that the service needs for itself."""

_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?P<bound>(?:>=|==)\s*[0-9.]+)?")


def machine_findings(settings: Settings, now: datetime) -> Iterator[Finding]:
    """All of them. now: aware, by this machine's clock."""
    yield python_finding(sys.version_info[:3])
    yield sqlite_finding(sqlite3.sqlite_version_info)
    yield packages_finding(requires("starloop") or [])
    yield time_zone_finding()
    yield clock_finding(now)
    yield open_files_finding(settings.connections_max, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def python_finding(found: tuple[int, ...]) -> Finding:
    """Whether this Python will do."""
    text = ".".join(map(str, found))
    least, most = (".".join(map(str, one)) for one in PYTHON_TESTED)
    if found[:2] < PYTHON_MIN:
        return fail("python", text, f"install Python {least} or newer, and Starloop into it")
    if found[:2] > PYTHON_TESTED[1]:
        return warn("python", f"{text}, newer than what is tested", f"use Python {least} to {most} if anything is odd")
    return ok("python", text)


def sqlite_finding(found: tuple[int, ...]) -> Finding:
    """Whether the SQLite that Python brings will do for the log and the store."""
    text = ".".join(map(str, found))
    if found < SQLITE_MIN:
        return fail("sqlite", text, f"use a Python built with SQLite {'.'.join(map(str, SQLITE_MIN))} or newer")
    return ok("sqlite", text)


def packages_finding(requirements: list[str]) -> Finding:
    """Whether everything is installed that Starloop's own metadata asks for, new enough."""
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
            wrong.append(f"{name} is {found}, needs {bound}")
    if wrong:
        return fail("packages", "; ".join(wrong), "install again: pip install --force-reinstall starloop")
    return ok("packages", f"{len(needed)} installed, all new enough")


def time_zone_finding() -> Finding:
    """Whether this machine knows time zones: quiet hours and budgets are in the customer's."""
    try:
        ZoneInfo("Europe/Paris")
    except ZoneInfoNotFoundError:
        return fail("time zones", "Europe/Paris is not known", "install the system's tzdata, or `pip install tzdata`")
    return ok("time zones", "known")


def clock_finding(now: datetime) -> Finding:
    """Whether the clock shows a time that can be."""
    text = now.isoformat(timespec="seconds")
    if now < CLOCK_EARLIEST:
        return fail("clock", f"shows {text}", "set it (timedatectl set-ntp true): readings are dated by it")
    return ok("clock", f"shows {text}")


def open_files_finding(connections_max: int, files_max: int) -> Finding:
    """Whether as many connections fit as the settings allow."""
    need = connections_max + RESERVED_OPEN_FILES
    if files_max != resource.RLIM_INFINITY and files_max < need:
        said = f"{files_max} may be open, {need} are needed for STARLOOP_CONNECTIONS_MAX={connections_max}"
        return warn("open files", said, f"ulimit -n {need} (systemd: LimitNOFILE={need}), or set it lower")
    return ok("open files", f"{'any number' if files_max == resource.RLIM_INFINITY else files_max} may be open")


def _satisfies(found: str, bound: str) -> bool:
    have, want = _numbers(found), _numbers(bound[2:])
    return have == want if bound.startswith("==") else have >= want


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(one) for one in re.findall(r"\d+", text.split("+")[0])[:3])
    return (*numbers, 0, 0, 0)[:3]
