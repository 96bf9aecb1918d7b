"""Readings of slots and counters: which metrics they are, and how a batch of them updates the state.

A slot's level is the value named as the slot; its use is `<slot>_used`, increments, or `<slot>_total`, a running counter.
Counters that only parts have go the same way.
"""

from __future__ import annotations

import numpy as np

from stream.detectors import Metric, Route, RoutedReadings
from stream.detectors.slots.level_filter import ingest_levels
from stream.detectors.slots.state_schema import F_IS_COUNTER, SlotState
from stream.detectors.slots.usage_counter import ingest_usage
from stream.routing import TOTAL_SUFFIX, USED_SUFFIX, unique_batches

TEMPERATURE, LEVEL, INCREMENT, COUNTER = 1, 2, 3, 4
"""Kinds of routes: to the row of a thermometer, and to that of a slot."""

_SUFFIXES = ((USED_SUFFIX, INCREMENT), (TOTAL_SUFFIX, COUNTER), ("", LEVEL))


def route_to_slot(slots: SlotState, metric: Metric) -> Route | None:
    """The slot or counter that the metric is the level or use of."""
    for suffix, kind in _SUFFIXES:
        row = slots.table.index.get(metric.name.removesuffix(suffix)) if metric.name.endswith(suffix) else None
        if row is not None and slots.fixed[row, F_IS_COUNTER] == float(kind != LEVEL):
            return Route(row, kind)
    return None


def ingest_readings(slots: SlotState, readings: RoutedReadings) -> None:
    """Updates slots and counters reading by reading of each, in vectorised rounds, so that batching changes nothing."""
    kind, row, value = readings.kind, readings.row, readings.readings.value
    at_ms = readings.readings.at_ms.astype(np.float64)
    arrived_ms = readings.readings.arrived_ms.astype(np.float64)
    levels, uses = np.nonzero(kind == LEVEL)[0], np.nonzero(kind >= INCREMENT)[0]
    for places in unique_batches(row[levels]):
        at = levels[places]
        ingest_levels(slots, row[at], at_ms[at], arrived_ms[at], value[at])
    for places in unique_batches(row[uses]):
        at = uses[places]
        ingest_usage(slots, row[at], at_ms[at], arrived_ms[at], value[at], kind[at] == COUNTER)
    if levels.size or uses.size:
        slots.dirty_rows.append(np.unique(row[kind >= LEVEL]))
    at = np.nonzero(kind == TEMPERATURE)[0]
    if at.size:
        slots.covariates.temperatures.ingest(row[at], at_ms[at], arrived_ms[at], value[at])
