"""The recorded history of a backtest: readings by metric, declared refills, customers' requests and suppliers' terms.

It is read from lines of the replay protocol: what `starloop log export` and `starloop import csv` write, or a data directory's log.
Readings are downsampled to one per hour: increments are summed, of other values the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue, SlotItem
from config.profile_schema import SlotSignal
from edge.decoder import Decoder
from evaluation.backtest.consumption_estimate import (
    ConsumptionEstimate,
    Tank,
    estimate_from_counter,
    estimate_from_increments,
    estimate_from_levels,
)
from reactor.store.memory import MemoryMetricRegistry
from runtime.replay_protocol import LineDecoder, parse_line
from star.errors import BadPayload, InputError
from star.ids import item_of_reaction
from star.records import Quarantined, Record, Request, SupplierTerms
from star.repeat import Outcome
from star.sense import Readings
from star.times import HOUR_MS
from stream.routing import TOTAL_SUFFIX, USED_SUFFIX

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Columns = tuple[Int64, Int64, Float64]
"""Time measured and time of arrival in ms, and value, each (n,)."""

READINGS_MIN = 10
DAYS_MIN = 7.0
"""Fewest readings and shortest history of an item for an estimate of its consumption; other items are excluded."""
HOURS_MAX = 24 * 366 * 10
"""Longest history, ten years: bounds the memory of the hourly arrays, and catches wrong clocks."""
_BATCH_LINES = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeries:
    """One metric of one device, downsampled. hour: (n,) of arrival; at_h: (n,) time measured, in hours from the start; value: (n,)."""

    device: str
    name: str
    hour: Int64
    at_h: Float64
    value: Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemHistory:
    """One item's history. metric: its level, increments or running counter; consumption: estimated from it."""

    item: SlotItem
    metric: MetricSeries
    consumption: ConsumptionEstimate


@dataclass(slots=True, kw_only=True)
class History:
    """The history of a fleet.

    start_ms: the hour in which the first reading arrived; hours: length. other_metrics: of no item, such as a temperature.
    events: (hour, record) of requests and suppliers' terms; excluded: items with too little history -> the reason.
    """

    start_ms: int
    hours: int
    items: list[ItemHistory] = field(default_factory=list)
    other_metrics: list[MetricSeries] = field(default_factory=list)
    events: list[tuple[int, Request | SupplierTerms]] = field(default_factory=list)
    excluded: dict[str, str] = field(default_factory=dict)
    unreadable_lines: int = 0

    @property
    def days(self) -> float:
        """Length in days."""
        return self.hours / 24.0


