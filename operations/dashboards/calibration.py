"""Forecasts' honesty: is what they say true that often?"""

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
    "When an item begins a leg - the time to use up a fixed quantity - its forecast is kept; when the leg ends, u is the "
    "probability level at which the truth fell within it, 0.01 to 0.99. Of honest forecasts 90 % of the u lie within 0.05 and "
    "0.95 and 50 % within 0.25 and 0.75, and every tenth of the range holds as many. "
)


def dashboard(options: Options) -> Dashboard:
    """The dashboard of honesty."""
    variables = [
        layout.datasource_variable(options),
        layout.customer_variable("honesty"),
        layout.device_variable("honesty"),
        layout.interval_variable(),
    ]
    made = layout.new_dashboard("honesty", "Starloop: honesty", "Forecasts against what came.", variables, "now-90d")
    return layout.with_rows(
        made,
        ("Coverage against promise", [*_numbers(), *_over_time(), _calibration_histogram()]),
        ("Whose", _listings()),
    )


def _mean(field: str) -> InfluxQuery:
    return table_query(f'SELECT mean("{field}") FROM "honesty" WHERE {DEVICE}')


def _numbers() -> list[Panel]:
    nothing = "none judged yet"
    wide = CALIBRATION_NOTE + "This is the share within 0.05 and 0.95."
    middle = CALIBRATION_NOTE + "This is the share within 0.25 and 0.75."
    return [
        stat_panel(
            "Promise 0.90", wide, _mean("in_90"), "percentunit", span=QUARTER, steps=OFF_90, empty=nothing, decimals=1
        ),
        stat_panel(
            "Promise 0.50", middle, _mean("in_50"), "percentunit", span=QUARTER, steps=OFF_50, empty=nothing, decimals=1
        ),
        stat_panel(
            "Mean of u",
            CALIBRATION_NOTE + "Under 0.5, things run out earlier than the median says, over it later.",
            _mean("u"),
            "short",
            span=QUARTER,
            empty=nothing,
            decimals=2,
        ),
        stat_panel(
            "Judged",
            "Forecasts that have been judged in the time shown.",
            table_query(f'SELECT count("u") FROM "honesty" WHERE {DEVICE}'),
            "short",
            span=QUARTER,
        ),
    ]


def _over_time() -> list[Panel]:
    def share(field: str) -> InfluxQuery:
        return series_query(f'SELECT mean("{field}") FROM "honesty" WHERE {DEVICE} GROUP BY {EVERY} fill(none)', "true")

    wide = CALIBRATION_NOTE + "Share within 0.05 and 0.95 in each interval; the dashed line is what is promised."
    middle = CALIBRATION_NOTE + "Share within 0.25 and 0.75 in each interval; the dashed line is what is promised."
    promised = (None, "transparent")
    return [
        time_series_panel(
            "Within the 90 % band", wide, [share("in_90")], "percentunit", high=1.0, steps=(promised, (0.9, GOOD))
        ),
        time_series_panel(
            "Within the 50 % band", middle, [share("in_50")], "percentunit", high=1.0, steps=(promised, (0.5, GOOD))
        ),
    ]


def _calibration_histogram() -> Panel:
    return histogram_panel(
        "Where the truth fell",
        CALIBRATION_NOTE
        + "In percent. Heaped at the ends, forecasts are too narrow; heaped in the middle, too wide; leaning, they are late or early.",
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
            Column("judged", "Judged"),
        ]

    return [
        table_panel(
            "By customer",
            "Shares of the judged forecasts within their 90 % and 50 % bands, by customer.",
            table_query(f'{shares} FROM "honesty" WHERE {DEVICE} GROUP BY "customer"'),
            columns("customer", "Customer"),
            sort=("Judged", True),
        ),
        table_panel(
            "By item",
            "The same by item, the worst first. A few judged forecasts say little: mind the last column.",
            table_query(f'{shares} FROM "honesty" WHERE {DEVICE} GROUP BY "item"'),
            columns("item", "Item"),
            sort=("Within 90 %", False),
        ),
    ]
