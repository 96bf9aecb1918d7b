"""The installed detectors, by the names of their entry points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from config.plugins import load_plugins
from star.errors import ConfigError, Problem
from stream.detectors import DetectorFactory

DETECTORS_GROUP = "starloop.detectors"
"""Entry points that name a DetectorPlugin."""


@cache
def installed_detectors() -> Mapping[str, DetectorFactory]:
    """The factory of every installed detector, in the order of names. Raises ConfigError for one that can't be loaded."""
    found: dict[str, DetectorFactory] = {}
    for plugin in load_plugins(DETECTORS_GROUP):
        make = getattr(plugin.loaded, "make_detector", None)
        if not callable(make):
            raise _problem(plugin.name, "has no function make_detector(context): expected a detector's module")
        found[plugin.name] = make
    if not found:
        raise _problem("*", "is empty: expected the built-in detectors. Install Starloop again (scripts/setup)")
    return MappingProxyType(found)


def _problem(name: str, message: str) -> ConfigError:
    return ConfigError([Problem(file="plug-ins", line=None, field=f"{DETECTORS_GROUP}.{name}", message=message)])
