"""The counterfactual run: a history's consumption, the readings that would have followed, and the service under given rules.

Levels are simulated anew, as other orders arrive at other times; each reading keeps the sensor error that it had. Suppliers deliver
in full, after lead times drawn from a seed for an item's first order from them, its second, and so on, so that two runs differ
by their rules alone. People accept every offer, and buy when they are reminded.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from config.catalogue import Catalogue
from config.profile_schema import SlotSignal
from evaluation.backtest.history import History, MetricSeries
from evaluation.invariants import CONTACT_TYPES
from evaluation.worlds.closed_loop_world import TICK_HOURS, pack_days_early
from reactor.decision.lead_time import log_normal_parameters
from runtime.replay import Replay
from simulators.neighbourhood.response_model import SHIPPED_LEAD_TIME_SHARE
from star.ports import Scorer
from star.records import Request
from star.times import HOUR_MS
from stream.routing import TOTAL_SUFFIX

Float64 = NDArray[np.float64]

MAINTENANCE_DAYS = 3
"""Days from booking a service to its completion, an assumption."""
_DIGITS = 6

LeadTimes = Mapping[str, tuple[float, float]]
"""Supplier -> 10 % and 90 % quantile of its lead time, in days."""


@dataclass(slots=True, kw_only=True)
class BacktestTotals:
    """Totals of n items, each (n,).

    pack_days_early: days that packs came before they were needed, summed over packs; paid: money for deliveries; kept: the quantity
    delivered that fitted.
    """

    run_outs: Float64
    empty_days: Float64
    pack_days_early: Float64
    orders: Float64
    paid: Float64
    kept: Float64
    contacts: Float64


@dataclass(slots=True, kw_only=True)
class _PendingOrder:
    row: int
    quantity: float
    price: float
    ships_hour: int
    result: str
    ended: bool = False


@dataclass(slots=True)
class CounterfactualRun:
    """One run.

    catalogue: the rules under test; baseline: the fleet with the true capacities; scorer: the run-out model; lead_times: true
    distributions; seed: of the lead times drawn; answer_hours: until people respond.
    """

    history: History
    catalogue: Catalogue
    baseline: Catalogue
    scorer: Scorer
    lead_times: LeadTimes
    seed: int
    answer_hours: int
    totals: BacktestTotals = field(init=False)
    _row_of_item: dict[str, int] = field(init=False)
    _hourly_use: Float64 = field(init=False)
    _cumulative_use: Float64 = field(init=False)
    _level: Float64 = field(init=False)
    _level_history: Float64 = field(init=False)
    _consumed: Float64 = field(init=False)
    _readings_due: list[list[tuple[MetricSeries, int, int]]] = field(init=False)
    _orders: dict[str, _PendingOrder] = field(default_factory=dict)
    _outcomes_due: dict[int, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    _order_count: dict[tuple[int, str], int] = field(default_factory=dict)
    _next_event: int = 0

    def __post_init__(self) -> None:
        items, hours = self.history.items, self.history.hours
        count = len(items)
        names = ("run_outs", "empty_days", "pack_days_early", "orders", "paid", "kept", "contacts")
        self.totals = BacktestTotals(**{name: np.zeros(count) for name in names})
        self._row_of_item = {history.item.key: row for row, history in enumerate(items)}
        self._hourly_use = np.array([history.consumption.hourly_use for history in items])
        self._cumulative_use = np.concatenate([np.zeros((count, 1)), np.cumsum(self._hourly_use, axis=1)], axis=1)
        self._level = np.array([history.consumption.initial_level for history in items])
        self._level_history, self._consumed = np.zeros((count, hours)), np.zeros((count, hours))
        self._readings_due = [[] for _ in range(hours)]
        series = [(history.metric, row) for row, history in enumerate(items)]
        for metric, row in [*series, *((metric, -1) for metric in self.history.other_metrics)]:
            for index, hour in enumerate(metric.hour.tolist()):
                self._readings_due[hour].append((metric, index, row))

    def run(self) -> BacktestTotals:
        """Simulates every hour of the history."""
        capacity = np.array([self.baseline.slots[history.item.key].capacity for history in self.history.items])
        replay = Replay(self.catalogue, self.scorer, frozenset({"reactions"}))
        empty = np.zeros(len(self._level), dtype=bool)
        begins = np.array([int(history.metric.at_h[0]) for history in self.history.items])
        for hour in range(self.history.hours):
            for line in self._outcome_lines(hour):
                replay.feed(line)
            self._level_history[:, hour] = self._level
            taken = np.minimum(self._level, self._hourly_use[:, hour])
            self._consumed[:, hour] = taken
            self._level = self._level - taken
            now_empty = (self._level <= 1e-9 * capacity) & (hour >= begins)
            self.totals.run_outs += now_empty & ~empty
            self.totals.empty_days += now_empty / 24.0
            empty = now_empty
            for line in self._messages_of(hour):
                replay.feed(line)
            if (hour + 1) % TICK_HOURS == 0:
                for printed in replay.feed(self._line(hour + 1, {"tick": True})):
                    if b'"starloop.' in printed[:80]:
                        self._handle_reaction(hour + 1, orjson.loads(printed))
        return self.totals

    def _messages_of(self, hour: int) -> Iterator[bytes]:
        """Input lines of an hour: the devices' readings, the customers' requests and the suppliers' terms."""
        messages: dict[tuple[str, float], dict[str, float]] = {}
        for metric, index, row in self._readings_due[hour]:
            at_h = float(metric.at_h[index])
            values = messages.setdefault((metric.device, at_h), {})
            values[metric.name] = float(metric.value[index]) if row < 0 else self._reported_value(metric, index, row)
        for (device, at_h), values in messages.items():
            payload = {"at": (self.history.start_ms + round(at_h * HOUR_MS)) / 1000, "values": values}
            yield self._line(hour + 1, {"topic": f"starloop/v1/{device}/telemetry", "payload": payload})
        while self._next_event < len(self.history.events) and self.history.events[self._next_event][0] <= hour:
            record = self.history.events[self._next_event][1]
            self._next_event += 1
            if isinstance(record, Request):
                if record.item in self.catalogue.slots or record.item in self.catalogue.parts:
                    yield self._line(
                        hour + 1, {"request": _without_none(id=record.id, item=record.item, quantity=record.quantity)}
                    )
            elif record.supplier in self.catalogue.suppliers:
                terms = _without_none(
                    supplier=record.supplier, price=record.price, lead_time_days=record.lead_time_days
                )
                yield self._line(hour + 1, terms)

    def _reported_value(self, metric: MetricSeries, index: int, row: int) -> float:
        """The value that the device reports in this run, with the sensor error of the recorded reading `index`."""
        history, at_h = self.history.items[row], float(metric.at_h[index])
        hour = min(int(at_h), self.history.hours - 1)
        wanted, taken = float(self._hourly_use[row, hour]), float(self._consumed[row, hour])
        if history.item.signal is SlotSignal.LEVEL:
            level = self._level_history[row, hour] - taken * (at_h - hour)
            return round(
                max(float(level + metric.value[index] - history.consumption.fitted_levels[index]), 0.0), _DIGITS
            )
        if metric.name.endswith(TOTAL_SUFFIX):
            return round(float(self._consumed[row, :hour].sum() + taken * (at_h - hour)), _DIGITS)
        return round(float(metric.value[index]) * (taken / wanted if wanted > 0.0 else 1.0), _DIGITS)

    def _outcome_lines(self, hour: int) -> Iterator[bytes]:
        """Outcome lines due at the hour: deliveries, responses, purchases. Their quantities are added to the levels."""
        for id_, body in self._outcomes_due.pop(hour, ()):
            order = self._orders.get(id_)
            if order is not None and body["result"] in ("delivered", "done"):
                if order.ended:
                    continue
                order.ended = True
                self._receive(order, hour)
            yield self._line(hour, {"outcome": body})

    def _handle_reaction(self, hour: int, event: Mapping[str, Any]) -> None:
        data, kind = event["data"], event["type"]
        row = self._row_of_item.get(f"{data['device']}/{data['item']}")
        if row is not None and kind in CONTACT_TYPES:
            self.totals.contacts[row] += 1.0
        if kind == "starloop.order.requested":
            if row is None:
                return
            lead_h = 24.0 * self._draw_lead_time_days(row, data["supplier"])
            cancellable_until = _hour_of(data.get("cancel_before"), self.history.start_ms)
            arrives = max(int(np.ceil(hour + lead_h)), hour + 1, cancellable_until + 1)
            self.totals.orders[row] += 1.0
            order = _PendingOrder(
                row=row,
                quantity=data["quantity"],
                price=data["price"],
                ships_hour=max(hour + int(SHIPPED_LEAD_TIME_SHARE * lead_h), cancellable_until),
                result="delivered",
            )
            self._schedule_delivery(event["id"], order, arrives, {"quantity": data["quantity"]})
        elif kind == "starloop.order.cancelled":
            open_order = self._orders.get(data["order"])
            if open_order is not None and not open_order.ended and hour < open_order.ships_hour:
                open_order.ended = True
                self._schedule_outcome(hour, event["id"], "cancelled")
        elif kind in ("starloop.offer.made", "starloop.request.ready"):
            options = data.get("options") or ()
            quantity = options[0]["quantity"] if options else data.get("quantity")
            self._schedule_outcome(
                hour + self.answer_hours, event["id"], "accepted", **_without_none(quantity=quantity)
            )
        elif kind == "starloop.reminder.sent" and row is not None:
            self._schedule_purchase(hour, event["id"], row)
        elif kind == "starloop.maintenance.booked":
            self._schedule_outcome(hour + 24 * MAINTENANCE_DAYS, event["id"], "done")

    def _schedule_purchase(self, hour: int, id_: str, row: int) -> None:
        """Schedules the purchase after a reminder: a pack of the first supplier, delivered after its lead time."""
        item = self.catalogue.slots[self.history.items[row].item.key]
        supplier = item.suppliers[0] if item.suppliers else None
        lead_h = 24.0 * self._draw_lead_time_days(row, supplier) if supplier is not None else 24.0
        price = self.catalogue.suppliers[supplier].price if supplier is not None else 0.0
        order = _PendingOrder(row=row, quantity=item.pack, price=price, ships_hour=hour, result="done")
        self._schedule_delivery(
            id_, order, hour + self.answer_hours + max(int(np.ceil(lead_h)), 1), {"quantity": item.pack}
        )

    def _schedule_delivery(self, id_: str, order: _PendingOrder, hour: int, body: dict[str, Any]) -> None:
        self._orders[id_] = order
        self._schedule_outcome(hour, id_, order.result, **body)

    def _schedule_outcome(self, hour: int, reaction: str, result: str, **fields: Any) -> None:
        body = {"id": f"{reaction}:{result}", "reaction": reaction, "result": result, **fields}
        self._outcomes_due.setdefault(hour, []).append((reaction, body))

    def _draw_lead_time_days(self, row: int, supplier: str) -> float:
        ordinal = self._order_count.get((row, supplier), 0)
        self._order_count[row, supplier] = ordinal + 1
        key = f"{self.history.items[row].item.key}/{supplier}/{ordinal}"
        draw = np.random.default_rng([self.seed, zlib.crc32(key.encode())]).standard_normal()
        mean, deviation = log_normal_parameters(self.lead_times[supplier])
        return float(np.exp(mean + deviation * draw))

    def _receive(self, order: _PendingOrder, hour: int) -> None:
        """Adds a delivery to the level and to the totals; what does not fit is lost."""
        row = order.row
        item = self.baseline.slots[self.history.items[row].item.key]
        open_ended = item.spare_packs or item.signal is SlotSignal.USAGE
        room = np.inf if open_ended else max(item.capacity - self._level[row], 0.0)
        packs = order.quantity / item.pack
        steps = np.arange(0.0, packs - 1e-9)
        reach = self._cumulative_use[row, hour] + self._level[row] + steps * item.pack
        needed = np.minimum(self._cumulative_use[row].searchsorted(reach), self.history.hours)
        self.totals.pack_days_early[row] += pack_days_early(needed, packs, hour)
        kept = min(order.quantity, float(room))
        self._level[row] += kept
        self.totals.kept[row] += kept
        self.totals.paid[row] += order.price

    def _line(self, hour: int, fields: dict[str, Any]) -> bytes:
        return orjson.dumps({"at": self.history.start_ms // 1000 + hour * 3600, **fields})


def _hour_of(at_s: float | None, start_ms: int) -> int:
    return 0 if not at_s else max(int(np.ceil((at_s * 1000 - start_ms) / HOUR_MS)), 0)


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
