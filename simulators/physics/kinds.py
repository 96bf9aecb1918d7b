"""Everyday devices: what each holds, how it is used, and what it says. Capacities fit the shipped profiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.physics.demand import Kind
from simulators.physics.devices import Device, PhysicalSlot, Sensing, Sensor
from simulators.physics.draws import BURNER_HOURS, PEOPLE_HOURS, Draws
from star.times import HOUR_MS

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a device stands. rng: its own. temperature_c: outdoors by day, from the day of start_ms on."""

    rng: np.random.Generator
    start_ms: int
    temperature_c: Float64

    def draws(self, kind: Kind, rate_per_day: float, unit: float | None = None, hours: Float64 = PEOPLE_HOURS) -> Draws:
        """A stream of its own seed, so that sensors and uses of other slots do not change it."""
        own = np.random.default_rng(self.rng.integers(0, 2**63))
        heat = self.temperature_c if kind is Kind.HEATING else None
        return Draws(own, kind, rate_per_day, self.start_ms, unit=unit, hours=hours, temperature_c=heat)

    def about(self, value: float, spread: float) -> float:
        """Around `value`, log-normally."""
        return float(value * np.exp(spread * self.rng.standard_normal()))

    def one_of(self, *kinds: Kind) -> Kind:
        """A kind of demand."""
        return kinds[int(self.rng.integers(len(kinds)))]


def oil_tank(setting: Setting) -> Device:
    """A heating oil tank of 1,500 litres behind an ultrasonic gauge that drifts with temperature."""
    slot = PhysicalSlot(
        name="oil",
        capacity=1500.0,
        level=float(setting.rng.uniform(250.0, 1400.0)),
        draws=setting.draws(Kind.HEATING, setting.about(6.5, 0.3), hours=BURNER_HOURS),
        sensor=Sensor(sensing=Sensing.LEVEL, noise=6.0, step=1.0, drift_per_c=float(setting.rng.normal(0.0, 0.5))),
    )
    every_ms = int(setting.rng.choice([4, 6, 12])) * HOUR_MS
    return Device(setting.rng, [slot], setting.start_ms, every_ms=every_ms, temperature_c=setting.temperature_c)


def coffee_machine(setting: Setting) -> Device:
    """A coffee machine that says each cup; a bag of beans makes a hundred."""
    kind = setting.one_of(Kind.STEADY, Kind.WEEKLY, Kind.VACATIONS, Kind.SHIFTING)
    sensing = Sensing.TOTAL if setting.rng.random() < 0.3 else Sensing.USED
    slot = PhysicalSlot(
        name="beans",
        capacity=100.0,
        level=100.0,
        draws=setting.draws(kind, setting.about(5.0, 0.5), unit=1.0),
        sensor=Sensor(sensing=sensing),
        spares=True,
    )
    return Device(setting.rng, [slot], setting.start_ms, at_use=True)


def water_filter(setting: Setting) -> Device:
    """A filter with a flow meter of a tenth of a litre; its cartridge is good for 2,000 litres."""
    slot = PhysicalSlot(
        name="filter",
        capacity=2000.0,
        level=2000.0,
        draws=setting.draws(setting.one_of(Kind.WEEKLY, Kind.VACATIONS, Kind.TRENDING), setting.about(12.0, 0.5)),
        sensor=Sensor(sensing=Sensing.TOTAL),
        spares=True,
    )
    return Device(setting.rng, [slot], setting.start_ms, every_ms=6 * HOUR_MS)


def dishwasher(setting: Setting) -> Device:
    """A dishwasher that counts cycles: 40 tabs in a box, salt for 25 cycles."""
    cycles = setting.draws(setting.one_of(Kind.EVENTS, Kind.VACATIONS), setting.about(0.9, 0.35), unit=1.0)
    used = Sensor(sensing=Sensing.USED)
    slots = [
        PhysicalSlot(name="detergent", capacity=40.0, level=40.0, draws=cycles, sensor=used, spares=True),
        PhysicalSlot(name="salt", capacity=25.0, level=25.0, draws=cycles, sensor=used, spares=True),
    ]
    return Device(setting.rng, slots, setting.start_ms, at_use=True)


def printer(setting: Setting) -> Device:
    """A printer that says its four inks in steps of 5 %, twice a day."""
    sensor = Sensor(sensing=Sensing.LEVEL, noise=0.3, step=5.0)
    slots = []
    for name, rate in (("black", 1.1), ("cyan", 0.7), ("magenta", 0.7), ("yellow", 0.7)):
        kind = setting.one_of(Kind.INTERMITTENT, Kind.LUMPY, Kind.WEEKLY)
        draws = setting.draws(kind, setting.about(rate, 0.4), unit=0.5)
        level = float(setting.rng.uniform(20.0, 100.0))
        slots.append(PhysicalSlot(name=name, capacity=100.0, level=level, draws=draws, sensor=sensor))
    return Device(setting.rng, slots, setting.start_ms, every_ms=12 * HOUR_MS)


def water_tank(setting: Setting) -> Device:
    """A garden's water tank of 5,000 litres, filled by a lorry: thirsty in summer, a noisy pressure gauge."""
    slot = PhysicalSlot(
        name="water",
        capacity=5000.0,
        level=float(setting.rng.uniform(1500.0, 4800.0)),
        draws=setting.draws(setting.one_of(Kind.YEARLY, Kind.SHIFTING), setting.about(45.0, 0.4)),
        sensor=Sensor(sensing=Sensing.LEVEL, noise=25.0, step=5.0),
    )
    return Device(setting.rng, [slot], setting.start_ms, every_ms=3 * HOUR_MS)


DEVICES: dict[str, Callable[[Setting], Device]] = {
    "coffee": coffee_machine,
    "oil": oil_tank,
    "filter": water_filter,
    "dishwasher": dishwasher,
    "printer": printer,
    "tank": water_tank,
}
"""Kinds of devices by the word that ends their ids."""
