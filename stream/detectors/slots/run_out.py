"""The run-out detector: evaluates slots at ticks and reports those that may run out before a delivery could arrive.

Readings go to level_filter.py and usage_counter.py, declarations to delivery_matching.py; the forecast comes from
forecasting.py. This module chooses the slots that a tick evaluates, keeps what it found of each, and compares the forecast with
the reorder horizon. It does not decide to order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.catalogue import SlotItem
from star.analyse import QUANTILES, CalibrationOutcome, DetectedNeed, Forecast, NeedKind
from star.times import DAY_MS
from stream.detectors import (
    Detector,
    DetectorContext,
    EvaluationTick,
    Findings,
    FleetView,
    ItemEvent,
    Metric,
    Route,
    RoutedReadings,
)
from stream.detectors.covariates import weather
from stream.detectors.slots import calibration
from stream.detectors.slots.delivery_matching import apply_declaration
from stream.detectors.slots.forecasting import SlotForecasts, compute_forecasts
from stream.detectors.slots.slot_parameters import ACTIVE_COUNTER, apply_fleet
from stream.detectors.slots.slot_readings import TEMPERATURE, ingest_readings, route_to_slot
from stream.detectors.slots.state_schema import (
    ACCEPTED_READINGS,
    CURRENT_DAY,
    DIRTY,
    EVALUATED_LEVEL,
    EVALUATED_MS,
    EVALUATED_Q05,
    F_ACTIVE,
    F_CAPACITY,
    F_EVALUATE_EVERY_MS,
    F_IS_COUNTER,
    F_REORDER_HORIZON,
    FIRST_MS,
    LAST_MS,
    LAST_VALUE,
    LEVEL,
    NEXT_EVALUATION_MS,
    RATE,
    Float64,
    SlotState,
)
from stream.state.state_table import Rows, Table

REFILL_RESULTS = ("delivered", "done", "refilled")
"""Results of outcomes that declare a refill of a slot."""
FAR_HORIZONS = 2.0
FAR_SHARE = 0.02
"""A slot more than so many nets away, and fallen by less than this share of its capacity, can wait for its next wake."""
FIRST_LOW_SHARE = 0.01
"""A first reading under this share of the capacity, or over the capacity, waits for a second one: it may be an air gap."""

_Q05 = QUANTILES.index(0.05)
EVALUATION_GAP_MS = 30_000.0
"""A slot whose level has hardly changed is looked at no more often than this, however often it reports."""
IMMINENT_HORIZONS, EVALUATION_GAP_SHARE = 0.4, 0.01
"""One whose 5 % quantile is further away than such a share of the net is not imminent: it is looked at again after this share
of those days."""
UNCHANGED_SHARE = 0.01
"""Of the capacity: what counts as hardly changed."""


class RunOutDetector(Detector):
    """Forecasts when slots run out."""

    def __init__(self, context: DetectorContext) -> None:
        self.slots = context.shared(SlotState)
        self.scorer = context.scorer
        self._items: Mapping[str, SlotItem] = {}
        self._devices_with_slots: frozenset[str] = frozenset()
        # By row; a mirror of the column, contiguous, as every tick compares it.
        self.next_evaluation_ms: Float64 = np.empty(0)
        self.name_ranks: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._earliest_evaluation_ms = -np.inf
        self.last_forecasts: SlotForecasts | None = None

    def tables(self) -> Sequence[Table]:
        """Slots, with the counters of parts; covariates and temperatures."""
        covariates = self.slots.covariates
        return (self.slots.table, covariates.table, covariates.temperatures.table)

    def snapshot(self, device_row: int) -> Mapping[str, Any]:
        """Empty: all state is in the tables."""
        return {}

    def set_fleet(self, fleet: FleetView) -> None:
        """Rows and parameters of the fleet's slots. Slots that left it keep their rows and are not evaluated any more."""
        apply_fleet(self.slots, fleet)
        self._items = fleet.catalogue.slots
        self._devices_with_slots = frozenset(item.device for item in self._items.values())
        self.refresh()

    def route(self, metric: Metric) -> Route | None:
        """Levels and uses of slots, also of those that left the fleet, and temperatures of their devices."""
        found = route_to_slot(self.slots, metric)
        if found is not None:
            return None if self.slots.fixed[found.row, F_ACTIVE] == ACTIVE_COUNTER else found
        if metric.value != weather.METRIC or metric.device not in self._devices_with_slots:
            return None
        row = self.slots.covariates.temperatures.table.add(metric.device, metric.device_row)
        return Route(row, TEMPERATURE)

    def take(self, readings: RoutedReadings) -> None:
        """Updates slots and temperatures."""
        ingest_readings(self.slots, readings)

    def apply_event(self, event: ItemEvent) -> None:
        """A delivery declares a refill. Whatever is said of a slot, the next tick evaluates it."""
        row = self.slots.table.index.get(event.item)
        if event.item not in self._items or row is None:
            return
        if event.result in REFILL_RESULTS and event.is_first_delivery():
            apply_declaration(self.slots, row, event.at_ms, event.quantity)
        self.slots.table["filter"][row, DIRTY] = 2.0
        self.slots.dirty_rows.append(np.array([row]))

    def refresh(self) -> None:
        """After rows were added or loaded."""
        table = self.slots.table
        next_ms = np.full(len(table), np.inf)
        known = (table["filter"][: len(table), ACCEPTED_READINGS] > 0.0) & (
            self.slots.fixed[: len(table), F_ACTIVE] == 1.0
        )
        next_ms[known] = table["evaluation"][: len(table)][known, NEXT_EVALUATION_MS]
        self.next_evaluation_ms = next_ms
        self.name_ranks = table.ranks()
        self._earliest_evaluation_ms = -np.inf
        self.slots.dirty_rows = [np.nonzero(table["filter"][: len(table), DIRTY] > 0.0)[0]]

    def evaluate(self, tick: EvaluationTick) -> Findings:
        """Forecasts of the slots that are due; needs of those within the reorder horizon, in the order of item names."""
        self.slots.ended_windows.clear()
        at_ms, table = tick.at_ms, self.slots.table
        rows = self._due_rows(self.slots.changed_rows(tick.offset), at_ms)
        ahead = tick.mask_ahead(table.device[: len(table)])
        if ahead is not None:
            self.slots.dirty_rows.append(rows[ahead[rows]])
            rows = rows[~ahead[rows]]
        if rows.size == 0:
            self.last_forecasts = None
            return Findings()
        rows = rows[np.argsort(self.name_ranks[rows])]
        self._learn_covariates(rows, at_ms)
        forecasts, inputs = compute_forecasts(self.slots, rows, at_ms, self.scorer)
        calibration.update_windows(self.slots, forecasts, inputs, self.scorer)
        self._record_evaluation(forecasts)
        self.last_forecasts = forecasts
        within = np.nonzero(self._within_horizon(forecasts))[0]
        needs = [
            DetectedNeed(item=f.item, at_ms=at_ms, kind=NeedKind.RUN_OUT, cause="level", forecast=f)
            for f in self.to_forecasts(forecasts, within)
        ]
        every = np.arange(rows.size)
        return Findings(needs=needs, devices=table.device[rows], forecasts=lambda: self.to_forecasts(forecasts, every))

    def forecasts(self, at_ms: int) -> list[Forecast]:
        """Of every slot with a reading, by item name."""
        count = len(self.slots.table)
        evaluated = (self.slots.table["filter"][:count, ACCEPTED_READINGS] > 0.0) & (
            self.slots.fixed[:count, F_ACTIVE] == 1.0
        )
        rows = np.nonzero(evaluated)[0]
        if rows.size == 0:
            return []
        rows = rows[np.argsort(self.name_ranks[rows])]
        forecasts, _ = compute_forecasts(self.slots, rows, at_ms, self.scorer)
        return self.to_forecasts(forecasts, np.arange(rows.size))

    def drain_outcomes(self) -> list[CalibrationOutcome]:
        """How the forecasts of calibration windows that ended at the last tick came out, by item name."""
        if self.last_forecasts is None:
            return []
        names, at_ms = self.slots.table.names, self.last_forecasts.at_ms
        outcomes = [
            CalibrationOutcome(item=names[row], at_ms=at_ms, level=level) for row, level in self.slots.ended_windows
        ]
        self.slots.ended_windows.clear()
        return outcomes

    def to_forecasts(self, forecasts: SlotForecasts, at: Rows) -> list[Forecast]:
        """The forecasts at places `at` of an outlook."""
        rows, at_ms, model = forecasts.rows[at], forecasts.at_ms, self.scorer.name
        state = self.slots.table["filter"][rows]
        history_days = np.round(np.maximum(state[:, LAST_MS] - state[:, FIRST_MS], 0.0) / DAY_MS, 3)
        columns = zip(
            [self.slots.table.names[row] for row in rows.tolist()],
            np.maximum(forecasts.level[at], 0.0).tolist(),
            map(tuple, forecasts.days[at].tolist()),
            np.maximum(forecasts.rate[at], 0.0).tolist(),
            forecasts.trust[at].tolist(),
            state[:, ACCEPTED_READINGS].astype(np.int64).tolist(),
            state[:, LAST_MS].astype(np.int64).tolist(),
            state[:, LAST_VALUE].tolist(),
            history_days.tolist(),
            strict=True,
        )
        return [
            Forecast(
                item=item,
                at_ms=at_ms,
                level=level,
                days=days,
                rate_per_day=rate,
                trust=trust,
                model=model,
                readings=readings,
                reading_ms=reading_ms,
                reading=reading,
                history_days=known_days,
            )
            for item, level, days, rate, trust, readings, reading_ms, reading, known_days in columns
        ]

    def _due_rows(self, rows: Rows, at_ms: int) -> Rows:
        """The rows to evaluate at this tick: of `rows`, which changed, those that matter, and all whose time has come."""
        slots = self.slots
        rows = rows[(slots.fixed[rows, F_ACTIVE] == 1.0) & (slots.table["filter"][rows, ACCEPTED_READINGS] > 0.0)]
        rows = rows[~self._can_wait(rows, at_ms)]
        rows = self._postpone_unchanged(rows, at_ms)
        if at_ms >= self._earliest_evaluation_ms:
            due = np.nonzero(self.next_evaluation_ms <= at_ms)[0]
            rows = np.union1d(rows, due)
            postponed = self.next_evaluation_ms[self.next_evaluation_ms > at_ms]
            self._earliest_evaluation_ms = float(postponed.min()) if postponed.size else np.inf
        return rows

    def _can_wait(self, rows: Rows, at_ms: int) -> NDArray[np.bool_]:
        """Which rows need no look though they have news: far from the net, little changed, looked at not long ago."""
        slots = self.slots
        filters = slots.table["filter"]
        evaluated, fixed = slots.table["evaluation"][rows, :NEXT_EVALUATION_MS], slots.fixed[rows]
        far: NDArray[np.bool_] = evaluated[:, EVALUATED_MS] > 0.0
        far &= at_ms - evaluated[:, EVALUATED_MS] < fixed[:, F_EVALUATE_EVERY_MS]
        far &= evaluated[:, EVALUATED_Q05] > FAR_HORIZONS * fixed[:, F_REORDER_HORIZON]
        far &= np.abs(evaluated[:, EVALUATED_LEVEL] - filters[rows, LEVEL]) < FAR_SHARE * fixed[:, F_CAPACITY]
        far &= filters[rows, DIRTY] < 2.0
        return far

    def _postpone_unchanged(self, rows: Rows, at_ms: int) -> Rows:
        """The rows to look at now; the others, looked at a moment ago and little changed since, are woken soon."""
        filters, evaluation = self.slots.table["filter"], self.slots.table["evaluation"]
        earliest_ms = evaluation[rows, EVALUATED_MS] + self._evaluation_gap_ms(rows)
        postponed: NDArray[np.bool_] = (
            (evaluation[rows, EVALUATED_MS] > 0.0) & (earliest_ms > at_ms) & (filters[rows, DIRTY] < 2.0)
        )
        changed = np.abs(evaluation[rows, EVALUATED_LEVEL] - filters[rows, LEVEL])
        postponed &= changed < UNCHANGED_SHARE * self.slots.fixed[rows, F_CAPACITY]
        if not postponed.any():
            return rows
        waiting, next_ms = rows[postponed], earliest_ms[postponed]
        evaluation[waiting, NEXT_EVALUATION_MS] = np.minimum(evaluation[waiting, NEXT_EVALUATION_MS], next_ms)
        self.next_evaluation_ms[waiting] = evaluation[waiting, NEXT_EVALUATION_MS]
        self._earliest_evaluation_ms = min(self._earliest_evaluation_ms, float(next_ms.min()))
        return rows[~postponed]

    def _evaluation_gap_ms(self, rows: Rows) -> Float64:
        """(n,) how long after a look the next one can wait where the level has hardly changed."""
        days, horizon = self.slots.table["evaluation"][rows, EVALUATED_Q05], self.slots.fixed[rows, F_REORDER_HORIZON]
        early = EVALUATION_GAP_SHARE * DAY_MS * days
        longest_ms = np.maximum(self.slots.fixed[rows, F_EVALUATE_EVERY_MS], EVALUATION_GAP_MS)
        waits = days > IMMINENT_HORIZONS * horizon
        return np.where(waits, np.clip(early, EVALUATION_GAP_MS, longest_ms), EVALUATION_GAP_MS)

    def _learn_covariates(self, rows: Rows, at_ms: int) -> None:
        """What the days that are over say of weather and absence, and this look of a gauge's drift."""
        covariates, slots = self.slots.covariates, self.slots.table
        if not covariates.available:
            return
        state, fixed = slots["filter"][rows], self.slots.fixed[rows]
        first_day = np.floor(state[:, FIRST_MS] / DAY_MS)
        covariates.learn(slots, rows, float(at_ms // DAY_MS), first_day, state[:, CURRENT_DAY])
        levels, value, rate = fixed[:, F_IS_COUNTER] == 0.0, state[:, LAST_VALUE], state[:, RATE]
        covariates.learn_thermal_drift(slots, rows, levels, state[:, LAST_MS], value, rate, fixed[:, F_CAPACITY])

    def _record_evaluation(self, forecasts: SlotForecasts) -> None:
        slots, rows, at_ms = self.slots, forecasts.rows, forecasts.at_ms
        columns = slots.table["evaluation"]
        columns[rows, EVALUATED_MS] = at_ms
        columns[rows, EVALUATED_LEVEL] = slots.table["filter"][rows, LEVEL]
        columns[rows, EVALUATED_Q05] = forecasts.days[:, _Q05]
        next_ms = at_ms + slots.fixed[rows, F_EVALUATE_EVERY_MS]
        columns[rows, NEXT_EVALUATION_MS] = next_ms
        self.next_evaluation_ms[rows] = next_ms
        self._earliest_evaluation_ms = min(self._earliest_evaluation_ms, float(next_ms.min()))
        slots.table["filter"][rows, DIRTY] = 0.0

    def _within_horizon(self, forecasts: SlotForecasts) -> NDArray[np.bool_]:
        state, fixed = self.slots.table["filter"][forecasts.rows], self.slots.fixed[forecasts.rows]
        within: NDArray[np.bool_] = forecasts.days[:, _Q05] < fixed[:, F_REORDER_HORIZON]
        levels = fixed[:, F_IS_COUNTER] == 0.0
        implausible = (state[:, LEVEL] <= FIRST_LOW_SHARE * fixed[:, F_CAPACITY]) | (
            state[:, LEVEL] > 1.02 * fixed[:, F_CAPACITY]
        )
        within &= ~(levels & implausible & (state[:, ACCEPTED_READINGS] < 2.0))
        return within


def make_detector(context: DetectorContext) -> Detector:
    """The entry point's factory."""
    return RunOutDetector(context)
