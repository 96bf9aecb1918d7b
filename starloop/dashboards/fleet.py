"""The fleet: what runs out when, how far that is to be believed, which devices are silent, which parts are odd."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from starloop.dashboards import page
from starloop.dashboards.influx_query import CHOSEN, DEVICE, EVERY, rows, series
from starloop.dashboards.page import Options, Panel
from starloop.dashboards.panels import (
    BAD,
    GOOD,
    HALF,
    HIDDEN_TIME,
    SIXTH,
    WARN,
    WHOLE,
    Column,
    lines,
    listing,
    number,
)

DAYS = ((None, BAD), (3.0, WARN), (7.0, GOOD))
TRUST = ((None, BAD), (0.5, WARN), (0.8, GOOD))
ANOMALY = ((None, GOOD), (0.5, WARN), (0.9, BAD))
LATEST = f'SELECT last("q05") AS "days" FROM "forecast" WHERE {DEVICE} GROUP BY "item"'
SILENT_SINCE = "30d"
"""How far back the table of devices looks for a reading, whatever time is shown."""


def dashboard(options: Options) -> Dashboard:
    """The fleet's dashboard."""
    variables = [page.source(options), page.customer("forecast"), page.device("forecast"), page.every()]
    made = page.page(
        "fleet", "Starloop: fleet", "Who runs out when, and how far that is to be believed.", variables, "now-7d"
    )
    return page.filled(made, ("What runs out", [*_numbers(), _who(), _soon()]), ("What to look after", _care()))


def _numbers() -> list[Panel]:
    within = f'SELECT count("days") FROM ({LATEST}) WHERE "days" < '
    return [
        number(
            "Items",
            "Items that were looked at in the time shown.",
            rows(f'SELECT count("days") FROM ({LATEST})'),
            "short",
        ),
        number(
            "May be empty within 3 days",
            "Items whose 5 % quantile of the days to empty, at their last look, was under 3 days, deliveries on their way not "
            "counted.",
            rows(f"{within}3"),
            "short",
            steps=((None, GOOD), (1.0, WARN)),
        ),
        number("May be empty within 7 days", "The same, under 7 days.", rows(f"{within}7"), "short"),
        number(
            "Empty now",
            "Items whose level was nought or less at their last look.",
            rows(
                f'SELECT count("left") FROM (SELECT last("level") AS "left" FROM "forecast" WHERE {DEVICE} GROUP BY "item") '
                'WHERE "left" <= 0'
            ),
            "short",
            steps=((None, GOOD), (1.0, BAD)),
        ),
        number(
            "Least trust",
            "The lowest trust, 0 to 1, of an item's last forecast: silence, outliers, a stuck or contradictory sensor lower it.",
            rows(
                'SELECT min("trust") FROM '
                f'(SELECT last("trust") AS "trust" FROM "forecast" WHERE {DEVICE} GROUP BY "item")'
            ),
            "percentunit",
            steps=TRUST,
            empty="no forecast",
        ),
        number(
            "Parts in alert",
            "Parts whose last score was an alert.",
            rows(
                f'SELECT sum("alert") FROM (SELECT last("alert") AS "alert" FROM "score" WHERE {DEVICE} GROUP BY "item")'
            ),
            "short",
            span=SIXTH,
            steps=((None, GOOD), (1.0, BAD)),
        ),
    ]


def _who() -> Panel:
    columns = ", ".join(f'last("{name}") AS "{name}"' for name in ("level", "q05", "q50", "q95", "rate", "trust"))
    return listing(
        "Who runs out when",
        "Each item's last forecast, the soonest first: days from that look until empty, without any further delivery, at the "
        "5, 50 and 95 % quantiles (3650 stands for longer); level and use a day are in the unit of the item's capacity, of a "
        "part they are shares of its interval; trust is 0 to 1.",
        rows(f'SELECT {columns} FROM "forecast" WHERE {DEVICE} GROUP BY "item", "customer"'),
        [
            HIDDEN_TIME,
            Column("item", "Item", link=page.TO_ITEM),
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


def _soon() -> Panel:
    least = f'SELECT min("q50") AS "days" FROM "forecast" WHERE {DEVICE} GROUP BY {EVERY}, "item" fill(none)'
    return lines(
        "Items about to run out",
        "In each interval, how many of the items looked at had a median of days to empty under 2, 7 and 30 days.",
        [
            series(
                f'SELECT count("days") FROM ({least}) WHERE {CHOSEN} AND "days" < {days} GROUP BY {EVERY} fill(0)',
                f"within {days} days",
                ref,
            )
            for days, ref in ((2, "A"), (7, "B"), (30, "C"))
        ],
        "short",
        span=WHOLE,
    )


def _care() -> list[Panel]:
    silent = listing(
        "Silent devices",
        f"Each device's latest reading of the last {SILENT_SINCE} (whatever time is shown above), the most silent first. Only "
        "readings that are written to InfluxDB count: where a profile keeps them off, look at the trust of its items.",
        rows(f'SELECT last("value") FROM "reading" WHERE {DEVICE} GROUP BY "device", "customer"'),
        [
            Column("Time", "Latest reading", unit="dateTimeFromNow"),
            Column("device", "Device"),
            Column("customer", "Customer"),
            Column("last"),
        ],
        sort=("Latest reading", False),
    ).time_from(SILENT_SINCE)
    trust = lines(
        "Trust",
        "The mean and the lowest trust, 0 to 1, of the forecasts of each interval.",
        [
            series(
                f'SELECT mean("trust") AS "mean", min("trust") AS "lowest" FROM "forecast" WHERE {DEVICE} '
                f"GROUP BY {EVERY} fill(none)",
                "$col",
            )
        ],
        "percentunit",
        high=1.0,
    )
    parts = listing(
        "Condition of parts",
        "Each part's last score: anomaly 0 to 1, whether that is an alert, and the remaining life at the 5 and 50 % quantiles, "
        "in the unit of its profile's life model, where it has one.",
        rows(
            'SELECT last("anomaly") AS "anomaly", last("alert") AS "alert", last("life_q05") AS "life_q05", '
            f'last("life_q50") AS "life_q50" FROM "score" WHERE {DEVICE} GROUP BY "item", "customer"'
        ),
        [
            HIDDEN_TIME,
            Column("item", "Part", link=page.TO_ITEM),
            Column("customer", "Customer"),
            Column("anomaly", "Anomaly", unit="percentunit", steps=ANOMALY),
            Column("alert", "Alert", unit="bool_yes_no"),
            Column("life_q05", "Life left, 5 %", unit="short"),
            Column("life_q50", "Life left, 50 %", unit="short"),
        ],
        sort=("Anomaly", True),
    )
    untrusted = listing(
        "Items not to be trusted",
        "Items whose last forecast had a trust under 0.5: silent, stuck or contradictory sensors.",
        rows(
            'SELECT "trust" FROM (SELECT last("trust") AS "trust" FROM "forecast" '
            f'WHERE {DEVICE} GROUP BY "item", "customer") WHERE "trust" < 0.5 GROUP BY "item", "customer"'
        ),
        [
            Column("Time", "Last look", unit="dateTimeFromNow"),
            Column("item", "Item", link=page.TO_ITEM),
            Column("customer", "Customer"),
            Column("trust", "Trust", unit="percentunit", steps=TRUST),
        ],
        span=HALF,
        sort=("Trust", False),
    )
    return [silent, trust, parts, untrusted]
