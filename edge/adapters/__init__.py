"""The adapters, one file a kind of device. What ships and what a user brings comes in by the same door: `installed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from config.plugins import ADAPTERS_GROUP, Plugin, load_plugins
from edge.adapters.base import Adapter, DecodedReading
from edge.adapters.canonical import Canonical
from edge.adapters.senml import SenML
from star.errors import ConfigError, Problem, UsageError

__all__ = ["Adapter", "DecodedReading", "adapter_named", "decode", "installed_adapters"]

FALLBACK_ADAPTER = Canonical.name
"""Asked after all others: it takes, or refuses with a reason, whatever is left on telemetry topics."""


def installed_adapters() -> tuple[Adapter, ...]:
    """Every adapter in the order in which they are asked: by name, the canonical one last.

    Raises ConfigError for a plug-in that is no adapter, or that takes a name which is there already.
    """
    found: dict[str, Adapter] = {SenML.name: SenML(), Canonical.name: Canonical()}
    for plugin in load_plugins(ADAPTERS_GROUP):
        adapter: Any = plugin.loaded() if isinstance(plugin.loaded, type) else plugin.loaded
        if not isinstance(getattr(adapter, "name", None), str) or not callable(getattr(adapter, "decode", None)):
            raise _problem(
                plugin, "is no adapter: expected an object with a name and a decode(topic, payload, arrived_ms)"
            )
        own = type(found.get(adapter.name))
        if adapter.name in found and own is not type(adapter):
            raise _problem(plugin, f"is called {adapter.name!r}, as another adapter is: expected a name of its own")
        found[adapter.name] = adapter
    return tuple(sorted(found.values(), key=lambda adapter: (adapter.name == FALLBACK_ADAPTER, adapter.name)))


def _problem(plugin: Plugin, message: str) -> ConfigError:
    field = f"{ADAPTERS_GROUP}.{plugin.name}"
    return ConfigError([Problem(file=f"plug-in of {plugin.distribution}", line=None, field=field, message=message)])


def adapter_named(adapters: Sequence[Adapter], name: str) -> Adapter:
    """The adapter of that name. Raises UsageError where there is none."""
    for adapter in adapters:
        if adapter.name == name:
            return adapter
    raise UsageError(f"--adapter is {name!r}: expected one of {', '.join(sorted(a.name for a in adapters))}")


def decode(
    adapters: Sequence[Adapter], topic: str, payload: bytes, arrived_ms: int
) -> tuple[Adapter, list[DecodedReading]] | None:
    """What the first adapter that knows the topic and payload makes of them; None where none does. Raises BadPayload."""
    for adapter in adapters:
        found = adapter.decode(topic, payload, arrived_ms)
        if found is not None:
            return adapter, found
    return None
