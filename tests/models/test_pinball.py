"""The pinball loss: zero for a perfect forecast, asymmetric by the level, least at the true quantiles."""

from __future__ import annotations

import numpy as np
import pytest

from models.pinball import pinball_loss
from star.analyse import QUANTILES


def test_pinball_loss_is_zero_for_a_forecast_that_is_sure_and_right() -> None:
    """It grows by the level on one side and by one minus the level on the other."""
    assert pinball_loss(np.full((1, 9), 3.0), np.array([3.0]), QUANTILES)[0] == 0.0
    assert pinball_loss(np.array([[2.0]]), np.array([3.0]), (0.9,))[0] == pytest.approx(0.9)
    assert pinball_loss(np.array([[4.0]]), np.array([3.0]), (0.9,))[0] == pytest.approx(0.1)


def test_pinball_loss_is_least_at_the_quantiles_of_the_truth() -> None:
    """The true quantiles of an exponential distribution lose less than quantiles scaled up or down."""
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    truth = np.random.default_rng(1).exponential(10.0, 4000)
    exact = np.tile(-10.0 * np.log1p(-np.array(levels)), (4000, 1))
    assert pinball_loss(exact, truth, levels).mean() < pinball_loss(1.5 * exact, truth, levels).mean()
    assert pinball_loss(exact, truth, levels).mean() < pinball_loss(0.6 * exact, truth, levels).mean()
