"""Adapters: decoders of device payloads, one file for each format, loaded by entry points of the group `starloop.adapters`.

The adapters that ship are entry points of Starloop's own distribution (pyproject.toml).
"""

from __future__ import annotations

from collections.abc import Mapping

from config.plugins import ADAPTERS_GROUP, load
from edge.adapters.base import Adapter, DecodedReading
from star.errors import UsageError

__all__ = ["Adapter", "DecodedReading", "adapter_named", "decode_payload", "installed_adapters"]

FALLBACK_ADAPTER = "canonical"
"""Name of the adapter that is tried last: it accepts, or refuses with a reason, whatever is left on telemetry topics."""


def installed_adapters() -> dict[str, Adapter]:
    """Every installed adapter by name, in the order in which they are tried: alphabetical, the fallback last.

    Raises ConfigError for a plug-in that can't be loaded, is no adapter or has a name that is in use.
    """
    found: dict[str, Adapter] = load(ADAPTERS_GROUP, Adapter)  # type: ignore[type-abstract]
    if FALLBACK_ADAPTER in found:
        found[FALLBACK_ADAPTER] = found.pop(FALLBACK_ADAPTER)
    return found


def adapter_named(adapters: Mapping[str, Adapter], name: str) -> dict[str, Adapter]:
    """The adapter of that name alone. Raises UsageError where there is none."""
    if name not in adapters:
        raise UsageError(f"--adapter is {name!r}: expected one of {', '.join(sorted(adapters))}")
    return {name: adapters[name]}


def decode_payload(
    adapters: Mapping[str, Adapter], topic: str, payload: bytes, arrived_ms: int
) -> tuple[str, list[DecodedReading]] | None:
    """Name and readings of the first adapter that recognizes topic and payload; None where none does. Raises BadPayload."""
    for name, adapter in adapters.items():
        readings = adapter.decode(topic, payload, arrived_ms)
        if readings is not None:
            return name, readings
    return None
