"""What the service says of the time to empty is true about as often as it says, with the model that ships."""

from __future__ import annotations

import numpy as np
import pytest

from models.onnx_scorer import load_scorer
from star.analyse import DAYS_MAX, QUANTILES
from star.records import Tick
from star.sense import Readings
from stream.detectors.slots.calibration import SPREAD_FACTOR_MAX, SPREAD_FACTOR_MIN
from stream.detectors.slots.state_schema import SPREAD_FACTOR_EARLY, SPREAD_FACTOR_LATE, WINDOWS, WINDOWS_IN_90
from tests.stream.analysis_bench import AnalysisBench, at_day_ms, counter, tank

ITEMS = 60
DAYS = 75
LOW, MEDIAN, HIGH = (QUANTILES.index(level) for level in (0.05, 0.5, 0.95))


def interval_coverage(kind: str, seed: int) -> tuple[float, AnalysisBench]:
    """The share of forecasts, days 20 to 40, whose 5 to 95 % interval holds the true time to empty."""
    rng = np.random.default_rng(seed)
    make, value_name = (tank, "oil") if kind == "level" else (counter, "beans_used")
    bench = AnalysisBench(*(make(f"i{n:02}", capacity=1000.0) for n in range(ITEMS)), scorer=load_scorer("run-out"))
    metrics = np.array([bench.names.number(f"i{n:02}/{value_name}") for n in range(ITEMS)], dtype=np.int32)
    rate = np.exp(rng.normal(np.log(14.0), 0.3, ITEMS))
    swing = np.zeros((DAYS * 3, ITEMS))  # households have better and worse weeks
    for day in range(1, DAYS * 3):
        swing[day] = 0.93 * swing[day - 1] + rng.normal(0.0, 0.11, ITEMS)
    use = rng.gamma(1.5, rate / 1.5 / 4.0 * np.exp(np.repeat(swing, 4, axis=0)))
    left = 1000.0 - np.cumsum(use, axis=0)
    hits = said = 0
    for step in range(4 * 40):
        now = np.full(ITEMS, at_day_ms(step / 4))
        value = np.maximum(left[step], 0.0) + rng.normal(size=ITEMS) * 8.0 if kind == "level" else use[step]
        none = np.full(ITEMS, -1)
        bench.ingest(Readings(metric=metrics, at_ms=now, arrived_ms=now, value=value, boot=none, seq=none))
        bench.offset += 1
        bench.analysis.ingest(bench.offset, Tick(at_ms=at_day_ms(step / 4)))
        if step >= 80 and step % 8 == 0:
            for n, forecast in enumerate(bench.analysis.forecasts(at_day_ms(step / 4))):
                if left[step, n] > 60.0:
                    empty = int(np.argmax(left[:, n] <= 0.0))
                    hits += forecast.days[LOW] <= (empty - step) / 4 <= forecast.days[HIGH]
                    said += 1
    return hits / said, bench


@pytest.mark.parametrize("kind", ["level", "usage"])
def test_the_interval_holds_the_truth_on_steady_use(kind: str) -> None:
    """5 to 95 % covers 80 to 99 % over sixty items of steady use, and the legs that are counted online agree."""
    share, bench = interval_coverage(kind, 11)
    assert 0.80 <= share <= 0.995
    look = bench.slots.table["evaluation"][:ITEMS]
    assert look[:, WINDOWS].sum() > ITEMS
    assert 0.8 <= look[:, WINDOWS_IN_90].sum() / look[:, WINDOWS].sum() <= 1.0
    spread = 1.0 + look[:, [SPREAD_FACTOR_EARLY, SPREAD_FACTOR_LATE]]
    assert ((spread >= SPREAD_FACTOR_MIN) & (spread <= SPREAD_FACTOR_MAX)).all()


def test_a_forecast_is_ordered_finite_and_not_longer_than_the_longest() -> None:
    """From the first reading on: nine quantiles in order between 0 and 3,650 days."""
    bench = AnalysisBench(tank("t"), counter("c"), scorer=load_scorer("run-out"))
    for day in range(30):
        bench.send("t/oil", float(day), 1000.0)  # never used
        bench.send("c/beans_used", float(day), 0.0)
        bench.tick(float(day))
        for forecast in bench.analysis.forecasts(at_day_ms(float(day))):
            assert all(0.0 <= a <= b <= DAYS_MAX for a, b in zip(forecast.days, forecast.days[1:], strict=False))
    assert bench.forecast("c/beans", 30.0).days[MEDIAN] > 30.0


def test_the_calibration_widens_a_model_that_is_too_sure() -> None:
    """An item whose use is wilder than the model says gets a wider interval with every miss."""
    rng = np.random.default_rng(5)
    bench = AnalysisBench(tank("t"))  # a fixed spread of ±35 %
    level = 900.0
    for day in range(300):
        level -= float(rng.choice([0.0, 150.0], p=[0.8, 0.2]))
        level = 900.0 if level < 100.0 else level
        bench.send_with_ticks("t/oil", [(float(day), level), (day + 0.4, level)])
    look = bench.slots.table["evaluation"][0]
    assert look[SPREAD_FACTOR_EARLY] > 0.1
