"""What is told of forecasts whose truth has become known: where it fell within what was said."""

from __future__ import annotations

import itertools
import math

import numpy as np

from star.analyse import CalibrationOutcome
from star.quantiles import Z
from stream.detectors.slots.calibration import (
    LEVEL_MAX,
    LEVEL_MIN,
    WINDOW_QUANTILES,
    probability_level,
    window_spread_factors,
)
from stream.detectors.slots.state_schema import (
    EVALUATION_NAMES,
    SPREAD_FACTOR_EARLY,
    SPREAD_FACTOR_LATE,
    WINDOW_Q05,
    WINDOW_Q25,
    WINDOW_Q50,
    WINDOW_Q75,
    WINDOW_Q95,
    Float64,
)
from tests.stream.analysis_bench import AnalysisBench, at_day_ms, tank

LEVELS = {WINDOW_Q05: 0.05, WINDOW_Q25: 0.25, WINDOW_Q50: 0.50, WINDOW_Q75: 0.75, WINDOW_Q95: 0.95}
NORMAL_QUANTILES = {
    WINDOW_Q05: Z[0.05],
    WINDOW_Q25: Z[0.25],
    WINDOW_Q50: Z[0.50],
    WINDOW_Q75: Z[0.75],
    WINDOW_Q95: Z[0.95],
}


def window_columns(median: Float64, spread: Float64, widening: float = 0.0) -> Float64:
    """The look columns of legs whose forecast is log-normal: `spread` as the model said, times 1 + `widening` in force."""
    columns = np.zeros((len(EVALUATION_NAMES), median.size))
    for column, score in NORMAL_QUANTILES.items():
        columns[column] = median * np.exp(spread * score)
    columns[[SPREAD_FACTOR_EARLY, SPREAD_FACTOR_LATE]] = widening
    return columns


def calibration_outcomes(
    bench: AnalysisBench, name: str, days: np.ndarray, values: np.ndarray
) -> list[CalibrationOutcome]:
    """What was told while readings came, one a tick."""
    found: list[CalibrationOutcome] = []
    for day, value in zip(days.tolist(), values.tolist(), strict=True):
        bench.send_with_ticks(name, [(day, value)])
        found += bench.run_out.drain_outcomes()
    return found


def test_truths_drawn_from_the_forecast_are_at_the_levels_they_were_drawn_from() -> None:
    """Whatever widens or narrows it: between the quantiles in force a truth is told at its own level."""
    chance = np.random.default_rng(7)
    median, spread = chance.uniform(0.5, 60.0, 2_000), chance.uniform(0.05, 0.8, 2_000)
    drawn = chance.uniform(0.05, 0.95, median.size)
    for widening in (-0.4, 0.0, 1.5):
        columns = window_columns(median, spread, widening)
        away = np.array(list(NORMAL_QUANTILES.values()))[:, None] * spread * window_spread_factors(columns)
        places = [np.interp(level, WINDOW_QUANTILES, one) for level, one in zip(drawn, away.T, strict=True)]
        levels = probability_level(columns, median * np.exp(places))
        assert np.abs(levels - drawn).max() < 1e-3
    far = probability_level(columns, median * np.exp(20.0 * spread))
    assert (far <= LEVEL_MAX).all()
    assert (probability_level(columns, median * np.exp(-20.0 * spread)) >= LEVEL_MIN).all()


def test_a_truth_at_a_quantile_that_was_said_is_at_its_level() -> None:
    """Each of the five quantiles gives its own level, and later is never a lower level."""
    columns = window_columns(np.array([10.0]), np.array([0.3]))
    for column, level in LEVELS.items():
        assert abs(probability_level(columns, columns[column])[0] - level) < 1e-4
    longer = np.geomspace(0.01, 10_000.0, 500)
    levels = probability_level(np.repeat(columns, longer.size, axis=1), longer)
    assert np.all(np.diff(levels) >= 0.0)
    assert levels[0] == LEVEL_MIN
    assert levels[-1] == LEVEL_MAX


def test_a_forecast_without_any_spread_is_judged_early_or_late() -> None:
    """Five equal quantiles: an early truth is told as early as can be, a late one as late."""
    columns = np.repeat(window_columns(np.array([10.0]), np.array([0.0])), 3, axis=1)
    early, just, late = probability_level(columns, np.array([9.0, 10.0, 11.0]))
    assert (early, late) == (LEVEL_MIN, LEVEL_MAX)
    assert abs(just - 0.5) < 1e-4


def test_a_tank_that_empties_as_it_always_did_is_judged_about_the_middle() -> None:
    """A steady tank's legs end where the median said, each told once, at the tick that saw it, with its item."""
    bench = AnalysisBench(tank("tank-1"))
    days = np.arange(0.0, 60.0, 0.25)
    found = calibration_outcomes(bench, "tank-1/oil", days, 990.0 - 14.0 * days)
    assert len(found) >= 4
    assert {judged.item for judged in found} == {"tank-1/oil"}
    assert {judged.at_ms for judged in found} <= {at_day_ms(day) for day in days.tolist()}
    assert all(one.at_ms < two.at_ms for one, two in itertools.pairwise(found))
    assert 0.25 <= np.median([judged.level for judged in found[1:]]) <= 0.75
    assert bench.run_out.drain_outcomes() == []


def test_a_tank_that_is_hardly_used_any_more_is_judged_as_late_as_can_be() -> None:
    """A leg that takes three times its 95 % quantile is over though not ended, and told with the highest level."""
    bench = AnalysisBench(tank("tank-1"))
    days = np.arange(0.0, 150.0, 0.5)
    values = np.where(days < 20.0, 990.0 - 20.0 * days, 590.0 - 0.05 * (days - 20.0))
    found = calibration_outcomes(bench, "tank-1/oil", days, values)
    assert LEVEL_MAX in [judged.level for judged in found]


def test_what_is_told_of_forecasts_changes_no_state() -> None:
    """With or without anyone who takes what was judged, the checkpoints are the same bytes, and nothing piles up."""
    taken, left = AnalysisBench(tank("tank-1")), AnalysisBench(tank("tank-1"))
    days = np.arange(0.0, 40.0, 0.5)
    values = 900.0 * np.exp(-days / 30.0)
    assert calibration_outcomes(taken, "tank-1/oil", days, values)
    for day, value in zip(days.tolist(), values.tolist(), strict=True):
        left.send_with_ticks("tank-1/oil", [(day, value)])
        assert len(left.slots.ended_windows) <= 1
    assert taken.analysis.dirty_shards() == left.analysis.dirty_shards()
    assert taken.facts == left.facts
    assert math.isfinite(taken.forecast("tank-1/oil", 41.0).level)
