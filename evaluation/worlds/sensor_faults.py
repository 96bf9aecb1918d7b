"""Sensor faults: the readings of true levels and consumption under noise, quantization, drift, sticking, spikes, resets, outages.

All randomness is drawn at the start, by item and hour, so every policy meets the same faults at the same hours.
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
"""Temperature at which a drifting sensor has no error."""
DIGITS = 4
"""Decimal places of reported values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorReading:
    """One reading: the item's row, the hour of measurement, the value; used: consumption reported beside a level."""

    row: int
    hour: int
    value: float
    used: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyReadings:
    """The readings that arrive at one hour.

    rows, values: (k,) measured now, in order of rows; duplicated: (k,) which arrive twice; late: older ones in order of arrival; used:
    (k,) increments of consumption reported beside levels, None without a meter.
    """

    rows: Int64
    values: Float64
    duplicated: Bools
    late: tuple[SensorReading, ...] = ()
    used: Float64 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFaults:
    """The faults of n items, each (n, hours).

    due: whether a reading is made; noise: standard normal; stuck, spike, reset, online, duplicated: whether each applies;
    spike_value_share: value of a spike as a share of the capacity. meter_scale: (n,) what a flow meter reports per unit consumed.
    """

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
    """Draws when readings are made, and their faults."""
    family, sensor = scenarios.family, scenarios.family.sensor
    chance = RandomStreams(family.name, scenarios.seeds)
    shape = (len(scenarios) // len(scenarios.seeds), scenarios.hours)

    def draw_mask(stream: str, probability: float) -> Bools:
        if probability <= 0.0:
            return np.zeros((len(scenarios), scenarios.hours), dtype=bool)
        return np.asarray(chance.draw(stream, lambda rng: rng.random(shape) < probability))

    return SensorFaults(
        due=_due(scenarios, chance, shape),
        noise=chance.draw("noise", lambda rng: rng.standard_normal(shape)),
        stuck=_intervals(draw_mask("stuck", sensor.stuck_per_year / 8760.0), chance, "stuck-days", sensor.stuck_days),
        spike=draw_mask("spike", sensor.spike_share),
        spike_value_share=chance.draw("spiked", lambda rng: rng.choice([0.0, 0.02, 1.0, 1.6], shape)),
        reset=draw_mask("reset", sensor.resets_per_year / 8760.0),
        online=~_intervals(
            draw_mask("offline", sensor.offline_per_year / 8760.0), chance, "offline-days", sensor.offline_days
        ),
        duplicated=draw_mask("again", sensor.duplicate_share),
        meter_scale=1.0
        + (sensor.meter_error_share or 0.0) * chance.draw("scale", lambda rng: rng.uniform(-1.0, 1.0, shape[0])),
    )


def _due(scenarios: ScenarioBatch, chance: RandomStreams, shape: tuple[int, int]) -> Bools:
    sensor = scenarios.family.sensor
    due = np.zeros((len(scenarios), scenarios.hours), dtype=bool)
    if sensor.only_refills:
        due[:, 0] = True
        return due
    if sensor.readings_per_day < 1.0:
        due = chance.draw("due", lambda rng: rng.random(shape) < sensor.readings_per_day / 24.0)
    else:
        every = round(24.0 / sensor.readings_per_day)
        phase = chance.draw("phase", lambda rng: rng.integers(0, every, shape[0]))
        due = (np.arange(scenarios.hours) + phase[:, None]) % every == 0
    due[:, 0] = True
    return due


def _intervals(begins: Bools, chance: RandomStreams, stream: str, days: tuple[float, float]) -> Bools:
    """(n, hours) mask: for a drawn number of days from each beginning on. days: shortest and longest."""
    out = np.zeros_like(begins)
    if begins.any():
        rows, hours = np.nonzero(begins)
        lengths = chance.draw(stream, lambda rng: rng.uniform(*days, (1, 4096)))[0]
        for number, (row, hour) in enumerate(zip(rows, hours, strict=True)):
            out[row, hour : hour + round(24.0 * lengths[number % len(lengths)])] = True
    return out


class Sensors:
    """The devices of one simulation. `read` is called once an hour, in order."""

    def __init__(self, scenarios: ScenarioBatch, faults: SensorFaults) -> None:
        self._scenarios = scenarios
        self._family: ScenarioFamily = scenarios.family
        self._faults = faults
        self._stuck_value = np.full(len(scenarios), np.nan)
        self._counted = np.zeros(
            len(scenarios)
        )  # consumption reported so far (increments), or at the last reset (total)
        self._offline_backlog: dict[int, list[SensorReading]] = {}

    def read(self, hour: int, level: Float64, consumed: Float64, refilled: Bools) -> HourlyReadings:
        """The readings that arrive at `hour`.

        level: (n,) true; consumed: (n,) true, since the start; refilled: (n,) whether there was a delivery in this hour.
        """
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
        """(n,) increments of the flow meters since their last reports; None without meters."""
        if self._family.sensor.meter_error_share is None:
            return None
        used = np.round((consumed - self._counted) * self._faults.meter_scale, DIGITS)
        self._counted = np.where(due, consumed, self._counted)
        return np.asarray(used)

    def _levels(self, hour: int, level: Float64) -> Float64:
        sensor, scenarios, faults = self._family.sensor, self._scenarios, self._faults
        share = sensor.noise * faults.noise[:, hour]
        if sensor.drift:
            share = share + sensor.drift * (scenarios.temperature_c[:, hour // 24] - REFERENCE_TEMPERATURE_C)
        value = level + share * scenarios.capacity
        if sensor.step:
            step = sensor.step * scenarios.capacity
            value = np.round(value / step) * step
        value = np.maximum(value, 0.0)
        stuck = faults.stuck[:, hour]
        begins = stuck & np.isnan(self._stuck_value)
        self._stuck_value = np.where(begins, value, np.where(stuck, self._stuck_value, np.nan))
        value = np.where(stuck, self._stuck_value, value)
        return np.where(faults.spike[:, hour], faults.spike_value_share[:, hour] * scenarios.capacity, value)

    def _release_backlog(self, online: Bools, hour: int) -> tuple[SensorReading, ...]:
        """The backlogs of devices that are online again, shuffled."""
        released: list[SensorReading] = []
        for row in [row for row in self._offline_backlog if online[row]]:
            backlog = self._offline_backlog.pop(row)
            order = np.random.default_rng([row, hour]).permutation(len(backlog))
            released.extend(backlog[index] for index in order)
        return tuple(released)
