"""The run-out model's features: free of units, of neighbours, and of what is not known."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import DAYS, FEATURES_COUNT, days_to_empty, run_out_features
from star.analyse import DAYS_MAX

Columns = list[np.ndarray]


def rows(count: int, seed: int = 0) -> Columns:
    """Arguments of run_out_features, with gaps, for `count` items."""
    rng = np.random.default_rng(seed)
    daily = rng.gamma(1.0, 2.0, (count, DAYS)).astype(np.float32)
    daily[rng.random((count, DAYS)) < 0.2] = np.nan
    daily[rng.random(count) < 0.1] = np.nan
    today = rng.gamma(1.0, 1.0, count).astype(np.float32)
    today[rng.random(count) < 0.2] = np.nan
    return [
        daily,
        today,
        rng.random(count).astype(np.float32),
        rng.normal(30.0, 30.0, count),
        rng.uniform(0.5, 5.0, count),
        rng.uniform(1.1, 5.0, count),
        rng.uniform(0.0, 2.0, count),
        rng.integers(0, 7, count),
    ]


def test_features_do_not_depend_on_the_unit() -> None:
    """Litres or gallons: a power of two changes no bit, any other factor nothing that matters."""
    given_rows = rows(300)
    features, days = run_out_features(*given_rows)
    for factor, tolerance in ((8.0, 0.0), (0.264, 1e-4)):
        scaled = [c * c.dtype.type(factor) if i in {0, 1, 3, 4, 6} else c for i, c in enumerate(given_rows)]
        others, other_days = run_out_features(*scaled)
        assert np.abs(others - features).max() <= tolerance
        assert np.allclose(other_days, days, rtol=1e-6 if tolerance else 0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2500), st.integers(1, 40), st.integers(0, 2**16))
def test_an_items_features_are_the_same_whoever_is_looked_at_with_it(start: int, count: int, seed: int) -> None:
    """Any part of a batch, in any order, gives the same bits as the whole."""
    whole = rows(2600, 7)
    features, days = run_out_features(*whole)
    order = np.random.default_rng(seed).permutation(np.arange(start, min(start + count, 2600)))
    part, part_days = run_out_features(*[column[order] for column in whole])
    assert part.tobytes() == features[order].tobytes()
    assert part_days.tobytes() == days[order].tobytes()


def test_an_item_of_which_nothing_is_known_yet_gets_its_profiles_rate() -> None:
    """A cold start: the level lasts as long as the prior says."""
    nothing = [
        np.full((1, DAYS), np.nan, dtype=np.float32),
        np.array([np.nan], dtype=np.float32),
        np.array([0.4], dtype=np.float32),
        np.array([60.0]),
        np.array([2.0]),
        np.array([3.0]),
        np.array([0.1]),
        np.array([3]),
    ]
    features, days = run_out_features(*nothing)
    assert days[0] == 30.0
    assert features.shape == (1, FEATURES_COUNT)
    assert np.isfinite(features).all()


def test_nonsense_readings_give_features_that_are_finite_and_bounded() -> None:
    """Huge, negative and zero use, levels below zero: nothing becomes infinite or not a number."""
    odd = rows(200, 3)
    odd[0][:50] = 1e9
    odd[0][50:100] = -5.0
    odd[0][100:150] = 0.0
    odd[3][:] = np.linspace(-1e6, 1e6, 200)
    features, days = run_out_features(*odd)
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 8.0
    assert (days > 0).all()


def test_no_items_give_no_features() -> None:
    """An empty look is no mistake."""
    features, days = run_out_features(*rows(0))
    assert features.shape == (0, FEATURES_COUNT)
    assert days.shape == (0,)


def test_days_to_empty_stay_between_now_and_the_longest_time_told() -> None:
    """Whatever the model says."""
    out = np.array([[-50.0, 0.0, 50.0]], dtype=np.float32)
    assert days_to_empty(out, np.array([2.0])).tolist() == [[2.0 * np.exp(-50.0), 2.0, DAYS_MAX]]


def test_features_of_a_thousand_items_take_a_few_milliseconds() -> None:
    """Measured: 1 µs an item; the bound leaves room for a busy machine."""
    given_rows = rows(1000)
    run_out_features(*given_rows)
    best_s = min(_seconds(given_rows) for _ in range(30))
    assert best_s < 6e-3


def _seconds(given_rows: Columns) -> float:
    begun = time.perf_counter()
    run_out_features(*given_rows)
    return time.perf_counter() - begun
