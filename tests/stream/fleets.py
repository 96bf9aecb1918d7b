"""Small fleets for the tests of the stream, a registry of names in memory, and a stand-in model with a fixed spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from config.fleet import Customer, Device, Experience, Fleet, Slot, Supplier
from config.profile_file import load_profiles
from config.resolve import Catalogue, resolve
from star.sense import NO_BOOT, NO_SEQ, Readings
from stream.analysis import Analysis

DAY_MS = 86_400_000
START_MS = 1_760_000_000_000 // DAY_MS * DAY_MS
PROFILES = load_profiles()


class NamesInMemory:
    """Numbers in order of appearance."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def number(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    def name(self, number: int) -> str:
        return self._names[number]


class FixedSpread:
    """A plain log-normal forecast about the item's own mean rate: for tests of what is around the model."""

    name = "fixed-spread@1:test"

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        spread = np.array([-0.6, -0.42, -0.33, -0.17, 0.0, 0.17, 0.33, 0.42, 0.6], dtype=np.float32)
        return np.broadcast_to(spread, (features.shape[0], 9)).copy()


def fleet(devices: Sequence[Device]) -> Catalogue:
    """The devices of one customer with one supplier that takes two to four days."""
    return resolve(
        Fleet(
            customers=(Customer(id="maria", experience=Experience.AUTO, consents=("replenishment", "maintenance")),),
            devices=tuple(devices),
            suppliers=(Supplier(id="acme", lead_time_days=(2.0, 4.0), price=10.0),),
        ),
        PROFILES,
    )


def tank(name: str, **slot: object) -> Device:
    """A level tank with one slot `oil` of 1,000."""
    fields = {"capacity": 1000.0, "pack": 500.0, "suppliers": ("acme",)} | slot
    return Device(id=name, customer="maria", profile="level-tank", slots={"oil": Slot(**fields)})  # type: ignore[arg-type]


def counter(name: str, **slot: object) -> Device:
    """A usage counter with one slot `beans` of 100."""
    fields = {"capacity": 100.0, "pack": 100.0, "suppliers": ("acme",)} | slot
    return Device(id=name, customer="maria", profile="usage-counter", slots={"beans": Slot(**fields)})  # type: ignore[arg-type]


class Bench:
    """An analysis with its names and offsets, fed by the names of metrics."""

    def __init__(self, *devices: Device) -> None:
        self.names = NamesInMemory()
        self.analysis = Analysis(fleet(devices), self.names, FixedSpread())
        self.offset = 0

    def readings(self, *rows: tuple[str, float, float], lag_ms: int = 0) -> Readings:
        """Readings of (metric, day after the start, value), arriving `lag_ms` after they were measured."""
        return Readings.of_rows(
            [
                (self.names.number(name), at(day), at(day) + lag_ms, float(value), NO_BOOT, NO_SEQ)
                for name, day, value in rows
            ]
        )


def at(day: float) -> int:
    """Milliseconds of a moment, in days after the start."""
    return START_MS + round(day * DAY_MS)
