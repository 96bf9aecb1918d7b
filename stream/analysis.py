"""ANALYSE as a function of the input log: records in, facts at ticks out.

Readings are taken one after the other an item, in vectorised rounds, so that how they are batched changes nothing; what was
received before is dropped. Decisions are the reactor's: here at a tick the items with news are looked at, and what is seen
is told. No clock, no randomness, no input or output. Days are UTC days.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue
from star.analyse import ConditionScore, Facts, Forecast, RefillUpdate
from star.ports import MetricRegistry, Scorer
from star.react import item_from_reaction_id
from star.records import EVENT_TYPES, Event, FleetChange, Record, Request, SupplierTerms, Tick, event_from_fields
from star.repeat import Outcome
from star.sense import Readings
from stream.dedup import Deduplicator
from stream.detectors.covariates import weather
from stream.detectors.parts import remaining_useful_life
from stream.detectors.parts.condition import ConditionDetector
from stream.detectors.parts.remaining_useful_life import LoadLifeModel
from stream.detectors.parts.service_due import ServiceDueDetector
from stream.detectors.slots.delivery_matching import apply_declaration
from stream.detectors.slots.level_filter import ingest_levels
from stream.detectors.slots.run_out import RunOutDetector, reorder_horizon_days
from stream.detectors.slots.state_schema import DIRTY, F_IS_COUNTER, SlotState
from stream.detectors.slots.usage_counter import ingest_usage
from stream.idempotency import IdempotencyKeys
from stream.partition.fleet_shard import FLEET_SHARD_KEY, FleetShard
from stream.routing import (
    COUNTER,
    INCREMENT,
    LEVEL,
    TEMPERATURE,
    TOTAL_SUFFIX,
    UNROUTED,
    USED_SUFFIX,
    Routes,
    unique_batches,
)
from stream.state import snapshot
from stream.state.state_shards import META_SHARD, NO_OFFSET, StateShards
from stream.state.state_table import Rows
from stream.topics import CALIBRATION, FORECASTS, SCORES

REFILL_RESULTS = ("delivered", "done", "refilled")
"""Results that say that a slot was refilled."""
SERVICE_RESULTS = ("done", "serviced")
"""Results that say that a part was serviced."""


class Analysis:
    """The state of all items, and what is seen in it.

    catalogue: the fleet at the beginning of the log; its changes are records. names: numbers of metrics. scorer: the run-out
    model. load_life: gives the life models that profiles name. mine: which customers are this partition's; None: all.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        names: MetricRegistry,
        scorer: Scorer,
        *,
        load_life_model: LoadLifeModel = remaining_useful_life.load_life_model,
        owns_customer: Callable[[str], bool] | None = None,
    ) -> None:
        self._fleet = FleetShard(catalogue, owns_customer)
        self._scorer = scorer
        self._names = names
        self._load_life_model = load_life_model
        self._reset()
        self._set_catalogue(self._fleet.catalogue)

    def _reset(self) -> None:
        self.dedup = Deduplicator()
        self.slots = SlotState.empty()
        self.run_out = RunOutDetector(self.slots, self._scorer)
        self.service = ServiceDueDetector(self.slots)
        self.condition = ConditionDetector(self._load_life_model)
        self._routes = Routes(self._names)
        self._shards = StateShards()
        self._seen_ids = IdempotencyKeys()
        self._lead_times: dict[str, tuple[float, float]] = {}
        self._events: list[Event] = []
        self._offset = NO_OFFSET
        self._meta_offset = NO_OFFSET
        self._arrived_ms = 0

    def ingest(self, offset: int, record: Record) -> Facts | None:
        """Takes the record at `offset`; facts exactly at a tick.

        Records that a loaded block includes change nothing in it. Facts of ticks up to the newest loaded offset may lack
        what such blocks would say: facts must be on disk before the blocks that include their tick.
        """
        self._offset = offset
        if isinstance(record, Readings):
            if len(record):
                self._ingest_readings(offset, self._with_monotonic_arrival(record))
            return None
        if isinstance(record, Tick):
            self._arrived_ms = max(self._arrived_ms, record.at_ms)
            return self._tick(offset, self._arrived_ms)
        self._ingest_event(offset, self._with_arrival_not_before(record))
        return None

    def _with_monotonic_arrival(self, readings: Readings) -> Readings:
        """The readings with times of arrival that never go back: several endpoints with clocks of their own write one log."""
        arrived = readings.arrived_ms
        if arrived[0] < self._arrived_ms or (arrived[1:] < arrived[:-1]).any():
            arrived = np.maximum(np.maximum.accumulate(arrived), self._arrived_ms)
            readings = replace(readings, arrived_ms=arrived)
        self._arrived_ms = int(arrived[-1])
        return readings

    def _with_arrival_not_before(self, event: Event) -> Event:
        """The event, arrived not before what was taken already. What concerns all partitions keeps its time: it must be the same
        in each."""
        if isinstance(event, Outcome):
            self._arrived_ms = max(self._arrived_ms, event.arrived_ms)
            return event if event.arrived_ms == self._arrived_ms else replace(event, arrived_ms=self._arrived_ms)
        if isinstance(event, Request):
            self._arrived_ms = max(self._arrived_ms, event.at_ms)
            return event if event.at_ms == self._arrived_ms else replace(event, at_ms=self._arrived_ms)
        return event

    def _ingest_readings(self, offset: int, readings: Readings) -> None:
        for number, name in list(self._routes.unresolved(readings.metric)):
            self._route(number, name)
        routes = self._routes
        device = routes.device[readings.metric]
        wanted = device >= 0
        skipped = self._shards.mask_included(np.maximum(device, 0), offset)
        if skipped is not None:
            wanted &= ~skipped
        if not wanted.all():
            readings, device = readings.select(wanted), device[wanted]
            if device.size == 0:
                return
        self._shards.mark_dirty(device)
        self.service.observe_devices(device, readings.arrived_ms)
        keep = self.dedup.mask_new(readings, device, routes.metric[readings.metric])
        if not keep.all():
            readings, device = readings.select(keep), device[keep]
        scored = routes.scored[readings.metric]
        if scored.any():
            at = np.nonzero(scored)[0]
            self.condition.ingest(
                readings.select(at), device[at], [routes.name(n) for n in readings.metric[at].tolist()]
            )
        self._ingest_slots(readings, routes.kind[readings.metric], routes.slot[readings.metric])

    def _ingest_slots(self, readings: Readings, kind: NDArray[np.int8], slot: Rows) -> None:
        levels = np.nonzero(kind == LEVEL)[0]
        uses = np.nonzero(kind >= INCREMENT)[0]
        at_ms, arrived_ms = readings.at_ms.astype(np.float64), readings.arrived_ms.astype(np.float64)
        if levels.size:
            for places in unique_batches(slot[levels]):
                at = levels[places]
                ingest_levels(self.slots, slot[at], at_ms[at], arrived_ms[at], readings.value[at])
        if uses.size:
            for places in unique_batches(slot[uses]):
                at = uses[places]
                ingest_usage(self.slots, slot[at], at_ms[at], arrived_ms[at], readings.value[at], kind[at] == COUNTER)
        if levels.size or uses.size:
            self.run_out.dirty_rows.append(np.unique(slot[kind >= LEVEL]))
        temperature_rows = np.nonzero(kind == TEMPERATURE)[0]
        if temperature_rows.size:
            thermometers = self.slots.covariates.temperatures
            thermometers.ingest(
                slot[temperature_rows],
                at_ms[temperature_rows],
                arrived_ms[temperature_rows],
                readings.value[temperature_rows],
            )

    def _ingest_event(self, offset: int, event: Event) -> None:
        if offset <= self._meta_offset and isinstance(event, FleetChange | SupplierTerms):
            return
        if isinstance(event, FleetChange):
            self._set_catalogue(self._fleet.apply_change(offset, event.tables))
        elif isinstance(event, SupplierTerms):
            if event.lead_time_days is not None:
                self._lead_times[event.supplier] = event.lead_time_days
                self._set_horizons()
        else:
            item = _item_of(event)
            device = self.dedup.devices.index.get(item.split("/", 1)[0]) if item else None
            if offset <= (self._meta_offset if device is None else self._shards.included_offset[device]):
                return
            if not self._is_new_event(event, item, device):
                return
            if item is not None and device is not None:
                self._shards.mark_dirty(np.array([device]))
                self._apply_event(event, item)
        if offset > self._meta_offset:
            self._events.append(event)

    def _is_new_event(self, event: Outcome | Request, item: str | None, device: int | None) -> bool:
        name = "" if item is None or device is None else item.split("/", 1)[0]
        at_ms = event.arrived_ms if isinstance(event, Outcome) else event.at_ms
        kind = "outcome" if isinstance(event, Outcome) else "request"
        return self._seen_ids.register(name, f"{kind}:{event.id}", at_ms)

    def _apply_event(self, event: Outcome | Request, item: str) -> None:
        """What an outcome or a request does to its item."""
        row = self.slots.table.index.get(item)
        if item in self.catalogue.slots and row is not None:
            if isinstance(event, Outcome) and event.result in REFILL_RESULTS and self._is_first_delivery(event, item):
                apply_declaration(self.slots, row, event.arrived_ms, event.quantity)
            self.slots.table["filter"][row, DIRTY] = 2.0
            self.run_out.dirty_rows.append(np.array([row]))
        elif item in self.catalogue.parts:
            serviced = isinstance(event, Outcome) and event.result in SERVICE_RESULTS
            at_ms = event.arrived_ms if isinstance(event, Outcome) else event.at_ms
            self.service.apply_event(item, at_ms, serviced=serviced and self._is_first_delivery(event, item))

    def _is_first_delivery(self, event: Outcome | Request, item: str) -> bool:
        """Whether a reaction is delivered for the first time; what speaks of no reaction is always the first."""
        if not isinstance(event, Outcome) or event.reaction is None:
            return True
        return self._seen_ids.register(item.split("/", 1)[0], f"delivered:{event.reaction}", event.arrived_ms)

    def _tick(self, offset: int, at_ms: int) -> Facts:
        ahead = self._shards.devices_ahead(offset)
        self.condition.finish_messages(ahead)
        slots = len(self.slots.table)
        skipped = self._shards.mask_included(self.slots.table.device[:slots], offset)
        skipped_parts = self._shards.mask_included(self.service.table.device[: len(self.service.table)], offset)
        changed = np.concatenate(self.run_out.dirty_rows) if self.run_out.dirty_rows else np.empty(0, dtype=np.intp)
        needs = self.run_out.evaluate(at_ms, skipped)
        needs += self.service.evaluate(at_ms, changed, skipped_parts)
        if self.run_out.last_forecasts is not None:
            self._shards.mark_dirty(self.slots.table.device[self.run_out.last_forecasts.rows])
        if self.service.evaluated_rows.size:
            self._shards.mark_dirty(self.service.table.device[self.service.evaluated_rows])
        return Facts(
            offset=offset,
            at_ms=at_ms,
            events=self._drain_events(offset),
            refills=self._drain_refills(ahead),
            needs=tuple(sorted(needs, key=lambda need: need.item)),
        )

    def _drain_events(self, offset: int) -> tuple[Event, ...]:
        if offset <= self._meta_offset:
            return ()
        events = tuple(self._events)
        self._events.clear()
        return events

    def _drain_refills(self, ahead: frozenset[int]) -> tuple[RefillUpdate, ...]:
        """What was told since the last tick, by item name and in order; of devices that are ahead it stays."""
        emitted = [(device, refill) for device, refill in self._emitted_refills() if device not in ahead]
        if not emitted:
            return ()
        self._shards.mark_dirty(np.array([device for device, _ in emitted], dtype=np.intp))
        for kept, table in (
            (self.slots.emitted_refills, self.slots.table),
            (self.service.emitted_refills, self.service.table),
        ):
            kept[:] = [(row, refill) for row, refill in kept if table.device[row] in ahead]
        return tuple(sorted((refill for _, refill in emitted), key=lambda refill: refill.item))

    def _emitted_refills(self) -> list[tuple[int, RefillUpdate]]:
        slots = [(int(self.slots.table.device[row]), refill) for row, refill in self.slots.emitted_refills]
        return slots + [(int(self.service.table.device[row]), refill) for row, refill in self.service.emitted_refills]

    def forecasts(self, at_ms: int) -> list[Forecast]:
        """Of every slot with a reading, at `at_ms`, by item name; changes nothing."""
        return self.run_out.forecasts(at_ms)

    def evaluated_forecasts(self) -> list[Forecast]:
        """Of the items that the last tick looked at, slots first, by item name."""
        return self.run_out.evaluated_forecasts() + self.service.evaluated_forecasts()

    def drain_scores(self) -> list[ConditionScore]:
        """The scores of readings since the last call, in the order of arrival. Whole messages were taken until now."""
        self.condition.finish_messages()
        return self.condition.drain_scores()

    def telemetry(self) -> dict[str, list[Any]]:
        """What the last tick has for those who watch, by topic: forecasts of the items looked at, the latest score of each
        part scored since the tick before, and what became of earlier forecasts."""
        latest = {f"{score.device}/{score.item}": score for score in self.condition.drain_scores()}
        scores = [
            {
                "device": score.device,
                "item": item,
                "customer": device.customer,
                "at_ms": score.at_ms,
                "anomaly": score.anomaly,
                "alert": score.alert,
                "life": score.remaining_life,
            }
            for item, score in latest.items()
            if (device := self.catalogue.devices.get(score.device)) is not None
        ]
        return {
            FORECASTS: self.evaluated_forecasts(),
            SCORES: scores,
            CALIBRATION: self.run_out.drain_calibration_outcomes(),
        }

    def duplicates(self) -> dict[str, int]:
        """Readings dropped as duplicates, by device."""
        return self.dedup.dropped()

    def _set_catalogue(self, catalogue: Catalogue) -> None:
        """Rows for every item of the catalogue; rows of others stay and are looked at no more."""
        self.catalogue = catalogue
        items: dict[str, list[str]] = {device: [] for device in sorted(catalogue.devices)}
        for key in sorted((*catalogue.slots, *catalogue.parts)):
            items[key.split("/", 1)[0]].append(key)
        for name, keys in items.items():
            new = name not in self.dedup.devices.index
            device = self.dedup.add_device(name, self.dedup.devices.index.get(name, len(self.dedup.devices)))
            if new:
                self._shards.add(device, max(1, len(keys)))
            for key in keys:
                if key in catalogue.slots:
                    self.slots.table.add(key, device)
        self.service.set_items(catalogue, self.dedup.devices.index)
        self.condition.set_items(catalogue, self.dedup.devices.index)
        customers = {self.slots.table.row(key): item.customer for key, item in catalogue.slots.items()}
        self.slots.covariates.absences.set_customers(catalogue.customers, customers, len(self.slots.table))
        self._devices_with_slots = frozenset(self.slots.table.device[row] for row in customers)
        self._set_horizons()
        self._routes.clear()

    def _set_horizons(self) -> None:
        in_force = {name: s.lead_time_days for name, s in self.catalogue.suppliers.items()} | self._lead_times
        self.run_out.set_items(self.catalogue.slots, lambda item: reorder_horizon_days(in_force, item.suppliers))
        self.service.set_counters(self.catalogue)

    def _route(self, number: int, name: str) -> None:
        """Resolves a metric: the slot or counter it feeds, and whether its device is scored."""
        device_name = name.split("/", 1)[0]
        known = device_name in self.catalogue.devices
        device = self.dedup.devices.index.get(device_name, -1) if known else -1
        kind, slot = UNROUTED, -1
        for suffix, what in ((USED_SUFFIX, INCREMENT), (TOTAL_SUFFIX, COUNTER), ("", LEVEL)):
            row = self.slots.table.index.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if known and row is not None and self.slots.fixed[row, F_IS_COUNTER] == float(what != LEVEL):
                kind, slot = what, row
                break
        if kind == UNROUTED and device in self._devices_with_slots and name == f"{device_name}/{weather.METRIC}":
            kind, slot = TEMPERATURE, self.slots.covariates.temperatures.table.add(device_name, device)
        metric = -1 if device < 0 else self.dedup.add_metric(name, device)
        scored = self.condition.is_scored(device, name)
        self._routes.upsert(number, kind=kind, slot=slot, device=device, metric=metric, scored=scored)

    def dirty_shards(self) -> dict[str, bytes]:
        """The blocks that changed since the last call, and "meta"; each says the offset of the last record it includes."""
        meta = {
            "offset": self._offset,
            "arrived_ms": self._arrived_ms,
            "lead_times": {name: list(days) for name, days in self._lead_times.items()},
            "events": [snapshot.event_fields(event) for event in self._events],
            "ids": self._seen_ids.snapshot(""),
        }
        shards = {f"block-{n}": snapshot.snapshot_shard(self, n, self._offset) for n in self._shards.drain_dirty()}
        if (fleet := self._fleet.drain_dirty()) is not None:
            shards[FLEET_SHARD_KEY] = fleet
        shards[META_SHARD] = json.dumps(meta, ensure_ascii=False, sort_keys=True).encode()
        return shards

    @property
    def included_offset(self) -> int:
        """The offset up to which the loaded checkpoint includes every record; -1 where there is none."""
        return self._meta_offset

    def load_shards(self, shards: Mapping[str, bytes]) -> None:
        """Starts over from checkpoints; of a device in several blocks the newest counts. Raises LogDamaged."""
        self._reset()
        snapshot.restore_shards(
            self, {key: wire for key, wire in shards.items() if key not in (META_SHARD, FLEET_SHARD_KEY)}
        )
        if META_SHARD in shards:
            meta: dict[str, Any] = json.loads(shards[META_SHARD])
            self._meta_offset = self._offset = meta["offset"]
            self._arrived_ms = meta["arrived_ms"]
            self._lead_times = {name: (low, high) for name, (low, high) in meta["lead_times"].items()}
            self._events = [event_from_fields(EVENT_TYPES[letter], fields) for letter, fields in meta["events"]]
            self._seen_ids.restore("", [(key, at_ms) for key, at_ms in meta["ids"]])
        self._set_catalogue(self._fleet.restore(shards.get(FLEET_SHARD_KEY), self._meta_offset))


def _item_of(event: Outcome | Request) -> str | None:
    if isinstance(event, Request) or event.item is not None:
        return event.item
    return None if event.reaction is None else item_from_reaction_id(event.reaction)
