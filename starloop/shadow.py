"""A challenger in the shadow: it analyses the same log as the champion beside it, and nothing of what it says has any effect.

Both are whole analyses of their own, in a process of their own that reads the log and writes nothing, so the service knows nothing of
it. Each forecasts, again and again, how long a quantity will last (calibrate.py's legs) and is judged when it has been used up:
coverage by the level at which the truth fell, and pinball loss in days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.resolve import Catalogue
from models.runtime import OnnxScorer
from star.ports import Log, Names
from star.records import Tick, decode
from star.times import DAY_MS
from starloop.watching.honesty import Honesty
from stream.analysis import Analysis
from stream.detectors.calibrate import SAID, in_force
from stream.detectors.columns import (
    LAST_MS,
    LEG_05,
    LEG_25,
    LEG_50,
    LEG_75,
    LEG_95,
    LEG_MS,
    LEG_QUANTITY,
    LEG_USED,
    USED,
)
from stream.topics import INPUT

READ_RECORDS = 500
JUDGED_MAX = 1_000_000
_QUANTILES = [LEG_05, LEG_25, LEG_50, LEG_75, LEG_95]
_LEVELS = np.array(SAID)

Float64 = NDArray[np.float64]


@dataclass(slots=True)
class Side:
    """One model with what became of its forecasts. loss_days, took_days: summed over judged forecasts."""

    scorer: OnnxScorer
    analysis: Analysis
    honesty: Honesty = field(default_factory=lambda: Honesty(JUDGED_MAX))
    loss_days: float = 0.0
    took_days: float = 0.0
    _legs: dict[int, Float64] = field(default_factory=dict)

    def ticked(self) -> None:
        """Judges the forecasts that ended at this tick, and remembers those that began."""
        analysis = self.analysis
        analysis.scores()
        last = analysis.run_out.last
        if last is None:
            return
        state, looks = analysis.slots.table["filter"], analysis.slots.table["look"]
        for row, level in analysis.slots.judged:
            leg = self._legs.pop(row, None)
            if leg is not None:
                self._judged(leg, float(state[row, USED]), float(state[row, LAST_MS]), level)
        analysis.slots.judged.clear()
        for row in last.rows[looks[last.rows, LEG_MS] > 0.0].tolist():
            if row not in self._legs or self._legs[row][LEG_MS] != looks[row, LEG_MS]:
                self._legs[row] = looks[row].copy()

    def figures(self) -> dict[str, Any]:
        """For JSON and the table; coverage is None while too few were judged."""
        coverage = self.honesty.coverage()
        return {
            "model": self.scorer.name,
            "judged": self.honesty.count(),
            "covered_5_95": None if coverage is None else round(coverage["0.90"], 4),
            "covered_25_75": None if coverage is None else round(coverage["0.50"], 4),
            "psi": None if (psi := self.honesty.psi()) is None else round(psi, 4),
            "pinball_share": round(self.loss_days / self.took_days, 5) if self.took_days > 0.0 else None,
        }

    def _judged(self, leg: Float64, used: float, last_ms: float, level: float) -> None:
        self.honesty.judged([level])
        total = used - float(leg[LEG_USED])
        took = max(last_ms - float(leg[LEG_MS]), 0.0) / DAY_MS
        if total >= leg[LEG_QUANTITY] > 0.0:
            took *= float(leg[LEG_QUANTITY]) / total
        median = max(float(leg[LEG_50]), 1e-3)
        spread = np.log(np.maximum(leg[_QUANTILES], 1e-3) / median) * in_force(leg[:, None])[:, 0]
        off = took - median * np.exp(np.minimum(spread, math.log(1e6)))
        self.loss_days += float(np.maximum(_LEVELS * off, (_LEVELS - 1.0) * off).mean())
        self.took_days += took


class Shadow:
    """Champion and challengers over one log. `read(end)` goes on from where it was."""

    def __init__(self, catalogue: Catalogue, names: Names, scorers: Sequence[OnnxScorer]) -> None:
        self.sides = [Side(scorer, Analysis(catalogue, names, scorer)) for scorer in scorers]
        self.next = 0

    def read(self, log: Log, end: int) -> None:
        """Takes the input up to offset `end`. Raises LogError."""
        while self.next < end:
            rows = log.read(INPUT, self.next, min(READ_RECORDS, end - self.next))
            if not rows:
                return
            for offset, wire in rows:
                record = decode(wire)
                for side in self.sides:
                    side.analysis.take(offset, record)
                    if isinstance(record, Tick):
                        side.ticked()
            self.next = rows[-1][0] + 1

    def figures(self) -> list[dict[str, Any]]:
        """Of each model, the champion first."""
        return [side.figures() for side in self.sides]


def in_words(figures: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table for people."""
    yield f"{'':34}{'judged':>8}{'5-95 %':>8}{'25-75 %':>9}{'PSI':>8}{'pinball':>9}"
    for row in figures:
        cells = [row[name] for name in ("covered_5_95", "covered_25_75", "psi", "pinball_share")]
        shown = ["-" if cell is None else f"{cell:.3f}" for cell in cells]
        yield f"{row['model']:34}{row['judged']:>8}{shown[0]:>8}{shown[1]:>9}{shown[2]:>8}{shown[3]:>9}"
