"""Devices with ground truth: the true content of each slot, and the device's reports of it.

One class serves all kinds, as their differences (slots, sensors, reporting intervals) are data; device_kinds.py has common ones.
Transmission faults are in simulators/faults.py: a device here reports the truth within the accuracy of its sensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.physics.draws import DrawStream
from star.times import DAY_MS, epoch_seconds

Float64 = NDArray[np.float64]
Values = dict[str, float]

EMPTY_SHARE = 1e-9
"""Share of the capacity below which a slot counts as empty: only rounding errors are smaller."""
_DRIFT_REFERENCE_C = 15.0  # temperature at which a drifting sensor has no error


class SensingMode(StrEnum):
    """What a device reports of a slot."""

    LEVEL = "level"  # the level, with the sensor's noise, resolution and drift with temperature
    USED = "used"  # what was used since the last report
    TOTAL = "total"  # a running counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """A slot's sensor, in its unit. noise: standard deviation; step: resolution, 0 for continuous; drift_per_c: error per °C."""

    sensing: SensingMode
    noise: float = 0.0
    step: float = 0.0
    drift_per_c: float = 0.0


@dataclass(slots=True, kw_only=True)
class SimulatedSlot:
    """The true state of one slot. spares: packs beyond the capacity are stored unopened and count in the level; unmet: demand."""

    name: str
    capacity: float
    level: float
    draws: DrawStream
    sensor: Sensor
    spares: bool = False
    draws_applied: int = 0
    counter: float = 0.0
    since_report: float = 0.0
    unmet: float = 0.0
    empty_since_ms: int | None = None
    empty_ms: int = 0
    run_outs: int = 0
    lowest: float = field(default=math.inf)
    lowest_before_refills: list[float] = field(default_factory=list)

    def withdraw(self, at_ms: int, amount: float) -> float:
        """Withdraws `amount`, or as much as there is; the amount withdrawn."""
        withdrawn = min(amount, self.level)
        self.level -= withdrawn
        self.counter += withdrawn
        self.since_report += withdrawn
        self.unmet += amount - withdrawn
        self.lowest = min(self.lowest, self.level)
        if self.level <= EMPTY_SHARE * self.capacity and self.empty_since_ms is None:
            self.level = 0.0
            self.empty_since_ms = at_ms
            self.run_outs += 1
        return withdrawn

    def refill(self, at_ms: int, quantity: float) -> float:
        """Adds `quantity`; the part that did not fit."""
        self.lowest_before_refills.append(min(self.lowest, self.level))
        self.lowest = math.inf
        if self.empty_since_ms is not None and quantity > 0:
            self.empty_ms += at_ms - self.empty_since_ms
            self.empty_since_ms = None
        room = math.inf if self.spares else max(self.capacity - self.level, 0.0)
        fits = min(quantity, room)
        self.level += fits
        return quantity - fits


