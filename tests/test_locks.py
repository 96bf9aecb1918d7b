"""The locks: closed, so that an installation asks for nothing that they do not name, whatever has been published since.

pip refuses, with hashes, a requirement that no line of the lock pins with its extras; and what a lock leaves open is, on a
later day, answered by a newer package. What the packages ask for is read from their metadata, as installed here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path

import pytest
from hatchling.build import get_requires_for_build_editable, get_requires_for_build_wheel
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from operations.diagnostics.machine import PYTHON_TESTED

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = tuple(f"3.{minor}" for minor in range(PYTHON_TESTED[0][1], PYTHON_TESTED[1][1] + 1))
PATCHES = (0, 99)
"""The first release of a Python and a late one: markers may tell them apart."""
LOCKS = tuple(f"requirements{kind}.lock" for kind in ("", "-dev", "-build", "-uv"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One package of a lock."""

    name: str
    version: str
    extras: frozenset[str]
    marker: Marker | None
    hashes: int


def pins(text: str) -> list[Pin]:
    """The packages of a lock."""
    found: list[Pin] = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text.replace("\\\n", " ")):
        line = entry.split("\n")[0]
        asked = Requirement(line.split("--hash")[0].strip())
        (pinned,) = asked.specifier
        assert pinned.operator == "==", line
        extras = frozenset(map(canonicalize_name, asked.extras))
        name, hashes = canonicalize_name(asked.name), line.count("--hash=sha256:")
        found.append(Pin(name=name, version=pinned.version, extras=extras, marker=asked.marker, hashes=hashes))
    return found


def machine(full: str) -> dict[str, str]:
    """What markers ask of a Linux machine with that Python."""
    return {
        "implementation_name": "cpython", "implementation_version": full, "os_name": "posix", "platform_machine": "x86_64",
        "platform_python_implementation": "CPython", "platform_release": "6.1.0", "platform_system": "Linux",
        "platform_version": "#1 SMP",
        "python_full_version": full, "python_version": full.rpartition(".")[0], "sys_platform": "linux",
    }  # fmt: skip


def holds(marker: Marker | None, python: str, extras: Iterable[str] = ()) -> bool:
    """Whether a marker holds there, with any of the extras or none."""
    return marker is None or any(marker.evaluate({**machine(python), "extra": extra}) for extra in ("", *extras))


