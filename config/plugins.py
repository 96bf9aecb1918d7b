"""Plug-ins: adapters for kinds of devices, and folders of profiles, from whatever is installed beside Starloop.

A plug-in is found by Python's entry points. What ships goes in by the same door: the adapters that come with Starloop are
entry points of its own distribution. Whether an object is a good adapter is for edge/adapters to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path

from star.errors import ConfigError, Problem

ADAPTERS_GROUP = "starloop.adapters"
"""Entry points that name an adapter: a callable (topic, payload, received_at) -> readings."""
PROFILES_GROUP = "starloop.profiles"
"""Entry points that name a package with a folder of profiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """Something that an installed distribution brings: the entry point's name, the object, who brought it."""

    name: str
    loaded: object
    distribution: str


def load_plugins(group: str) -> Iterator[Plugin]:
    """The plug-ins of `group`, by name. Raises ConfigError, naming the distribution, for one that can't be loaded."""
    seen_names: dict[str, str] = {}
    for entry in sorted(entry_points(group=group), key=lambda one: (one.name, one.value)):
        source = _distribution(entry)
        if entry.name in seen_names:
            raise _problem(entry, f"is there twice, from {seen_names[entry.name]} and {source}: expected one")
        seen_names[entry.name] = source
        yield Plugin(name=entry.name, loaded=_load(entry), distribution=source)


def profile_dirs() -> tuple[Path, ...]:
    """The folders of profiles that installed plug-ins bring, by name of the plug-in."""
    folders: list[Path] = []
    for entry in sorted(entry_points(group=PROFILES_GROUP), key=lambda one: one.name):
        try:
            folder = Path(str(files(entry.value)))
        except (ImportError, TypeError) as error:
            raise _problem(entry, f"can't be found ({error}): expected an importable package") from error
        folders.append(folder)
    return tuple(folders)


def _load(entry: EntryPoint) -> object:
    try:
        thing: object = entry.load()
    except (ImportError, AttributeError) as error:
        raise _problem(entry, f"can't be loaded ({error}): expected an importable object") from error
    return thing


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"


def _problem(entry: EntryPoint, message: str) -> ConfigError:
    file = f"plug-in of {_distribution(entry)}"
    return ConfigError([Problem(file=file, line=None, field=f"{entry.group}.{entry.name}", message=message)])
