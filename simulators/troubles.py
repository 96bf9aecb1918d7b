"""How bad a neighbourhood's sensors and connections are, and the faults that follow for each device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulators.faults import Chain, CounterResets, Delay, Duplicate, Fault, Offline, Reorder, Spikes, Stuck
from simulators.physics.devices import Device, Sensing


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """Shares of messages and spells a year, for every device alike. The defaults are an ordinary good network."""

    delay_s: float = 2.0
    duplicates: float = 0.005
    reordered: float = 0.0
    offline_per_year: float = 2.0
    stuck_per_year: float = 0.2  # of sensors of levels
    spikes: float = 0.001  # of readings of levels
    resets_per_year: float = 1.0  # of counters


NONE = Troubles(delay_s=0.0, duplicates=0.0, offline_per_year=0.0, stuck_per_year=0.0, spikes=0.0, resets_per_year=0.0)
"""Everything arrives, at once, and as it is."""
ROUGH = Troubles(
    delay_s=60.0,
    duplicates=0.05,
    reordered=0.05,
    offline_per_year=12.0,
    stuck_per_year=1.5,
    spikes=0.01,
    resets_per_year=6.0,
)
"""A bad network and tired sensors."""


def chain_of(rng: np.random.Generator, troubles: Troubles, device: Device) -> Chain:
    """The faults of one device; each has a seed of its own."""
    levels = [slot for slot in device.slots.values() if slot.sensor.sensing is Sensing.LEVEL]
    faults: list[Fault] = []

    def own() -> np.random.Generator:
        return np.random.default_rng(rng.integers(0, 2**63))

    if levels and troubles.stuck_per_year > 0:
        faults.append(Stuck(own(), troubles.stuck_per_year))
    if levels and troubles.spikes > 0:
        faults.append(Spikes(own(), troubles.spikes, max(slot.capacity for slot in levels)))
    if len(levels) < len(device.slots) and troubles.resets_per_year > 0:
        faults.append(CounterResets(own(), troubles.resets_per_year))
    if troubles.duplicates > 0:
        faults.append(Duplicate(own(), troubles.duplicates))
    if troubles.reordered > 0:
        faults.append(Reorder(own(), troubles.reordered))
    if troubles.offline_per_year > 0:
        faults.append(Offline(own(), troubles.offline_per_year))
    if troubles.delay_s > 0:
        faults.append(Delay(own(), troubles.delay_s * 1000.0))
    return Chain(faults)
