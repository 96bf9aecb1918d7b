"""Idempotency keys: the same outcome, request or delivery counts once, however often it arrives.

They are kept by device, so that a key lies in the same shard as the state that its event changed. Bounded in number and time.
"""

from __future__ import annotations

from star.times import DAY_MS

IDS_MAX = 1_024
"""Keys remembered of a device; the oldest is forgotten first. Bounds the shard: a key takes about 50 bytes there."""
IDS_DAYS = 400
"""How long a key is remembered, as long as the input log is kept (topics.Retention)."""


class IdempotencyKeys:
    """Keys seen, by device; "" for events of no known device."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, int]] = {}

    def register(self, device: str, key: str, at_ms: int) -> bool:
        """Whether `key` is new for the device; remembers it. at_ms: its time of arrival."""
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
        """The (key, arrival in ms) of a device, oldest first."""
        return list(self._seen.get(device, {}).items())

    def restore(self, device: str, seen: list[tuple[str, int]]) -> None:
        """Takes back what `snapshot` gave."""
        self._seen[device] = {key: int(at_ms) for key, at_ms in seen}
