"""The mechanics of a street: devices that move on in strides, messages on their way, and an agenda of what people will do.

Time is a number that is handed in. Strides end at fixed moments, and what happens at one moment has an order of its own, so that
events do not depend on how time is asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from config.fleet import Device as DeviceTable
from simulators.faults import DeviceMessage, FaultChain
from simulators.physics.devices import SimulatedDevice, telemetry_payload
from star.times import HOUR_MS, epoch_seconds

STEP_MS = 6 * HOUR_MS
"""Devices move on at most so far at once; people's patience is longer, so nothing that they do comes too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEvent:
    """Something that reaches the service: a message on a topic of the public contract. Times in milliseconds."""

    at_ms: int
    topic: str
    payload: dict[str, Any]

    def replay_line(self) -> dict[str, Any]:
        """The same as a line of a readings file: `{"at": …, "topic"|"outcome"|"request": …}`."""
        at = epoch_seconds(self.at_ms)
        device, kind = self.topic.split("/")[2:]
        if kind == "telemetry":
            return {"at": at, "topic": self.topic, "payload": self.payload}
        body = self.payload
        if "item" in body:
            body = body | {"item": f"{device}/{body['item']}"}
        return {"at": at, kind.removesuffix("s"): body}


@dataclass(slots=True, kw_only=True)
class PlacedDevice:
    """A device in its home, the messages on their way from it, and what its people know."""

    table: DeviceTable
    physics: SimulatedDevice
    faults: FaultChain
    index: int
    sent: int = 0
    handled_run_outs: dict[str, int] = field(default_factory=dict)  # by slot, the run-out that somebody already acts on
    parcels_in_transit: dict[str, int] = field(default_factory=dict)  # by slot, parcels under way


OnEmpty = Callable[[PlacedDevice, str, int, int], None]
"""Told (device, slot, since when, which run-out of the slot) when something is really empty."""


class NeighbourhoodEngine:
    """Devices by id, and what is about to happen. on_empty: told of each run-out, once."""

    def __init__(self, start_ms: int, devices: dict[str, PlacedDevice], on_empty: OnEmpty) -> None:
        self.now_ms = start_ms
        self.devices = devices
        self.on_empty = on_empty
        self.lost_to_overflow: dict[str, float] = {}
        self._scheduled: list[tuple[int, str, Callable[[int], None]]] = []
        self._outgoing: list[tuple[int, str, SimulatedEvent]] = []

    def advance(self, to_ms: int) -> list[SimulatedEvent]:
        """Moves on to `to_ms`; gives what reaches the service after the time before and up to it, in order."""
        while self.now_ms < to_ms:
            end_ms = min(to_ms, self.now_ms - self.now_ms % STEP_MS + STEP_MS)
            while self._scheduled and self._scheduled[0][0] <= end_ms:
                at_ms, _, act = heapq.heappop(self._scheduled)
                act(at_ms)
            for placed in self.devices.values():
                self.advance_device(placed, end_ms)
            self.now_ms = end_ms
        events = []
        while self._outgoing and self._outgoing[0][0] <= to_ms:
            events.append(heapq.heappop(self._outgoing)[2])
        return events

    def schedule(self, at_ms: int, key: str, act: Callable[[int], None]) -> None:
        """Lets `act` happen at `at_ms`, but not before now; `key` tells apart what happens at one moment."""
        heapq.heappush(self._scheduled, (max(at_ms, self.now_ms + 1), key, act))

    def emit(self, at_ms: int, device: str, kind: str, body: dict[str, Any]) -> None:
        """A message of people or suppliers; what is None is left out."""
        payload = {key: value for key, value in body.items() if value is not None} | {"at": epoch_seconds(at_ms)}
        event = SimulatedEvent(at_ms=at_ms, topic=f"starloop/v1/{device}/{kind}", payload=payload)
        heapq.heappush(self._outgoing, (at_ms, f"b{body['id']}", event))

    def advance_device(self, placed: PlacedDevice, to_ms: int) -> None:
        """Moves one device on, sends what it says, and lets its people see what is empty."""
        topic = f"starloop/v1/{placed.table.id}/telemetry"
        for at_ms, values in placed.physics.advance(to_ms):
            payload = telemetry_payload(at_ms, placed.sent, 0, values)
            placed.sent += 1
            placed.faults.send(DeviceMessage(sent_ms=at_ms, arrive_ms=at_ms, topic=topic, payload=payload))
        for number, message in enumerate(placed.faults.pop_arrived(to_ms)):
            event = SimulatedEvent(at_ms=message.arrive_ms, topic=topic, payload=message.payload)
            order = f"a{placed.index:06d}.{message.sent_ms:015d}.{number:06d}"
            heapq.heappush(self._outgoing, (event.at_ms, order, event))
        for name, slot in placed.physics.slots.items():
            if slot.empty_since_ms is not None and placed.handled_run_outs.get(name) != slot.run_outs:
                placed.handled_run_outs[name] = slot.run_outs
                self.on_empty(placed, name, slot.empty_since_ms, slot.run_outs)

    def refill(self, placed: PlacedDevice, slot: str, at_ms: int, quantity: float) -> None:
        self.advance_device(placed, at_ms)
        lost = placed.physics.refill(slot, quantity)
        item = f"{placed.table.id}/{slot}"
        self.lost_to_overflow[item] = self.lost_to_overflow.get(item, 0.0) + lost
