"""The installed detectors, by the names of their entry points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from config.plugins import DETECTORS_GROUP, load
from stream.detectors import DetectorFactory, DetectorPlugin


@cache
def installed_detectors() -> Mapping[str, DetectorFactory]:
    """The factory of every installed detector, in the order of names. Raises ConfigError for one that can't be loaded."""
    plugins: dict[str, DetectorPlugin] = load(DETECTORS_GROUP, DetectorPlugin)  # type: ignore[type-abstract]
    return MappingProxyType({name: plugin.make_detector for name, plugin in plugins.items()})
