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

from config.resolve import Catalogue
from star.analyse import Facts, Forecast, RefillSeen, Score
from star.ports import Names, Scorer
from star.react import item_of_reaction
from star.records import EVENT_KINDS, Event, FleetChange, Record, Request, SupplierTerms, Tick, event_from_fields
from star.repeat import Outcome
from star.sense import Readings
from stream import packing
from stream.blocks import META, NEVER, Blocks
from stream.dedup import Dedup
from stream.detectors import remaining_life, weather
from stream.detectors.columns import F_COUNTS, FRESH, Slots
from stream.detectors.condition import Condition
from stream.detectors.deliveries import declare
from stream.detectors.level import take_levels
from stream.detectors.remaining_life import LoadLife
from stream.detectors.run_out import RunOut, net_days
from stream.detectors.service_due import ServiceDue
from stream.detectors.usage import take_uses
from stream.events import EventIds
from stream.fleet_part import FLEET, FleetPart
from stream.routing import LEVEL, NOTHING, TEMPERATURE, TOTAL, TOTAL_SUFFIX, USED, USED_SUFFIX, Routes, rounds
from stream.state import Rows
from stream.topics import FORECASTS, HONESTY, SCORES

REFILLING = ("delivered", "done", "refilled")
"""Results that say that a slot was refilled."""
SERVICING = ("done", "serviced")
"""Results that say that a part was serviced."""


