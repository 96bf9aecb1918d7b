"""Fault profile of a neighbourhood: how bad its sensors and connections are, and the resulting faults of each device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulators.faults import CounterResets, Delay, Duplicate, Fault, FaultChain, Offline, Reorder, Spikes, Stuck
from simulators.physics.devices import SensingMode, SimulatedDevice


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultProfile:
    """Fault rates, the same for every device. The defaults are an ordinary good network.

    delay_s: mean; duplicates, reordered: shares of messages; *_per_year: episodes, `stuck` of level sensors, `resets` of counters;
    spikes: share of level readings.
    """

    delay_s: float = 2.0
    duplicates: float = 0.005
    reordered: float = 0.0
    offline_per_year: float = 2.0
    stuck_per_year: float = 0.2
    spikes: float = 0.001
    resets_per_year: float = 1.0


NO_FAULTS = FaultProfile(
    delay_s=0.0, duplicates=0.0, offline_per_year=0.0, stuck_per_year=0.0, spikes=0.0, resets_per_year=0.0
)
"""Every message arrives at once and unchanged."""
ROUGH_FAULTS = FaultProfile(
    delay_s=60.0,
    duplicates=0.05,
    reordered=0.05,
    offline_per_year=12.0,
    stuck_per_year=1.5,
    spikes=0.01,
    resets_per_year=6.0,
)
"""A bad network and worn sensors."""


def build_fault_chain(rng: np.random.Generator, profile: FaultProfile, device: SimulatedDevice) -> FaultChain:
    """The faults of one device, each with a seed of its own."""
    levels = [slot for slot in device.slots.values() if slot.sensor.sensing is SensingMode.LEVEL]
    faults: list[Fault] = []

    def own() -> np.random.Generator:
        return np.random.default_rng(rng.integers(0, 2**63))

    if levels and profile.stuck_per_year > 0:
        faults.append(Stuck(own(), profile.stuck_per_year))
    if levels and profile.spikes > 0:
        faults.append(Spikes(own(), profile.spikes, max(slot.capacity for slot in levels)))
    if len(levels) < len(device.slots) and profile.resets_per_year > 0:
        faults.append(CounterResets(own(), profile.resets_per_year))
    if profile.duplicates > 0:
        faults.append(Duplicate(own(), profile.duplicates))
    if profile.reordered > 0:
        faults.append(Reorder(own(), profile.reordered))
    if profile.offline_per_year > 0:
        faults.append(Offline(own(), profile.offline_per_year))
    if profile.delay_s > 0:
        faults.append(Delay(own(), profile.delay_s * 1000.0))
    return FaultChain(faults)
