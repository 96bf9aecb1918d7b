"""Ids of events that were taken already: the same outcome, request or delivery twice counts once.

Kept by device, so that they lie in the block of what the event changed. Bounded in number and in time.
"""

from __future__ import annotations

from star.times import DAY_MS

IDS_MAX = 1_024
"""Ids remembered of a device; the oldest is forgotten first."""
IDS_DAYS = 400
"""And for how long."""


class IdempotencyKeys:
    """What was taken, by device."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, int]] = {}

    def register(self, device: str, key: str, at_ms: int) -> bool:
        """Whether `key` is new for the device; remembers it with its time of arrival."""
        seen = self._seen.setdefault(device, {})
        if key in seen:
            return False
        seen[key] = at_ms
        oldest = next(iter(seen))
        while len(seen) > IDS_MAX or seen[oldest] < at_ms - IDS_DAYS * DAY_MS:
            del seen[oldest]
            oldest = next(iter(seen))
        return True

    def snapshot(self, device: str) -> list[tuple[str, int]]:
        """What is remembered of a device, oldest first, for a checkpoint."""
        return list(self._seen.get(device, {}).items())

    def restore(self, device: str, seen: list[tuple[str, int]]) -> None:
        """Takes back what `of` gave."""
        self._seen[device] = {key: int(at_ms) for key, at_ms in seen}
