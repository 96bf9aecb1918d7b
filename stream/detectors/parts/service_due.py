"""The service-due detector: parts whose service intervals end, by a count or by the calendar, whichever comes first.

A count is the use of a slot, or `<counter>_used` and `<counter>_total` of the device where no slot has that name; such a
counter is a row of the slots' table without a forecast of its own. An interval starts at the last service, or at the first
reading of the device. The forecast of a count is its rate with the variation of its days; the calendar is certain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.catalogue import PartItem
from config.profile_schema import ServiceInterval
from star.analyse import DAYS_MAX, DetectedNeed, Forecast, NeedKind, RefillStage, RefillUpdate
from star.errors import InputError
from star.quantiles import Z_EXACT
from star.times import DAY_MS
from stream.detectors import (
    Detector,
    DetectorContext,
    EvaluationTick,
    Findings,
    FleetView,
    ItemEvent,
    Metric,
    Route,
    RoutedReadings,
)
from stream.detectors.slots.slot_parameters import ACTIVE_COUNTER, RATE_UNKNOWN_DAYS, apply_fleet
from stream.detectors.slots.slot_readings import ingest_readings, route_to_slot
from stream.detectors.slots.state_schema import (
    ACCEPTED_READINGS,
    COMPLETE_DAYS,
    CUMULATIVE_USE,
    DIRTY,
    F_ACTIVE,
    LAST_MS,
    LAST_VALUE,
    RATE,
    RATE_VARIANCE,
    Float64,
    SlotState,
)
from stream.state.state_table import MatrixSpec, Rows, Table

DUE_DAYS = 14.0
DUE_SHARE = 0.9
"""A part is in the net when it is due within so many days at the median, or so much of an interval is used."""
INTERVALS_MAX = 8
"""Of a part; one with a count and days is two."""
MODEL = "service-due@1:arithmetic"
SERVICE_RESULTS = ("done", "serviced")
"""Results of outcomes that declare a service of a part."""

_NORMAL_QUANTILES = np.array(list(Z_EXACT.values()))

PART_STATE_NAMES = (
    "interval_start_ms",
    "evaluated_ms",
    "next_evaluation_ms",
    "dirty",
    *(f"counter_base_{n}" for n in range(INTERVALS_MAX)),
)
INTERVAL_START_MS, EVALUATED_MS, NEXT_EVALUATION_MS, PART_DIRTY, COUNTER_BASE = 0, 1, 2, 3, 4
FORMER_PART_NAMES = {
    "since_ms": "interval_start_ms",
    "look_ms": "evaluated_ms",
    "wake_ms": "next_evaluation_ms",
    "fresh": "dirty",
    **{f"base_{n}": f"counter_base_{n}" for n in range(INTERVALS_MAX)},
}
"""Names of columns in state of format 1."""


class ServiceDueDetector(Detector):
    """Forecasts when parts with intervals are due for service."""

    def __init__(self, context: DetectorContext) -> None:
        self.slots = context.shared(SlotState)
        self._emit = context.emit_refill
        spec = MatrixSpec(name="part", names=PART_STATE_NAMES, fill=0.0, renamed=FORMER_PART_NAMES)
        self.table = Table("parts", [spec])
        self._parts: Mapping[str, PartItem] = {}
        self._items: dict[int, PartItem] = {}
        self._counter = np.empty((0, INTERVALS_MAX), dtype=np.intp)  # slots' row, -1: the calendar, -2: none
        self._limit = np.empty((0, INTERVALS_MAX))
        self._evaluate_every_ms = np.empty(0)
        self._causes: dict[int, list[str]] = {}
        self._rows_of_device: dict[int, list[int]] = {}
        self._observed = np.empty(0, dtype=np.bool_)

    def tables(self) -> Sequence[Table]:
        """Parts; their counters are rows of the slots' table."""
        return (self.table,)

    def snapshot(self, device_row: int) -> Mapping[str, Any]:
        """Empty: all state is in the table."""
        return {}

    def set_fleet(self, fleet: FleetView) -> None:
        """Rows of the fleet's parts with intervals, and of their counters. Raises InputError for too many intervals."""
        apply_fleet(self.slots, fleet)
        self._parts = fleet.catalogue.parts
        self._items.clear()
        self._rows_of_device.clear()
        for key, item in sorted(self._parts.items()):
            if item.intervals:
                device = fleet.device_rows[item.device]
                row = self.table.add(key, device)
                self._items[row] = item
                self._rows_of_device.setdefault(device, []).append(row)
        self._observed = np.zeros(len(fleet.device_rows), dtype=np.bool_)
        for device, rows in self._rows_of_device.items():
            self._observed[device] = bool((self.table["part"][rows, INTERVAL_START_MS] > 0.0).all())
        self._set_limits()

    def _set_limits(self) -> None:
        count = len(self.table)
        self._counter = np.full((count, INTERVALS_MAX), -2, dtype=np.intp)
        self._limit = np.ones((count, INTERVALS_MAX))
        self._evaluate_every_ms = np.zeros(count)
        for row, item in self._items.items():
            self._evaluate_every_ms[row] = item.look_every_s * 1000.0
            causes = self._causes[row] = []
            for interval in item.intervals:
                for counter, limit in self._limits_of(item, interval):
                    if len(causes) == INTERVALS_MAX:
                        raise InputError(f"{item.key}: has more than {INTERVALS_MAX} intervals: expected no more")
                    self._counter[row, len(causes)], self._limit[row, len(causes)] = counter, limit
                    causes.append(interval.cause)

    def _limits_of(self, item: PartItem, interval: ServiceInterval) -> list[tuple[int, float]]:
        """The (slots' row or -1, limit) that an interval may end by."""
        limits: list[tuple[int, float]] = []
        if interval.counter is not None and interval.limit is not None:
            limits.append((self.slots.table.row(f"{item.device}/{interval.counter}"), interval.limit))
        if interval.days is not None:
            limits.append((-1, interval.days))
        return limits

    def route(self, metric: Metric) -> Route | None:
        """Counters that no slot has."""
        found = route_to_slot(self.slots, metric)
        return found if found is not None and self.slots.fixed[found.row, F_ACTIVE] == ACTIVE_COUNTER else None

    def take(self, readings: RoutedReadings) -> None:
        """Updates counters."""
        ingest_readings(self.slots, readings)

    def observe_devices(self, device_rows: Rows, arrived_ms: NDArray[np.int64]) -> None:
        """The intervals of new parts start at the first reading of their device."""
        if not self._rows_of_device or self._observed[device_rows].all():
            return
        new, first = np.unique(device_rows, return_index=True)
        for row_of_device, at in zip(new.tolist(), first.tolist(), strict=True):
            if not self._observed[row_of_device]:
                self._observed[row_of_device] = True
                for row in self._rows_of_device.get(row_of_device, ()):
                    if self.table["part"][row, INTERVAL_START_MS] == 0.0:
                        self._start_intervals(row, float(arrived_ms[at]))

    def apply_event(self, event: ItemEvent) -> None:
        """A service starts the part's intervals again. Whatever is said of a part, the next tick evaluates it."""
        if event.item not in self._parts:
            return
        serviced = event.result in SERVICE_RESULTS and event.is_first_delivery()
        row = self.table.index.get(event.item)
        if row is None:
            return
        self.table["part"][row, PART_DIRTY] = 1.0
        if serviced:
            self._start_intervals(row, float(event.at_ms))
            update = RefillUpdate(item=event.item, at_ms=event.at_ms, stage=RefillStage.DECLARED, quantity=1.0)
            self._emit(int(self.table.device[row]), update)

    def _start_intervals(self, row: int, at_ms: float) -> None:
        state = self.table["part"][row]
        state[INTERVAL_START_MS], state[PART_DIRTY] = at_ms, 1.0
        counters = self._counter[row]
        counted = counters >= 0
        state[COUNTER_BASE:][counted] = self.slots.table["filter"][counters[counted], CUMULATIVE_USE]

    def evaluate(self, tick: EvaluationTick) -> Findings:
        """Forecasts of parts with changes and of those whose time has come; needs of those that are due soon."""
        changed, at_ms = self.slots.changed_rows(tick.offset), tick.at_ms
        counters = changed[self.slots.fixed[changed, F_ACTIVE] == ACTIVE_COUNTER]
        self.slots.table["filter"][counters, DIRTY] = 0.0
        if not self._items:
            return Findings()
        rows = self._due_rows(at_ms, changed)
        ahead = tick.mask_ahead(self.table.device[: len(self.table)])
        if ahead is not None:
            rows = rows[~ahead[rows]]
        if rows.size == 0:
            return Findings()
        state = self.table["part"]
        share, days = self._forecast(rows, at_ms)
        state[rows, EVALUATED_MS], state[rows, PART_DIRTY] = at_ms, 0.0
        state[rows, NEXT_EVALUATION_MS] = at_ms + self._evaluate_every_ms[rows]
        forecasts: list[Forecast] = []
        needs: list[DetectedNeed] = []
        for place, row in enumerate(rows.tolist()):
            soonest = int(share[place].argmax())
            forecast = self._as_forecast(row, at_ms, float(share[place, soonest]), days[place], soonest)
            forecasts.append(forecast)
            if forecast.days[4] <= DUE_DAYS or share[place, soonest] >= DUE_SHARE:
                cause = self._causes[row][soonest]
                needs.append(
                    DetectedNeed(
                        item=forecast.item, at_ms=at_ms, kind=NeedKind.SERVICE_DUE, cause=cause, forecast=forecast
                    )
                )
        return Findings(needs=needs, devices=self.table.device[rows], forecasts=lambda: forecasts)

    def _due_rows(self, at_ms: int, changed: Rows) -> Rows:
        count = len(self.table)
        state = self.table["part"][:count]
        due = (state[:, NEXT_EVALUATION_MS] <= at_ms) | (state[:, PART_DIRTY] > 0.0)
        if changed.size:
            changed_counter = np.zeros(len(self.slots.table) + 1, dtype=np.bool_)
            changed_counter[changed] = True
            due |= changed_counter[np.maximum(self._counter, -1)].any(axis=1)
        active = np.zeros(count, dtype=np.bool_)
        active[list(self._items)] = True
        rows = np.nonzero(due & active & (state[:, INTERVAL_START_MS] > 0.0))[0]
        return rows[np.argsort([self.table.names[row] for row in rows.tolist()], kind="stable")] if rows.size else rows

    def _forecast(self, rows: Rows, at_ms: int) -> tuple[Float64, Float64]:
        """(n, intervals) the share used up, and (n, 9) days until the first of them is, at QUANTILES."""
        state, counters, limit = self.table["part"][rows], self._counter[rows], self._limit[rows]
        counted = counters >= 0
        filters = self.slots.table["filter"]
        if not filters.shape[0]:
            filters = np.zeros((1, filters.shape[1]))  # a fleet without slots and counters
        slots = filters[np.maximum(counters, 0)]
        elapsed = np.maximum(at_ms - state[:, INTERVAL_START_MS : INTERVAL_START_MS + 1], 0.0) / DAY_MS
        used = np.where(
            counted, slots[:, :, CUMULATIVE_USE] - state[:, COUNTER_BASE : COUNTER_BASE + INTERVALS_MAX], elapsed
        )
        share = np.where(counters == -2, 0.0, np.maximum(used, 0.0) / limit)
        seen = counted & (slots[:, :, ACCEPTED_READINGS] > 0.0)
        rate = np.where(counted, np.where(seen, slots[:, :, RATE], limit / RATE_UNKNOWN_DAYS), 1.0)
        rate = np.maximum(rate, limit / DAYS_MAX)
        median = np.where(counters == -2, DAYS_MAX, np.maximum(limit - used, 0.0) / rate)
        days_known = np.where(seen, slots[:, :, COMPLETE_DAYS], 0.0)
        relative = np.where(seen, slots[:, :, RATE_VARIANCE], rate * rate) / (rate * rate)
        spread = np.sqrt(np.minimum(relative / np.maximum(median, 1.0) + relative / (days_known + 4.0) + 0.0025, 1.0))
        spread = np.where(counted, spread, 0.0)
        days = median[:, :, None] * np.exp(np.ascontiguousarray(spread[:, :, None] * _NORMAL_QUANTILES))
        return share, np.minimum(days, DAYS_MAX).min(axis=1)

    def _as_forecast(self, row: int, at_ms: int, share: float, days: Float64, soonest: int) -> Forecast:
        counter = int(self._counter[row, soonest])
        since_ms = float(self.table["part"][row, INTERVAL_START_MS])
        seen, last_ms, last, rate = 0.0, since_ms, 0.0, 1.0
        if counter >= 0:
            seen, last_ms, last, rate = self.slots.table["filter"][
                counter, (ACCEPTED_READINGS, LAST_MS, LAST_VALUE, RATE)
            ].tolist()
        return Forecast(
            item=self.table.names[row],
            at_ms=at_ms,
            level=max(1.0 - share, 0.0),
            days=tuple(days.tolist()),
            rate_per_day=rate / float(self._limit[row, soonest]),
            trust=1.0,
            model=MODEL,
            readings=int(seen),
            reading_ms=int(last_ms),
            reading=last,
        )


def make_detector(context: DetectorContext) -> Detector:
    """The entry point's factory."""
    return ServiceDueDetector(context)
