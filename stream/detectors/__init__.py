"""Detectors: find needs, refills, forecasts and scores in what devices report. Each is a plug-in, also those that ship.

A detector keeps its state in tables by item, takes the readings and events that concern it in their order of arrival, and
returns at each tick what it found. It decides nothing and has no clock, randomness, input or output: the same records give the
same findings and state, however they were batched. docs/extend/detector.md builds one.

The detectors that ship: slots/ (run-out of consumables), parts/ (service due, condition); covariates/ adjusts forecasts of
slots to temperature and absence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue
from star.analyse import CalibrationOutcome, ConditionScore, DetectedNeed, Forecast, RefillUpdate
from star.ports import Scorer
from star.sense import Readings
from stream.state.state_table import Rows, Table

if TYPE_CHECKING:
    from models.onnx_scorer import OnnxScorer

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """The fleet in force, as one partition sees it.

    device_rows: row by name of each device there is or was; items of tables name their device by it. lead_time_days: (10 %,
    90 %) quantiles by supplier, with what suppliers announced since.
    """

    catalogue: Catalogue
    device_rows: Mapping[str, int]
    lead_time_days: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named value of a device of the fleet. number: the registry's; name: `device/value`; device_row: see FleetView."""

    number: int
    name: str
    device: str
    value: str
    device_row: int


class Route(NamedTuple):
    """Where a detector wants a metric's readings to go: a row of its own, and a kind that only it interprets."""

    row: int
    kind: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedReadings:
    """Readings for one detector, n in order of arrival, without duplicates. row: (n,) and kind: (n,) int8 are its routes'."""

    readings: Readings
    row: Rows
    kind: NDArray[np.int8]


@dataclass(slots=True, kw_only=True)
class ItemEvent:
    """A request or an outcome that concerns an item of the fleet.

    item: `device/name`. at_ms: its arrival. result: the outcome's (star.repeat.RESULTS); None for a request. quantity: in the
    item's unit, where one was given.
    """

    item: str
    at_ms: int
    result: str | None
    quantity: float | None
    register_delivery: Callable[[], bool]
    _first: bool | None = field(default=None, init=False)

    def is_first_delivery(self) -> bool:
        """Whether it reports its reaction as fulfilled for the first time; what names no reaction always does.

        Ask only for results that fulfil the item's reactions: that is when the delivery is remembered.
        """
        if self._first is None:
            self._first = self.register_delivery()
        return self._first


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTick:
    """A moment at which detectors look for needs. offset: of its record in the log.

    After a restart the state of some devices may be ahead of it: `mask_ahead(device rows)` says which, None where none is;
    `devices_ahead` are their rows. Those must neither be evaluated nor changed.
    """

    offset: int
    at_ms: int
    mask_ahead: Callable[[Rows], NDArray[np.bool_] | None]
    devices_ahead: frozenset[int] = frozenset()

    def rows(self, table: Table) -> list[int]:
        """The rows of `table` that may be evaluated, in the order of their names."""
        ahead = self.mask_ahead(table.device[: len(table)])
        rows = sorted(range(len(table)), key=table.names.__getitem__)
        return rows if ahead is None else [row for row in rows if not ahead[row]]


def _no_forecasts() -> Sequence[Forecast]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a detector found at a tick.

    needs: at most one for each item. devices: rows of those whose state the evaluation changed. forecasts: those that the needs
    and the items without a need rest on, for telemetry; made when they are asked for.
    """

    needs: Sequence[DetectedNeed] = ()
    devices: Rows = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    forecasts: Callable[[], Sequence[Forecast]] = _no_forecasts


class DetectorContext:
    """What an analysis gives to its detectors.

    scorer: the run-out model. load_model: gives another model of the registry by its name, or raises ModelError. emit_refill:
    reports a refill or a service of an item of the device with this row; the facts of the next tick hold it.
    """

    def __init__(
        self,
        scorer: Scorer,
        load_model: Callable[[str], OnnxScorer],
        emit_refill: Callable[[int, RefillUpdate], None],
    ) -> None:
        self.scorer = scorer
        self.load_model = load_model
        self.emit_refill = emit_refill
        self._shared: dict[Callable[..., Any], Any] = {}

    def shared(self, make: Callable[[DetectorContext], T]) -> T:
        """State that several detectors use: `make(self)`, made once for all that ask with the same `make`."""
        if make not in self._shared:
            self._shared[make] = make(self)
        shared: T = self._shared[make]
        return shared


class Detector(Protocol):
    """A way to find needs. Subclass it: `tables`, `take`, `evaluate` and `snapshot` are required, the rest has defaults.

    One detector serves all items of a partition. Where there is a checkpoint, its rows are loaded into the tables and `restore`
    is called first; then `set_fleet`, and records in the order of the log.
    """

    def tables(self) -> Sequence[Table]:
        """Its state by item: tables whose rows are named `device/...` or as a device. Checkpoints store and load them.

        Names of tables are unique among all detectors and don't change.
        """
        ...

    def take(self, readings: RoutedReadings) -> None:
        """Updates the state by readings of the metrics that `route` claimed."""
        ...

    def evaluate(self, tick: EvaluationTick) -> Findings:
        """What it finds at a tick, by the state that readings and events until then left."""
        ...

    def snapshot(self, device_row: int) -> Mapping[str, Any]:
        """What is known of a device besides `tables`, as JSON values; empty where there is nothing."""
        ...

    def restore(self, device_row: int, kept: Mapping[str, Any]) -> None:
        """Takes back what `snapshot` gave, in a new detector whose tables are loaded."""
        return

    def set_fleet(self, fleet: FleetView) -> None:
        """The fleet, or the suppliers' lead times, changed. Adds rows for new items; those of removed ones stay."""
        return

    def route(self, metric: Metric) -> Route | None:
        """Where the readings of a metric go; None: this detector does not want them. Asked again when the fleet changed."""
        return None

    def observe_devices(self, device_rows: Rows, arrived_ms: NDArray[np.int64]) -> None:
        """Readings of these devices arrived, of any metric, duplicates included; called before any detector takes them."""
        return

    def apply_event(self, event: ItemEvent) -> None:
        """Updates the state by a request or an outcome, about an item of any detector."""
        return

    def forecasts(self, at_ms: int) -> list[Forecast]:
        """Forecasts of all its items at a moment, in the order of their names, for replay. Changes nothing."""
        return []

    def drain_scores(self, *, finish: bool) -> list[ConditionScore]:
        """Scores of parts since the last call, in the order of arrival. finish: count open messages as complete."""
        return []

    def drain_outcomes(self) -> list[CalibrationOutcome]:
        """How earlier forecasts came out, since the last call."""
        return []


DetectorFactory = Callable[[DetectorContext], Detector]
"""Makes a detector for one analysis."""


class DetectorPlugin(Protocol):
    """What an entry point of the group `starloop.detectors` names, such as a module."""

    def make_detector(self, context: DetectorContext) -> Detector:
        """A new detector for one analysis."""
        ...
