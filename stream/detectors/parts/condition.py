"""The condition detector: scores parts, once for each message of their device, in the order of arrival.

A message is a run of a device's readings with the same boot, seq, measured and arrival time. All its values are scored
together when it has ended: at the device's next message, at a tick, or when scores are asked for. anomaly.py computes the
anomaly; remaining life comes from the life model that the profile names, for all scores asked for at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from config.catalogue import PartItem
from models.remaining_useful_life import Float32
from star.analyse import ConditionScore
from stream.detectors import (
    Detector,
    DetectorContext,
    EvaluationTick,
    Findings,
    FleetView,
    Metric,
    Route,
    RoutedReadings,
)
from stream.detectors.parts.anomaly import AnomalyModel
from stream.detectors.parts.remaining_useful_life import LifeModel
from stream.state.state_table import Table

SCORES_MAX = 200_000
"""Scores kept for whoever asks; the oldest are forgotten first where nobody does."""

_MessageKey = tuple[int, ...]


@dataclass
class PartState:
    """One part: its past, and its engine's state where it has a life model."""

    anomaly_model: AnomalyModel = field(default_factory=AnomalyModel)
    engine: list[float] = field(default_factory=list)


@dataclass
class OpenMessage:
    """A message whose end is not known yet."""

    key: _MessageKey
    reading: list[tuple[str, float]] = field(default_factory=list)


class ConditionDetector(Detector):
    """Scores the parts of the fleet that have a condition. State is kept by device row."""

    def __init__(self, context: DetectorContext) -> None:
        self._load_model = context.load_model
        self._life_models: dict[str, LifeModel] = {}
        self._items: dict[int, list[PartItem]] = {}
        self._scored_values: dict[int, frozenset[str] | None] = {}
        self._value_names: dict[int, str] = {}
        self._parts: dict[int, dict[str, PartState]] = {}
        self._open: dict[int, OpenMessage] = {}
        self._scores: list[tuple[ConditionScore, str | None, Float32 | None]] = []

    def tables(self) -> Sequence[Table]:
        """None: what is known of a part differs in size, and is kept as JSON."""
        return ()

    def set_fleet(self, fleet: FleetView) -> None:
        """The fleet's parts that have a condition. Raises ModelError where a life model can't be loaded."""
        self._items.clear()
        self._scored_values.clear()
        for _, item in sorted(fleet.catalogue.parts.items()):
            if item.condition is None:
                continue
            device = fleet.device_rows[item.device]
            self._items.setdefault(device, []).append(item)
            named = frozenset(item.condition.values)
            before = self._scored_values.get(device, frozenset())
            self._scored_values[device] = None if not named or before is None else before | named
            model = item.condition.life_model
            if model is not None and model not in self._life_models:
                self._life_models[model] = LifeModel(self._load_model(model))

    def route(self, metric: Metric) -> Route | None:
        """The values that a part's condition names; every value of the device where it names none."""
        if metric.device_row not in self._items:
            return None
        wanted = self._scored_values[metric.device_row]
        if wanted is not None and metric.value not in wanted:
            return None
        self._value_names[metric.number] = metric.value
        return Route(metric.device_row)

    def take(self, readings: RoutedReadings) -> None:
        """Collects messages, and scores those that end."""
        batch, names = readings.readings, self._value_names
        columns = (batch.boot, batch.seq, batch.at_ms, batch.arrived_ms)
        keys = zip(*(column.tolist() for column in columns), strict=True)
        for row, key, number, value in zip(
            readings.row.tolist(), keys, batch.metric.tolist(), batch.value.tolist(), strict=True
        ):
            message = self._open.get(row)
            if message is None or message.key != key:
                if message is not None:
                    self._finish_message(row, message)
                message = self._open[row] = OpenMessage(key)
            message.reading.append((names[number], value))

    def evaluate(self, tick: EvaluationTick) -> Findings:
        """Every message taken so far has ended. Finds no needs: an alert is for people."""
        self._finish_messages(tick.devices_ahead)
        return Findings()

    def _finish_messages(self, except_devices: frozenset[int] = frozenset()) -> None:
        whole = {row: message for row, message in self._open.items() if row not in except_devices}
        for row, message in whole.items():
            self._finish_message(row, message)
            del self._open[row]

    def drain_scores(self, *, finish: bool) -> list[ConditionScore]:
        """The scores since the last call, with remaining life where a life model is named."""
        if finish:
            self._finish_messages()
        scores, self._scores = self._scores, []
        out = [score for score, _, _ in scores]
        for model, life in self._life_models.items():
            at = [place for place, (_, named, features) in enumerate(scores) if named == model and features is not None]
            left = life.remaining_quantiles(
                [features for _, named, features in scores if named == model and features is not None]
            )
            for place, quantiles in zip(at, left, strict=True):
                out[place] = replace(out[place], remaining_life=quantiles)
        return out

    def _finish_message(self, row: int, message: OpenMessage) -> None:
        reading = sorted(message.reading)
        for item in self._items.get(row, ()):
            part = self._parts.setdefault(row, {}).setdefault(item.name, PartState())
            self._scores.append(self._score(item, part, message.key[2], reading))
        if len(self._scores) > SCORES_MAX:
            del self._scores[: SCORES_MAX // 2]

    def _score(
        self, item: PartItem, part: PartState, at_ms: int, reading: list[tuple[str, float]]
    ) -> tuple[ConditionScore, str | None, Float32 | None]:
        condition = item.condition
        if condition is None:
            raise AssertionError(f"{item.key} has no condition: only parts that have one are scored")
        named = [(name, value) for name, value in reading if not condition.values or name in condition.values]
        anomaly, alert = part.anomaly_model.score(at_ms, named, condition.warm_up)
        score = ConditionScore(device=item.device, item=item.name, at_ms=at_ms, anomaly=round(anomaly, 6), alert=alert)
        if condition.life_model is None:
            return score, None, None
        life = self._life_models[condition.life_model]
        part.engine = life.update(part.engine, dict(reading))
        features = life.features(part.engine) if part.anomaly_model.readings > 1 else None
        return score, condition.life_model, features

    def snapshot(self, device_row: int) -> Mapping[str, Any]:
        """The parts and the open message of a device, as JSON values."""
        row = device_row
        parts = {name: [part.anomaly_model.snapshot(), part.engine] for name, part in self._parts.get(row, {}).items()}
        kept: dict[str, Any] = {"parts": parts} if parts else {}
        if row in self._open:
            kept["open"] = [list(self._open[row].key), self._open[row].reading]
        return kept

    def restore(self, device_row: int, kept: Mapping[str, Any]) -> None:
        """Takes back what `snapshot` gave."""
        row = device_row
        for name, (past, engine) in kept.get("parts", {}).items():
            self._parts.setdefault(row, {})[name] = PartState(AnomalyModel.restore(past), list(engine))
        if "open" in kept:
            key, reading = kept["open"]
            self._open[row] = OpenMessage(tuple(key), [(name, value) for name, value in reading])


def make_detector(context: DetectorContext) -> Detector:
    """The entry point's factory."""
    return ConditionDetector(context)
