"""Shadow scoring: a challenger model analyses the service's log beside the champion, without any effect on the service.

Each model has an analysis of its own, in a process that reads the log and writes nothing. The analyses forecast repeatedly how long
a quantity will last (a calibration window, stream.detectors.slots.calibration). When the quantity is used up, the forecast is scored:
coverage from the probability level at which the truth fell, and pinball loss in days.
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
from models.pinball import pinball_loss
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
"""Records read from the log at once."""
WINDOW_FORECASTS = 1_000_000
"""Latest scored forecasts that the figures cover: in effect all of them, with memory bounded."""
_QUANTILES = [WINDOW_Q05, WINDOW_Q25, WINDOW_Q50, WINDOW_Q75, WINDOW_Q95]

Float64 = NDArray[np.float64]


@dataclass(slots=True)
class ShadowModel:
    """One model with the scores of its forecasts. pinball_days, actual_days: loss and true duration, summed over scored forecasts."""

    scorer: OnnxScorer
    analysis: Analysis
    calibration: CalibrationMonitor = field(default_factory=lambda: CalibrationMonitor(WINDOW_FORECASTS))
    pinball_days: float = 0.0
    actual_days: float = 0.0
    _windows: dict[int, Float64] = field(default_factory=dict)

    def on_tick(self) -> None:
        """Scores the forecasts whose window ended at this tick, and keeps those whose window began."""
        analysis = self.analysis
        analysis.drain_scores()
        run_out = analysis.detector(RunOutDetector)
        last, slots = run_out.last_forecasts, run_out.slots
        if last is None:
            return
        state, windows = slots.table["filter"], slots.table["evaluation"]
        for row, level in slots.ended_windows:
            window = self._windows.pop(row, None)
            if window is not None:
                self._score(window, float(state[row, CUMULATIVE_USE]), float(state[row, LAST_MS]), level)
        slots.ended_windows.clear()
        for row in last.rows[windows[last.rows, WINDOW_START_MS] > 0.0].tolist():
            if row not in self._windows or self._windows[row][WINDOW_START_MS] != windows[row, WINDOW_START_MS]:
                self._windows[row] = windows[row].copy()

    def figures(self) -> dict[str, Any]:
        """The scores as JSON fields; coverage and PSI are None while too few forecasts were scored."""
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
        duration_days = max(last_ms - float(window[WINDOW_START_MS]), 0.0) / DAY_MS
        if total >= window[WINDOW_QUANTITY] > 0.0:
            duration_days *= float(window[WINDOW_QUANTITY]) / total
        median = max(float(window[WINDOW_Q50]), 1e-3)
        spread = np.log(np.maximum(window[_QUANTILES], 1e-3) / median) * window_spread_factors(window[:, None])[:, 0]
        quantiles = median * np.exp(np.minimum(spread, math.log(1e6)))
        self.pinball_days += float(pinball_loss(quantiles[None], np.array([duration_days]), WINDOW_QUANTILES)[0])
        self.actual_days += duration_days


class ShadowScorer:
    """Champion and challengers over one log. `consume(log, end)` continues at `next_offset`."""

    def __init__(self, catalogue: Catalogue, names: MetricRegistry, scorers: Sequence[OnnxScorer]) -> None:
        self.models = [ShadowModel(scorer, Analysis(catalogue, names, scorer)) for scorer in scorers]
        self.next_offset = 0

    def consume(self, log: Log, end: int) -> None:
        """Analyses the input up to offset `end`, exclusive. Raises LogError."""
        while self.next_offset < end:
            rows = log.read(INPUT, self.next_offset, min(READ_BATCH_RECORDS, end - self.next_offset))
            if not rows:
                return
            for offset, wire in rows:
                record = decode(wire)
                for model in self.models:
                    model.analysis.ingest(offset, record)
                    if isinstance(record, Tick):
                        model.on_tick()
            self.next_offset = rows[-1][0] + 1

    def figures(self) -> list[dict[str, Any]]:
        """The scores of each model, in the order given."""
        return [model.figures() for model in self.models]


def format_report(figures: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of the table for people."""
    yield f"{'':34}{'judged':>8}{'5-95 %':>8}{'25-75 %':>9}{'PSI':>8}{'pinball':>9}"
    for row in figures:
        cells = [row[name] for name in ("covered_5_95", "covered_25_75", "psi", "pinball_share")]
        shown = ["-" if cell is None else f"{cell:.3f}" for cell in cells]
        yield f"{row['model']:34}{row['judged']:>8}{shown[0]:>8}{shown[1]:>9}{shown[2]:>8}{shown[3]:>9}"
