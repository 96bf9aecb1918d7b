"""ANALYSE as a function of the input log: records in, the facts of each tick out.

Readings go: duplicates dropped, routed, taken by detectors. Events go: repeated ones dropped, applied by detectors. At a tick
every detector evaluates what it knows. Which detectors there are is a matter of installation (stream/detectors/registry.py).
Decisions are the reactor's. No clock, no randomness, no input or output. Days are UTC days.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from config.catalogue import Catalogue
from models.onnx_scorer import OnnxScorer, load_scorer
from star.analyse import CalibrationOutcome, ConditionScore, Facts, Forecast
from star.ids import item_of_reaction
from star.ports import MetricRegistry, Scorer
from star.records import (
    EVENT_CODES,
    EVENT_TYPES,
    Event,
    FleetChange,
    Record,
    Request,
    Tick,
    event_from_fields,
)
from star.repeat import Outcome
from star.sense import Readings
from stream.arrival import ArrivalClock, arrival_ms
from stream.detectors import (
    DetectorContext,
    DetectorFactory,
    EvaluationTick,
    FleetView,
    ItemEvent,
    Metric,
    Route,
    RoutedReadings,
)
from stream.detectors.registry import installed_detectors
from stream.partition.fleet_shard import FLEET_SHARD_KEY, FleetShard
from stream.routing import NO_ROW, Routes
from stream.state.snapshot import AnalysisState, PendingRefills
from stream.state.state_shards import META_SHARD, NO_OFFSET
from stream.state.state_table import Table, device_of
from stream.topics import CALIBRATION, FORECASTS, SCORES

D = TypeVar("D")


class Analysis:
    """The state of all items of a partition, and what detectors find in it.

    catalogue: the fleet at the beginning of the log; its changes are records. names: of metrics, by number. scorer: the run-out
    model. owns_customer: which customers are this partition's; None: all. detectors: factories by name; None: the installed
    ones. load_model: other models by name. forget_detectors: see AnalysisState.

    Raises ConfigError for a detector that can't be used, ModelError for a model that can't be loaded.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        names: MetricRegistry,
        scorer: Scorer,
        *,
        owns_customer: Callable[[str], bool] | None = None,
        detectors: Mapping[str, DetectorFactory] | None = None,
        load_model: Callable[[str], OnnxScorer] = load_scorer,
        forget_detectors: frozenset[str] = frozenset(),
    ) -> None:
        self._fleet = FleetShard(catalogue, owns_customer)
        self._names = names
        self._scorer = scorer
        self._load_model = load_model
        self._factories = installed_detectors() if detectors is None else detectors
        self._forget_detectors = forget_detectors
        self._reset()
        self._set_catalogue(self._fleet.catalogue)

    def _reset(self) -> None:
        refills = PendingRefills()
        context = DetectorContext(self._scorer, self._load_model, refills.emit)
        detectors = {name: make(context) for name, make in self._factories.items()}
        self._state = AnalysisState(detectors, refills, self._forget_detectors)
        self._detectors = tuple(detectors.values())
        self._routes = Routes(self._names, len(detectors))
        self._arrival = ArrivalClock()
        self._forecasts: list[Callable[[], Sequence[Forecast]]] = []
        self._lead_times: dict[str, tuple[float, float]] = {}
        self._events: list[Event] = []
        self._offset = NO_OFFSET
        self._meta_offset = NO_OFFSET

    def ingest(self, offset: int, record: Record) -> Facts | None:
        """Takes the record at `offset`; facts exactly at a tick.

        Records that the loaded state of a device includes change nothing in it. Facts of ticks up to the newest loaded offset
        may lack what such devices would give: facts must be on disk before the shards that include their tick.
        """
        self._offset = offset
        if isinstance(record, Readings):
            if len(record):
                self._take_readings(offset, self._arrival.order_readings(record))
            return None
        if isinstance(record, Tick):
            return self._evaluate(offset, self._arrival.advance(record.at_ms))
        event = self._arrival.order_event(record)
        if self._take_event(offset, event) and offset > self._meta_offset:
            self._events.append(event)
        return None

    def _take_readings(self, offset: int, readings: Readings) -> None:
        for number, name in self._routes.unresolved(readings.metric):
            self._resolve(number, name)
        routes, shards = self._routes, self._state.shards
        device = routes.device[readings.metric]
        wanted = device != NO_ROW
        included = shards.mask_included(np.maximum(device, 0), offset)
        if included is not None:
            wanted &= ~included
        if not wanted.all():
            readings, device = readings.select(wanted), device[wanted]
            if device.size == 0:
                return
        shards.mark_dirty(device)
        for detector in self._detectors:
            detector.observe_devices(device, readings.arrived_ms)
        new = self._state.dedup.mask_new(readings, device, routes.metric[readings.metric])
        if not new.all():
            readings = readings.select(new)
        for detector, rows, kinds in zip(self._detectors, routes.rows, routes.kinds, strict=True):
            row = rows[readings.metric]
            routed = row != NO_ROW
            if routed.all():
                detector.take(RoutedReadings(readings=readings, row=row, kind=kinds[readings.metric]))
            elif routed.any():
                own = readings.select(routed)
                detector.take(RoutedReadings(readings=own, row=row[routed], kind=kinds[own.metric]))

    def _resolve(self, number: int, name: str) -> None:
        device, _, value = name.partition("/")
        row, metric = NO_ROW, NO_ROW
        routes: list[Route | None] = [None] * len(self._detectors)
        if device in self.catalogue.devices:
            row = self._state.dedup.devices.row(device)
            metric = self._state.dedup.add_metric(name, row)
            named = Metric(number=number, name=name, device=device, value=value, device_row=row)
            routes = [detector.route(named) for detector in self._detectors]
        self._routes.upsert(number, device=row, metric=metric, routes=routes)

    def _take_event(self, offset: int, event: Event) -> bool:
        """Applies an event; whether it was new."""
        if isinstance(event, Outcome | Request):
            return self._take_item_event(offset, event)
        if offset <= self._meta_offset:
            return False
        if isinstance(event, FleetChange):
            self._set_catalogue(self._fleet.apply_change(offset, event.tables))
        elif event.lead_time_days is not None:
            self._lead_times[event.supplier] = event.lead_time_days
            self._set_fleet()
        return True

    def _take_item_event(self, offset: int, event: Outcome | Request) -> bool:
        item = _item_of(event)
        device = None if item is None else self._state.dedup.devices.index.get(device_of(item))
        included = self._meta_offset if device is None else int(self._state.shards.included_offset[device])
        if offset <= included:
            return False
        owner = "" if item is None or device is None else device_of(item)
        kind, at_ms, seen = (
            ("outcome" if isinstance(event, Outcome) else "request"),
            arrival_ms(event),
            self._state.seen_ids,
        )
        if not seen.register(owner, f"{kind}:{event.id}", at_ms):
            return False
        if item is None or device is None:
            return True
        self._state.shards.mark_dirty(np.array([device]))
        reaction = event.reaction if isinstance(event, Outcome) else None
        concerned = ItemEvent(
            item=item,
            at_ms=at_ms,
            result=event.result if isinstance(event, Outcome) else None,
            quantity=event.quantity,
            register_delivery=lambda: reaction is None or seen.register(owner, f"delivered:{reaction}", at_ms),
        )
        for detector in self._detectors:
            detector.apply_event(concerned)
        return True

    def _evaluate(self, offset: int, at_ms: int) -> Facts:
        shards = self._state.shards
        tick = EvaluationTick(
            offset=offset,
            at_ms=at_ms,
            mask_ahead=lambda devices: shards.mask_included(devices, offset),
            devices_ahead=shards.devices_ahead(offset),
        )
        findings = [detector.evaluate(tick) for detector in self._detectors]
        self._forecasts = [found.forecasts for found in findings]  # and not the needs, which cost time to keep alive
        refills = self._state.refills.drain(tick.devices_ahead)
        shards.mark_dirty(np.array([device for device, _ in refills], dtype=np.intp))
        for found in findings:
            shards.mark_dirty(found.devices)
        needs = [need for found in findings for need in found.needs]
        return Facts(
            offset=offset,
            at_ms=at_ms,
            events=self._drain_events(offset),
            refills=tuple(refill for _, refill in refills),
            needs=tuple(sorted(needs, key=lambda need: need.item)),
        )

    def _drain_events(self, offset: int) -> tuple[Event, ...]:
        if offset <= self._meta_offset:
            return ()
        events, self._events = tuple(self._events), []
        return events

    def detector(self, kind: type[D]) -> D:
        """The detector of a class, for what only it can tell. Raises KeyError where none is installed."""
        for detector in self._detectors:
            if isinstance(detector, kind):
                return detector
        raise KeyError(kind.__name__)

    def tables(self) -> Mapping[str, Table]:
        """Every table of its state by name."""
        return self._state.tables()

    def forecasts(self, at_ms: int) -> list[Forecast]:
        """Of every item that detectors forecast, at `at_ms`, by detector and item name; changes nothing."""
        return [forecast for detector in self._detectors for forecast in detector.forecasts(at_ms)]

    def evaluated_forecasts(self) -> list[Forecast]:
        """Of the items that the last tick evaluated, by detector and item name."""
        return [forecast for forecasts in self._forecasts for forecast in forecasts()]

    def drain_scores(self) -> list[ConditionScore]:
        """The scores of readings since the last call, in the order of arrival. Messages taken until now count as complete."""
        return [score for detector in self._detectors for score in detector.drain_scores(finish=True)]

    def telemetry(self) -> dict[str, list[Any]]:
        """What the last tick has for observers, by topic: forecasts of the items evaluated, the latest score of each part scored
        since the tick before, and how earlier forecasts came out."""
        scores = [score for detector in self._detectors for score in detector.drain_scores(finish=False)]
        latest = {f"{score.device}/{score.item}": score for score in scores}
        outcomes: list[CalibrationOutcome] = [one for detector in self._detectors for one in detector.drain_outcomes()]
        return {
            FORECASTS: self.evaluated_forecasts(),
            SCORES: [
                _score_row(item, score, device.customer)
                for item, score in latest.items()
                if (device := self.catalogue.devices.get(score.device)) is not None
            ],
            CALIBRATION: outcomes,
        }

    def duplicates(self) -> dict[str, int]:
        """Readings dropped as duplicates, by device."""
        return self._state.dedup.dropped()

    def _set_catalogue(self, catalogue: Catalogue) -> None:
        """Rows for every device and item of the catalogue; those of others stay."""
        self.catalogue = catalogue
        items = dict.fromkeys(sorted(catalogue.devices), 0)
        for key in (*catalogue.slots, *catalogue.parts):
            items[device_of(key)] += 1
        devices = self._state.dedup.devices
        for name, count in items.items():
            if name not in devices.index:
                self._state.shards.add(self._state.dedup.add_device(name, len(devices)), max(1, count))
        self._set_fleet()
        self._routes.clear()

    def _set_fleet(self) -> None:
        stated = {name: supplier.lead_time_days for name, supplier in self.catalogue.suppliers.items()}
        fleet = FleetView(
            catalogue=self.catalogue,
            device_rows=self._state.dedup.devices.index,
            lead_time_days=stated | self._lead_times,
        )
        for detector in self._detectors:
            detector.set_fleet(fleet)

    def dirty_shards(self) -> dict[str, bytes]:
        """The shards that changed since the last call, and "meta"; each with the offset of the last record it includes."""
        meta = {
            "offset": self._offset,
            "arrived_ms": self._arrival.latest_ms,
            "lead_times": {name: list(days) for name, days in self._lead_times.items()},
            "events": [[EVENT_CODES[type(event)], asdict(event)] for event in self._events],
            "ids": self._state.seen_ids.snapshot(""),
        }
        numbers = self._state.shards.drain_dirty()
        shards = {f"block-{number}": self._state.pack(number, self._offset) for number in numbers}
        if (fleet := self._fleet.drain_dirty()) is not None:
            shards[FLEET_SHARD_KEY] = fleet
        shards[META_SHARD] = json.dumps(meta, ensure_ascii=False, sort_keys=True).encode()
        return shards

    @property
    def included_offset(self) -> int:
        """The offset up to which the loaded checkpoint includes every record; -1 where there is none."""
        return self._meta_offset

    def load_shards(self, shards: Mapping[str, bytes]) -> None:
        """Starts over from a checkpoint. Raises as AnalysisState.restore."""
        self._reset()
        self._state.restore({key: wire for key, wire in shards.items() if key not in (META_SHARD, FLEET_SHARD_KEY)})
        if META_SHARD in shards:
            meta: dict[str, Any] = json.loads(shards[META_SHARD])
            self._meta_offset = self._offset = meta["offset"]
            self._arrival.advance(meta["arrived_ms"])
            self._lead_times = {name: (low, high) for name, (low, high) in meta["lead_times"].items()}
            self._events = [event_from_fields(EVENT_TYPES[code], fields) for code, fields in meta["events"]]
            self._state.seen_ids.restore("", [(key, at_ms) for key, at_ms in meta["ids"]])
        self._set_catalogue(self._fleet.restore(shards.get(FLEET_SHARD_KEY), self._meta_offset))


def _score_row(item: str, score: ConditionScore, customer: str) -> dict[str, Any]:
    return {
        "device": score.device,
        "item": item,
        "customer": customer,
        "at_ms": score.at_ms,
        "anomaly": score.anomaly,
        "alert": score.alert,
        "life": score.remaining_life,
    }


def _item_of(event: Outcome | Request) -> str | None:
    if isinstance(event, Request) or event.item is not None:
        return event.item
    return None if event.reaction is None else item_of_reaction(event.reaction)
