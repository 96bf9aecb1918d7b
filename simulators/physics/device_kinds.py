"""Kinds of devices: their slots, demand and sensors. Capacities match the shipped profiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.physics.demand import DemandKind
from simulators.physics.devices import SensingMode, Sensor, SimulatedDevice, SimulatedSlot
from simulators.physics.draws import BURNER_HOURS, PEOPLE_HOURS, DrawStream
from star.times import HOUR_MS

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSite:
    """The site of a device. rng: its own; temperature_c: outdoors by day, from the day of start_ms on."""

    rng: np.random.Generator
    start_ms: int
    temperature_c: Float64

    def draw_stream(
        self, kind: DemandKind, rate_per_day: float, unit: float | None = None, hours: Float64 = PEOPLE_HOURS
    ) -> DrawStream:
        """A stream with a seed of its own, so that sensors and other slots do not affect it."""
        own = np.random.default_rng(self.rng.integers(0, 2**63))
        heat = self.temperature_c if kind is DemandKind.HEATING else None
        return DrawStream(own, kind, rate_per_day, self.start_ms, unit=unit, hours=hours, temperature_c=heat)

    def lognormal(self, value: float, spread: float) -> float:
        """A log-normal draw with median `value`; spread: standard deviation of the logarithm."""
        return float(value * np.exp(spread * self.rng.standard_normal()))

    def choose(self, *kinds: DemandKind) -> DemandKind:
        """One of `kinds` at random."""
        return kinds[int(self.rng.integers(len(kinds)))]


def oil_tank(site: DeviceSite) -> SimulatedDevice:
    """A heating oil tank of 1,500 litres with an ultrasonic gauge that drifts with temperature."""
    slot = SimulatedSlot(
        name="oil",
        capacity=1500.0,
        level=float(site.rng.uniform(250.0, 1400.0)),
        draws=site.draw_stream(DemandKind.HEATING, site.lognormal(6.5, 0.3), hours=BURNER_HOURS),
        sensor=Sensor(sensing=SensingMode.LEVEL, noise=6.0, step=1.0, drift_per_c=float(site.rng.normal(0.0, 0.5))),
    )
    every_ms = int(site.rng.choice([4, 6, 12])) * HOUR_MS
    return SimulatedDevice(site.rng, [slot], site.start_ms, every_ms=every_ms, temperature_c=site.temperature_c)


def coffee_machine(site: DeviceSite) -> SimulatedDevice:
    """A coffee machine that reports each cup; a bag of beans makes a hundred."""
    kind = site.choose(DemandKind.STEADY, DemandKind.WEEKLY, DemandKind.VACATIONS, DemandKind.SHIFTING)
    sensing = SensingMode.TOTAL if site.rng.random() < 0.3 else SensingMode.USED
    slot = SimulatedSlot(
        name="beans",
        capacity=100.0,
        level=100.0,
        draws=site.draw_stream(kind, site.lognormal(5.0, 0.5), unit=1.0),
        sensor=Sensor(sensing=sensing),
        spares=True,
    )
    return SimulatedDevice(site.rng, [slot], site.start_ms, at_use=True)


def water_filter(site: DeviceSite) -> SimulatedDevice:
    """A water filter with a flow meter; a cartridge lasts for 2,000 litres."""
    slot = SimulatedSlot(
        name="filter",
        capacity=2000.0,
        level=2000.0,
        draws=site.draw_stream(
            site.choose(DemandKind.WEEKLY, DemandKind.VACATIONS, DemandKind.TRENDING), site.lognormal(12.0, 0.5)
        ),
        sensor=Sensor(sensing=SensingMode.TOTAL),
        spares=True,
    )
    return SimulatedDevice(site.rng, [slot], site.start_ms, every_ms=6 * HOUR_MS)


def dishwasher(site: DeviceSite) -> SimulatedDevice:
    """A dishwasher that counts cycles: a box has 40 tabs, and salt lasts for 25 cycles."""
    cycles = site.draw_stream(site.choose(DemandKind.EVENTS, DemandKind.VACATIONS), site.lognormal(0.9, 0.35), unit=1.0)
    used = Sensor(sensing=SensingMode.USED)
    slots = [
        SimulatedSlot(name="detergent", capacity=40.0, level=40.0, draws=cycles, sensor=used, spares=True),
        SimulatedSlot(name="salt", capacity=25.0, level=25.0, draws=cycles, sensor=used, spares=True),
    ]
    return SimulatedDevice(site.rng, slots, site.start_ms, at_use=True)


def printer(site: DeviceSite) -> SimulatedDevice:
    """A printer that reports its four inks in steps of 5 %, twice a day."""
    sensor = Sensor(sensing=SensingMode.LEVEL, noise=0.3, step=5.0)
    slots = []
    for name, rate in (("black", 1.1), ("cyan", 0.7), ("magenta", 0.7), ("yellow", 0.7)):
        kind = site.choose(DemandKind.INTERMITTENT, DemandKind.LUMPY, DemandKind.WEEKLY)
        draws = site.draw_stream(kind, site.lognormal(rate, 0.4), unit=0.5)
        level = float(site.rng.uniform(20.0, 100.0))
        slots.append(SimulatedSlot(name=name, capacity=100.0, level=level, draws=draws, sensor=sensor))
    return SimulatedDevice(site.rng, slots, site.start_ms, every_ms=12 * HOUR_MS)


def water_tank(site: DeviceSite) -> SimulatedDevice:
    """A garden water tank of 5,000 litres, refilled by lorry, with seasonal demand and a noisy pressure gauge."""
    slot = SimulatedSlot(
        name="water",
        capacity=5000.0,
        level=float(site.rng.uniform(1500.0, 4800.0)),
        draws=site.draw_stream(site.choose(DemandKind.YEARLY, DemandKind.SHIFTING), site.lognormal(45.0, 0.4)),
        sensor=Sensor(sensing=SensingMode.LEVEL, noise=25.0, step=5.0),
    )
    return SimulatedDevice(site.rng, [slot], site.start_ms, every_ms=3 * HOUR_MS)


DEVICE_FACTORIES: dict[str, Callable[[DeviceSite], SimulatedDevice]] = {
    "coffee": coffee_machine,
    "oil": oil_tank,
    "filter": water_filter,
    "dishwasher": dishwasher,
    "printer": printer,
    "tank": water_tank,
}
"""Factories by kind of device; the kind is the last part of a device's id."""
