"""A seeded neighbourhood: homes with devices whose true state is known, their people, and their suppliers.

It produces events and consumes reactions; the caller (a replay, a broker, a test) transports them, and may ask for the truth.
Everything follows from the seed: `advance` in one step or in a thousand gives the same events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.fleet import Fleet
from simulators.neighbourhood.behaviour import Behaviour
from simulators.neighbourhood.engine import NeighbourhoodEngine, PlacedDevice, SimulatedEvent
from simulators.neighbourhood.fault_profile import FaultProfile, build_fault_chain
from simulators.neighbourhood.homes import SUPPLIERS, Home, device_table, make_homes
from simulators.neighbourhood.response_model import ResponseModel
from simulators.physics.device_kinds import DEVICE_FACTORIES, DeviceSite
from simulators.physics.devices import SimulatedSlot
from simulators.physics.weather import daily_temperature_c
from star.times import DAY_MS

__all__ = ["START_MS", "Neighbourhood", "SimulatedEvent"]

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: the default start."""
WEATHER_DAYS = 4 * 365 + 1
"""Period of the simulated weather, which repeats after it."""


class Neighbourhood:
    """The simulation. fleet: what the service may know, as a fleet file."""

    def __init__(
        self,
        seed: int,
        homes_count: int,
        *,
        start_ms: int = START_MS,
        responses: ResponseModel | None = None,
        faults: FaultProfile | None = None,
    ) -> None:
        """responses: behaviour of people and suppliers; faults: of sensors and connections. None: the defaults."""
        self._homes = make_homes(np.random.default_rng([seed, 1]), homes_count)
        placed = dict(_placed_devices(seed, start_ms, self._homes, faults or FaultProfile()))
        self._engine = NeighbourhoodEngine(start_ms, placed, self._on_empty)
        self._behaviour = Behaviour(
            seed, self._engine, {one.id: one for one in SUPPLIERS}, responses or ResponseModel()
        )
        self.fleet = Fleet(
            customers=tuple(home.customer for home in self._homes),
            devices=tuple(one.table for one in placed.values()),
            suppliers=SUPPLIERS,
        )
        for home in self._homes:
            self._behaviour.schedule_request(home.customer.id, start_ms, 1)

    @property
    def now_ms(self) -> int:
        """The simulated time."""
        return self._engine.now_ms

    @property
    def items(self) -> tuple[str, ...]:
        """Every slot as `device/name`, sorted."""
        devices = self._engine.devices.items()
        return tuple(sorted(f"{device}/{slot}" for device, placed in devices for slot in placed.physics.slots))

    def advance(self, to_ms: int) -> list[SimulatedEvent]:
        """Advances to `to_ms`; the messages that reach the service since the last call, in order."""
        return self._engine.advance(to_ms)

    def handle_reaction(self, line: Mapping[str, Any]) -> None:
        """Schedules the response of people or suppliers to a reaction, given as `star.react.Reaction.replay_line` does.

        An id counts once, as a retry has the same. Other lines (forecasts, ticks) and devices are ignored.
        """
        self._behaviour.handle_reaction(line)

    @property
    def delivered_orders(self) -> Mapping[str, int]:
        """Number of delivered orders by item."""
        return self._behaviour.delivered_orders

    @property
    def service_times(self) -> Mapping[str, Sequence[int]]:
        """Times in ms at which each part was serviced, by item."""
        return self._behaviour.service_times

    @property
    def lost_to_overflow(self) -> Mapping[str, float]:
        """Delivered quantities that did not fit, by item."""
        return self._engine.lost_to_overflow

    def true_level(self, item: str) -> float:
        """The true level of `device/name` now. Raises KeyError for what is not a slot here."""
        return self._slot(item).level

    def true_days_to_empty(self, item: str, horizon_days: float = 730.0) -> float:
        """The true days from now until the item is empty without refills, at most `horizon_days`."""
        device, name = item.split("/")
        return self._engine.devices[device].physics.days_to_empty(name, horizon_days)

    def times_ran_low(self, item: str, below: float | None = None) -> int:
        """Number of times that the level was under `below` between two refills. below: half of the capacity unless given."""
        slot = self._slot(item)
        low = 0.5 * slot.capacity if below is None else below
        return sum(lowest < low for lowest in (*slot.lowest_before_refills, min(slot.lowest, slot.level)))

    def times_ran_out(self, item: str) -> int:
        """Number of times that the item was truly empty."""
        return self._slot(item).run_outs

    def ran_out_days(self, item: str) -> float:
        """Days that the item has been empty until now."""
        device, name = item.split("/")
        return self._engine.devices[device].physics.empty_days(name)

    def _slot(self, item: str) -> SimulatedSlot:
        device, name = item.split("/")
        return self._engine.devices[device].physics.slots[name]

    def _on_empty(self, placed: PlacedDevice, slot: str, since_ms: int, number: int) -> None:
        self._behaviour.schedule_outside_purchase(placed, slot, since_ms, number)


def _placed_devices(
    seed: int, start_ms: int, homes: Sequence[Home], faults: FaultProfile
) -> Iterator[tuple[str, PlacedDevice]]:
    """(id, device) of each device, with seeds of its own, all under the same weather."""
    weather: NDArray[np.float64] = daily_temperature_c(
        np.random.default_rng([seed, 2]), 1, WEATHER_DAYS, start_ms // DAY_MS
    )[0]
    index = 0
    for home in homes:
        for kind in home.kinds:
            rng = np.random.default_rng([seed, 3, index])
            physics = DEVICE_FACTORIES[kind](DeviceSite(rng=rng, start_ms=start_ms, temperature_c=weather))
            fault_chain = build_fault_chain(np.random.default_rng([seed, 4, index]), faults, physics)
            table = device_table(home, kind)
            yield table.id, PlacedDevice(table=table, physics=physics, faults=fault_chain, index=index)
            index += 1
