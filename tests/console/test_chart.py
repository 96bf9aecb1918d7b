"""The fan chart: what it shows, that it is well formed, and that it says the same in words."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.backend import LevelPoint
from console.chart import POINTS_MAX, Mark, downsample, fan_chart
from console.formatting import Formatter
from star.analyse import DAYS_MAX, Forecast
from star.times import DAY_MS, HOUR_MS
from tests.support.console.sample_fleet import NOW_MS, catalogue_of, forecast_of, past_shares

EN = Formatter("en", "Europe/Paris")
OIL = forecast_of(catalogue_of(), "tank-7/oil")
PAST = [LevelPoint(at_ms=at, level=share * 1500) for at, share in past_shares("tank-7/oil", 30)]


def drawn(history: list[LevelPoint], forecast: Forecast | None, **given: object) -> ElementTree.Element:
    values: dict[str, object] = {
        "capacity": 1500.0,
        "now_ms": NOW_MS,
        "formats": EN,
        "title": "Oil <tank>",
        "description": 'Empty in "28" days',
    }
    return ElementTree.fromstring(fan_chart(history, forecast, **{**values, **given}))  # type: ignore[arg-type]


def paths(chart: ElementTree.Element, css: str) -> list[str]:
    return [one.attrib["d"] for one in chart.iter("path") if one.attrib.get("class") == css]


def xs(path: str) -> list[float]:
    return [float(x) for x in re.findall(r"[ML]([\d.]+) ", path)]


def test_a_chart_shows_the_past_the_fan_and_the_order_point() -> None:
    """One measured line, two bands, a median, an order line, and the marks of what happened."""
    marks = [
        Mark(at_ms=NOW_MS - 9 * DAY_MS, kind="order", label="Ordered"),
        Mark(at_ms=NOW_MS - 6 * DAY_MS, kind="delivery", label="Delivered"),
        Mark(at_ms=NOW_MS - 300 * DAY_MS, kind="order", label="too long ago"),
    ]
    chart = drawn(PAST, OIL, reorder_point=165.0, marks=marks)
    assert [len(paths(chart, css)) for css in ("measured", "band", "band-wide", "median", "order-line")] == [1] * 5
    assert [one.attrib["class"] for one in chart.iter("g")] == ["mark mark-order", "mark mark-delivery"]


def test_a_chart_has_a_title_and_description_for_screen_readers() -> None:
    """role=img with labels that exist, and markup in names is text."""
    chart = drawn(PAST, OIL, name="x")
    assert chart.attrib["role"] == "img"
    ids = {one.attrib["id"]: one.text for one in chart.iter() if "id" in one.attrib}
    assert [ids[name] for name in chart.attrib["aria-labelledby"].split()] == ["Oil <tank>", 'Empty in "28" days']


def test_the_fan_opens_at_now_and_the_wide_band_holds_the_narrow_one() -> None:
    """At every height the p5-p95 band reaches at least as far to both sides as p25-p75."""
    chart = drawn(PAST, replace(OIL, days=tuple(float(d) for d in (1, 2, 3, 5, 8, 10, 12, 14, 20))))
    wide, narrow = xs(paths(chart, "band-wide")[0]), xs(paths(chart, "band")[0])
    assert wide[0] == narrow[0]
    assert min(x for x in wide if x > wide[0]) <= min(x for x in narrow if x > narrow[0])


@pytest.mark.parametrize(("history", "forecast"), [([], OIL), (PAST, None), ([], None), (PAST[-1:], OIL)])
def test_a_chart_draws_without_history_or_forecast(history: list[LevelPoint], forecast: Forecast | None) -> None:
    """Without a past only the fan, without a forecast only the past, and nothing breaks with neither."""
    chart = drawn(history, forecast)
    assert bool(paths(chart, "measured")) == bool(history)
    assert bool(paths(chart, "median")) == (forecast is not None)


def test_a_long_past_is_drawn_in_few_points_that_keep_its_peaks() -> None:
    """A year of quarters of an hour is thinned to about POINTS_MAX, and its highest and lowest stay."""
    points = [LevelPoint(at_ms=n * HOUR_MS, level=float((n * 37) % 1000)) for n in range(9000)]
    kept = downsample(points)
    assert len(kept) <= POINTS_MAX + 2
    assert {p.level for p in (min(points, key=lambda p: p.level), max(points, key=lambda p: p.level))} <= {
        p.level for p in kept
    }
    assert [p.at_ms for p in kept] == sorted({p.at_ms for p in kept})


@settings(max_examples=60, deadline=None)
@given(
    level=st.floats(-1e6, 1e9, allow_nan=False),
    days=st.lists(st.floats(0, DAYS_MAX), min_size=9, max_size=9).map(sorted),
    past=st.lists(st.tuples(st.integers(NOW_MS - 400 * DAY_MS, NOW_MS), st.floats(-1e6, 1e9)), max_size=20),
)
def test_no_reading_however_odd_breaks_the_chart(
    level: float, days: list[float], past: list[tuple[int, float]]
) -> None:
    """Any level and any quantiles give well-formed markup whose every coordinate is on the canvas."""
    history = [LevelPoint(at_ms=at, level=value) for at, value in sorted(past)]
    chart = drawn(history, replace(OIL, level=level, days=tuple(days)), reorder_point=165.0)
    for one in chart.iter("path"):
        assert "nan" not in one.attrib["d"]
        assert all(0 <= float(number) <= 980 for number in re.findall(r"-?[\d.]+", one.attrib["d"].split("h10")[0]))