class Analysis:
    """The state of all items, and what is seen in it.

    catalogue: the fleet at the beginning of the log; its changes are records. names: numbers of metrics. scorer: the run-out
    model. load_life: gives the life models that profiles name. mine: which customers are this partition's; None: all.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        names: Names,
        scorer: Scorer,
        *,
        load_life: LoadLife = remaining_life.load_life,
        mine: Callable[[str], bool] | None = None,
    ) -> None:
        self._fleet = FleetPart(catalogue, mine)
        self._scorer = scorer
        self._names = names
        self._load_life = load_life
        self._reset()
        self._set_catalogue(self._fleet.part)

    def _reset(self) -> None:
        self.dedup = Dedup()
        self.slots = Slots.empty()
        self.run_out = RunOut(self.slots, self._scorer)
        self.service = ServiceDue(self.slots)
        self.condition = Condition(self._load_life)
        self._routes = Routes(self._names)
        self._blocks = Blocks()
        self._ids = EventIds()
        self._lead_times: dict[str, tuple[float, float]] = {}
        self._events: list[Event] = []
        self._offset = NEVER
        self._meta_offset = NEVER
        self._arrived_ms = 0

    # What comes in.

    def take(self, offset: int, record: Record) -> Facts | None:
        """Takes the record at `offset`; facts exactly at a tick.

        Records that a loaded block includes change nothing in it. Facts of ticks up to the newest loaded offset may lack
        what such blocks would say: facts must be on disk before the blocks that include their tick.
        """
        self._offset = offset
        if isinstance(record, Readings):
            if len(record):
                self._take_readings(offset, self._in_order(record))
            return None
        if isinstance(record, Tick):
            self._arrived_ms = max(self._arrived_ms, record.at_ms)
            return self._tick(offset, self._arrived_ms)
        self._take_event(offset, self._later(record))
        return None

    def _in_order(self, readings: Readings) -> Readings:
        """The readings with times of arrival that never go back: several endpoints with clocks of their own write one log."""
        arrived = readings.arrived_ms
        if arrived[0] < self._arrived_ms or (arrived[1:] < arrived[:-1]).any():
            arrived = np.maximum(np.maximum.accumulate(arrived), self._arrived_ms)
            readings = replace(readings, arrived_ms=arrived)
        self._arrived_ms = int(arrived[-1])
        return readings

    def _later(self, event: Event) -> Event:
        """The event, arrived not before what was taken already. What concerns all partitions keeps its time: it must be the same
        in each."""
        if isinstance(event, Outcome):
            self._arrived_ms = max(self._arrived_ms, event.arrived_ms)
            return event if event.arrived_ms == self._arrived_ms else replace(event, arrived_ms=self._arrived_ms)
        if isinstance(event, Request):
            self._arrived_ms = max(self._arrived_ms, event.at_ms)
            return event if event.at_ms == self._arrived_ms else replace(event, at_ms=self._arrived_ms)
        return event

    def _take_readings(self, offset: int, readings: Readings) -> None:
        for number, name in list(self._routes.unknown(readings.metric)):
            self._route(number, name)
        routes = self._routes
        device = routes.device[readings.metric]
        wanted = device >= 0
        skipped = self._blocks.skipped(np.maximum(device, 0), offset)
        if skipped is not None:
            wanted &= ~skipped
        if not wanted.all():
            readings, device = readings.take(wanted), device[wanted]
            if device.size == 0:
                return
        self._blocks.touch(device)
        self.service.sight(device, readings.arrived_ms)
        keep = self.dedup.fresh(readings, device, routes.metric[readings.metric])
        if not keep.all():
            readings, device = readings.take(keep), device[keep]
        scored = routes.scored[readings.metric]
        if scored.any():
            at = np.nonzero(scored)[0]
            self.condition.take(readings.take(at), device[at], [routes.name(n) for n in readings.metric[at].tolist()])
        self._take_slots(readings, routes.kind[readings.metric], routes.slot[readings.metric])

    def _take_slots(self, readings: Readings, kind: NDArray[np.int8], slot: Rows) -> None:
        levels = np.nonzero(kind == LEVEL)[0]
        uses = np.nonzero(kind >= USED)[0]
        at_ms, arrived_ms = readings.at_ms.astype(np.float64), readings.arrived_ms.astype(np.float64)
        if levels.size:
            for places in rounds(slot[levels]):
                at = levels[places]
                take_levels(self.slots, slot[at], at_ms[at], arrived_ms[at], readings.value[at])
        if uses.size:
            for places in rounds(slot[uses]):
                at = uses[places]
                take_uses(self.slots, slot[at], at_ms[at], arrived_ms[at], readings.value[at], kind[at] == TOTAL)
        if levels.size or uses.size:
            self.run_out.touched.append(np.unique(slot[kind >= LEVEL]))
        warm = np.nonzero(kind == TEMPERATURE)[0]
        if warm.size:
            thermometers = self.slots.beside.temperatures
            thermometers.take(slot[warm], at_ms[warm], arrived_ms[warm], readings.value[warm])

    def _take_event(self, offset: int, event: Event) -> None:
        if offset <= self._meta_offset and isinstance(event, FleetChange | SupplierTerms):
            return
        if isinstance(event, FleetChange):
            self._set_catalogue(self._fleet.change(offset, event.tables))
        elif isinstance(event, SupplierTerms):
            if event.lead_time_days is not None:
                self._lead_times[event.supplier] = event.lead_time_days
                self._set_nets()
        else:
            item = _item_of(event)
            device = self.dedup.devices.index.get(item.split("/", 1)[0]) if item else None
            if offset <= (self._meta_offset if device is None else self._blocks.included[device]):
                return
            if not self._fresh_event(event, item, device):
                return
            if item is not None and device is not None:
                self._blocks.touch(np.array([device]))
                self._take_event_of(event, item)
        if offset > self._meta_offset:
            self._events.append(event)

    def _fresh_event(self, event: Outcome | Request, item: str | None, device: int | None) -> bool:
        name = "" if item is None or device is None else item.split("/", 1)[0]
        at_ms = event.arrived_ms if isinstance(event, Outcome) else event.at_ms
        kind = "outcome" if isinstance(event, Outcome) else "request"
        return self._ids.fresh(name, f"{kind}:{event.id}", at_ms)

    def _take_event_of(self, event: Outcome | Request, item: str) -> None:
        """What an outcome or a request does to its item."""
        row = self.slots.table.index.get(item)
        if item in self.catalogue.slots and row is not None:
            if isinstance(event, Outcome) and event.result in REFILLING and self._first_delivery(event, item):
                declare(self.slots, row, event.arrived_ms, event.quantity)
            self.slots.table["filter"][row, FRESH] = 2.0
            self.run_out.touched.append(np.array([row]))
        elif item in self.catalogue.parts:
            serviced = isinstance(event, Outcome) and event.result in SERVICING
            at_ms = event.arrived_ms if isinstance(event, Outcome) else event.at_ms
            self.service.take_event(item, at_ms, serviced=serviced and self._first_delivery(event, item))

    def _first_delivery(self, event: Outcome | Request, item: str) -> bool:
        """Whether a reaction is delivered for the first time; what speaks of no reaction is always the first."""
        if not isinstance(event, Outcome) or event.reaction is None:
            return True
        return self._ids.fresh(item.split("/", 1)[0], f"delivered:{event.reaction}", event.arrived_ms)

    # Ticks.

    def _tick(self, offset: int, at_ms: int) -> Facts:
        ahead = self._blocks.ahead(offset)
        self.condition.finish_messages(ahead)
        slots = len(self.slots.table)
        skipped = self._blocks.skipped(self.slots.table.device[:slots], offset)
        skipped_parts = self._blocks.skipped(self.service.table.device[: len(self.service.table)], offset)
        changed = np.concatenate(self.run_out.touched) if self.run_out.touched else np.empty(0, dtype=np.intp)
        needs = self.run_out.look(at_ms, skipped)
        needs += self.service.look(at_ms, changed, skipped_parts)
        if self.run_out.last is not None:
            self._blocks.touch(self.slots.table.device[self.run_out.last.rows])
        if self.service.looked_rows.size:
            self._blocks.touch(self.service.table.device[self.service.looked_rows])
        return Facts(
            offset=offset,
            at_ms=at_ms,
            events=self._take_events(offset),
            refills=self._take_refills(ahead),
            needs=tuple(sorted(needs, key=lambda need: need.item)),
        )

    def _take_events(self, offset: int) -> tuple[Event, ...]:
        if offset <= self._meta_offset:
            return ()
        events = tuple(self._events)
        self._events.clear()
        return events

    def _take_refills(self, ahead: frozenset[int]) -> tuple[RefillSeen, ...]:
        """What was told since the last tick, by item name and in order; of devices that are ahead it stays."""
        told = [(device, refill) for device, refill in self._devices_of_told() if device not in ahead]
        if not told:
            return ()
        self._blocks.touch(np.array([device for device, _ in told], dtype=np.intp))
        for kept, table in ((self.slots.told, self.slots.table), (self.service.told, self.service.table)):
            kept[:] = [(row, refill) for row, refill in kept if table.device[row] in ahead]
        return tuple(sorted((refill for _, refill in told), key=lambda refill: refill.item))

    def _devices_of_told(self) -> list[tuple[int, RefillSeen]]:
        slots = [(int(self.slots.table.device[row]), refill) for row, refill in self.slots.told]
        return slots + [(int(self.service.table.device[row]), refill) for row, refill in self.service.told]

    def forecasts(self, at_ms: int) -> list[Forecast]:
        """Of every slot with a reading, at `at_ms`, by item name; changes nothing."""
        return self.run_out.forecasts(at_ms)

    def looked(self) -> list[Forecast]:
        """Of the items that the last tick looked at, slots first, by item name."""
        return self.run_out.looked() + self.service.looked()

    def scores(self) -> list[Score]:
        """The scores of readings since the last call, in the order of arrival. Whole messages were taken until now."""
        self.condition.finish_messages()
        return self.condition.take_scores()

    def watched(self) -> dict[str, list[Any]]:
        """What the last tick has for those who watch, by topic: forecasts of the items looked at, the latest score of each
        part scored since the tick before, and what became of earlier forecasts."""
        latest = {f"{score.device}/{score.item}": score for score in self.condition.take_scores()}
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
        return {FORECASTS: self.looked(), SCORES: scores, HONESTY: self.run_out.take_judged()}

    def duplicates(self) -> dict[str, int]:
        """Readings dropped as duplicates, by device."""
        return self.dedup.dropped()

    # The fleet.

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
                self._blocks.add(device, max(1, len(keys)))
            for key in keys:
                if key in catalogue.slots:
                    self.slots.table.add(key, device)
        self.service.set_items(catalogue, self.dedup.devices.index)
        self.condition.set_items(catalogue, self.dedup.devices.index)
        customers = {self.slots.table.row(key): item.customer for key, item in catalogue.slots.items()}
        self.slots.beside.absences.set_customers(catalogue.customers, customers, len(self.slots.table))
        self._with_slots = frozenset(self.slots.table.device[row] for row in customers)
        self._set_nets()
        self._routes.forget()

    def _set_nets(self) -> None:
        in_force = {name: s.lead_time_days for name, s in self.catalogue.suppliers.items()} | self._lead_times
        self.run_out.set_items(self.catalogue.slots, lambda item: net_days(in_force, item.suppliers))
        self.service.set_counters(self.catalogue)

    def _route(self, number: int, name: str) -> None:
        """Resolves a metric: the slot or counter it feeds, and whether its device is scored."""
        device_name = name.split("/", 1)[0]
        known = device_name in self.catalogue.devices
        device = self.dedup.devices.index.get(device_name, -1) if known else -1
        kind, slot = NOTHING, -1
        for suffix, what in ((USED_SUFFIX, USED), (TOTAL_SUFFIX, TOTAL), ("", LEVEL)):
            row = self.slots.table.index.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if known and row is not None and self.slots.fixed[row, F_COUNTS] == float(what != LEVEL):
                kind, slot = what, row
                break
        if kind == NOTHING and device in self._with_slots and name == f"{device_name}/{weather.METRIC}":
            kind, slot = TEMPERATURE, self.slots.beside.temperatures.table.add(device_name, device)
        metric = -1 if device < 0 else self.dedup.add_metric(name, device)
        scored = self.condition.wants(device, name)
        self._routes.put(number, kind=kind, slot=slot, device=device, metric=metric, scored=scored)

    # Checkpoints.

    def dirty_blocks(self) -> dict[str, bytes]:
        """The blocks that changed since the last call, and "meta"; each says the offset of the last record it includes."""
        meta = {
            "offset": self._offset,
            "arrived_ms": self._arrived_ms,
            "lead_times": {name: list(days) for name, days in self._lead_times.items()},
            "events": [packing.event_fields(event) for event in self._events],
            "ids": self._ids.of(""),
        }
        blocks = {f"block-{n}": packing.pack(self, n, self._offset) for n in self._blocks.take_dirty()}
        if (fleet := self._fleet.take_dirty()) is not None:
            blocks[FLEET] = fleet
        blocks[META] = json.dumps(meta, ensure_ascii=False, sort_keys=True).encode()
        return blocks

    @property
    def included(self) -> int:
        """The offset up to which the loaded checkpoint includes every record; -1 where there is none."""
        return self._meta_offset

    def load_blocks(self, blocks: Mapping[str, bytes]) -> None:
        """Starts over from checkpoints; of a device in several blocks the newest counts. Raises LogDamaged."""
        self._reset()
        packing.load_rows(self, {key: wire for key, wire in blocks.items() if key not in (META, FLEET)})
        if META in blocks:
            meta: dict[str, Any] = json.loads(blocks[META])
            self._meta_offset = self._offset = meta["offset"]
            self._arrived_ms = meta["arrived_ms"]
            self._lead_times = {name: (low, high) for name, (low, high) in meta["lead_times"].items()}
            self._events = [event_from_fields(EVENT_KINDS[letter], fields) for letter, fields in meta["events"]]
            self._ids.restore("", [(key, at_ms) for key, at_ms in meta["ids"]])
        self._set_catalogue(self._fleet.restored(blocks.get(FLEET), self._meta_offset))


def _item_of(event: Outcome | Request) -> str | None:
    if isinstance(event, Request) or event.item is not None:
        return event.item
    return None if event.reaction is None else item_of_reaction(event.reaction)
