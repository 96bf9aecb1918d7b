"""Plug-ins: objects and folders that installed distributions provide through Python entry points.

What ships with Starloop is declared in the same way, as entry points of its own distribution (pyproject.toml), so that a
plug-in of a user can do whatever a shipped one does. This module finds, imports and type-checks plug-ins; what each group
of them is for is documented by the protocol that it is loaded as.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from star.errors import ConfigError, Problem

ADAPTERS_GROUP = "starloop.adapters"
"""Decoders of device payloads: edge.adapters.base.Adapter."""
DETECTORS_GROUP = "starloop.detectors"
"""Analyses of readings, run by the stream."""
SUPPLIERS_GROUP = "starloop.suppliers"
"""Strategies of kinds of suppliers, used by the reactor."""
CHANNELS_GROUP = "starloop.channels"
"""Ways to deliver messages, used by the reactor."""
PROFILES_GROUP = "starloop.profiles"
"""Packages with a folder of profile files, in TOML."""

OWN_DISTRIBUTION = "starloop"
"""Name of the distribution that ships the built-in plug-ins."""

T = TypeVar("T")


def load(group: str, kind: type[T], entries: Iterable[EntryPoint] | None = None) -> dict[str, T]:
    """Every plug-in of `group`, by the name of its entry point, in alphabetical order.

    An entry point names an object or a module that has the members of `kind` (a protocol or a class), or a class, which is
    called without arguments. entries: in place of the installed ones, for tests.

    Raises ConfigError, naming distribution, entry point and what was expected, for a plug-in that can't be imported or is
    no `kind`, for a name used twice, and where the built-in plug-ins are not installed.
    """
    found = _by_name(entry_points(group=group) if entries is None else entries)
    if entries is None and not any(_distribution(entry) == OWN_DISTRIBUTION for entry in found.values()):
        raise ConfigError([
            Problem(
                file=f"distribution {OWN_DISTRIBUTION}",
                line=None,
                field=group,
                message="has no entry points: expected the built-in ones. Install Starloop again (scripts/setup)",
            )
        ])  # fmt: skip
    return {name: _checked(entry, kind) for name, entry in found.items()}


@cache
def plugin_names(group: str) -> tuple[str, ...]:
    """Names of the plug-ins of `group`, in alphabetical order, without loading them. Raises ConfigError for one used twice."""
    return tuple(_by_name(entry_points(group=group)))


def profile_dirs() -> tuple[Path, ...]:
    """The folders of profiles that installed plug-ins provide, in the order of their names.

    Raises ConfigError for a package that can't be imported and for a name used twice.
    """
    folders: list[Path] = []
    for entry in _by_name(entry_points(group=PROFILES_GROUP)).values():
        try:
            folder = Path(str(files(entry.value)))
        except (ImportError, TypeError) as error:
            raise _problem(entry, f"can't be found ({error}): expected an importable package") from error
        folders.append(folder)
    return tuple(folders)


def plugin_error(group: str, name: str, message: str) -> ConfigError:
    """The error of a plug-in that was loaded and does not keep to its protocol, with its distribution and entry point."""
    return _problem(_by_name(entry_points(group=group))[name], message)


def _by_name(entries: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entries, key=lambda entry: (entry.name, entry.value)):
        if entry.name in found:
            sources = f"{_distribution(found[entry.name])} and {_distribution(entry)}"
            raise _problem(entry, f"is there twice, from {sources}: expected one")
        found[entry.name] = entry
    return found


def _checked(entry: EntryPoint, kind: type[T]) -> T:
    expected = _describe(kind)
    try:
        loaded: object = entry.load()
    except (ImportError, AttributeError) as error:
        raise _problem(entry, f"can't be loaded ({error}): expected {expected}") from error
    if isinstance(loaded, type):
        try:
            loaded = loaded()
        except TypeError as error:
            raise _problem(
                entry, f"is a class that can't be called without arguments ({error}): expected {expected}"
            ) from error
    if not _is_protocol(kind):
        if not isinstance(loaded, kind):
            raise _problem(entry, f"is of type {type(loaded).__name__}: expected {expected}")
        return loaded
    missing = [member for member in _members(kind) if not hasattr(loaded, member)]
    if missing:
        raise _problem(entry, f"({entry.value}) has no {' and no '.join(missing)}: expected {expected}")
    return loaded  # type: ignore[return-value]  # it has every member of the protocol


def _describe(kind: type[object]) -> str:
    members = f", with {', '.join(_members(kind))}" if _is_protocol(kind) else ""
    return f"an object of kind {kind.__module__}.{kind.__qualname__}{members}"


def _is_protocol(kind: type[object]) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


def _members(protocol: type[object]) -> list[str]:
    """The public members of a protocol, those of its bases included. (typing.get_protocol_members is new in Python 3.13.)"""
    bases = [base for base in protocol.__mro__ if base not in (object, Protocol, Generic)]
    names = {name for base in bases for name in (*vars(base), *inspect.get_annotations(base))}
    return sorted(name for name in names if name == "__call__" or not name.startswith("_"))


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"


def _problem(entry: EntryPoint, message: str) -> ConfigError:
    file = f"plug-in of {_distribution(entry)}"
    return ConfigError([Problem(file=file, line=None, field=f"{entry.group}.{entry.name}", message=message)])
