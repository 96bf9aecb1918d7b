"""A seeded neighbourhood: homes with devices whose true state is known, their people, and the suppliers they order from.

It only makes events and takes reactions; who carries them (a replay, a broker, the world of the tests) is told nothing of
the truth but what it asks for. Everything follows from the seed, the moments asked for do not matter: `advance` in one step
or in a thousand gives the same events.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from config.fleet import Device as DeviceTable
from config.fleet import Fleet
from simulators.answers import Manner, answer_ms, chance, lead_days, patience_ms, timing_of, year_gap_ms
from simulators.faults import Chain, Message
from simulators.homes import SUPPLIERS, device_of, homes
from simulators.physics.devices import Device, PhysicalSlot, Sensing, telemetry
from simulators.physics.kinds import DEVICES, Setting
from simulators.physics.weather import daily_temperature_c
from simulators.troubles import Troubles, chain_of
from star.times import DAY_MS, HOUR_MS, seconds

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: where a neighbourhood begins unless told otherwise."""
STRIDE_MS = 6 * HOUR_MS
"""Devices move on at most so far at once; people's patience is longer, so nothing that they do comes too late."""
WEATHER_DAYS = 4 * 365 + 1
"""Weather is made for so long, then it repeats."""
_SHIPS_AFTER = 0.6  # of the lead time a parcel is on its way, and can't be cancelled any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that reaches the service: a message on a topic of the public contract. Times in milliseconds."""

    at_ms: int
    topic: str
    payload: dict[str, Any]

    def line(self) -> dict[str, Any]:
        """The same as a line of a readings file: `{"at": …, "topic"|"outcome"|"request": …}`."""
        at = seconds(self.at_ms)
        device, kind = self.topic.split("/")[2:]
        if kind == "telemetry":
            return {"at": at, "topic": self.topic, "payload": self.payload}
        body = self.payload
        if "item" in body:
            body = body | {"item": f"{device}/{body['item']}"}
        return {"at": at, kind.removesuffix("s"): body}


@dataclass(slots=True, kw_only=True)
class _Placed:
    """A device in its home, the messages on their way from it, and what its people know."""

    table: DeviceTable
    physics: Device
    way: Chain
    index: int
    sent: int = 0
    empty_seen: dict[str, int] = field(default_factory=dict)  # by slot, the run-out that somebody already acts on
    coming: dict[str, int] = field(default_factory=dict)  # by slot, parcels under way


@dataclass(slots=True, kw_only=True)
class _Order:
    """An order as its supplier sees it."""

    slot: str
    quantity: float
    ships_ms: int
    ended: bool = False


