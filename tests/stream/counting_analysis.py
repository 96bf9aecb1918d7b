"""A small real analysis for the tests of the stream's machinery: it counts and sums readings by metric, in blocks.

It has the shape of stream.analysis.Analysis: order matters (a rolling hash), chunking does not, blocks know the offset
that they include, duplicates by (boot, seq) are not its business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from star.analyse import QUANTILES, DetectedNeed, Facts, Forecast, NeedKind
from star.records import Record, Tick
from star.sense import Readings

BLOCK_METRICS = 4


class CountingAnalysis:
    """Readings of metric m live in block m // BLOCK_METRICS as {metric: [count, rolling]}; events in block "meta"."""

    def __init__(self) -> None:
        self.shards: dict[str, dict[str, list[int]]] = {}
        self.events: list[str] = []
        self._pending: list[Record] = []
        self._includes: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._offset = -1
        self._changed: set[int] = set()

    def ingest(self, offset: int, record: Record) -> Facts | None:
        self._offset = offset
        if isinstance(record, Readings):
            for metric, value in zip(record.metric.tolist(), record.value.tolist(), strict=True):
                self._count(offset, metric, value)
            return None
        if isinstance(record, Tick):
            return self._tick(offset, record.at_ms)
        self._dirty.add("meta")
        if offset > self._includes.get("meta", -1):
            self._pending.append(record)
            self.events.append(record.id)  # type: ignore[union-attr]
        return None

    def _count(self, offset: int, metric: int, value: float) -> None:
        name = f"b{metric // BLOCK_METRICS}"
        if offset <= self._includes.get(name, -1):
            return
        row = self.shards.setdefault(name, {}).setdefault(str(metric), [0, 0])
        row[0] += 1
        row[1] = (row[1] * 31 + round(value * 1000)) % 1_000_000_007
        self._dirty.add(name)
        self._changed.add(metric)

    def _tick(self, offset: int, at_ms: int) -> Facts:
        needs = tuple(self._need(metric, at_ms) for metric in sorted(self._changed) if metric % 3 == 0)
        events, self._pending, self._changed = tuple(self._pending), [], set()
        return Facts(offset=offset, at_ms=at_ms, events=events, needs=needs)  # type: ignore[arg-type]

    def _need(self, metric: int, at_ms: int) -> DetectedNeed:
        count, rolling = self.shards[f"b{metric // BLOCK_METRICS}"][str(metric)]
        forecast = Forecast(
            item=f"d/{metric}",
            at_ms=at_ms,
            level=float(rolling),
            days=tuple(float(nth) for nth in range(len(QUANTILES))),
            rate_per_day=1.0,
            trust=1.0,
            model="counting@1:0",
            readings=count,
            reading_ms=at_ms,
            reading=0.0,
        )
        return DetectedNeed(item=forecast.item, at_ms=at_ms, kind=NeedKind.RUN_OUT, cause="level", forecast=forecast)

    def telemetry(self) -> dict[str, list[Forecast]]:
        return {}

    def dirty_shards(self) -> dict[str, bytes]:
        dirty, self._dirty = self._dirty, set()
        content = {name: self.events if name == "meta" else self.shards[name] for name in dirty}
        return {name: json.dumps([self._offset, body]).encode() for name, body in content.items()}

    def load_shards(self, shards: Mapping[str, bytes]) -> None:
        for name, wire in shards.items():
            self._includes[name], body = json.loads(wire)
            if name == "meta":
                self.events = body
            else:
                self.shards[name] = body

    @property
    def included_offset(self) -> int:
        return -1  # what did not change is not written again here, so there is nothing to say

    def totals(self) -> dict[int, tuple[int, int]]:
        """metric -> (count, rolling hash of its values in order)."""
        return {
            int(metric): (count, rolling)
            for block in self.shards.values()
            for metric, (count, rolling) in block.items()
        }
