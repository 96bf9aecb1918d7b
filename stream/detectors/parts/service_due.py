"""The service-due detector: parts whose intervals are used up - by a count, by the calendar, whichever comes first.

A count is what a slot used, or `<counter>_used` and `<counter>_total` of the device where no slot has that name; such a
counter is kept as a row of the slots' table that is never forecast itself. An interval starts at the last service, or when
the device was first seen. The forecast of a count is its rate with the variation of its days; the calendar is certain.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue, PartItem
from config.profile_schema import ServiceInterval
from star.analyse import DAYS_MAX, DetectedNeed, Forecast, NeedKind, RefillStage, RefillUpdate
from star.errors import InputError
from star.times import DAY_MS
from stream.detectors.slots.state_schema import (
    ACCEPTED_READINGS,
    COMPLETE_DAYS,
    CUMULATIVE_USE,
    DIRTY,
    F_ACTIVE,
    FIXED_NAMES,
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
RATE_UNKNOWN_DAYS = 90.0
"""A count without a known rate is taken to last so long."""
MODEL = "service-due@1:arithmetic"
ACTIVE_COUNTER = 2.0
"""`active` of a slots' row that only counts for parts."""

NORMAL_AT_QUANTILES = np.array(
    [-2.3263478740408408, -1.6448536269514722, -1.2815515655446004, -0.6744897501960817, 0.0,
     0.6744897501960817, 1.2815515655446004, 1.6448536269514722, 2.3263478740408408]
)  # fmt: skip
"""The standard normal distribution at star.analyse.QUANTILES."""

PART_STATE_NAMES = ("since_ms", "look_ms", "wake_ms", "fresh", *(f"base_{n}" for n in range(INTERVALS_MAX)))
INTERVAL_START_MS, EVALUATED_MS, NEXT_EVALUATION_MS, PART_DIRTY, COUNTER_BASE = 0, 1, 2, 3, 4


