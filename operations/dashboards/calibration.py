"""Forecast calibration: how often the actual run-out fell within the forecast intervals."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from operations.dashboards import layout
from operations.dashboards.influx_query import DEVICE, EVERY, InfluxQuery, series_query, table_query
from operations.dashboards.layout import Options, Panel
from operations.dashboards.panels import (
    GOOD,
    HALF,
    HIDDEN_TIME,
    QUARTER,
    WARN,
    Column,
    histogram_panel,
    stat_panel,
    table_panel,
    time_series_panel,
)

OFF_90 = ((None, WARN), (0.85, GOOD), (0.95, WARN))
OFF_50 = ((None, WARN), (0.40, GOOD), (0.60, WARN))
BUCKET_PERCENT = 10
CALIBRATION_NOTE = (
    "Each forecast is recorded when an item starts a calibration window (the time to use up a fixed quantity). When the window "
    "ends, u is the quantile level of the forecast at which the actual time fell, 0.01 to 0.99. For calibrated forecasts u is "
    "uniform: 90 % of values lie between 0.05 and 0.95, and 50 % between 0.25 and 0.75. "
)


def dashboard(options: Options) -> Dashboard:
    """The forecast calibration dashboard."""
    variables = [
        layout.datasource_variable(options),
        layout.customer_variable("honesty"),
        layout.device_variable("honesty"),
        layout.interval_variable(),
    ]
    made = layout.new_dashboard(
        "honesty", "Starloop: calibration", "Forecasts compared with actual run-outs.", variables, "now-90d"
    )
    return layout.with_rows(
        made,
        ("Interval coverage", [*_numbers(), *_over_time(), _calibration_histogram()]),
        ("By customer and item", _listings()),
    )


def _mean(field: str) -> InfluxQuery:
    return table_query(f'SELECT mean("{field}") FROM "honesty" WHERE {DEVICE}')


def _numbers() -> list[Panel]:
    nothing = "none scored yet"
    wide = CALIBRATION_NOTE + "Share of u between 0.05 and 0.95."
    middle = CALIBRATION_NOTE + "Share of u between 0.25 and 0.75."
    return [
        stat_panel(
            "Coverage of the 90 % interval",
            wide,
            _mean("in_90"),
            "percentunit",
            span=QUARTER,
            steps=OFF_90,
            empty=nothing,
            decimals=1,
        ),
        stat_panel(
            "Coverage of the 50 % interval",
            middle,
            _mean("in_50"),
            "percentunit",
            span=QUARTER,
            steps=OFF_50,
            empty=nothing,
            decimals=1,
        ),
        stat_panel(
            "Mean of u",
            CALIBRATION_NOTE + "Below 0.5, items run out earlier than the forecast median; above it, later.",
            _mean("u"),
            "short",
            span=QUARTER,
            empty=nothing,
            decimals=2,
        ),
        stat_panel(
            "Forecasts scored",
            "Forecasts compared with an actual run-out in the time range.",
            table_query(f'SELECT count("u") FROM "honesty" WHERE {DEVICE}'),
            "short",
            span=QUARTER,
        ),
    ]


def _over_time() -> list[Panel]:
    def share(field: str) -> InfluxQuery:
        return series_query(f'SELECT mean("{field}") FROM "honesty" WHERE {DEVICE} GROUP BY {EVERY} fill(none)', "true")

    wide = CALIBRATION_NOTE + "Share between 0.05 and 0.95 per interval; the dashed line is the nominal coverage."
    middle = CALIBRATION_NOTE + "Share between 0.25 and 0.75 per interval; the dashed line is the nominal coverage."
    nominal = (None, "transparent")
    return [
        time_series_panel(
            "90 % interval over time", wide, [share("in_90")], "percentunit", high=1.0, steps=(nominal, (0.9, GOOD))
        ),
        time_series_panel(
            "50 % interval over time", middle, [share("in_50")], "percentunit", high=1.0, steps=(nominal, (0.5, GOOD))
        ),
    ]


def _calibration_histogram() -> Panel:
    return histogram_panel(
        "Distribution of u",
        CALIBRATION_NOTE
        + "In percent. Peaks at both ends: intervals too narrow; a peak in the middle: too wide; skewed: forecasts early or late.",
        series_query(f'SELECT "u" * 100 FROM "honesty" WHERE {DEVICE}', "u"),
        BUCKET_PERCENT,
        span=HALF,
    )


def _listings() -> list[Panel]:
    shares = 'SELECT mean("in_90") AS "in_90", mean("in_50") AS "in_50", mean("u") AS "u", count("u") AS "judged"'

    def columns(tag: str, title: str) -> list[Column]:
        return [
            HIDDEN_TIME,
            Column(tag, title, link=layout.ITEM_LINK if tag == "item" else None),
            Column("in_90", "Within 90 %", unit="percentunit", steps=OFF_90),
            Column("in_50", "Within 50 %", unit="percentunit", steps=OFF_50),
            Column("u", "Mean of u", unit="short"),
            Column("judged", "Scored"),
        ]

    return [
        table_panel(
            "By customer",
            "Share of scored forecasts within their 90 % and 50 % intervals, by customer.",
            table_query(f'{shares} FROM "honesty" WHERE {DEVICE} GROUP BY "customer"'),
            columns("customer", "Customer"),
            sort=("Scored", True),
        ),
        table_panel(
            "By item",
            "The same by item, lowest coverage first. Shares based on few scored forecasts are not significant: check the last column.",
            table_query(f'{shares} FROM "honesty" WHERE {DEVICE} GROUP BY "item"'),
            columns("item", "Item"),
            sort=("Within 90 %", False),
        ),
    ]