class SimulatedDevice:
    """A device: its slots, and reports every `every_ms`, at each withdrawal, or both."""

    def __init__(
        self,
        rng: np.random.Generator,
        slots: Sequence[SimulatedSlot],
        start_ms: int,
        *,
        every_ms: int | None = None,
        at_use: bool = False,
        temperature_c: Float64 | None = None,
    ) -> None:
        """rng: this device's own, for its sensors. every_ms: interval of periodic reports, the first at a random time; None: none.

        at_use: reports each withdrawal as it happens. temperature_c: by day from the day of start_ms on, reported if given.
        """
        self._rng = rng
        self.slots: Mapping[str, SimulatedSlot] = {slot.name: slot for slot in slots}
        self.now_ms = start_ms
        self._every_ms = every_ms
        self._at_use = at_use
        self._temperature = temperature_c
        self._first_day = start_ms // DAY_MS
        self._next_report_ms = start_ms + int(rng.integers(1, every_ms)) if every_ms is not None else None

    def advance(self, to_ms: int) -> list[tuple[int, Values]]:
        """Advances to `to_ms`; the reports made meanwhile, as (at_ms, values) in order."""
        reports: list[tuple[int, Values]] = []
        while self._next_report_ms is not None and self._next_report_ms <= to_ms:
            self._apply_draws(self._next_report_ms, reports)
            reports.append((self._next_report_ms, self._periodic_report(self._next_report_ms)))
            self._next_report_ms += self._every_ms or 0
        self._apply_draws(to_ms, reports)
        self.now_ms = to_ms
        return reports

    def level(self, slot: str) -> float:
        """The true level now, in the slot's unit."""
        return self.slots[slot].level

    def refill(self, slot: str, quantity: float) -> float:
        """Adds `quantity` now; the part that did not fit."""
        return self.slots[slot].refill(self.now_ms, quantity)

    def empty_days(self, slot: str) -> float:
        """Days that the slot has been empty until now."""
        state = self.slots[slot]
        open_ms = 0 if state.empty_since_ms is None else self.now_ms - state.empty_since_ms
        return (state.empty_ms + open_ms) / DAY_MS

    def days_to_empty(self, slot: str, horizon_days: float) -> float:
        """The true days from now until the slot is empty without refills, at most `horizon_days`."""
        state = self.slots[slot]
        if state.level <= 0:
            return 0.0
        horizon_ms = self.now_ms + int(horizon_days * DAY_MS)
        used = state.draws.cumulative_use_at(self.now_ms)
        when = state.draws.time_of_cumulative_use(used + state.level * (1.0 - EMPTY_SHARE), horizon_ms)
        return horizon_days if when is None else (when - self.now_ms) / DAY_MS

    def _apply_draws(self, to_ms: int, reports: list[tuple[int, Values]]) -> None:
        """Applies every draw up to `to_ms`; where withdrawals are reported, those of one moment are one report."""
        reports_by_time: dict[int, Values] = {}
        for slot in self.slots.values():
            end = slot.draws.count_until(to_ms)
            for index in range(slot.draws_applied, end):
                at_ms = slot.draws.at_ms[index]
                if slot.withdraw(at_ms, slot.draws.amount[index]) > 0 and self._at_use:
                    reports_by_time.setdefault(at_ms, {}).update(self._usage_values(slot))
            slot.draws_applied = end
        reports.extend(sorted(reports_by_time.items()))

    def _usage_values(self, slot: SimulatedSlot) -> Values:
        if slot.sensor.sensing is SensingMode.TOTAL:
            return {f"{slot.name}_total": round(slot.counter, 6)}
        used, slot.since_report = slot.since_report, 0.0
        return {f"{slot.name}_used": round(used, 6)}

    def _periodic_report(self, at_ms: int) -> Values:
        values: Values = {}
        day = (at_ms // DAY_MS - self._first_day) % len(self._temperature) if self._temperature is not None else 0
        temperature = float(self._temperature[day]) if self._temperature is not None else _DRIFT_REFERENCE_C
        for slot in self.slots.values():
            if slot.sensor.sensing is SensingMode.LEVEL:
                values[slot.name] = self._sensed(slot, temperature)
            else:
                values |= self._usage_values(slot)
        if self._temperature is not None:
            values["temperature"] = round(temperature, 1)
        return values

    def _sensed(self, slot: SimulatedSlot, temperature: float) -> float:
        sensor = slot.sensor
        value = min(slot.level, slot.capacity) + sensor.drift_per_c * (temperature - _DRIFT_REFERENCE_C)
        if sensor.noise:
            value += sensor.noise * float(self._rng.standard_normal())
        if sensor.step:
            value = round(value / sensor.step) * sensor.step
        return round(min(max(value, 0.0), slot.capacity), 3)


def telemetry_payload(at_ms: int, seq: int, boot: int, values: Mapping[str, float]) -> dict[str, Any]:
    """The canonical payload of one report."""
    return {"at": epoch_seconds(at_ms), "seq": seq, "boot": boot, "values": dict(values)}
