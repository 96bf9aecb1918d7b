"""The run-out model's features: independent of units and of other rows, and robust against unknown values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import FEATURE_MAX, FEATURES_COUNT, HISTORY_DAYS, ConsumptionHistory, run_out_features
from models.gamma_baseline import BaselineForecast, days_to_empty, target_deviates
from star.analyse import DAYS_MAX

QUANTITY_FIELDS = ("daily", "today", "level", "noise", "prior_rate", "long_use")


def rows(count: int, seed: int = 0) -> ConsumptionHistory:
    """Random histories of `count` items, with gaps."""
    rng = np.random.default_rng(seed)
    daily = rng.gamma(1.0, 2.0, (count, HISTORY_DAYS)).astype(np.float32)
    daily[rng.random((count, HISTORY_DAYS)) < 0.2] = np.nan
    daily[rng.random(count) < 0.1] = np.nan
    today = rng.gamma(1.0, 1.0, count).astype(np.float32)
    today[rng.random(count) < 0.2] = np.nan
    long_days = rng.uniform(0.0, 150.0, count)
    return ConsumptionHistory(
        daily=daily,
        today=today,
        today_fraction=rng.random(count).astype(np.float32),
        level=rng.normal(30.0, 30.0, count),
        noise=rng.uniform(0.0, 2.0, count),
        silent_days=np.where(rng.random(count) < 0.2, rng.uniform(0.0, 20.0, count), 0.0),
        prior_rate=rng.uniform(0.5, 5.0, count),
        prior_spread=rng.uniform(1.1, 5.0, count),
        long_days=long_days,
        long_use=2.0 * long_days,
        long_squares=9.0 * long_days,
    )


def scaled(history: ConsumptionHistory, factor: float) -> ConsumptionHistory:
    """The same histories in another unit."""
    changed = {name: getattr(history, name) * getattr(history, name).dtype.type(factor) for name in QUANTITY_FIELDS}
    return replace(history, **changed, long_squares=history.long_squares * factor * factor)


def without_history(level: float, **history: float) -> ConsumptionHistory:
    """An item with a first reading and no history."""
    rest = {"noise": 0.1, "silent_days": 0.0, "prior_rate": 2.0, "prior_spread": 3.0} | history
    return ConsumptionHistory(
        daily=np.full((1, HISTORY_DAYS), np.nan, dtype=np.float32),
        today=np.array([np.nan], dtype=np.float32),
        today_fraction=np.array([0.4], dtype=np.float32),
        level=np.array([level]),
        long_days=np.zeros(1),
        long_use=np.zeros(1),
        long_squares=np.zeros(1),
        **{name: np.array([value]) for name, value in rest.items()},
    )


def used(daily: np.ndarray, level: float) -> ConsumptionHistory:
    """An item with 56 days of this consumption, newest first."""
    return replace(
        without_history(level), daily=daily.astype(np.float32)[None, :], prior_rate=np.array([float(daily.mean())])
    )


def test_features_do_not_depend_on_the_unit() -> None:
    """A power of two changes no bit; any other factor changes rounding only."""
    history = rows(300)
    features, baseline = run_out_features(history)
    for factor, tolerance in ((8.0, 0.0), (0.264, 1e-4)):
        others, other_baseline = run_out_features(scaled(history, factor))
        assert np.abs(others - features).max() <= tolerance
        assert np.allclose(other_baseline.median_days, baseline.median_days, rtol=1e-6 if tolerance else 0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2500), st.integers(1, 40), st.integers(0, 2**16))
def test_an_items_features_do_not_depend_on_other_rows(start: int, count: int, seed: int) -> None:
    """Any part of a batch, in any order, gives the same bits as the whole."""
    whole = rows(2600, 7)
    features, baseline = run_out_features(whole)
    order = np.random.default_rng(seed).permutation(np.arange(start, min(start + count, 2600)))
    part, part_baseline = run_out_features(whole.select(order))
    assert part.tobytes() == features[order].tobytes()
    for name in ("median_days", "early_spread", "late_spread"):
        assert getattr(part_baseline, name).tobytes() == getattr(baseline, name)[order].tobytes()


def test_an_item_without_history_gets_its_profiles_rate() -> None:
    """A cold start: the level lasts about as long as by the prior rate, with a wide spread."""
    features, baseline = run_out_features(without_history(60.0))
    assert abs(baseline.median_days[0] - 30.0) < 5.0
    assert baseline.early_spread[0] > 0.5
    assert features.shape == (1, FEATURES_COUNT)
    assert np.isfinite(features).all()


def test_regular_demand_has_a_narrow_baseline_and_lumpy_demand_a_wide_one() -> None:
    """With ten days' stock; with a hundred days' stock lumps average out."""
    even, lumps = np.ones(HISTORY_DAYS), np.where(np.arange(HISTORY_DAYS) % 7 == 3, 7.0, 0.0)
    lumps = lumps[np.random.default_rng(3).permutation(HISTORY_DAYS)]
    narrow, wide = run_out_features(used(even, 10.0))[1], run_out_features(used(lumps, 10.0))[1]
    assert abs(narrow.median_days[0] - 10.0) < 0.5
    assert narrow.early_spread[0] < 0.15
    assert wide.early_spread[0] > 0.45
    assert run_out_features(used(lumps, 100.0))[1].early_spread[0] < 0.7 * wide.early_spread[0]


def test_a_silence_makes_the_baseline_shorter_and_wider() -> None:
    """The same level, read now or ten days ago."""
    now = used(np.ones(HISTORY_DAYS), 20.0)
    then = replace(now, silent_days=np.array([10.0]))
    seen, silent = run_out_features(now)[1], run_out_features(then)[1]
    assert abs(seen.median_days[0] - silent.median_days[0] - 10.0) < 1.0
    assert silent.early_spread[0] > 1.3 * seen.early_spread[0]


def test_weekdays_without_demand_extend_the_time_to_empty() -> None:
    """Demand on five days a week: two days' stock lasts from Friday to Monday."""
    week = np.tile([0.0, 0.0, 1.4, 1.4, 1.4, 1.4, 1.4], HISTORY_DAYS // 7)  # newest first: yesterday was a Sunday
    monday = replace(used(week, 2.8), today_fraction=np.zeros(1, dtype=np.float32), today=np.zeros(1, dtype=np.float32))
    friday = replace(monday, daily=np.roll(week, 4).astype(np.float32)[None, :])
    assert run_out_features(friday)[1].median_days[0] > run_out_features(monday)[1].median_days[0] + 0.8


def test_nonsense_readings_give_features_that_are_finite_and_bounded() -> None:
    """Huge, negative and zero consumption, negative levels: no infinity and no NaN."""
    odd = rows(200, 3)
    odd.daily[:50] = 1e9
    odd.daily[50:100] = -5.0
    odd.daily[100:150] = 0.0
    odd.level[:] = np.linspace(-1e6, 1e6, 200)
    features, baseline = run_out_features(odd)
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= FEATURE_MAX
    for values in (baseline.median_days, baseline.early_spread, baseline.late_spread):
        assert (np.isfinite(values) & (values > 0)).all()


def test_no_items_give_no_features() -> None:
    """An empty batch is valid."""
    features, baseline = run_out_features(rows(0))
    assert features.shape == (0, FEATURES_COUNT)
    assert baseline.median_days.shape == (0,)


def test_days_to_empty_are_the_baseline_shifted_by_spreads_up_to_a_limit() -> None:
    """The model's output is in early or late spreads; `target_deviates` is the inverse."""
    baseline = BaselineForecast(np.array([2.0]), np.array([0.5]), np.array([0.25]))
    days = days_to_empty(np.array([[-1.0, 0.0, 2.0]], dtype=np.float32), baseline)
    assert np.allclose(days, [[2.0 * np.exp(-0.5), 2.0, 2.0 * np.exp(0.5)]])
    assert np.allclose([target_deviates(days[0, at : at + 1], baseline)[0] for at in range(3)], [-1.0, 0.0, 2.0])
    far = BaselineForecast(np.array([3000.0]), np.array([1.0]), np.array([1.0]))
    assert days_to_empty(np.array([[50.0]], dtype=np.float32), far).tolist() == [[DAYS_MAX]]
