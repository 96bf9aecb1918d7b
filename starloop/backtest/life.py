"""A history lived again: the use that was, the readings that would have been, and the service deciding under given rules.

The level is lived anew, as other orders come at other times; a gauge errs as it erred then, reading by reading. Suppliers deliver
whole, after lead times drawn from a seed for an item's first order from them, its second, and so on, so that two lives differ
by their rules alone. People accept what they are offered and buy what they are reminded of.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from config.profiles import Signal
from config.resolve import Catalogue
from reactor.lead_time import log_normal
from star.ports import Scorer
from star.records import Request
from star.times import HOUR_MS
from starloop.backtest.history import History, Metric
from starloop.judge import CONTACTS
from starloop.replay import Replay
from stream.routing import TOTAL_SUFFIX

Float64 = NDArray[np.float64]

TICK_HOURS = 6
SHIPS_AFTER = 0.6
"""Of the lead time: from then on an order can't be cancelled any more."""
SERVICE_DAYS = 3
"""After so long a booked service is done."""
_DIGITS = 6

LeadTimes = Mapping[str, tuple[float, float]]


@dataclass(slots=True, kw_only=True)
class Account:
    """What came of n items, each (n,). paid: for what was delivered; kept: of it, what fitted in; pack_days_early: summed over
    packs delivered."""

    run_outs: Float64
    empty_days: Float64
    pack_days_early: Float64
    orders: Float64
    paid: Float64
    kept: Float64
    contacts: Float64


@dataclass(slots=True, kw_only=True)
class _Order:
    row: int
    quantity: float
    price: float
    ships: int
    result: str
    ended: bool = False


