"""The event engine of a neighbourhood: devices that advance in fixed steps, messages in flight, and scheduled actions of people.

Time is an argument. Steps end at fixed times, and simultaneous events have a defined order, so events do not depend on the times to
which the engine is advanced.
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
"""Longest step of the devices. People's patience is longer, so their actions are never scheduled too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEvent:
    """A message to the service on a topic of the public contract, with its time of arrival."""

    at_ms: int
    topic: str
    payload: dict[str, Any]

    def replay_line(self) -> dict[str, Any]:
        """The event as a line of the replay protocol: `{"at": …, "topic"|"outcome"|"request": …}`."""
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
    """A device in its home, its messages in flight, and what its people know.

    handled_run_outs: by slot, the run-out that somebody already acts on; parcels_in_transit: by slot, their number.
    """

    table: DeviceTable
    physics: SimulatedDevice
    faults: FaultChain
    index: int
    sent: int = 0
    handled_run_outs: dict[str, int] = field(default_factory=dict)
    parcels_in_transit: dict[str, int] = field(default_factory=dict)


OnEmpty = Callable[[PlacedDevice, str, int, int], None]
"""Receives (device, slot, start in ms, number of the slot's run-out) when a slot is truly empty."""


class NeighbourhoodEngine:
    """Devices by id, and scheduled actions. on_empty: called once for each run-out."""

    def __init__(self, start_ms: int, devices: dict[str, PlacedDevice], on_empty: OnEmpty) -> None:
        self.now_ms = start_ms
        self.devices = devices
        self.on_empty = on_empty
        self.lost_to_overflow: dict[str, float] = {}
        self._scheduled: list[tuple[int, str, Callable[[int], None]]] = []
        self._outgoing: list[tuple[int, str, SimulatedEvent]] = []

    def advance(self, to_ms: int) -> list[SimulatedEvent]:
        """Advances to `to_ms`; the messages that reach the service since the last call, in order."""
        while self.now_ms < to_ms:
            end_ms = min(to_ms, self.now_ms - self.now_ms % STEP_MS + STEP_MS)
            while self._scheduled and self._scheduled[0][0] <= end_ms:
                at_ms, _, action = heapq.heappop(self._scheduled)
                action(at_ms)
            for placed in self.devices.values():
                self.advance_device(placed, end_ms)
            self.now_ms = end_ms
        events = []
        while self._outgoing and self._outgoing[0][0] <= to_ms:
            events.append(heapq.heappop(self._outgoing)[2])
        return events

    def schedule(self, at_ms: int, key: str, action: Callable[[int], None]) -> None:
        """Schedules an action at `at_ms`, or next if that has passed. key: orders simultaneous actions."""
        heapq.heappush(self._scheduled, (max(at_ms, self.now_ms + 1), key, action))

    def emit(self, at_ms: int, device: str, kind: str, body: dict[str, Any]) -> None:
        """Sends a message of people or suppliers; fields of None are left out."""
        payload = {key: value for key, value in body.items() if value is not None} | {"at": epoch_seconds(at_ms)}
        event = SimulatedEvent(at_ms=at_ms, topic=f"starloop/v1/{device}/{kind}", payload=payload)
        heapq.heappush(self._outgoing, (at_ms, f"b{body['id']}", event))

    def advance_device(self, placed: PlacedDevice, to_ms: int) -> None:
        """Advances one device, sends its reports, and notifies its people of empty slots."""
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
        """Adds a quantity to a slot at `at_ms`; what does not fit is counted in `lost_to_overflow`."""
        self.advance_device(placed, at_ms)
        lost = placed.physics.refill(slot, quantity)
        item = f"{placed.table.id}/{slot}"
        self.lost_to_overflow[item] = self.lost_to_overflow.get(item, 0.0) + lost
