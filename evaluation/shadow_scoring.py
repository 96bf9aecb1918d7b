"""A challenger in the shadow: it analyses the same log as the champion beside it, and nothing of what it says has any effect.

Both are whole analyses of their own, in a process of their own that reads the log and writes nothing, so the service knows nothing of
it. Each forecasts, again and again, how long a quantity will last (calibration.py's legs) and is judged when it has been used up:
coverage by the level at which the truth fell, and pinball loss in days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue
from models.onnx_scorer import OnnxScorer
from runtime.calibration_monitor import CalibrationMonitor
from star.ports import Log, MetricRegistry
from star.records import Tick, decode
from star.times import DAY_MS
from stream.analysis import Analysis
from stream.detectors.slots.calibration import WINDOW_QUANTILES, window_spread_factors
from stream.detectors.slots.run_out import RunOutDetector
from stream.detectors.slots.state_schema import (
    CUMULATIVE_USE,
    LAST_MS,
    WINDOW_Q05,
    WINDOW_Q25,
    WINDOW_Q50,
    WINDOW_Q75,
    WINDOW_Q95,
    WINDOW_QUANTITY,
    WINDOW_START_MS,
    WINDOW_START_USE,
)
from stream.topics import INPUT

READ_BATCH_RECORDS = 500
WINDOW_FORECASTS = 1_000_000
_QUANTILES = [WINDOW_Q05, WINDOW_Q25, WINDOW_Q50, WINDOW_Q75, WINDOW_Q95]
_LEVELS = np.array(WINDOW_QUANTILES)

Float64 = NDArray[np.float64]


@dataclass(slots=True)
class ShadowModel:
    """One model with what became of its forecasts. loss_days, took_days: summed over judged forecasts."""

    scorer: OnnxScorer
    analysis: Analysis
    calibration: CalibrationMonitor = field(default_factory=lambda: CalibrationMonitor(WINDOW_FORECASTS))
    pinball_days: float = 0.0
    actual_days: float = 0.0
    _windows: dict[int, Float64] = field(default_factory=dict)

    def on_tick(self) -> None:
        """Judges the forecasts that ended at this tick, and remembers those that began."""
        analysis = self.analysis
        analysis.drain_scores()
        run_out = analysis.detector(RunOutDetector)
        last, slots = run_out.last_forecasts, run_out.slots
        if last is None:
            return
        state, looks = slots.table["filter"], slots.table["evaluation"]
        for row, level in slots.ended_windows:
            leg = self._windows.pop(row, None)
            if leg is not None:
                self._score(leg, float(state[row, CUMULATIVE_USE]), float(state[row, LAST_MS]), level)
        slots.ended_windows.clear()
        for row in last.rows[looks[last.rows, WINDOW_START_MS] > 0.0].tolist():
            if row not in self._windows or self._windows[row][WINDOW_START_MS] != looks[row, WINDOW_START_MS]:
                self._windows[row] = looks[row].copy()

    def figures(self) -> dict[str, Any]:
        """For JSON and the table; coverage is None while too few were judged."""
        coverage = self.calibration.coverage()
        return {
            "model": self.scorer.name,
            "judged": self.calibration.count(),
            "covered_5_95": None if coverage is None else round(coverage["0.90"], 4),
            "covered_25_75": None if coverage is None else round(coverage["0.50"], 4),
            "psi": None if (psi := self.calibration.psi()) is None else round(psi, 4),
            "pinball_share": round(self.pinball_days / self.actual_days, 5) if self.actual_days > 0.0 else None,
        }

    def _score(self, window: Float64, used: float, last_ms: float, level: float) -> None:
        self.calibration.add([level])
        total = used - float(window[WINDOW_START_USE])
        took = max(last_ms - float(window[WINDOW_START_MS]), 0.0) / DAY_MS
        if total >= window[WINDOW_QUANTITY] > 0.0:
            took *= float(window[WINDOW_QUANTITY]) / total
        median = max(float(window[WINDOW_Q50]), 1e-3)
        spread = np.log(np.maximum(window[_QUANTILES], 1e-3) / median) * window_spread_factors(window[:, None])[:, 0]
        off = took - median * np.exp(np.minimum(spread, math.log(1e6)))
        self.pinball_days += float(np.maximum(_LEVELS * off, (_LEVELS - 1.0) * off).mean())
        self.actual_days += took


class ShadowScorer:
    """Champion and challengers over one log. `read(end)` goes on from where it was."""

    def __init__(self, catalogue: Catalogue, names: MetricRegistry, scorers: Sequence[OnnxScorer]) -> None:
        self.models = [ShadowModel(scorer, Analysis(catalogue, names, scorer)) for scorer in scorers]
        self.next_offset = 0

    def consume(self, log: Log, end: int) -> None:
        """Takes the input up to offset `end`. Raises LogError."""
        while self.next_offset < end:
            rows = log.read(INPUT, self.next_offset, min(READ_BATCH_RECORDS, end - self.next_offset))
            if not rows:
                return
            for offset, wire in rows:
                record = decode(wire)
                for side in self.models:
                    side.analysis.ingest(offset, record)
                    if isinstance(record, Tick):
                        side.on_tick()
            self.next_offset = rows[-1][0] + 1

    def figures(self) -> list[dict[str, Any]]:
        """Of each model, the champion first."""
        return [side.figures() for side in self.models]


def format_report(figures: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table for people."""
    yield f"{'':34}{'judged':>8}{'5-95 %':>8}{'25-75 %':>9}{'PSI':>8}{'pinball':>9}"
    for row in figures:
        cells = [row[name] for name in ("covered_5_95", "covered_25_75", "psi", "pinball_share")]
        shown = ["-" if cell is None else f"{cell:.3f}" for cell in cells]
        yield f"{row['model']:34}{row['judged']:>8}{shown[0]:>8}{shown[1]:>9}{shown[2]:>8}{shown[3]:>9}"
