"""The adapters, one file a kind of device. What ships and what a user brings comes in by the same door: `shipped`."""

from __future__ import annotations

from collections.abc import Sequence

from edge.adapters.base import Adapter, Decoded
from edge.adapters.canonical import Canonical
from star.errors import UsageError

__all__ = ["Adapter", "Decoded", "adapter_named", "decode", "shipped"]


def shipped() -> tuple[Adapter, ...]:
    """The adapters in the order in which they are asked: the canonical one takes what is left on telemetry topics."""
    return (Canonical(),)


def adapter_named(adapters: Sequence[Adapter], name: str) -> Adapter:
    """The adapter of that name. Raises UsageError where there is none."""
    for adapter in adapters:
        if adapter.name == name:
            return adapter
    raise UsageError(f"--adapter is {name!r}: expected one of {', '.join(sorted(a.name for a in adapters))}")


def decode(
    adapters: Sequence[Adapter], topic: str, payload: bytes, arrived_ms: int
) -> tuple[Adapter, list[Decoded]] | None:
    """What the first adapter that knows the topic and payload makes of them; None where none does. Raises BadPayload."""
    for adapter in adapters:
        found = adapter.decode(topic, payload, arrived_ms)
        if found is not None:
            return adapter, found
    return None
