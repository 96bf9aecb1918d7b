"""Parts with a condition: one score a message of their device, in the order of arrival.

A message is a run of a device's readings with the same boot, seq, measured and arrival time: all its values are judged
together, when its end is known - the device's next message, a tick, or whoever asks for the scores. The anomaly is
anomaly.py's; remaining life comes from a life model where the profile names one that is at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from config.resolve import Catalogue, PartItem
from star.analyse import Score
from star.ports import Scorer
from star.sense import Readings
from stream.detectors.anomaly import Past
from stream.state import Rows

SCORES_MAX = 1_000_000
"""Scores kept for whoever asks; the oldest are forgotten first where nobody does."""

_Key = tuple[int, int, int, int]


@dataclass
class Open:
    """A message whose end is not known yet."""

    key: _Key
    reading: list[tuple[str, float]] = field(default_factory=list)


class Condition:
    """The parts that are scored, by device row."""

    def __init__(self, life_scorers: Mapping[str, Scorer] | None = None) -> None:
        self._life_scorers = dict(life_scorers or {})
        self._items: dict[int, list[PartItem]] = {}
        self._wanted: dict[int, frozenset[str] | None] = {}
        self._pasts: dict[int, Past] = {}
        self._open: dict[int, Open] = {}
        self._scores: list[Score] = []

    def set_items(self, catalogue: Catalogue, devices: Mapping[str, int]) -> None:
        """The catalogue's parts that have a condition."""
        self._items.clear()
        self._wanted.clear()
        for _, item in sorted(catalogue.parts.items()):
            if item.condition is None:
                continue
            device = devices[item.device]
            self._items.setdefault(device, []).append(item)
            named = frozenset(item.condition.values)
            before = self._wanted.get(device, frozenset())
            self._wanted[device] = None if not named or before is None else before | named

    def wants(self, device: int, metric: str) -> bool:
        """Whether the metric `device/name` is judged for a part of the device."""
        if device not in self._items:
            return False
        wanted = self._wanted[device]
        return wanted is None or metric.split("/", 1)[1] in wanted

    def take(self, readings: Readings, device: Rows, names: list[str]) -> None:
        """Readings of scored metrics, named, in the order of arrival. device: device rows."""
        columns = (readings.boot, readings.seq, readings.at_ms, readings.arrived_ms)
        keys = zip(*(column.tolist() for column in columns), strict=True)
        for row, key, name, value in zip(device.tolist(), keys, names, readings.value.tolist(), strict=True):
            message = self._open.get(row)
            if message is None or message.key != key:
                if message is not None:
                    self._finish(row, message)
                message = self._open[row] = Open(key)
            message.reading.append((name.split("/", 1)[1], value))

    def finish_messages(self, but: frozenset[int] = frozenset()) -> None:
        """Every message taken so far is whole; `but` those of these devices."""
        whole = {row: message for row, message in self._open.items() if row not in but}
        for row, message in whole.items():
            self._finish(row, message)
            del self._open[row]

    def take_scores(self) -> list[Score]:
        """The scores since the last call."""
        scores, self._scores = self._scores, []
        return scores

    def _finish(self, row: int, message: Open) -> None:
        past = self._pasts.setdefault(row, Past())
        reading = sorted(message.reading)
        at_ms = message.key[2]
        for item in self._items.get(row, ()):
            assert item.condition is not None
            anomaly, alert = past.score(at_ms, reading, item.condition.warm_up)
            self._scores.append(
                Score(device=item.device, item=item.name, at_ms=at_ms, anomaly=round(anomaly, 6), alert=alert)
            )
        if len(self._scores) > SCORES_MAX:
            del self._scores[: SCORES_MAX // 2]

    def extras(self, rows: Rows) -> dict[str, Any]:
        """What is known of these device rows, by row, for a checkpoint."""
        pasts = {row: self._pasts[row].pack() for row in rows.tolist() if row in self._pasts}
        opened = {
            row: [list(self._open[row].key), self._open[row].reading] for row in rows.tolist() if row in self._open
        }
        return {row: {"past": pasts.get(row), "open": opened.get(row)} for row in pasts.keys() | opened.keys()}

    def restore(self, row: int, packed: dict[str, Any]) -> None:
        """Takes back what `extras` gave of a device."""
        if packed["past"] is not None:
            self._pasts[row] = Past.unpack(packed["past"])
        if packed["open"] is not None:
            (boot, seq, at_ms, arrived_ms), reading = packed["open"]
            self._open[row] = Open((boot, seq, at_ms, arrived_ms), [(name, value) for name, value in reading])
