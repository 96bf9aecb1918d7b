"""The service as an ordering policy: its real code, driven line by line through the replay protocol.

It receives readings and suppliers' messages at the hours at which they arrive, and its orders are carried out as placed. An
invariant checker, which shares no code with it, reads every reaction. Nobody responds to offers, reminders and prepared requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Customer, Device, Experience, Fleet, Product, Slot, Supplier
from config.profile_file import load_profiles
from evaluation.invariants import CONTACT_TYPES, InvariantChecker
from evaluation.policies.stock_tracker import StockTracker
from evaluation.worlds.closed_loop_world import (
    ClosedLoopWorld,
    OrderRequest,
    OutcomeKind,
    OutcomeNotice,
    SimulatedOrder,
)
from evaluation.worlds.scenario_families import Sensing
from evaluation.worlds.scenarios import ORDER_COST, ScenarioBatch
from evaluation.worlds.sensor_faults import HourlyReadings, SensorReading
from evaluation.worlds.supply_draws import OrderOption
from runtime.replay import Replay
from star.ports import Scorer
from star.quantiles import Z_ROUNDED

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

QUANTILE_LEVELS = (0.05, 0.25, 0.50, 0.75, 0.95)
"""Levels of the forecasts that are scored: those that the service publishes."""
NORMAL_QUANTILES = tuple(Z_ROUNDED[level] for level in QUANTILE_LEVELS)
SAMPLE_HOUR = 12
"""Hour of each day's tick whose forecasts are kept for scoring."""
_METRIC_NAMES = {Sensing.LEVEL: "s", Sensing.INCREMENTS: "s_used", Sensing.TOTAL: "s_total"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSamples:
    """m forecasts of the days to empty, and the truth.

    row: (m,) item; hour: (m,) of the forecast; days: (m, levels) quantiles of the service; reference: (m, levels) of a 28-day mean
    with normal errors; truth: (m,) true days, inf where they lie beyond the simulated time; trust: (m,) as the service states it.
    """

    row: Int64
    hour: Int64
    days: Float64
    reference: Float64
    truth: Float64
    trust: Float64


def scenario_fleet(scenarios: ScenarioBatch) -> Fleet:
    """The fleet file for the service: what customers and suppliers state, without the true parameters of the simulation."""
    family = scenarios.family
    counted = family.sensor.sensing is not Sensing.LEVEL
    customers: dict[str, Customer] = {}
    devices = []
    for row in range(len(scenarios)):
        name = f"c{scenarios.customer[row]}"
        customers.setdefault(name, _customer(scenarios, row, name))
        price_max = family.limits.price_max
        slot = Slot(
            capacity=float(scenarios.capacity[row]),
            pack=float(scenarios.pack[row]),
            suppliers=tuple(f"{supplier.name}-{scenarios.seed_index[row]}" for supplier in family.supply.suppliers),
            price_max=None if price_max is None else round(price_max * family.supply.suppliers[0].price, 4),
            stockout_cost=float(scenarios.stockout_cost[row]),
            stockout_cost_per_day=float(scenarios.stockout_cost_per_day[row]),
            holding_cost_per_day=float(scenarios.holding_cost_per_day[row]),
            order_cost=ORDER_COST,
            spare_packs=bool(scenarios.stores_spares[row]),
        )
        profile = "usage-counter" if counted else "level-tank"
        devices.append(Device(id=f"d{row}", customer=name, profile=profile, slots={"s": slot}))
    return Fleet(customers=tuple(customers.values()), devices=tuple(devices), suppliers=tuple(_suppliers(scenarios)))


def _customer(scenarios: ScenarioBatch, row: int, name: str) -> Customer:
    spans = scenarios.vacations[row] if scenarios.family.vacations_declared else ()
    budget = float(scenarios.budget[row])
    return Customer(
        id=name,
        experience=Experience.AUTO,
        consents=("replenishment",),
        budget_per_month=budget if np.isfinite(budget) else None,
        away=tuple((_date(scenarios.first_day + first), _date(scenarios.first_day + last)) for first, last in spans),
    )


def _suppliers(scenarios: ScenarioBatch) -> list[Supplier]:
    suppliers = []
    for seed in range(len(scenarios.seeds)):
        for number, spec in enumerate(scenarios.family.supply.suppliers):
            price, pack = float(scenarios.prices[seed, number, 0]), float(scenarios.pack[0])
            products = tuple(
                Product(sku=f"{packs}-packs", quantity=packs * pack, price=round(price * packs * share, 4))
                for packs, share in spec.quantity_breaks
            )
            suppliers.append(
                Supplier(id=f"{spec.name}-{seed}", lead_time_days=spec.stated_lead_days, price=price, products=products)
            )
    return suppliers


class ServicePolicy:
    """Implements closed_loop_world.OrderingPolicy. `samples` and `invariants` hold what is scored afterwards.

    contacts: with customers; first_forecast: item's row -> hour of its first forecast.
    """

    def __init__(self, scenarios: ScenarioBatch, scorer: Scorer) -> None:
        self.scenarios = scenarios
        self.catalogue: Catalogue = resolve_catalogue(scenario_fleet(scenarios), load_profiles())
        self.invariants = InvariantChecker(self.catalogue)
        self.contacts = 0
        self.first_forecast: dict[int, int] = {}
        self._replay = Replay(self.catalogue, scorer, frozenset({"reactions"}))
        self._start_s = scenarios.start_s()
        self._metric = _METRIC_NAMES[scenarios.family.sensor.sensing]
        self._tracker = StockTracker(scenarios, filtered=False)
        self._orders: dict[str, SimulatedOrder] = {}
        self._orders_seen = 0
        self._outcomes_sent = 0
        self._kept_samples: list[tuple[int, int, list[float], Float64, float, float]] = []

    def on_readings(self, hour: int, readings: HourlyReadings) -> None:
        """Sends the readings to the service."""
        self._tracker.ingest(hour, readings)
        temperature = self._temperature(hour)
        for late in readings.late:
            self._publish(hour, late, temperature)
        uses = [None] * len(readings.rows) if readings.used is None else readings.used.tolist()
        for row, value, used, again in zip(
            readings.rows.tolist(), readings.values.tolist(), uses, readings.duplicated, strict=True
        ):
            for _ in range(2 if again else 1):
                self._publish(hour, SensorReading(row=row, hour=hour, value=value, used=used), temperature)

    def on_outcome(self, hour: int, notice: OutcomeNotice) -> None:
        """Sends the outcome to the service."""
        if notice.kind in (OutcomeKind.DELIVERED, OutcomeKind.REFILLED):
            self._tracker.add_delivery(hour, notice.row, notice.quantity)
        self._outcomes_sent += 1
        body: dict[str, Any] = {"id": f"said-{self._outcomes_sent}", "result": str(notice.kind)}
        if notice.order is None:
            body |= {"item": f"d{notice.row}/s", "quantity": round(notice.quantity, 6)}
        else:
            body["reaction"] = notice.order.name
            if notice.kind is OutcomeKind.DELIVERED:
                body["quantity"] = round(notice.quantity, 6)
        self._outcome(hour, body)

    def decide(self, hour: int, world: ClosedLoopWorld) -> Sequence[OrderRequest]:
        """Sends a tick; the service's reactions become orders and cancellations."""
        if hour % 24 == 0:
            self._tracker.close_day(hour)
            self._publish_prices(hour)
        for order in world.orders[self._orders_seen :]:
            self._orders[order.name] = order
        self._orders_seen = len(world.orders)
        order_requests: list[OrderRequest] = []
        for line in self._replay.feed(self._line(hour, {"tick": True})):
            if b'"starloop.' in line[:60]:
                self._handle_reaction(hour, orjson.loads(line), world, order_requests)
        if hour % 24 == SAMPLE_HOUR:
            self._sample(hour, world)
        elif len(self.first_forecast) < len(self.scenarios):
            for line in self._replay.forecast_lines():
                self.first_forecast.setdefault(int(orjson.loads(line)["device"][1:]), hour)
        return order_requests

    def samples(self) -> ForecastSamples:
        """The forecasts kept, with the truth."""
        samples = self._kept_samples
        return ForecastSamples(
            row=np.array([sample[0] for sample in samples], dtype=np.int64),
            hour=np.array([sample[1] for sample in samples], dtype=np.int64),
            days=np.array([sample[2] for sample in samples]).reshape(-1, len(QUANTILE_LEVELS)),
            reference=np.array([sample[3] for sample in samples]).reshape(-1, len(QUANTILE_LEVELS)),
            truth=np.array([sample[4] for sample in samples]),
            trust=np.array([sample[5] for sample in samples]),
        )

    def _handle_reaction(
        self, hour: int, line: Mapping[str, Any], world: ClosedLoopWorld, order_requests: list[OrderRequest]
    ) -> None:
        self.invariants.on_reaction(line)
        data = line["data"]
        if line["type"] in CONTACT_TYPES:
            self.contacts += 1
        if line["type"] == "starloop.order.requested":
            row = int(data["device"][1:])
            names = [supplier.name for supplier in self.scenarios.family.supply.suppliers]
            supplier = names.index(data["supplier"].rsplit("-", 1)[0])
            packs = max(round(data["quantity"] / self.scenarios.pack[row]), 1)
            shares = {(option.supplier, option.packs): option.price_share for option in world.options}
            option = OrderOption(supplier, packs, shares.get((supplier, packs), 1.0))
            before_s = data.get("cancel_before") or 0.0
            cancellable_until = int(np.ceil((before_s - self._start_s) / 3600.0)) if before_s else 0
            order_requests.append(OrderRequest(row, option, max(cancellable_until, 0), line["id"]))
        elif line["type"] == "starloop.order.cancelled":
            order = self._orders.get(data["order"])
            if order is not None and world.cancel(order):
                self._outcomes_sent += 1
                body = {"id": f"said-{self._outcomes_sent}", "reaction": line["id"], "result": "cancelled"}
                self._outcome(hour, body)
                self.invariants.orders[order.name].result = "cancelled"

    def _sample(self, hour: int, world: ClosedLoopWorld) -> None:
        """Keeps the forecast of each item that is not empty, with the true days to empty.

        Real traces end: a forecast that reaches beyond the end is left out, whatever the truth, so that none is selected by it.
        """
        level, ends = world.level, bool(self.scenarios.family.trace_group)
        known_days = self.scenarios.hourly_use.shape[1] / 24.0 - hour / 24.0
        truth = (self.scenarios.empty_hour(np.arange(len(level)), hour, level) - hour) / 24.0
        reference = self._reference_days()
        for line in map(orjson.loads, self._replay.forecast_lines()):
            row = int(line["device"][1:])
            self.first_forecast.setdefault(row, hour)
            days = [line["days_to_empty"][str(probability)] for probability in QUANTILE_LEVELS]
            if level[row] > 1e-6 * self.scenarios.capacity[row] and (not ends or days[-1] <= known_days):
                self._kept_samples.append((row, hour, days, reference[row], float(truth[row]), line["trust"]))

    def _reference_days(self) -> Float64:
        """(n, levels) days to empty by the reference: level over the 28-day mean, with the normal error of the demand until then."""
        tracker = self._tracker
        known = ~np.isnan(tracker.daily)
        count = known.sum(axis=1)
        daily = np.where(known, tracker.daily, 0.0)
        prior = self.scenarios.capacity / 30.0
        mean = daily.sum(axis=1) / np.maximum(count, 1)
        rate = np.where(count > 0, np.maximum(mean, 1e-3 * prior), prior)
        off = np.where(known, daily - mean[:, None], 0.0)
        spread = np.where(count > 1, np.sqrt((off**2).sum(axis=1) / np.maximum(count, 1)), rate)
        middle = np.maximum(np.nan_to_num(tracker.level), 0.0) / rate
        error = spread / rate * np.sqrt(np.maximum(middle, 0.5))
        return np.asarray(np.clip(middle[:, None] + error[:, None] * np.array(NORMAL_QUANTILES), 0.0, 3650.0))

    def _publish(self, hour: int, reading: SensorReading, temperature: Float64 | None) -> None:
        values = {self._metric: reading.value}
        if reading.used is not None:
            values[_METRIC_NAMES[Sensing.INCREMENTS]] = reading.used
        if temperature is not None:
            values["temperature"] = round(float(temperature[reading.row]), 1)
        payload = {"at": self._start_s + reading.hour * 3600, "values": values}
        self._feed(hour, {"topic": f"starloop/v1/d{reading.row}/telemetry", "payload": payload})

    def _temperature(self, hour: int) -> Float64 | None:
        return self.scenarios.temperature_c[:, hour // 24] if self.scenarios.family.sensor.temperature else None

    def _publish_prices(self, hour: int) -> None:
        day = hour // 24
        if not self.scenarios.family.supply.price_steps_per_year or day == 0:
            return
        prices = self.scenarios.prices
        for seed, number in np.argwhere(prices[:, :, day] != prices[:, :, day - 1]):
            name = f"{self.scenarios.family.supply.suppliers[number].name}-{seed}"
            self._feed(hour, {"supplier": name, "price": float(prices[seed, number, day])})

    def _outcome(self, hour: int, body: dict[str, Any]) -> None:
        self.invariants.on_outcome(body)
        self._feed(hour, {"outcome": body})

    def _feed(self, hour: int, fields: dict[str, Any]) -> None:
        if self._replay.feed(self._line(hour, fields)):
            raise AssertionError("the replay printed a line without a tick")

    def _line(self, hour: int, fields: dict[str, Any]) -> bytes:
        return orjson.dumps({"at": self._start_s + hour * 3600, **fields})


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
