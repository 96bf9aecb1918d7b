"""Behaviour of people and suppliers: responses to reactions, deliveries, cancellations, and purchases elsewhere.

Each decision is drawn from the seed and its subject (response_model.py), so it does not depend on how many came before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from config.fleet import Supplier
from simulators.neighbourhood.engine import NeighbourhoodEngine, PlacedDevice
from simulators.neighbourhood.response_model import (
    SHIPPED_LEAD_TIME_SHARE,
    ResponseModel,
    content_rng,
    delivery_timing,
    draw_answer_ms,
    draw_gap_ms,
    draw_lead_time_days,
    draw_patience_ms,
)
from simulators.physics.devices import SensingMode
from star.times import DAY_MS, HOUR_MS


@dataclass(slots=True, kw_only=True)
class _Order:
    """An open order at its supplier. ships_ms: from then on it can't be cancelled."""

    slot: str
    quantity: float
    ships_ms: int
    ended: bool = False


class Behaviour:
    """The people and suppliers of a neighbourhood. delivered_orders: counts by item; service_times: ms by item."""

    def __init__(
        self, seed: int, engine: NeighbourhoodEngine, suppliers: Mapping[str, Supplier], responses: ResponseModel
    ) -> None:
        self._seed = seed
        self._engine = engine
        self._suppliers = suppliers
        self._responses = responses
        self._orders: dict[str, _Order] = {}
        self._handled_ids: set[str] = set()
        self.delivered_orders: dict[str, int] = {}
        self.service_times: dict[str, list[int]] = {}

    def handle_reaction(self, line: Mapping[str, Any]) -> None:
        """Schedules the response to a reaction, given as a line. An id counts once; other lines and devices are ignored."""
        handler = self._HANDLERS.get(str(line.get("type")))
        if handler is None or line["id"] in self._handled_ids or line["data"]["device"] not in self._engine.devices:
            return
        self._handled_ids.add(line["id"])
        at_ms = max(round(line["at"] * 1000), self._engine.now_ms)
        handler(self, line["id"], at_ms, line["data"], content_rng(self._seed, line["id"]))

    def _schedule_outcome(
        self, at_ms: int, reaction: str, device: str, result: str, quantity: float | None = None
    ) -> None:
        key = f"{reaction}:{result}"
        body = {"id": key, "reaction": reaction, "result": result, "quantity": quantity}
        self._engine.schedule(at_ms, key, lambda now_ms: self._engine.emit(now_ms, device, "outcomes", body))

    def schedule_request(self, customer: str, from_ms: int, number: int) -> None:
        """Schedules a customer's next request, for a random slot, whatever its level."""
        rng = content_rng(self._seed, f"request/{customer}/{number}")
        at_ms = from_ms + draw_gap_ms(rng, self._responses.requests_per_year)
        devices = [placed for placed in self._engine.devices.values() if placed.table.customer == customer]
        placed = devices[int(rng.integers(len(devices)))]
        slot = sorted(placed.physics.slots)[int(rng.integers(len(placed.physics.slots)))]

        def ask(now_ms: int) -> None:
            self._engine.emit(now_ms, placed.table.id, "requests", {"id": f"{customer}-request-{number}", "item": slot})
            self.schedule_request(customer, now_ms, number + 1)

        self._engine.schedule(at_ms, f"request/{customer}/{number}", ask)

    def schedule_outside_purchase(self, placed: PlacedDevice, slot: str, since_ms: int, number: int) -> None:
        """Schedules a purchase elsewhere for a slot that stays empty with no parcel in transit."""
        key = f"help/{placed.table.id}/{slot}/{number}"
        rng = content_rng(self._seed, key)
        wait_ms = draw_patience_ms(rng, self._responses)

        def check(now_ms: int) -> None:
            self._engine.advance_device(placed, now_ms)
            state = placed.physics.slots[slot]
            if state.run_outs != number or state.empty_since_ms is None:
                return
            if placed.parcels_in_transit.get(slot):
                self._engine.schedule(now_ms + wait_ms, key, check)
                return
            self._buy_elsewhere(placed, slot, now_ms, f"{key}:refilled", rng)

        self._engine.schedule(since_ms + wait_ms, key, check)

    def _buy_elsewhere(self, placed: PlacedDevice, slot: str, at_ms: int, id_: str, rng: np.random.Generator) -> None:
        """Adds a pack bought elsewhere. It is always declared where consumption is counted, as no sensor shows it."""
        quantity = self._pack(placed, slot)
        self._engine.refill(placed, slot, at_ms, quantity)
        counted = placed.physics.slots[slot].sensor.sensing is not SensingMode.LEVEL
        if counted or rng.random() < self._responses.reports_refill:
            body = {"id": id_, "item": slot, "result": "refilled", "quantity": quantity}
            self._engine.emit(at_ms, placed.table.id, "outcomes", body)

    def _pack(self, placed: PlacedDevice, slot: str) -> float:
        table = placed.table.slots[slot]
        return table.pack or placed.physics.slots[slot].capacity

    def _handle_order(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        placed, slot = self._engine.devices[data["device"]], str(data["item"])
        responses, cancellable_until_ms = self._responses, round(data.get("cancel_before", 0.0) * 1000)
        if slot not in placed.physics.slots:
            self._handle_booking(id_, at_ms, data, rng)
            return
        supplier = self._suppliers[data["supplier"]]
        lead_ms = int(draw_lead_time_days(rng, supplier.lead_time_days, responses) * DAY_MS)
        quantity = float(data.get("quantity") or self._pack(placed, slot))
        if rng.random() < responses.short_deliveries:
            quantity *= float(rng.uniform(0.4, 0.9))
        arrives_ms = max(at_ms + lead_ms, cancellable_until_ms + HOUR_MS)
        order = _Order(
            slot=slot,
            quantity=quantity,
            ships_ms=max(at_ms + int(SHIPPED_LEAD_TIME_SHARE * lead_ms), cancellable_until_ms),
        )
        self._orders[id_] = order
        draw, moment = float(rng.random()), float(rng.uniform(0.2, 0.9))
        if cancellable_until_ms > at_ms and draw < responses.cancels:
            order.ended = True
            self._schedule_outcome(
                at_ms + int(moment * (cancellable_until_ms - at_ms)), id_, placed.table.id, "cancelled"
            )
        elif draw > 1.0 - responses.lost_orders:
            if draw > 1.0 - responses.lost_orders / 2.0:
                self._schedule_outcome(arrives_ms, id_, placed.table.id, "failed")
        else:
            placed.parcels_in_transit[slot] = placed.parcels_in_transit.get(slot, 0) + 1
            self._engine.schedule(
                arrives_ms, f"deliver/{id_}", lambda now_ms: self._deliver(id_, placed, order, now_ms, rng)
            )

    def _deliver(self, id_: str, placed: PlacedDevice, order: _Order, at_ms: int, rng: np.random.Generator) -> None:
        if order.ended:
            return
        order.ended = True
        placed.parcels_in_transit[order.slot] -= 1
        self._engine.advance_device(placed, at_ms)
        slot = placed.physics.slots[order.slot]
        was_empty = slot.empty_since_ms is not None
        days_left = placed.physics.days_to_empty(order.slot, 60.0)
        self._engine.refill(placed, order.slot, at_ms, order.quantity)
        item = f"{placed.table.id}/{order.slot}"
        self.delivered_orders[item] = self.delivered_orders.get(item, 0) + 1
        pack_days = placed.physics.days_to_empty(order.slot, 365.0) - days_left
        body: dict[str, Any] = {
            "id": f"{id_}:delivered",
            "reaction": id_,
            "result": "delivered",
            "quantity": order.quantity,
        }
        if rng.random() < self._responses.feedback:
            timing = delivery_timing(days_left, was_empty, pack_days)
            mark = {"late": 2, "early": 4, "right": 5}[timing]
            body["feedback"] = {"timing": timing, "csat": mark, "nps": 2 * mark, "ces": 6 - mark}
        self._engine.emit(at_ms, placed.table.id, "outcomes", body)

    def _handle_cancellation(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Schedules the supplier's answer to a cancellation: accepted while the parcel has not shipped, else silence."""
        answers_ms = at_ms + int(rng.uniform(0.2, 6.0) * HOUR_MS)
        order = self._orders.get(str(data.get("order")))

        def answer(now_ms: int) -> None:
            if order is None or order.ended or now_ms >= order.ships_ms:
                return
            order.ended = True
            placed = self._engine.devices[data["device"]]
            if placed.parcels_in_transit.get(order.slot):
                placed.parcels_in_transit[order.slot] -= 1
            body = {"id": f"{id_}:cancelled", "reaction": id_, "result": "cancelled"}
            self._engine.emit(now_ms, placed.table.id, "outcomes", body)

        self._engine.schedule(answers_ms, f"answer/{id_}", answer)

    def _handle_offer(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Schedules the response to an offer or a prepared request: accept one of its options, decline, or none."""
        draw, wait_ms = float(rng.random()), draw_answer_ms(rng, self._responses)
        options = data.get("options") or ()
        quantity = options[int(rng.integers(len(options)))]["quantity"] if options else data.get("quantity")
        if draw < self._responses.accepts:
            self._schedule_outcome(at_ms + wait_ms, id_, data["device"], "accepted", quantity)
        elif draw < self._responses.accepts + self._responses.declines:
            self._schedule_outcome(at_ms + wait_ms, id_, data["device"], "declined")

    def _handle_reminder(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Schedules what a reminder leads to: most people act on it within days, and most of them report it."""
        placed, item = self._engine.devices[data["device"]], str(data["item"])
        if rng.random() >= self._responses.acts_on_reminder:
            return
        wait_ms = 6 * draw_answer_ms(rng, self._responses)
        slot = placed.physics.slots.get(item)

        def act(now_ms: int) -> None:
            body: dict[str, Any] = {"id": f"{id_}:done", "reaction": id_, "result": "done"}
            if slot is None:
                self.service_times.setdefault(f"{placed.table.id}/{item}", []).append(now_ms)
            else:
                body["quantity"] = self._pack(placed, item)
                self._engine.refill(placed, item, now_ms, body["quantity"])
                if slot.sensor.sensing is SensingMode.LEVEL and rng.random() >= self._responses.reports_refill:
                    return
            self._engine.emit(now_ms, placed.table.id, "outcomes", body)

        self._engine.schedule(at_ms + wait_ms, f"act/{id_}", act)

    def _handle_booking(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Schedules the completion of a booked service, some days later."""
        item = f"{data['device']}/{data['item']}"

        def serve(now_ms: int) -> None:
            self.service_times.setdefault(item, []).append(now_ms)
            self._engine.emit(
                now_ms, data["device"], "outcomes", {"id": f"{id_}:done", "reaction": id_, "result": "done"}
            )

        self._engine.schedule(at_ms + int(rng.uniform(2.0, 9.0) * DAY_MS), f"serve/{id_}", serve)

    _HANDLERS: Mapping[str, Callable[[Behaviour, str, int, Mapping[str, Any], np.random.Generator], None]] = {
        "starloop.order.requested": _handle_order,
        "starloop.order.cancelled": _handle_cancellation,
        "starloop.offer.made": _handle_offer,
        "starloop.request.ready": _handle_offer,
        "starloop.reminder.sent": _handle_reminder,
        "starloop.maintenance.booked": _handle_booking,
    }
