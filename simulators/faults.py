"""Faults between a device and the service: each maps a message to none, one or several, with its own random numbers and state.

They compose: `FaultChain` passes each message through all of them in order, and returns messages in order of arrival. A fault reads
no clock; it knows the time from the messages only. Episodes of a fault have random numbers of their own, so that they do not depend
on how often a device reports.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from star.times import DAY_MS, HOUR_MS, MINUTE_MS

EXEMPT_VALUES = frozenset({"temperature"})
"""Names of values that faults of values do not change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMessage:
    """A message of a device: times of sending and arrival, topic, and payload (a JSON object)."""

    sent_ms: int
    arrive_ms: int
    topic: str
    payload: dict[str, Any]

    def delayed_by(self, delay_ms: int) -> DeviceMessage:
        """The same message, arriving later."""
        return replace(self, arrive_ms=self.arrive_ms + delay_ms)

    def with_values(self, values: dict[str, float]) -> DeviceMessage:
        """The same message with other values."""
        return replace(self, payload=self.payload | {"values": values})


class Fault(Protocol):
    """One kind of fault."""

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        """The messages that `message` becomes. Called in order of sent_ms."""
        ...


class FaultChain:
    """A sequence of faults, and the messages in flight."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = tuple(faults)
        self._in_flight: list[tuple[int, int, DeviceMessage]] = []
        self._count = 0

    def send(self, message: DeviceMessage) -> None:
        """Sends a message. Called in order of sent_ms."""
        messages = [message]
        for fault in self._faults:
            messages = [after for before in messages for after in fault.apply(before)]
        for one in messages:
            heapq.heappush(self._in_flight, (one.arrive_ms, self._count, one))
            self._count += 1

    def pop_arrived(self, to_ms: int) -> list[DeviceMessage]:
        """The messages that arrive by `to_ms`, in order of arrival."""
        out = []
        while self._in_flight and self._in_flight[0][0] <= to_ms:
            out.append(heapq.heappop(self._in_flight)[2])
        return out

    def send_all(self, messages: Iterable[DeviceMessage]) -> list[DeviceMessage]:
        """Sends all messages; those that arrive, in order of arrival."""
        for message in messages:
            self.send(message)
        return self.pop_arrived(2**62)


class MessageLoss:
    """Loses a share of messages."""

    def __init__(self, rng: np.random.Generator, share: float) -> None:
        self._rng, self._share = rng, share

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        return [] if self._rng.random() < self._share else [message]


class Duplicate:
    """Duplicates a share of messages, the copy up to `later_ms` later."""

    def __init__(self, rng: np.random.Generator, share: float, later_ms: int = 10 * MINUTE_MS) -> None:
        self._rng, self._share, self._later_ms = rng, share, later_ms

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        if self._rng.random() >= self._share:
            return [message]
        return [message, message.delayed_by(int(self._rng.integers(0, self._later_ms + 1)))]


class Delay:
    """Delays every message by an exponentially distributed time, so that some overtake others."""

    def __init__(self, rng: np.random.Generator, mean_ms: float) -> None:
        self._rng, self._mean_ms = rng, mean_ms

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        return [message.delayed_by(int(self._rng.exponential(self._mean_ms)))]


class Reorder:
    """Holds back a share of messages for up to `hold_ms`, so that later ones arrive first."""

    def __init__(self, rng: np.random.Generator, share: float, hold_ms: int = 6 * HOUR_MS) -> None:
        self._rng, self._share, self._hold_ms = rng, share, hold_ms

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        held = self._rng.random() < self._share
        return [message.delayed_by(int(self._rng.integers(1, self._hold_ms + 1)))] if held else [message]


class _FaultEpisodes:
    """Episodes of a fault: a Poisson process of `per_year`, with exponentially distributed durations of mean `mean_ms`."""

    def __init__(self, rng: np.random.Generator, per_year: float, mean_ms: float) -> None:
        self._rng = np.random.default_rng(rng.integers(0, 2**63))  # independent of the fault's other draws
        self._gap_ms, self._mean_ms = 365.25 * DAY_MS / max(per_year, 1e-9), mean_ms
        self._start_ms: float | None = None
        self._end_ms = 0.0

    def end_of(self, at_ms: int) -> int | None:
        """The end of the episode that contains `at_ms`, or None outside of one. Called with non-decreasing times."""
        if self._start_ms is None:
            self._schedule_next(at_ms)
        while at_ms >= self._end_ms:
            self._schedule_next(self._end_ms)
        return int(self._end_ms) if self._start_ms is not None and at_ms >= self._start_ms else None

    def _schedule_next(self, after_ms: float) -> None:
        self._start_ms = after_ms + self._rng.exponential(self._gap_ms)
        self._end_ms = self._start_ms + self._rng.exponential(self._mean_ms) + 1.0


class Offline:
    """Episodes without a connection. Messages arrive at its end, shuffled within a minute, or without `backfill` never."""

    def __init__(
        self,
        rng: np.random.Generator,
        per_year: float,
        mean_ms: float = 2.0 * DAY_MS,
        *,
        backfill: bool = True,
        shuffled: bool = True,
    ) -> None:
        self._rng, self._backfill, self._shuffled = rng, backfill, shuffled
        self._episodes = _FaultEpisodes(rng, per_year, mean_ms)

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        end_ms = self._episodes.end_of(message.sent_ms)
        if end_ms is None:
            return [message]
        if not self._backfill:
            return []
        spread_ms = int(self._rng.integers(0, MINUTE_MS)) if self._shuffled else 0
        return [replace(message, arrive_ms=end_ms + 1 + spread_ms)]


class Stuck:
    """Episodes in which every value repeats the first one of the episode."""

    def __init__(self, rng: np.random.Generator, per_year: float, mean_ms: float = 7.0 * DAY_MS) -> None:
        self._episodes = _FaultEpisodes(rng, per_year, mean_ms)
        self._held: dict[str, float] = {}

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        values = message.payload["values"]
        if self._episodes.end_of(message.sent_ms) is None:
            self._held = {}
            return [message]
        self._held = values | self._held
        return [message.with_values({name: self._held[name] for name in values})]


class Drift:
    """Linear drift of values from the first message on: `share_per_day` of `span` per day."""

    def __init__(self, span: float, share_per_day: float) -> None:
        self._span, self._share, self._first_ms = span, share_per_day, -1

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        if self._first_ms < 0:
            self._first_ms = message.sent_ms
        off = self._span * self._share * (message.sent_ms - self._first_ms) / DAY_MS
        values = message.payload["values"]
        return [message.with_values({k: v if k in EXEMPT_VALUES else v + off for k, v in values.items()})]


class Spikes:
    """Replaces the values of a share of messages by outliers: 0, `span`, or a random value between and slightly beyond."""

    def __init__(self, rng: np.random.Generator, share: float, span: float) -> None:
        self._rng, self._share, self._span = rng, share, span

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        if self._rng.random() >= self._share:
            return [message]
        wrong = float(self._rng.choice([0.0, self._span, self._span * self._rng.uniform(-0.2, 1.5)]))
        values = message.payload["values"]
        return [message.with_values({k: v if k in EXEMPT_VALUES else wrong for k, v in values.items()})]


class ClockSkew:
    """A wrong clock of the device: an offset, and a drift of `per_day_ms` per day."""

    def __init__(self, offset_ms: int, per_day_ms: float = 0.0) -> None:
        self._offset_ms, self._per_day_ms, self._first_ms = offset_ms, per_day_ms, -1

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        if self._first_ms < 0:
            self._first_ms = message.sent_ms
        off_ms = self._offset_ms + self._per_day_ms * (message.sent_ms - self._first_ms) / DAY_MS
        return [replace(message, payload=message.payload | {"at": message.payload["at"] + round(off_ms) / 1000})]


class CounterResets:
    """Restarts of the device, `per_year`: running totals and sequence numbers start from 0, and the boot counter increases."""

    def __init__(self, rng: np.random.Generator, per_year: float) -> None:
        self._rng, self._gap_ms = rng, 365.25 * DAY_MS / max(per_year, 1e-9)
        self._next_ms = -1.0
        self._resets = 0
        self._first_seq: int | None = None
        self._before: dict[str, float] = {}
        self._latest: dict[str, float] = {}

    def apply(self, message: DeviceMessage) -> list[DeviceMessage]:
        if self._next_ms < 0:
            self._next_ms = message.sent_ms + self._rng.exponential(self._gap_ms)
        payload = message.payload
        if message.sent_ms >= self._next_ms:
            self._next_ms = message.sent_ms + self._rng.exponential(self._gap_ms)
            self._resets += 1
            self._first_seq = payload.get("seq")
            self._before = dict(self._latest)
        totals = {name: value for name, value in payload["values"].items() if name.endswith("_total")}
        self._latest |= totals
        if not self._resets:
            return [message]
        counted = {name: round(value - self._before.get(name, 0.0), 6) for name, value in totals.items()}
        changed = payload | {"values": payload["values"] | counted}
        if "boot" in payload:
            changed["boot"] = payload["boot"] + self._resets
        if self._first_seq is not None:
            changed["seq"] = payload["seq"] - self._first_seq
        return [replace(message, payload=changed)]
