"""Fleet dashboard: time to empty and trust of every item, silent devices, condition of parts."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from operations.dashboards import layout
from operations.dashboards.influx_query import DEVICE, EVERY, SELECTED, series_query, table_query
from operations.dashboards.layout import Options, Panel
from operations.dashboards.panels import (
    BAD,
    GOOD,
    HALF,
    HIDDEN_TIME,
    SIXTH,
    WARN,
    WHOLE,
    Column,
    stat_panel,
    table_panel,
    time_series_panel,
)

DAYS = ((None, BAD), (3.0, WARN), (7.0, GOOD))
TRUST = ((None, BAD), (0.5, WARN), (0.8, GOOD))
ANOMALY = ((None, GOOD), (0.5, WARN), (0.9, BAD))
LATEST = f'SELECT last("q05") AS "days" FROM "forecast" WHERE {DEVICE} GROUP BY "item"'
SILENT_SINCE = "30d"
"""Look-back of the device table, independent of the time range of the dashboard (InfluxQL duration)."""


def dashboard(options: Options) -> Dashboard:
    """The fleet dashboard."""
    variables = [
        layout.datasource_variable(options),
        layout.customer_variable("forecast"),
        layout.device_variable("forecast"),
        layout.interval_variable(),
    ]
    made = layout.new_dashboard(
        "fleet",
        "Starloop: fleet",
        "Time to empty of every item, and how far the forecast can be trusted.",
        variables,
        "now-7d",
    )
    return layout.with_rows(
        made,
        ("Run-outs", [*_numbers(), _forecast_table(), _about_to_run_out()]),
        ("Devices and parts", _attention_panels()),
    )


def _numbers() -> list[Panel]:
    within = f'SELECT count("days") FROM ({LATEST}) WHERE "days" < '
    return [
        stat_panel(
            "Items",
            "Items with a forecast in the time range.",
            table_query(f'SELECT count("days") FROM ({LATEST})'),
            "short",
        ),
        stat_panel(
            "May be empty within 3 days",
            "Items whose latest forecast has a 5 % quantile below 3 days to empty. Orders in transit are not counted.",
            table_query(f"{within}3"),
            "short",
            steps=((None, GOOD), (1.0, WARN)),
        ),
        stat_panel("May be empty within 7 days", "The same, below 7 days.", table_query(f"{within}7"), "short"),
        stat_panel(
            "Empty now",
            "Items whose latest level was zero or less.",
            table_query(
                f'SELECT count("left") FROM (SELECT last("level") AS "left" FROM "forecast" WHERE {DEVICE} GROUP BY "item") '
                'WHERE "left" <= 0'
            ),
            "short",
            steps=((None, GOOD), (1.0, BAD)),
        ),
        stat_panel(
            "Lowest trust",
            "Lowest trust (0 to 1) of any item's latest forecast. Silence, outliers and stuck or contradictory sensors lower it.",
            table_query(
                'SELECT min("trust") FROM '
                f'(SELECT last("trust") AS "trust" FROM "forecast" WHERE {DEVICE} GROUP BY "item")'
            ),
            "percentunit",
            steps=TRUST,
            empty="no forecast",
        ),
        stat_panel(
            "Parts in alert",
            "Parts whose latest score is an alert.",
            table_query(
                f'SELECT sum("alert") FROM (SELECT last("alert") AS "alert" FROM "score" WHERE {DEVICE} GROUP BY "item")'
            ),
            "short",
            span=SIXTH,
            steps=((None, GOOD), (1.0, BAD)),
        ),
    ]


def _forecast_table() -> Panel:
    columns = ", ".join(f'last("{name}") AS "{name}"' for name in ("level", "q05", "q50", "q95", "rate", "trust"))
    return table_panel(
        "Time to empty by item",
        "Latest forecast of each item, soonest first: days from the forecast until empty without further deliveries, at the "
        "5, 50 and 95 % quantiles (3650 means longer). Level and daily usage are in the unit of the item's capacity; for parts "
        "they are fractions of the service interval. Trust is 0 to 1.",
        table_query(f'SELECT {columns} FROM "forecast" WHERE {DEVICE} GROUP BY "item", "customer"'),
        [
            HIDDEN_TIME,
            Column("item", "Item", link=layout.ITEM_LINK),
            Column("customer", "Customer"),
            Column("q05", "Days, 5 %", unit="d", steps=DAYS),
            Column("q50", "Days, 50 %", unit="d", steps=DAYS),
            Column("q95", "Days, 95 %", unit="d"),
            Column("level", "Level", unit="short"),
            Column("rate", "Daily usage", unit="short"),
            Column("trust", "Trust", unit="percentunit", steps=TRUST),
        ],
        span=WHOLE,
        height=12,
        sort=("Days, 5 %", False),
    )


def _about_to_run_out() -> Panel:
    least = f'SELECT min("q50") AS "days" FROM "forecast" WHERE {DEVICE} GROUP BY {EVERY}, "item" fill(none)'
    return time_series_panel(
        "Items about to run out",
        "Items with a forecast in each interval whose median time to empty is below 2, 7 and 30 days.",
        [
            series_query(
                f'SELECT count("days") FROM ({least}) WHERE {SELECTED} AND "days" < {days} GROUP BY {EVERY} fill(0)',
                f"within {days} days",
                ref,
            )
            for days, ref in ((2, "A"), (7, "B"), (30, "C"))
        ],
        "short",
        span=WHOLE,
    )


def _attention_panels() -> list[Panel]:
    silent = table_panel(
        "Silent devices",
        f"Latest reading of each device within the last {SILENT_SINCE} (independent of the time range), longest silent first. "
        "Only readings written to InfluxDB count: for profiles that do not write them, see the trust of their items.",
        table_query(f'SELECT last("value") FROM "reading" WHERE {DEVICE} GROUP BY "device", "customer"'),
        [
            Column("Time", "Latest reading", unit="dateTimeFromNow"),
            Column("device", "Device"),
            Column("customer", "Customer"),
            Column("last"),
        ],
        sort=("Latest reading", False),
    ).time_from(SILENT_SINCE)
    trust = time_series_panel(
        "Trust",
        "Mean and lowest trust (0 to 1) of the forecasts in each interval.",
        [
            series_query(
                f'SELECT mean("trust") AS "mean", min("trust") AS "lowest" FROM "forecast" WHERE {DEVICE} '
                f"GROUP BY {EVERY} fill(none)",
                "$col",
            )
        ],
        "percentunit",
        high=1.0,
    )
    parts = table_panel(
        "Condition of parts",
        "Latest score of each part: anomaly (0 to 1), whether it is an alert, and the remaining useful life at the 5 and 50 % "
        "quantiles, in the unit of the profile's life model if it has one.",
        table_query(
            'SELECT last("anomaly") AS "anomaly", last("alert") AS "alert", last("life_q05") AS "life_q05", '
            f'last("life_q50") AS "life_q50" FROM "score" WHERE {DEVICE} GROUP BY "item", "customer"'
        ),
        [
            HIDDEN_TIME,
            Column("item", "Part", link=layout.ITEM_LINK),
            Column("customer", "Customer"),
            Column("anomaly", "Anomaly", unit="percentunit", steps=ANOMALY),
            Column("alert", "Alert", unit="bool_yes_no"),
            Column("life_q05", "Remaining life, 5 %", unit="short"),
            Column("life_q50", "Remaining life, 50 %", unit="short"),
        ],
        sort=("Anomaly", True),
    )
    untrusted = table_panel(
        "Items with low trust",
        "Items whose latest forecast has a trust below 0.5: silent, stuck or contradictory sensors.",
        table_query(
            'SELECT "trust" FROM (SELECT last("trust") AS "trust" FROM "forecast" '
            f'WHERE {DEVICE} GROUP BY "item", "customer") WHERE "trust" < 0.5 GROUP BY "item", "customer"'
        ),
        [
            Column("Time", "Latest forecast", unit="dateTimeFromNow"),
            Column("item", "Item", link=layout.ITEM_LINK),
            Column("customer", "Customer"),
            Column("trust", "Trust", unit="percentunit", steps=TRUST),
        ],
        span=HALF,
        sort=("Trust", False),
    )
    return [silent, trust, parts, untrusted]
