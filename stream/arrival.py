"""Times of arrival: of each kind of record, and put in order where several endpoints with clocks of their own write one log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from star.records import Event, Quarantined, Record, Request
from star.repeat import Outcome
from star.sense import Readings


def arrival_ms(record: Record | Quarantined) -> int:
    """When the record arrived, ms since the epoch; the last one of readings, 0 for none."""
    if isinstance(record, Readings):
        return int(record.arrived_ms[-1]) if len(record) else 0
    return record.arrived_ms if isinstance(record, Outcome) else record.at_ms


class ArrivalClock:
    """The latest time of arrival so far: `latest_ms`, which never goes back."""

    def __init__(self) -> None:
        self.latest_ms = 0

    def advance(self, at_ms: int) -> int:
        """Moves to `at_ms` where that is later; the latest time."""
        self.latest_ms = max(self.latest_ms, at_ms)
        return self.latest_ms

    def order_readings(self, readings: Readings) -> Readings:
        """The readings, one or more, with times of arrival that never go back."""
        arrived_ms = readings.arrived_ms
        if arrived_ms[0] < self.latest_ms or (arrived_ms[1:] < arrived_ms[:-1]).any():
            arrived_ms = np.maximum(np.maximum.accumulate(arrived_ms), self.latest_ms)
            readings = replace(readings, arrived_ms=arrived_ms)
        self.latest_ms = int(arrived_ms[-1])
        return readings

    def order_event(self, event: Event) -> Event:
        """The event, not arrived before what came earlier. One that goes to all partitions keeps its time, the same in each."""
        if isinstance(event, Outcome):
            at_ms = self.advance(event.arrived_ms)
            return event if event.arrived_ms == at_ms else replace(event, arrived_ms=at_ms)
        if isinstance(event, Request):
            at_ms = self.advance(event.at_ms)
            return event if event.at_ms == at_ms else replace(event, at_ms=at_ms)
        return event
