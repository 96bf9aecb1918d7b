"""What devices report: true levels and uses seen through noise, steps, drift, sticking, spikes, resets, outages.

All chance is drawn at the start, by item and hour, so two policies meet the same faults at the same hours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from starloop.evaluate.families import Family, Sensing
from starloop.evaluate.lives import Chance, Lives

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

REFERENCE_C = 15.0
"""At this temperature a gauge that drifts is right."""
DIGITS = 4
"""Values are reported with so many digits after the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value that arrives out of its time: the item's row, the hour it was measured, the value; used: beside a level."""

    row: int
    hour: int
    value: float
    used: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What arrives at one hour. rows, values: (k,) measured now, in order of rows; again: (k,) which come twice;
    late: older ones, in the order in which they come; used: (k,) increments of use told beside levels, None where there are none."""

    rows: Int64
    values: Float64
    again: Bools
    late: tuple[Reading, ...] = ()
    used: Float64 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """(n, hours) each. due: a reading is made; noise: of the level; stuck, spike, reset, online, again: when; spiked: to what
    share of the capacity. scale: (n,) what a meter beside the level makes of one unit."""

    due: Bools
    noise: Float64
    stuck: Bools
    spike: Bools
    spiked: Float64
    reset: Bools
    online: Bools
    again: Bools
    scale: Float64


def draw_faults(lives: Lives) -> Faults:
    """Draws when readings are made and what is wrong with them."""
    family, gauge = lives.family, lives.family.gauge
    chance = Chance(family.name, lives.seeds)
    shape = (len(lives) // len(lives.seeds), lives.hours)

    def share(stream: str, of: float) -> Bools:
        if of <= 0.0:
            return np.zeros((len(lives), lives.hours), dtype=bool)
        return np.asarray(chance.draw(stream, lambda rng: rng.random(shape) < of))

    return Faults(
        due=_due(lives, chance, shape),
        noise=chance.draw("noise", lambda rng: rng.standard_normal(shape)),
        stuck=_spells(share("stuck", gauge.stuck_per_year / 8760.0), chance, "stuck-days", gauge.stuck_days),
        spike=share("spike", gauge.spikes),
        spiked=chance.draw("spiked", lambda rng: rng.choice([0.0, 0.02, 1.0, 1.6], shape)),
        reset=share("reset", gauge.resets_per_year / 8760.0),
        online=~_spells(share("offline", gauge.offline_per_year / 8760.0), chance, "offline-days", gauge.offline_days),
        again=share("again", gauge.duplicates),
        scale=1.0 + (gauge.counts_too or 0.0) * chance.draw("scale", lambda rng: rng.uniform(-1.0, 1.0, shape[0])),
    )


def _due(lives: Lives, chance: Chance, shape: tuple[int, int]) -> Bools:
    gauge = lives.family.gauge
    due = np.zeros((len(lives), lives.hours), dtype=bool)
    if gauge.only_refills:
        due[:, 0] = True
        return due
    if gauge.readings_per_day < 1.0:
        due = chance.draw("due", lambda rng: rng.random(shape) < gauge.readings_per_day / 24.0)
    else:
        every = round(24.0 / gauge.readings_per_day)
        phase = chance.draw("phase", lambda rng: rng.integers(0, every, shape[0]))
        due = (np.arange(lives.hours) + phase[:, None]) % every == 0
    due[:, 0] = True
    return due


def _spells(begins: Bools, chance: Chance, stream: str, days: tuple[float, float]) -> Bools:
    """From each beginning on for so many days."""
    out = np.zeros_like(begins)
    if begins.any():
        rows, hours = np.nonzero(begins)
        lengths = chance.draw(stream, lambda rng: rng.uniform(*days, (1, 4096)))[0]
        for number, (row, hour) in enumerate(zip(rows, hours, strict=True)):
            out[row, hour : hour + round(24.0 * lengths[number % len(lengths)])] = True
    return out


class Gauges:
    """The devices of one life: `read` once an hour, in order."""

    def __init__(self, lives: Lives, faults: Faults) -> None:
        self._lives = lives
        self._family: Family = lives.family
        self._faults = faults
        self._held = np.full(len(lives), np.nan)
        self._counted = np.zeros(len(lives))  # consumption told so far (increments), or at the last reset (total)
        self._waiting: dict[int, list[Reading]] = {}

    def read(self, hour: int, level: Float64, consumed: Float64, refilled: Bools) -> Readings:
        """What arrives at `hour`. level, consumed: (n,) true, consumed since the start; refilled: by a delivery just now."""
        faults, sensing = self._faults, self._family.gauge.sensing
        if sensing is Sensing.TOTAL:
            self._counted = np.where(faults.reset[:, hour], consumed, self._counted)
        due = faults.due[:, hour] | (refilled if self._family.gauge.only_refills else False)
        if sensing is Sensing.LEVEL:
            values = self._levels(hour, level)
        else:
            values = consumed - self._counted
            if sensing is Sensing.INCREMENTS:
                due = due & (values > 0.0)
                self._counted = np.where(due, consumed, self._counted)
        values, used = np.round(values, DIGITS), self._used(due, consumed)
        online = faults.online[:, hour]
        for row in np.flatnonzero(due & ~online):
            self._waiting.setdefault(int(row), []).append(
                Reading(
                    row=int(row), hour=hour, value=float(values[row]), used=None if used is None else float(used[row])
                )
            )
        rows = np.flatnonzero(due & online)
        return Readings(
            rows=rows,
            values=values[rows],
            again=faults.again[rows, hour],
            late=self._back(online, hour),
            used=None if used is None else used[rows],
        )

    def _used(self, due: Bools, consumed: Float64) -> Float64 | None:
        """(n,) what a meter beside the level counted since it told last."""
        if self._family.gauge.counts_too is None:
            return None
        used = np.round((consumed - self._counted) * self._faults.scale, DIGITS)
        self._counted = np.where(due, consumed, self._counted)
        return np.asarray(used)

    def _levels(self, hour: int, level: Float64) -> Float64:
        gauge, lives, faults = self._family.gauge, self._lives, self._faults
        share = gauge.noise * faults.noise[:, hour]
        if gauge.drift:
            share = share + gauge.drift * (lives.temperature_c[:, hour // 24] - REFERENCE_C)
        value = level + share * lives.capacity
        if gauge.step:
            step = gauge.step * lives.capacity
            value = np.round(value / step) * step
        value = np.maximum(value, 0.0)
        stuck = faults.stuck[:, hour]
        begins = stuck & np.isnan(self._held)
        self._held = np.where(begins, value, np.where(stuck, self._held, np.nan))
        value = np.where(stuck, self._held, value)
        return np.where(faults.spike[:, hour], faults.spiked[:, hour] * lives.capacity, value)

    def _back(self, online: Bools, hour: int) -> tuple[Reading, ...]:
        """What devices that are online again had kept, out of order."""
        found: list[Reading] = []
        for row in [row for row in self._waiting if online[row]]:
            kept = self._waiting.pop(row)
            order = np.random.default_rng([row, hour]).permutation(len(kept))
            found.extend(kept[place] for place in order)
        return tuple(found)
