"""The mark of the order point: where the reactor's own comparison would act, and cheap enough for every row of a page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.fleet import Experience
from console import reorder_point as module
from console.reorder_point import reorder_point
from reactor.decision.decision_context import slot_costs
from reactor.decision.lead_time import lead_time_distribution
from reactor.decision.reorder_policy import evaluate_timing
from star.analyse import Forecast
from tests.support.console.sample_fleet import LEVELS, catalogue_of, forecast_of

CATALOGUE = catalogue_of()
SLOTS = [key for key in LEVELS if key in CATALOGUE.slots and CATALOGUE.slots[key].suppliers]
LEAD = (2.0, 5.0)


def at_level(forecast: Forecast, level: float) -> Forecast:
    """The forecast at another level, the use being the same."""
    share = level / forecast.level
    return replace(forecast, level=level, days=tuple(days * share for days in forecast.days))


@pytest.mark.parametrize("key", SLOTS)
def test_an_order_goes_out_below_the_reorder_point_and_not_above_it(key: str) -> None:
    """By the reactor's own comparison, a tenth of the capacity to either side, as far as that is within the slot."""
    slot = replace(CATALOGUE.slots[key], experience=Experience.AUTO)
    forecast = forecast_of(CATALOGUE, key)
    point = reorder_point(slot, forecast, LEAD, 0.0)
    assert point is not None

    def acts(level: float) -> bool:
        there = at_level(forecast, level)
        look_days = slot.look_every_s / 86_400
        return evaluate_timing(
            there, there.at_ms, lead_time_distribution(LEAD), slot_costs(slot, there, None), evaluation_days=look_days
        ).act

    assert acts(max(point - slot.capacity / 10, point / 2))
    if point + slot.capacity / 10 < slot.capacity:
        assert not acts(point + slot.capacity / 10)


def test_the_reorder_point_moves_with_the_costs() -> None:
    """Up with a longer lead time, a dearer run-out and an answer to wait for; down with a dearer shelf."""
    slot = replace(CATALOGUE.slots["tank-7/oil"], experience=Experience.AUTO)
    forecast = forecast_of(CATALOGUE, "tank-7/oil")

    def point(lead: tuple[float, float] = LEAD, **changes: object) -> float:
        found = reorder_point(replace(slot, **changes), forecast, lead)  # type: ignore[arg-type]
        assert found is not None
        return found

    assert point(lead=(6.0, 12.0)) > point() > point(lead=(0.2, 0.5))
    assert point(stockout_cost=2000.0) > point() > point(holding_cost_per_day=5.0)
    assert point(experience=Experience.RESPOND) > point(experience=Experience.OFFER) > point()


def test_a_pack_that_does_not_fit_is_not_ordered_though_its_price_is_not_known() -> None:
    """A measured slot that takes one pack is not marked to be filled up while it is nearly full."""
    slot = replace(CATALOGUE.slots["inkjet-3/cyan"], experience=Experience.AUTO)
    point = reorder_point(slot, forecast_of(CATALOGUE, "inkjet-3/cyan"), (1.0, 4.0))
    assert point is not None
    assert point < slot.capacity / 4


def test_without_a_forecast_the_reorder_point_is_use_times_lead_time() -> None:
    """And unknown where nobody delivers, and never above what the slot holds."""
    slot = CATALOGUE.slots["tank-7/oil"]
    assert reorder_point(slot, None, LEAD) == pytest.approx(slot.rate_per_day * 5)
    assert reorder_point(slot, None, (2.0, 5000.0)) == slot.capacity
    assert reorder_point(slot, forecast_of(CATALOGUE, "tank-7/oil"), None) is None
    empty = replace(forecast_of(CATALOGUE, "tank-7/oil"), level=0.0, days=(0.0,) * 9)
    assert reorder_point(slot, empty, LEAD) == pytest.approx(empty.rate_per_day * 5)


def test_a_reorder_point_is_computed_once_and_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same use at another level is not searched again, and what is remembered is bounded."""
    monkeypatch.setattr(module, "_cache", {})
    monkeypatch.setattr(module, "CACHE_MAX", 3)
    slot, forecast = CATALOGUE.slots["tank-7/oil"], forecast_of(CATALOGUE, "tank-7/oil")
    first = reorder_point(slot, forecast, LEAD)
    assert reorder_point(slot, at_level(forecast, forecast.level / 2), LEAD) == first
    assert len(module._cache) == 1
    for lead in range(1, 9):
        reorder_point(slot, forecast, (float(lead), lead + 1.0))
    assert len(module._cache) <= 3