class Neighbourhood:
    """The whole of it. `fleet` is what the service may know."""

    def __init__(
        self,
        seed: int,
        homes_count: int,
        *,
        start_ms: int = START_MS,
        manner: Manner | None = None,
        troubles: Troubles | None = None,
    ) -> None:
        """manner: how people and suppliers behave; troubles: how bad sensors and connections are. None: the usual."""
        self._seed = seed
        self._manner = manner or Manner()
        self.now_ms = start_ms
        rng = np.random.default_rng([seed, 1])
        self._homes = homes(rng, homes_count)
        weather = daily_temperature_c(np.random.default_rng([seed, 2]), 1, WEATHER_DAYS, start_ms // DAY_MS)[0]
        self._agenda: list[tuple[int, str, Callable[[int], None]]] = []
        self._outgoing: list[tuple[int, str, Event]] = []
        self._orders: dict[str, _Order] = {}
        self._reacted: set[str] = set()
        self.delivered: dict[str, int] = {}
        self.lost_to_overflow: dict[str, float] = {}
        self.services: dict[str, list[int]] = {}
        self._placed = dict(self._place(seed, start_ms, weather, troubles or Troubles()))
        self.fleet = Fleet(
            customers=tuple(home.customer for home in self._homes),
            devices=tuple(placed.table for placed in self._placed.values()),
            suppliers=SUPPLIERS,
        )
        self._suppliers = {supplier.id: supplier for supplier in SUPPLIERS}
        for home in self._homes:
            self._plan_request(home.customer.id, start_ms, 1)

    def _place(
        self, seed: int, start_ms: int, weather: np.ndarray[tuple[int], np.dtype[np.float64]], troubles: Troubles
    ) -> Iterator[tuple[str, _Placed]]:
        index = 0
        for home in self._homes:
            for word in home.kinds:
                own = np.random.default_rng([seed, 3, index])
                physics = DEVICES[word](Setting(rng=own, start_ms=start_ms, temperature_c=weather))
                way = chain_of(np.random.default_rng([seed, 4, index]), troubles, physics)
                table = device_of(home, word)
                yield table.id, _Placed(table=table, physics=physics, way=way, index=index)
                index += 1

    # What happens

    @property
    def items(self) -> tuple[str, ...]:
        """Every slot as `device/name`, sorted."""
        return tuple(sorted(f"{d}/{slot}" for d, placed in self._placed.items() for slot in placed.physics.slots))

    def advance(self, to_ms: int) -> list[Event]:
        """Moves on to `to_ms`; gives what reaches the service after the time before and up to it, in order."""
        while self.now_ms < to_ms:
            end_ms = min(to_ms, self.now_ms - self.now_ms % STRIDE_MS + STRIDE_MS)
            while self._agenda and self._agenda[0][0] <= end_ms:
                at_ms, _, act = heapq.heappop(self._agenda)
                act(at_ms)
            for placed in self._placed.values():
                self._step(placed, end_ms)
            self.now_ms = end_ms
        events = []
        while self._outgoing and self._outgoing[0][0] <= to_ms:
            events.append(heapq.heappop(self._outgoing)[2])
        return events

    def react(self, line: Mapping[str, Any]) -> None:
        """Takes a reaction as its line says it (`star.react.Reaction.line`), and plans what people and suppliers will do.

        A reaction's id counts once, as a retry carries the same. Other lines (forecasts, ticks) and devices are ignored.
        """
        handler = self._HANDLERS.get(str(line.get("type")))
        if handler is None or line["id"] in self._reacted or line["data"]["device"] not in self._placed:
            return
        self._reacted.add(line["id"])
        at_ms = max(round(line["at"] * 1000), self.now_ms)
        handler(self, line["id"], at_ms, line["data"], chance(self._seed, line["id"]))

    # The truth

    def true_level(self, item: str) -> float:
        """What is really there now; `item` is `device/name`. Raises KeyError for what is not a slot here."""
        return self._slot(item).level

    def true_days_to_empty(self, item: str, horizon_days: float = 730.0) -> float:
        """The days from now until the item is really empty, if nothing is refilled; at most `horizon_days`."""
        device, name = item.split("/")
        return self._placed[device].physics.days_to_empty(name, horizon_days)

    def times_ran_low(self, item: str, below: float | None = None) -> int:
        """How many times between two refills the level was under `below`: half of the capacity unless given."""
        slot = self._slot(item)
        low = 0.5 * slot.capacity if below is None else below
        return sum(lowest < low for lowest in (*slot.lowest_before_refills, min(slot.lowest, slot.level)))

    def times_ran_out(self, item: str) -> int:
        """How many times the item was really empty."""
        return self._slot(item).run_outs

    def ran_out_days(self, item: str) -> float:
        """Days that the item has been empty, up to now."""
        device, name = item.split("/")
        return self._placed[device].physics.empty_days(name)

    def _slot(self, item: str) -> PhysicalSlot:
        device, name = item.split("/")
        return self._placed[device].physics.slots[name]

    # Devices

    def _step(self, placed: _Placed, to_ms: int) -> None:
        """Moves one device on, sends what it says, and lets its people see what is empty."""
        topic = f"starloop/v1/{placed.table.id}/telemetry"
        for at_ms, values in placed.physics.step(to_ms):
            payload = telemetry(at_ms, placed.sent, 0, values)
            placed.sent += 1
            placed.way.send(Message(sent_ms=at_ms, arrive_ms=at_ms, topic=topic, payload=payload))
        for number, message in enumerate(placed.way.arrived(to_ms)):
            event = Event(at_ms=message.arrive_ms, topic=topic, payload=message.payload)
            order = f"a{placed.index:06d}.{message.sent_ms:015d}.{number:06d}"
            heapq.heappush(self._outgoing, (event.at_ms, order, event))
        for name, slot in placed.physics.slots.items():
            if slot.empty_since_ms is not None and placed.empty_seen.get(name) != slot.run_outs:
                placed.empty_seen[name] = slot.run_outs
                self._plan_help(placed, name, slot.empty_since_ms, slot.run_outs)

    def _refill(self, placed: _Placed, slot: str, at_ms: int, quantity: float) -> None:
        self._step(placed, at_ms)
        lost = placed.physics.refill(slot, quantity)
        item = f"{placed.table.id}/{slot}"
        self.lost_to_overflow[item] = self.lost_to_overflow.get(item, 0.0) + lost

    # People

    def _plan(self, at_ms: int, key: str, act: Callable[[int], None]) -> None:
        heapq.heappush(self._agenda, (max(at_ms, self.now_ms + 1), key, act))

    def _say(self, at_ms: int, device: str, kind: str, body: dict[str, Any]) -> None:
        payload = {key: value for key, value in body.items() if value is not None} | {"at": seconds(at_ms)}
        event = Event(at_ms=at_ms, topic=f"starloop/v1/{device}/{kind}", payload=payload)
        heapq.heappush(self._outgoing, (at_ms, f"b{body['id']}", event))

    def _outcome_later(
        self, at_ms: int, reaction: str, device: str, result: str, quantity: float | None = None
    ) -> None:
        key = f"{reaction}:{result}"
        body = {"id": key, "reaction": reaction, "result": result, "quantity": quantity}
        self._plan(at_ms, key, lambda now_ms: self._say(now_ms, device, "outcomes", body))

    def _plan_request(self, customer: str, from_ms: int, number: int) -> None:
        """Now and then a customer asks for something, whatever its level."""
        rng = chance(self._seed, f"request/{customer}/{number}")
        at_ms = from_ms + year_gap_ms(rng, self._manner.requests_per_year)
        own = [placed for placed in self._placed.values() if placed.table.customer == customer]
        placed = own[int(rng.integers(len(own)))]
        slot = sorted(placed.physics.slots)[int(rng.integers(len(placed.physics.slots)))]

        def ask(now_ms: int) -> None:
            self._say(now_ms, placed.table.id, "requests", {"id": f"{customer}-request-{number}", "item": slot})
            self._plan_request(customer, now_ms, number + 1)

        self._plan(at_ms, f"request/{customer}/{number}", ask)

    def _plan_help(self, placed: _Placed, slot: str, since_ms: int, number: int) -> None:
        """Someone whose shelf stays empty, and for whom nothing is under way, buys a pack elsewhere."""
        key = f"help/{placed.table.id}/{slot}/{number}"
        rng = chance(self._seed, key)
        wait_ms = patience_ms(rng, self._manner)

        def look(now_ms: int) -> None:
            self._step(placed, now_ms)
            of = placed.physics.slots[slot]
            if of.run_outs != number or of.empty_since_ms is None:
                return
            if placed.coming.get(slot):
                self._plan(now_ms + wait_ms, key, look)
                return
            self._bought(placed, slot, now_ms, f"{key}:refilled", rng)

        self._plan(since_ms + wait_ms, key, look)

    def _bought(self, placed: _Placed, slot: str, at_ms: int, id_: str, rng: np.random.Generator) -> None:
        """A pack bought elsewhere. Where use is counted it must be told, as no sensor sees it."""
        quantity = self._pack(placed, slot)
        self._refill(placed, slot, at_ms, quantity)
        counted = placed.physics.slots[slot].sensor.sensing is not Sensing.LEVEL
        if counted or rng.random() < self._manner.tells:
            body = {"id": id_, "item": slot, "result": "refilled", "quantity": quantity}
            self._say(at_ms, placed.table.id, "outcomes", body)

    def _pack(self, placed: _Placed, slot: str) -> float:
        table = placed.table.slots[slot]
        return table.pack or placed.physics.slots[slot].capacity

    # Reactions, by type

    def _ordered(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        placed, slot = self._placed[data["device"]], str(data["item"])
        manner, free_ms = self._manner, round(data.get("cancel_before", 0.0) * 1000)
        if slot not in placed.physics.slots:
            self._booked(id_, at_ms, data, rng)
            return
        supplier = self._suppliers[data["supplier"]]
        lead_ms = int(lead_days(rng, supplier.lead_time_days, manner) * DAY_MS)
        quantity = float(data.get("quantity") or self._pack(placed, slot))
        if rng.random() < manner.short:
            quantity *= float(rng.uniform(0.4, 0.9))
        arrives_ms = max(at_ms + lead_ms, free_ms + HOUR_MS)
        order = _Order(slot=slot, quantity=quantity, ships_ms=max(at_ms + int(_SHIPS_AFTER * lead_ms), free_ms))
        self._orders[id_] = order
        fate, moment = float(rng.random()), float(rng.uniform(0.2, 0.9))
        if free_ms > at_ms and fate < manner.cancels:
            order.ended = True
            self._outcome_later(at_ms + int(moment * (free_ms - at_ms)), id_, placed.table.id, "cancelled")
        elif fate > 1.0 - manner.lost:
            if fate > 1.0 - manner.lost / 2.0:
                self._outcome_later(arrives_ms, id_, placed.table.id, "failed")
        else:
            placed.coming[slot] = placed.coming.get(slot, 0) + 1
            self._plan(arrives_ms, f"deliver/{id_}", lambda now_ms: self._deliver(id_, placed, order, now_ms, rng))

    def _deliver(self, id_: str, placed: _Placed, order: _Order, at_ms: int, rng: np.random.Generator) -> None:
        if order.ended:
            return
        order.ended = True
        placed.coming[order.slot] -= 1
        self._step(placed, at_ms)
        slot = placed.physics.slots[order.slot]
        was_empty = slot.empty_since_ms is not None
        days_left = placed.physics.days_to_empty(order.slot, 60.0)
        self._refill(placed, order.slot, at_ms, order.quantity)
        item = f"{placed.table.id}/{order.slot}"
        self.delivered[item] = self.delivered.get(item, 0) + 1
        pack_days = placed.physics.days_to_empty(order.slot, 365.0) - days_left
        body: dict[str, Any] = {
            "id": f"{id_}:delivered",
            "reaction": id_,
            "result": "delivered",
            "quantity": order.quantity,
        }
        if rng.random() < self._manner.feedback:
            timing = timing_of(days_left, was_empty, pack_days)
            mark = {"late": 2, "early": 4, "right": 5}[timing]
            body["feedback"] = {"timing": timing, "csat": mark, "nps": 2 * mark, "ces": 6 - mark}
        self._say(at_ms, placed.table.id, "outcomes", body)

    def _cancelled(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        """The service cancels: the supplier agrees as long as the parcel has not left."""
        answers_ms = at_ms + int(rng.uniform(0.2, 6.0) * HOUR_MS)
        order = self._orders.get(str(data.get("order")))

        def answer(now_ms: int) -> None:
            if order is None or order.ended or now_ms >= order.ships_ms:
                return
            order.ended = True
            placed = self._placed[data["device"]]
            if placed.coming.get(order.slot):
                placed.coming[order.slot] -= 1
            body = {"id": f"{id_}:cancelled", "reaction": id_, "result": "cancelled"}
            self._say(now_ms, placed.table.id, "outcomes", body)

        self._plan(answers_ms, f"answer/{id_}", answer)

    def _asked(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        """A ready request or an offer: people accept one of its options, decline, or do not answer."""
        fate, wait_ms = float(rng.random()), answer_ms(rng, self._manner)
        options = data.get("options") or ()
        quantity = options[int(rng.integers(len(options)))]["quantity"] if options else data.get("quantity")
        if fate < self._manner.accepts:
            self._outcome_later(at_ms + wait_ms, id_, data["device"], "accepted", quantity)
        elif fate < self._manner.accepts + self._manner.declines:
            self._outcome_later(at_ms + wait_ms, id_, data["device"], "declined")

    def _reminded(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        """A reminder or advice: most people do it within days, and most of them say so."""
        placed, item = self._placed[data["device"]], str(data["item"])
        if rng.random() >= self._manner.acts_on_reminder:
            return
        wait_ms = 6 * answer_ms(rng, self._manner)
        slot = placed.physics.slots.get(item)

        def act(now_ms: int) -> None:
            body: dict[str, Any] = {"id": f"{id_}:done", "reaction": id_, "result": "done"}
            if slot is None:
                self.services.setdefault(f"{placed.table.id}/{item}", []).append(now_ms)
            else:
                body["quantity"] = self._pack(placed, item)
                self._refill(placed, item, now_ms, body["quantity"])
                if slot.sensor.sensing is Sensing.LEVEL and rng.random() >= self._manner.tells:
                    return
            self._say(now_ms, placed.table.id, "outcomes", body)

        self._plan(at_ms + wait_ms, f"act/{id_}", act)

    def _booked(self, id_: str, at_ms: int, data: Mapping[str, Any], rng: np.random.Generator) -> None:
        """A service is done some days later."""
        item = f"{data['device']}/{data['item']}"

        def serve(now_ms: int) -> None:
            self.services.setdefault(item, []).append(now_ms)
            self._say(now_ms, data["device"], "outcomes", {"id": f"{id_}:done", "reaction": id_, "result": "done"})

        self._plan(at_ms + int(rng.uniform(2.0, 9.0) * DAY_MS), f"serve/{id_}", serve)

    _HANDLERS: Mapping[str, Callable[[Neighbourhood, str, int, Mapping[str, Any], np.random.Generator], None]] = {
        "starloop.order.requested": _ordered,
        "starloop.order.cancelled": _cancelled,
        "starloop.offer.made": _asked,
        "starloop.request.ready": _asked,
        "starloop.reminder.sent": _reminded,
        "starloop.maintenance.booked": _booked,
    }