@cache
def asked_by(name: str, version: str) -> tuple[Requirement, ...]:
    """The requirements of an installed package; none where the lock means another version, for another Python."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return ()
    return tuple(map(Requirement, found.requires or ())) if Version(found.version) == Version(version) else ()


def open_ends(locked: list[Pin], asked: Iterable[tuple[str, Requirement]], python: str) -> Iterator[str]:
    """`who: requirement` for each requirement that no package of the lock meets on that Python.

    Every package of the lock asks as well, with the extras that the lock names.
    """
    here = [pin for pin in locked if holds(pin.marker, python)]
    by_packages = (
        (pin.name, requirement)
        for pin in here
        for requirement in asked_by(pin.name, pin.version)
        if holds(requirement.marker, python, pin.extras)
    )
    for who, requirement in chain(asked, by_packages):
        name, extras = canonicalize_name(requirement.name), set(map(canonicalize_name, requirement.extras))
        met = any(
            pin.name == name and extras <= pin.extras and requirement.specifier.contains(pin.version, True)
            for pin in here
        )
        if not met:
            yield f"{who}: {requirement}"


def asked_by_us(lock: str) -> list[tuple[str, Requirement]]:
    """What pyproject.toml says that a lock is for; extras of our own are replaced by what they are made of."""
    extras = PROJECT["project"]["optional-dependencies"]
    of_lock = {
        "requirements.lock": PROJECT["project"]["dependencies"],
        "requirements-dev.lock": [*PROJECT["project"]["dependencies"], *extras["dev"]],
        "requirements-build.lock": [
            *PROJECT["build-system"]["requires"], *get_requires_for_build_editable(), *get_requires_for_build_wheel(),
        ],
        "requirements-uv.lock": ["uv"],
    }  # fmt: skip
    found: list[tuple[str, Requirement]] = []
    for requirement in map(Requirement, of_lock[lock]):
        ours = requirement.name == PROJECT["project"]["name"]
        made_of = [one for extra in requirement.extras for one in extras[extra]] if ours else [str(requirement)]
        found += [("pyproject.toml", Requirement(one)) for one in made_of]
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_leaves_nothing_to_be_looked_up(lock: str, python: str) -> None:
    """Each requirement of pyproject.toml and of every locked package, extras included, is met by the lock alone."""
    locked = pins((ROOT / lock).read_text())
    for patch in PATCHES:
        assert list(open_ends(locked, asked_by_us(lock), f"{python}.{patch}")) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("coverage[toml]==", "coverage=="), "pytest-cov: coverage[toml]"),
        (("psycopg[binary]==", "psycopg=="), "pyproject.toml: psycopg[binary]"),
        (("\niniconfig==", "\nzzz=="), "pytest: iniconfig"),
        (("\npluggy==1", "\npluggy==0"), "pytest: pluggy"),
        (("python_full_version < '3.12'", "python_full_version < '3.11'"), "pyproject.toml: numpy"),
    ],
)
def test_a_lock_with_a_gap_is_found_out(change: tuple[str, str], found: str) -> None:
    """Extras stripped, a package left out, too old a one, one that is not for this Python: each names who asks for what."""
    text = (ROOT / "requirements-dev.lock").read_text()
    assert change[0] in text
    ends = list(open_ends(pins(text.replace(*change)), asked_by_us("requirements-dev.lock"), "3.11.2"))
    assert any(end.startswith(found) for end in ends), ends


def test_what_the_locks_name_is_what_is_installed_here() -> None:
    """So that the requirements looked at above are those of the very versions that are locked."""
    differs: list[str] = []
    for lock in ("requirements-dev.lock", "requirements-build.lock"):
        for pin in pins((ROOT / lock).read_text()):
            if pin.marker is None or pin.marker.evaluate():
                found = distribution(pin.name).version
                differs += (
                    [] if Version(found) == Version(pin.version) else [f"{pin.name} {found}, locked {pin.version}"]
                )
    assert differs == []


def test_every_locked_package_has_hashes_and_no_index_is_named() -> None:
    """Whoever installs takes the index that they use, and gets the same files from it."""
    for lock in LOCKS:
        text = (ROOT / lock).read_text()
        assert [pin.name for pin in pins(text) if pin.hashes == 0] == [], lock
        assert re.findall(r"^--\S+|\S+://\S+", text, re.MULTILINE) == [], lock


def test_locks_that_are_installed_together_agree() -> None:
    """A package has one version for a Python, whichever lock names it."""
    for python in PYTHONS:
        together: dict[str, set[str]] = {}
        for pin in chain.from_iterable(pins((ROOT / lock).read_text()) for lock in LOCKS):
            if holds(pin.marker, f"{python}.{PATCHES[0]}"):
                together.setdefault(pin.name, set()).add(pin.version)
        assert {name: versions for name, versions in together.items() if len(versions) > 1} == {}


def test_one_range_of_pythons_is_declared_everywhere() -> None:
    """pyproject.toml, its classifiers, `starloop doctor`, scripts/setup and scripts/lock speak of the same Pythons."""
    least, most = PYTHON_TESTED
    project = PROJECT["project"]
    assert project["requires-python"] == f">={least[0]}.{least[1]},<{most[0]}.{most[1] + 1}"
    prefix = "Programming Language :: Python :: "
    named = [one.removeprefix(prefix) for one in project["classifiers"] if one.startswith(prefix)]
    assert tuple(named) == PYTHONS
    setup = (ROOT / "scripts" / "setup").read_text()
    assert f"{least} <= sys.version_info[:2] <= {most}" in setup
    assert f"needs Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}" in setup
    assert f"oldest={PYTHONS[0]}\n" in (ROOT / "scripts" / "lock").read_text()