def read_history(lines: Iterable[bytes], catalogue: Catalogue) -> History:
    """The history of the catalogue's slots. Raises InputError where no slot has enough of it."""
    rows, events, unreadable = _read_records(lines, catalogue)
    if not rows:
        raise InputError("the history has no reading of a device of the fleet: expected readings of its devices")
    start_ms = min(int(arrived.min()) for _, arrived, _ in rows.values()) // HOUR_MS * HOUR_MS
    last_ms = max(int(arrived.max()) for _, arrived, _ in rows.values())
    hours = (last_ms - start_ms) // HOUR_MS + 1
    if hours > HOURS_MAX:
        raise InputError(f"the history is {hours / 8766:.0f} years long: expected ten at most")
    history = History(start_ms=start_ms, hours=int(hours), unreadable_lines=unreadable)
    metrics = {name: _downsample(name, columns, start_ms) for name, columns in sorted(rows.items())}
    declared: dict[str, list[tuple[float, float]]] = {}
    for record in events:
        if isinstance(record, Outcome):
            _add_declared_refill(declared, record, start_ms)
        elif isinstance(record, Request | SupplierTerms):
            history.events.append((int((record.at_ms - start_ms) // HOUR_MS), record))
    for item in catalogue.slots.values():
        _add_item(history, item, metrics, declared.get(item.key, []))
    history.other_metrics.extend(metrics.values())
    if not history.items:
        raise InputError("; ".join(f"{item}: {why}" for item, why in history.excluded.items()))
    return history


def _add_item(
    history: History, item: SlotItem, metrics: dict[str, MetricSeries], declared: list[tuple[float, float]]
) -> None:
    """Adds the item's history, or the reason for its exclusion, and removes its metrics from `metrics`."""
    names = [item.key] if item.signal is SlotSignal.LEVEL else [item.key + TOTAL_SUFFIX, item.key + USED_SUFFIX]
    candidates = [metrics.pop(name) for name in names if name in metrics]
    metric = max(candidates, key=lambda series: len(series.value), default=None)
    if metric is None or len(metric.value) < READINGS_MIN or np.ptp(metric.at_h) < 24.0 * DAYS_MIN:
        history.excluded[item.key] = f"fewer than {READINGS_MIN} readings, or readings of less than {DAYS_MIN:.0f} days"
        return
    order = np.argsort(metric.at_h, kind="stable")
    at_h, value = metric.at_h[order], np.maximum(metric.value[order], 0.0)
    if metric.name.endswith(USED_SUFFIX) and item.signal is SlotSignal.USAGE:
        consumption = estimate_from_increments(at_h, value, item.capacity, history.hours)
    elif item.signal is SlotSignal.USAGE:
        consumption = estimate_from_counter(at_h, value, item.capacity, history.hours)
    else:
        tank = Tank(capacity=item.capacity, pack=item.pack, spare=item.spare_packs)
        consumption = estimate_from_levels(at_h, value, declared, tank, history.hours)
    history.items.append(
        ItemHistory(
            item=item,
            metric=MetricSeries(
                device=metric.device, name=metric.name, hour=metric.hour[order], at_h=at_h, value=value
            ),
            consumption=consumption,
        )
    )


def _read_records(lines: Iterable[bytes], catalogue: Catalogue) -> tuple[dict[str, Columns], list[Record], int]:
    """(columns by metric, all records but readings, number of lines that could not be read)."""
    names = MemoryMetricRegistry()
    decoder = LineDecoder(Decoder(catalogue, names))
    parts: list[Readings] = []
    events: list[Record] = []
    unreadable = 0

    def collect() -> None:
        nonlocal unreadable
        for record in decoder.drain():
            if isinstance(record, Readings):
                parts.append(record)
            elif isinstance(record, Quarantined):
                unreadable += 1
            else:
                events.append(record)

    for number, line in enumerate(lines):
        if not line.strip() or _is_ignored(line):
            continue
        try:
            decoder.ingest(line)
        except BadPayload:
            unreadable += 1
        if number % _BATCH_LINES == 0:
            collect()
    collect()
    readings = Readings.concatenate(parts)
    rows = {}
    for metric in np.unique(readings.metric).tolist():
        mask = readings.metric == metric
        rows[names.name(metric)] = (readings.at_ms[mask], readings.arrived_ms[mask], readings.value[mask])
    return rows, events, unreadable


def _is_ignored(line: bytes) -> bool:
    """Whether the line is a tick or a change of the fleet: ticks are generated, and the fleet files compared replace changes."""
    if b'"tick"' not in line and b'"fleet"' not in line:
        return False
    try:
        fields = parse_line(line)
    except BadPayload:
        return False
    return fields.tick is not None or fields.fleet is not None


def _downsample(name: str, columns: Columns, start_ms: int) -> MetricSeries:
    at_ms, arrived_ms, value = columns
    device, _, own = name.partition("/")
    # The time measured by a wrong clock is limited to the span between the start of the history and the arrival.
    at_ms = np.clip(at_ms, start_ms, arrived_ms)
    hour, measured = (arrived_ms - start_ms) // HOUR_MS, (at_ms - start_ms) // HOUR_MS
    order = np.lexsort((at_ms, measured, hour))
    hour, measured, at_ms, value = hour[order], measured[order], at_ms[order], value[order]
    last = np.append((hour[1:] != hour[:-1]) | (measured[1:] != measured[:-1]), True)
    if own.endswith(USED_SUFFIX):
        sums = np.cumsum(value)[last]
        value = np.diff(sums, prepend=0.0)
    else:
        value = value[last]
    return MetricSeries(device=device, name=own, hour=hour[last], at_h=(at_ms[last] - start_ms) / HOUR_MS, value=value)


def _add_declared_refill(declared: dict[str, list[tuple[float, float]]], outcome: Outcome, start_ms: int) -> None:
    if outcome.result not in ("delivered", "refilled", "done") or not outcome.quantity:
        return
    item = outcome.item or item_of_reaction(outcome.reaction or "")
    if item is not None:
        declared.setdefault(item, []).append(((outcome.at_ms - start_ms) / HOUR_MS, outcome.quantity))