class ServiceDueDetector:
    """Parts with intervals."""

    def __init__(self, slots: SlotState) -> None:
        self.slots = slots
        self.table = Table("parts", [MatrixSpec(name="part", names=PART_STATE_NAMES, fill=0.0)])
        self.emitted_refills: list[tuple[int, RefillUpdate]] = []
        self.evaluated_rows: Rows = np.empty(0, dtype=np.intp)
        self._forecasts: list[Forecast] = []
        self._items: dict[int, PartItem] = {}
        self._counter = np.empty((0, INTERVALS_MAX), dtype=np.intp)  # slots' row, -1: the calendar, -2: none
        self._limit = np.empty((0, INTERVALS_MAX))
        self._evaluate_every_ms = np.empty(0)
        self._causes: dict[int, list[str]] = {}
        self._rows_of_device: dict[int, list[int]] = {}
        self._observed = np.empty(0, dtype=np.bool_)

    def set_items(self, catalogue: Catalogue, devices: Mapping[str, int]) -> None:
        """Rows for the catalogue's parts with intervals, and for their counters."""
        self._items.clear()
        self._rows_of_device.clear()
        for key, item in sorted(catalogue.parts.items()):
            if not item.intervals:
                continue
            device = devices[item.device]
            row = self.table.add(key, device)
            self._items[row] = item
            self._rows_of_device.setdefault(device, []).append(row)
            for interval in item.intervals:
                if interval.counter is not None:
                    self.slots.table.add(f"{item.device}/{interval.counter}", device)
        self._observed = np.zeros(len(devices), dtype=np.bool_)
        for device, rows in self._rows_of_device.items():
            self._observed[device] = bool((self.table["part"][rows, INTERVAL_START_MS] > 0.0).all())

    def set_counters(self, catalogue: Catalogue) -> None:
        """What is fixed about counters and intervals; after the slots' own rows were set."""
        count = len(self.table)
        self._counter = np.full((count, INTERVALS_MAX), -2, dtype=np.intp)
        self._limit = np.ones((count, INTERVALS_MAX))
        self._evaluate_every_ms = np.zeros(count)
        for row, item in self._items.items():
            self._evaluate_every_ms[row] = item.look_every_s * 1000.0
            causes = self._causes[row] = []
            for interval in item.intervals:
                for counter, limit in self._limits_of(item, interval, catalogue):
                    if len(causes) == INTERVALS_MAX:
                        raise InputError(f"{item.key}: has more than {INTERVALS_MAX} intervals: expected no more")
                    self._counter[row, len(causes)], self._limit[row, len(causes)] = counter, limit
                    causes.append(interval.cause)

    def _limits_of(self, item: PartItem, interval: ServiceInterval, catalogue: Catalogue) -> list[tuple[int, float]]:
        """The (slots' row or -1, limit) that an interval may end by."""
        limits: list[tuple[int, float]] = []
        if interval.counter is not None and interval.limit is not None:
            name = f"{item.device}/{interval.counter}"
            row = self.slots.table.row(name)
            if name not in catalogue.slots:
                rate = interval.limit / (interval.days or RATE_UNKNOWN_DAYS)
                fixed = {"capacity": interval.limit, "rate": rate, "look_every_ms": item.look_every_s * 1000.0}
                fixed |= {"counts": 1.0, "active": ACTIVE_COUNTER, "rate_spread": 3.0, "pack": interval.limit}
                self.slots.fixed[row] = [fixed.get(column, 0.0) for column in FIXED_NAMES]
            limits.append((row, interval.limit))
        if interval.days is not None:
            limits.append((-1, interval.days))
        return limits

    def observe_devices(self, device: Rows, arrived_ms: NDArray[np.int64]) -> None:
        """Readings of devices came: the intervals of parts not seen before start at the first."""
        if not self._rows_of_device or self._observed[device].all():
            return
        new, first = np.unique(device, return_index=True)
        for row_of_device, at in zip(new.tolist(), first.tolist(), strict=True):
            if not self._observed[row_of_device]:
                self._observed[row_of_device] = True
                for row in self._rows_of_device.get(row_of_device, ()):
                    if self.table["part"][row, INTERVAL_START_MS] == 0.0:
                        self._start_intervals(row, float(arrived_ms[at]))

    def apply_event(self, item: str, at_ms: int, *, serviced: bool) -> None:
        """Something was said of a part: it is looked at in the next tick; serviced: its intervals start again."""
        row = self.table.index.get(item)
        if row is None:
            return
        self.table["part"][row, PART_DIRTY] = 1.0
        if serviced:
            self._start_intervals(row, float(at_ms))
            self.emitted_refills.append(
                (row, RefillUpdate(item=item, at_ms=at_ms, stage=RefillStage.DECLARED, quantity=1.0))
            )

    def _start_intervals(self, row: int, at_ms: float) -> None:
        state = self.table["part"][row]
        state[INTERVAL_START_MS], state[PART_DIRTY] = at_ms, 1.0
        counters = self._counter[row]
        counted = counters >= 0
        state[COUNTER_BASE:][counted] = self.slots.table["filter"][counters[counted], CUMULATIVE_USE]

    def evaluate(self, at_ms: int, changed: Rows, skip: NDArray[np.bool_] | None) -> list[DetectedNeed]:
        """The looks of a tick: parts with news, and those whose time has come. changed: slots' rows with news."""
        self._forecasts, self.evaluated_rows = [], np.empty(0, dtype=np.intp)
        counters = changed[self.slots.fixed[changed, F_ACTIVE] == ACTIVE_COUNTER]
        self.slots.table["filter"][counters, DIRTY] = 0.0
        if not self._items:
            return []
        rows = self._due_rows(at_ms, changed)
        if skip is not None:
            rows = rows[~skip[rows]]
        if rows.size == 0:
            return []
        state = self.table["part"]
        share, days = self._forecast(rows, at_ms)
        state[rows, EVALUATED_MS], state[rows, PART_DIRTY] = at_ms, 0.0
        state[rows, NEXT_EVALUATION_MS] = at_ms + self._evaluate_every_ms[rows]
        self.evaluated_rows = rows
        needs: list[DetectedNeed] = []
        for place, row in enumerate(rows.tolist()):
            soonest = int(share[place].argmax())
            forecast = self._as_forecast(row, at_ms, float(share[place, soonest]), days[place], soonest)
            self._forecasts.append(forecast)
            if forecast.days[4] <= DUE_DAYS or share[place, soonest] >= DUE_SHARE:
                cause = self._causes[row][soonest]
                needs.append(
                    DetectedNeed(
                        item=forecast.item, at_ms=at_ms, kind=NeedKind.SERVICE_DUE, cause=cause, forecast=forecast
                    )
                )
        return needs

    def evaluated_forecasts(self) -> list[Forecast]:
        """Of the parts looked at in the last tick."""
        return self._forecasts

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
        slots = self.slots.table["filter"][np.maximum(counters, 0)]
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
        days = median[:, :, None] * np.exp(np.ascontiguousarray(spread[:, :, None] * NORMAL_AT_QUANTILES))
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
