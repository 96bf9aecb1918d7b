"""The fleet: what runs out when, how far that is to be believed, which devices are silent, which parts are odd."""

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
"""How far back the table of devices looks for a reading, whatever time is shown."""


def dashboard(options: Options) -> Dashboard:
    """The fleet's dashboard."""
    variables = [
        layout.datasource_variable(options),
        layout.customer_variable("forecast"),
        layout.device_variable("forecast"),
        layout.interval_variable(),
    ]
    made = layout.new_dashboard(
        "fleet", "Starloop: fleet", "Who runs out when, and how far that is to be believed.", variables, "now-7d"
    )
    return layout.with_rows(
        made,
        ("What runs out", [*_numbers(), _forecast_table(), _about_to_run_out()]),
        ("What to look after", _attention_panels()),
    )


def _numbers() -> list[Panel]:
    within = f'SELECT count("days") FROM ({LATEST}) WHERE "days" < '
    return [
        stat_panel(
            "Items",
            "Items that were looked at in the time shown.",
            table_query(f'SELECT count("days") FROM ({LATEST})'),
            "short",
        ),
        stat_panel(
            "May be empty within 3 days",
            "Items whose 5 % quantile of the days to empty, at their last look, was under 3 days, deliveries on their way not "
            "counted.",
            table_query(f"{within}3"),
            "short",
            steps=((None, GOOD), (1.0, WARN)),
        ),
        stat_panel("May be empty within 7 days", "The same, under 7 days.", table_query(f"{within}7"), "short"),
        stat_panel(
            "Empty now",
            "Items whose level was nought or less at their last look.",
            table_query(
                f'SELECT count("left") FROM (SELECT last("level") AS "left" FROM "forecast" WHERE {DEVICE} GROUP BY "item") '
                'WHERE "left" <= 0'
            ),
            "short",
            steps=((None, GOOD), (1.0, BAD)),
        ),
        stat_panel(
            "Least trust",
            "The lowest trust, 0 to 1, of an item's last forecast: silence, outliers, a stuck or contradictory sensor lower it.",
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
            "Parts whose last score was an alert.",
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
        "Who runs out when",
        "Each item's last forecast, the soonest first: days from that look until empty, without any further delivery, at the "
        "5, 50 and 95 % quantiles (3650 stands for longer); level and use a day are in the unit of the item's capacity, of a "
        "part they are shares of its interval; trust is 0 to 1.",
        table_query(f'SELECT {columns} FROM "forecast" WHERE {DEVICE} GROUP BY "item", "customer"'),
        [
            HIDDEN_TIME,
            Column("item", "Item", link=layout.ITEM_LINK),
            Column("customer", "Customer"),
            Column("q05", "Days, 5 %", unit="d", steps=DAYS),
            Column("q50", "Days, 50 %", unit="d", steps=DAYS),
            Column("q95", "Days, 95 %", unit="d"),
            Column("level", "Level", unit="short"),
            Column("rate", "Use a day", unit="short"),
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
        "In each interval, how many of the items looked at had a median of days to empty under 2, 7 and 30 days.",
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
        f"Each device's latest reading of the last {SILENT_SINCE} (whatever time is shown above), the most silent first. Only "
        "readings that are written to InfluxDB count: where a profile keeps them off, look at the trust of its items.",
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
        "The mean and the lowest trust, 0 to 1, of the forecasts of each interval.",
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
        "Each part's last score: anomaly 0 to 1, whether that is an alert, and the remaining life at the 5 and 50 % quantiles, "
        "in the unit of its profile's life model, where it has one.",
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
            Column("life_q05", "Life left, 5 %", unit="short"),
            Column("life_q50", "Life left, 50 %", unit="short"),
        ],
        sort=("Anomaly", True),
    )
    untrusted = table_panel(
        "Items not to be trusted",
        "Items whose last forecast had a trust under 0.5: silent, stuck or contradictory sensors.",
        table_query(
            'SELECT "trust" FROM (SELECT last("trust") AS "trust" FROM "forecast" '
            f'WHERE {DEVICE} GROUP BY "item", "customer") WHERE "trust" < 0.5 GROUP BY "item", "customer"'
        ),
        [
            Column("Time", "Last look", unit="dateTimeFromNow"),
            Column("item", "Item", link=layout.ITEM_LINK),
            Column("customer", "Customer"),
            Column("trust", "Trust", unit="percentunit", steps=TRUST),
        ],
        span=HALF,
        sort=("Trust", False),
    )
    return [silent, trust, parts, untrusted]
