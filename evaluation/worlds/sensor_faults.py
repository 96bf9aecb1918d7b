"""What devices report: true levels and uses seen through noise, steps, drift, sticking, spikes, resets, outages.

All chance is drawn at the start, by item and hour, so two policies meet the same faults at the same hours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.worlds.scenario_families import ScenarioFamily, Sensing
from evaluation.worlds.scenarios import RandomStreams, ScenarioBatch

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

REFERENCE_TEMPERATURE_C = 15.0
"""At this temperature a gauge that drifts is right."""
DIGITS = 4
"""Values are reported with so many digits after the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorReading:
    """One value that arrives out of its time: the item's row, the hour it was measured, the value; used: beside a level."""

    row: int
    hour: int
    value: float
    used: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyReadings:
    """What arrives at one hour. rows, values: (k,) measured now, in order of rows; again: (k,) which come twice;
    late: older ones, in the order in which they come; used: (k,) increments of use told beside levels, None where there are none."""

    rows: Int64
    values: Float64
    duplicated: Bools
    late: tuple[SensorReading, ...] = ()
    used: Float64 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFaults:
    """(n, hours) each. due: a reading is made; noise: of the level; stuck, spike, reset, online, again: when; spiked: to what
    share of the capacity. scale: (n,) what a meter beside the level makes of one unit."""

    due: Bools
    noise: Float64
    stuck: Bools
    spike: Bools
    spike_value_share: Float64
    reset: Bools
    online: Bools
    duplicated: Bools
    meter_scale: Float64