@dataclass(slots=True)
class Life:
    """One life. catalogue: the rules; truth: the fleet whose capacities are the real ones; lead_times: as suppliers truly take;
    answer_hours: until people answer."""

    history: History
    catalogue: Catalogue
    truth: Catalogue
    scorer: Scorer
    lead_times: LeadTimes
    seed: int
    answer_hours: int
    account: Account = field(init=False)
    _rows: dict[str, int] = field(init=False)
    _use: Float64 = field(init=False)
    _used: Float64 = field(init=False)
    _level: Float64 = field(init=False)
    _levels: Float64 = field(init=False)
    _taken: Float64 = field(init=False)
    _due: list[list[tuple[Metric, int, int]]] = field(init=False)
    _orders: dict[str, _Order] = field(default_factory=dict)
    _coming: dict[int, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    _ordinal: dict[tuple[int, str], int] = field(default_factory=dict)
    _lines: int = 0

    def __post_init__(self) -> None:
        pasts, hours = self.history.pasts, self.history.hours
        count = len(pasts)
        names = ("run_outs", "empty_days", "pack_days_early", "orders", "paid", "kept", "contacts")
        self.account = Account(**{name: np.zeros(count) for name in names})
        self._rows = {past.item.key: row for row, past in enumerate(pasts)}
        self._use = np.array([past.used.use for past in pasts])
        self._used = np.concatenate([np.zeros((count, 1)), np.cumsum(self._use, axis=1)], axis=1)
        self._level = np.array([past.used.level for past in pasts])
        self._levels, self._taken = np.zeros((count, hours)), np.zeros((count, hours))
        self._due = [[] for _ in range(hours)]
        for row, past in enumerate(pasts):
            for place, hour in enumerate(past.metric.hour.tolist()):
                self._due[hour].append((past.metric, place, row))
        for metric in self.history.others:
            for place, hour in enumerate(metric.hour.tolist()):
                self._due[hour].append((metric, place, -1))

    def run(self) -> Account:
        """Lives every hour."""
        capacity = np.array([self.truth.slots[past.item.key].capacity for past in self.history.pasts])
        replay = Replay(self.catalogue, self.scorer, frozenset({"reactions"}))
        empty = np.zeros(len(self._level), dtype=bool)
        begins = np.array([int(past.metric.at_h[0]) for past in self.history.pasts])
        for hour in range(self.history.hours):
            for line in self._arrivals(hour):
                replay.feed(line)
            self._levels[:, hour] = self._level
            taken = np.minimum(self._level, self._use[:, hour])
            self._taken[:, hour] = taken
            self._level = self._level - taken
            now_empty = (self._level <= 1e-9 * capacity) & (hour >= begins)
            self.account.run_outs += now_empty & ~empty
            self.account.empty_days += now_empty / 24.0
            empty = now_empty
            for line in self._messages(hour):
                replay.feed(line)
            if (hour + 1) % TICK_HOURS == 0:
                for printed in replay.feed(self._line(hour + 1, {"tick": True})):
                    if b'"starloop.' in printed[:80]:
                        self._react(hour + 1, orjson.loads(printed))
        return self.account

    def _messages(self, hour: int) -> Iterator[bytes]:
        """What devices tell at the end of an hour, and what customers and suppliers said in it."""
        messages: dict[tuple[str, float], dict[str, float]] = {}
        for metric, place, row in self._due[hour]:
            at_h = float(metric.at_h[place])
            values = messages.setdefault((metric.device, at_h), {})
            values[metric.name] = float(metric.value[place]) if row < 0 else self._told(metric, place, row)
        for (device, at_h), values in messages.items():
            payload = {"at": (self.history.start_ms + round(at_h * HOUR_MS)) / 1000, "values": values}
            yield self._line(hour + 1, {"topic": f"starloop/v1/{device}/telemetry", "payload": payload})
        while self._lines < len(self.history.said) and self.history.said[self._lines][0] <= hour:
            record = self.history.said[self._lines][1]
            self._lines += 1
            if isinstance(record, Request):
                if record.item in self.catalogue.slots or record.item in self.catalogue.parts:
                    yield self._line(
                        hour + 1, {"request": _given(id=record.id, item=record.item, quantity=record.quantity)}
                    )
            elif record.supplier in self.catalogue.suppliers:
                terms = _given(supplier=record.supplier, price=record.price, lead_time_days=record.lead_time_days)
                yield self._line(hour + 1, terms)

    def _told(self, metric: Metric, place: int, row: int) -> float:
        """What the device of this life reports in place of what it reported then."""
        past, at_h = self.history.pasts[row], float(metric.at_h[place])
        hour = min(int(at_h), self.history.hours - 1)
        wanted, taken = float(self._use[row, hour]), float(self._taken[row, hour])
        if past.item.signal is Signal.LEVEL:
            level = self._levels[row, hour] - taken * (at_h - hour)
            return round(max(float(level + metric.value[place] - past.used.fitted[place]), 0.0), _DIGITS)
        if metric.name.endswith(TOTAL_SUFFIX):
            return round(float(self._taken[row, :hour].sum() + taken * (at_h - hour)), _DIGITS)
        return round(float(metric.value[place]) * (taken / wanted if wanted > 0.0 else 1.0), _DIGITS)

    def _arrivals(self, hour: int) -> Iterator[bytes]:
        """What becomes due at the hour: deliveries, answers, purchases."""
        for id_, body in self._coming.pop(hour, ()):
            order = self._orders.get(id_)
            if order is not None and body["result"] in ("delivered", "done"):
                if order.ended:
                    continue
                order.ended = True
                self._fill(order, hour)
            yield self._line(hour, {"outcome": body})

    def _react(self, hour: int, event: Mapping[str, Any]) -> None:
        data, kind = event["data"], event["type"]
        row = self._rows.get(f"{data['device']}/{data['item']}")
        if row is not None and kind in CONTACTS:
            self.account.contacts[row] += 1.0
        if kind == "starloop.order.requested":
            if row is None:
                return
            lead_h = 24.0 * self._lead_days(row, data["supplier"])
            free = _hour(data.get("cancel_before"), self.history.start_ms)
            arrives = max(int(np.ceil(hour + lead_h)), hour + 1, free + 1)
            self.account.orders[row] += 1.0
            order = _Order(
                row=row,
                quantity=data["quantity"],
                price=data["price"],
                ships=max(hour + int(SHIPS_AFTER * lead_h), free),
                result="delivered",
            )
            self._plan(event["id"], order, arrives, {"quantity": data["quantity"]})
        elif kind == "starloop.order.cancelled":
            held = self._orders.get(data["order"])
            if held is not None and not held.ended and hour < held.ships:
                held.ended = True
                self._say(hour, event["id"], "cancelled")
        elif kind in ("starloop.offer.made", "starloop.request.ready"):
            options = data.get("options") or ()
            quantity = options[0]["quantity"] if options else data.get("quantity")
            self._say(hour + self.answer_hours, event["id"], "accepted", **_given(quantity=quantity))
        elif kind == "starloop.reminder.sent" and row is not None:
            self._buy(hour, event["id"], row)
        elif kind == "starloop.maintenance.booked":
            self._say(hour + 24 * SERVICE_DAYS, event["id"], "done")

    def _buy(self, hour: int, id_: str, row: int) -> None:
        """A customer who was reminded buys a pack of the first supplier, who brings it in the usual time."""
        item = self.catalogue.slots[self.history.pasts[row].item.key]
        supplier = item.suppliers[0] if item.suppliers else None
        lead_h = 24.0 * self._lead_days(row, supplier) if supplier is not None else 24.0
        price = self.catalogue.suppliers[supplier].price if supplier is not None else 0.0
        order = _Order(row=row, quantity=item.pack, price=price, ships=hour, result="done")
        self._plan(id_, order, hour + self.answer_hours + max(int(np.ceil(lead_h)), 1), {"quantity": item.pack})

    def _plan(self, id_: str, order: _Order, hour: int, body: dict[str, Any]) -> None:
        self._orders[id_] = order
        self._say(hour, id_, order.result, **body)

    def _say(self, hour: int, reaction: str, result: str, **fields: Any) -> None:
        body = {"id": f"{reaction}:{result}", "reaction": reaction, "result": result, **fields}
        self._coming.setdefault(hour, []).append((reaction, body))

    def _lead_days(self, row: int, supplier: str) -> float:
        ordinal = self._ordinal.get((row, supplier), 0)
        self._ordinal[row, supplier] = ordinal + 1
        key = f"{self.history.pasts[row].item.key}/{supplier}/{ordinal}"
        draw = np.random.default_rng([self.seed, zlib.crc32(key.encode())]).standard_normal()
        middle, spread = log_normal(self.lead_times[supplier])
        return float(np.exp(middle + spread * draw))

    def _fill(self, order: _Order, hour: int) -> None:
        """Packs come: what fits, what it cost, and how long before each is needed."""
        row = order.row
        item = self.truth.slots[self.history.pasts[row].item.key]
        open_ended = item.spare_packs or item.signal is Signal.USAGE
        room = np.inf if open_ended else max(item.capacity - self._level[row], 0.0)
        packs = order.quantity / item.pack
        steps = np.arange(0.0, packs - 1e-9)
        reach = self._used[row, hour] + self._level[row] + steps * item.pack
        needed = np.minimum(self._used[row].searchsorted(reach), self.history.hours)
        early = np.maximum(needed - hour, 0.0) / 24.0
        self.account.pack_days_early[row] += float(early @ np.minimum(packs - steps, 1.0))
        kept = min(order.quantity, float(room))
        self._level[row] += kept
        self.account.kept[row] += kept
        self.account.paid[row] += order.price

    def _line(self, hour: int, fields: dict[str, Any]) -> bytes:
        return orjson.dumps({"at": self.history.start_ms // 1000 + hour * 3600, **fields})


def _hour(at_s: float | None, start_ms: int) -> int:
    return 0 if not at_s else max(int(np.ceil((at_s * 1000 - start_ms) / HOUR_MS)), 0)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
