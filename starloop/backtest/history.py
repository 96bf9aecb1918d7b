"""A history as it came in: readings by metric, what was told of refills, what customers asked and suppliers said.

Lines are those of the replay protocol, so what `starloop log export` and `starloop import csv` write, and what a data directory
holds. Readings closer together than an hour are thinned to one an hour: increments are summed, of levels the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.profiles import Signal
from config.resolve import Catalogue, SlotItem
from edge.intake import Intake
from reactor.store.memory import MemoryNames
from star.errors import BadPayload, InputError
from star.react import item_of_reaction
from star.records import Quarantined, Request, SupplierTerms
from star.repeat import Outcome
from star.sense import Readings
from star.times import HOUR_MS
from starloop.backtest.use import Tank, Used, of_increments, of_levels, of_total
from starloop.lines import LineIntake, parsed
from stream.routing import TOTAL_SUFFIX, USED_SUFFIX

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

READINGS_MIN = 10
DAYS_MIN = 7.0
"""Of an item with less there is nothing to be learned."""
HOURS_MAX = 24 * 366 * 10
_BATCH_LINES = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One value of one device, thinned. hour: (n,) in which it arrived; at_h: (n,) measured, in hours from the start; value."""

    device: str
    name: str
    hour: Int64
    at_h: Float64
    value: Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is known of one item. metric: its own (a level, increments or a running counter)."""

    item: SlotItem
    metric: Metric
    used: Used


@dataclass(slots=True, kw_only=True)
class History:
    """start_ms: the hour in which the first reading arrived; hours: lived. others: metrics of no item, such as a temperature.
    said: (hour, record) of requests and suppliers' terms; left_out: items with too little, by name, and why."""

    start_ms: int
    hours: int
    pasts: list[Past] = field(default_factory=list)
    others: list[Metric] = field(default_factory=list)
    said: list[tuple[int, Request | SupplierTerms]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    unread: int = 0

    @property
    def days(self) -> float:
        """How long it is."""
        return self.hours / 24.0


def read_history(lines: Iterable[bytes], catalogue: Catalogue) -> History:
    """The history of the catalogue's slots. Raises InputError where no slot has enough of one."""
    rows, said, unread = _records(lines, catalogue)
    if not rows:
        raise InputError("the history has no reading of a device of the fleet: expected a readings file of its devices")
    start_ms = min(int(arrived.min()) for _, arrived, _ in rows.values()) // HOUR_MS * HOUR_MS
    last_ms = max(int(arrived.max()) for _, arrived, _ in rows.values())
    hours = (last_ms - start_ms) // HOUR_MS + 1
    if hours > HOURS_MAX:
        raise InputError(f"the history is {hours / 8766:.0f} years long: expected ten at most")
    history = History(start_ms=start_ms, hours=int(hours), unread=unread)
    metrics = {name: _thinned(name, columns, start_ms) for name, columns in sorted(rows.items())}
    told: dict[str, list[tuple[float, float]]] = {}
    for record in said:
        if isinstance(record, Outcome):
            _told(told, record, start_ms)
        elif isinstance(record, Request | SupplierTerms):
            history.said.append((int((record.at_ms - start_ms) // HOUR_MS), record))
    for item in catalogue.slots.values():
        _add(history, item, metrics, told.get(item.key, []))
    history.others.extend(metrics.values())
    if not history.pasts:
        raise InputError("; ".join(f"{item}: {why}" for item, why in history.left_out.items()))
    return history


def _add(history: History, item: SlotItem, metrics: dict[str, Metric], told: list[tuple[float, float]]) -> None:
    """The item's past, its metrics taken out of the others."""
    names = [item.key] if item.signal is Signal.LEVEL else [item.key + TOTAL_SUFFIX, item.key + USED_SUFFIX]
    found = [metrics.pop(name) for name in names if name in metrics]
    metric = max(found, key=lambda one: len(one.value), default=None)
    if metric is None or len(metric.value) < READINGS_MIN or np.ptp(metric.at_h) < 24.0 * DAYS_MIN:
        history.left_out[item.key] = f"fewer than {READINGS_MIN} readings, or of less than {DAYS_MIN:.0f} days"
        return
    order = np.argsort(metric.at_h, kind="stable")
    at_h, value = metric.at_h[order], np.maximum(metric.value[order], 0.0)
    if metric.name.endswith(USED_SUFFIX) and item.signal is Signal.USAGE:
        used = of_increments(at_h, value, item.capacity, history.hours)
    elif item.signal is Signal.USAGE:
        used = of_total(at_h, value, item.capacity, history.hours)
    else:
        tank = Tank(capacity=item.capacity, pack=item.pack, spare=item.spare_packs)
        used = of_levels(at_h, value, told, tank, history.hours)
    history.pasts.append(
        Past(
            item=item,
            metric=Metric(device=metric.device, name=metric.name, hour=metric.hour[order], at_h=at_h, value=value),
            used=used,
        )
    )


def _records(lines: Iterable[bytes], catalogue: Catalogue) -> tuple[dict[str, tuple[Any, Any, Any]], list[Any], int]:
    """Columns (measured, arrived, value) by metric, everything said, and how many lines could not be read."""
    names = MemoryNames()
    intake = LineIntake(Intake(catalogue, names))
    parts: list[Readings] = []
    said: list[Any] = []
    unread = 0

    def take() -> None:
        nonlocal unread
        for record in intake.drain():
            if isinstance(record, Readings):
                parts.append(record)
            elif isinstance(record, Quarantined):
                unread += 1
            else:
                said.append(record)

    for number, line in enumerate(lines):
        if not line.strip() or _is_left_out(line):
            continue
        try:
            intake.take(line)
        except BadPayload:
            unread += 1
        if number % _BATCH_LINES == 0:
            take()
    take()
    readings = Readings.joined(parts)
    rows = {}
    for metric in np.unique(readings.metric).tolist():
        of = readings.metric == metric
        rows[names.name(metric)] = (readings.at_ms[of], readings.arrived_ms[of], readings.value[of])
    return rows, said, unread


def _is_left_out(line: bytes) -> bool:
    """Ticks are made anew, and changes of the fleet give way to the fleet files that are compared."""
    if b'"tick"' not in line and b'"fleet"' not in line:
        return False
    try:
        one = parsed(line)
    except BadPayload:
        return False
    return one.tick is not None or one.fleet is not None


def _thinned(name: str, columns: tuple[Int64, Int64, Float64], start_ms: int) -> Metric:
    at_ms, arrived_ms, value = columns
    device, _, own = name.partition("/")
    # A device whose clock is wrong is believed as far as the history goes.
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
    return Metric(device=device, name=own, hour=hour[last], at_h=(at_ms[last] - start_ms) / HOUR_MS, value=value)


def _told(told: dict[str, list[tuple[float, float]]], outcome: Outcome, start_ms: int) -> None:
    if outcome.result not in ("delivered", "refilled", "done") or not outcome.quantity:
        return
    item = outcome.item or item_of_reaction(outcome.reaction or "")
    if item is not None:
        told.setdefault(item, []).append(((outcome.at_ms - start_ms) / HOUR_MS, outcome.quantity))