def draw_sensor_faults(scenarios: ScenarioBatch) -> SensorFaults:
    """Draws when readings are made and what is wrong with them."""
    family, gauge = scenarios.family, scenarios.family.sensor
    chance = RandomStreams(family.name, scenarios.seeds)
    shape = (len(scenarios) // len(scenarios.seeds), scenarios.hours)

    def share(stream: str, of: float) -> Bools:
        if of <= 0.0:
            return np.zeros((len(scenarios), scenarios.hours), dtype=bool)
        return np.asarray(chance.draw(stream, lambda rng: rng.random(shape) < of))

    return SensorFaults(
        due=_due(scenarios, chance, shape),
        noise=chance.draw("noise", lambda rng: rng.standard_normal(shape)),
        stuck=_intervals(share("stuck", gauge.stuck_per_year / 8760.0), chance, "stuck-days", gauge.stuck_days),
        spike=share("spike", gauge.spike_share),
        spike_value_share=chance.draw("spiked", lambda rng: rng.choice([0.0, 0.02, 1.0, 1.6], shape)),
        reset=share("reset", gauge.resets_per_year / 8760.0),
        online=~_intervals(
            share("offline", gauge.offline_per_year / 8760.0), chance, "offline-days", gauge.offline_days
        ),
        duplicated=share("again", gauge.duplicate_share),
        meter_scale=1.0
        + (gauge.meter_error_share or 0.0) * chance.draw("scale", lambda rng: rng.uniform(-1.0, 1.0, shape[0])),
    )


def _due(scenarios: ScenarioBatch, chance: RandomStreams, shape: tuple[int, int]) -> Bools:
    gauge = scenarios.family.sensor
    due = np.zeros((len(scenarios), scenarios.hours), dtype=bool)
    if gauge.only_refills:
        due[:, 0] = True
        return due
    if gauge.readings_per_day < 1.0:
        due = chance.draw("due", lambda rng: rng.random(shape) < gauge.readings_per_day / 24.0)
    else:
        every = round(24.0 / gauge.readings_per_day)
        phase = chance.draw("phase", lambda rng: rng.integers(0, every, shape[0]))
        due = (np.arange(scenarios.hours) + phase[:, None]) % every == 0
    due[:, 0] = True
    return due


def _intervals(begins: Bools, chance: RandomStreams, stream: str, days: tuple[float, float]) -> Bools:
    """From each beginning on for so many days."""
    out = np.zeros_like(begins)
    if begins.any():
        rows, hours = np.nonzero(begins)
        lengths = chance.draw(stream, lambda rng: rng.uniform(*days, (1, 4096)))[0]
        for number, (row, hour) in enumerate(zip(rows, hours, strict=True)):
            out[row, hour : hour + round(24.0 * lengths[number % len(lengths)])] = True
    return out


class Sensors:
    """The devices of one life: `read` once an hour, in order."""

    def __init__(self, scenarios: ScenarioBatch, faults: SensorFaults) -> None:
        self._scenarios = scenarios
        self._family: ScenarioFamily = scenarios.family
        self._faults = faults
        self._stuck_value = np.full(len(scenarios), np.nan)
        self._counted = np.zeros(len(scenarios))  # consumption told so far (increments), or at the last reset (total)
        self._offline_backlog: dict[int, list[SensorReading]] = {}

    def read(self, hour: int, level: Float64, consumed: Float64, refilled: Bools) -> HourlyReadings:
        """What arrives at `hour`. level, consumed: (n,) true, consumed since the start; refilled: by a delivery just now."""
        faults, sensing = self._faults, self._family.sensor.sensing
        if sensing is Sensing.TOTAL:
            self._counted = np.where(faults.reset[:, hour], consumed, self._counted)
        due = faults.due[:, hour] | (refilled if self._family.sensor.only_refills else False)
        if sensing is Sensing.LEVEL:
            values = self._levels(hour, level)
        else:
            values = consumed - self._counted
            if sensing is Sensing.INCREMENTS:
                due = due & (values > 0.0)
                self._counted = np.where(due, consumed, self._counted)
        values, used = np.round(values, DIGITS), self._metered_use(due, consumed)
        online = faults.online[:, hour]
        for row in np.flatnonzero(due & ~online):
            self._offline_backlog.setdefault(int(row), []).append(
                SensorReading(
                    row=int(row), hour=hour, value=float(values[row]), used=None if used is None else float(used[row])
                )
            )
        rows = np.flatnonzero(due & online)
        return HourlyReadings(
            rows=rows,
            values=values[rows],
            duplicated=faults.duplicated[rows, hour],
            late=self._release_backlog(online, hour),
            used=None if used is None else used[rows],
        )

    def _metered_use(self, due: Bools, consumed: Float64) -> Float64 | None:
        """(n,) what a meter beside the level counted since it told last."""
        if self._family.sensor.meter_error_share is None:
            return None
        used = np.round((consumed - self._counted) * self._faults.meter_scale, DIGITS)
        self._counted = np.where(due, consumed, self._counted)
        return np.asarray(used)

    def _levels(self, hour: int, level: Float64) -> Float64:
        gauge, scenarios, faults = self._family.sensor, self._scenarios, self._faults
        share = gauge.noise * faults.noise[:, hour]
        if gauge.drift:
            share = share + gauge.drift * (scenarios.temperature_c[:, hour // 24] - REFERENCE_TEMPERATURE_C)
        value = level + share * scenarios.capacity
        if gauge.step:
            step = gauge.step * scenarios.capacity
            value = np.round(value / step) * step
        value = np.maximum(value, 0.0)
        stuck = faults.stuck[:, hour]
        begins = stuck & np.isnan(self._stuck_value)
        self._stuck_value = np.where(begins, value, np.where(stuck, self._stuck_value, np.nan))
        value = np.where(stuck, self._stuck_value, value)
        return np.where(faults.spike[:, hour], faults.spike_value_share[:, hour] * scenarios.capacity, value)

    def _release_backlog(self, online: Bools, hour: int) -> tuple[SensorReading, ...]:
        """What devices that are online again had kept, out of order."""
        found: list[SensorReading] = []
        for row in [row for row in self._offline_backlog if online[row]]:
            kept = self._offline_backlog.pop(row)
            order = np.random.default_rng([row, hour]).permutation(len(kept))
            found.extend(kept[place] for place in order)
        return tuple(found)
