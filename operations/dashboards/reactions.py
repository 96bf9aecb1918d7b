"""Reactions: what was done for whom, what was called off, what a rule refused, and what came of it."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from operations.dashboards import layout
from operations.dashboards.influx_query import EVERY, SELECTED, InfluxQuery, series_query, table_query
from operations.dashboards.layout import Options, Panel
from operations.dashboards.panels import (
    GOOD,
    HALF,
    HIDDEN_TIME,
    QUARTER,
    WARN,
    WHOLE,
    Column,
    bar_panel,
    stat_panel,
    table_panel,
    time_series_panel,
)

REACTION_FIELDS = '"type", "item", "customer", "supplier", "quantity", "price", "id"'
REACTION_COLUMNS = (
    Column("Time", "When", unit="dateTimeAsIso"),
    Column("type", "Type"),
    Column("item", "Item", link=layout.ITEM_LINK),
    Column("customer", "Customer"),
    Column("supplier", "Supplier"),
    Column("quantity", "Quantity", unit="short"),
    Column("price", "Price", unit="short"),
    Column("id", "id", link=layout.RECEIPT_LINK),
)
DECISION_COLUMNS = (
    Column("Time", "When", unit="dateTimeAsIso"),
    Column("verdict", "Decided"),
    Column("rule", "Refused by"),
    Column("item", "Item", link=layout.ITEM_LINK),
    Column("customer", "Customer"),
    Column("id", "id", link=layout.RECEIPT_LINK),
    Column("count"),
)
CONTACTS = '"type" =~ /^starloop\\.(offer\\.made|reminder\\.sent|advice\\.given)$/'
"""Reactions that contact a customer: a request that is merely ready is no contact."""
LATEST_MAX = 500
"""Rows of the tables of what happened."""


def dashboard(options: Options) -> Dashboard:
    """The dashboard of reactions."""
    variables = [
        layout.datasource_variable(options),
        layout.customer_variable("reaction"),
        layout.interval_variable(),
        layout.console_variable(options),
    ]
    about = "What was done, called off and refused, and why."
    made = layout.new_dashboard("reactions", "Starloop: reactions", about, variables, "now-7d")
    return layout.with_rows(
        made, ("What was done", [*_numbers(), *_over_time()]), ("Why", _why()), ("One by one", _listings())
    )


def _count(of_type: str) -> InfluxQuery:
    return table_query(f'SELECT count("need") FROM "reaction" WHERE {SELECTED} AND {of_type}')


def _numbers() -> list[Panel]:
    return [
        stat_panel(
            "Orders", "Orders requested.", _count("\"type\" = 'starloop.order.requested'"), "short", span=QUARTER
        ),
        stat_panel(
            "Contacts",
            "Offers, reminders and advice: each contacts its customer. A request that is merely ready does not.",
            _count(CONTACTS),
            "short",
            span=QUARTER,
        ),
        stat_panel(
            "Cancelled",
            "Orders that were called off after they had been requested.",
            _count("\"type\" = 'starloop.order.cancelled'"),
            "short",
            span=QUARTER,
            steps=((None, GOOD), (1.0, WARN)),
        ),
        stat_panel(
            "Refused by a rule",
            "Decisions in which a rule refused something: what was done instead, if anything, is the decision's verdict.",
            table_query(f'SELECT sum("count") FROM "decision" WHERE {SELECTED} AND "rule" != \'none\''),
            "short",
            span=QUARTER,
        ),
    ]


def _over_time() -> list[Panel]:
    def by(tag: str) -> InfluxQuery:
        return series_query(
            f'SELECT count("need") FROM "reaction" WHERE {SELECTED} GROUP BY {EVERY}, "{tag}" fill(none)', f"$tag_{tag}"
        )

    kinds = (
        "Reactions of each interval by type. The type tells the experience: an order is made on its own or after a yes, an offer "
        "asks, a ready request waits, a reminder and advice coach."
    )
    suppliers = "Reactions of each interval that name a supplier, by supplier."
    return [
        time_series_panel("By type", kinds, [by("type")], "short", stacked=True),
        time_series_panel("By supplier", suppliers, [by("supplier")], "short", stacked=True),
    ]


def _why() -> list[Panel]:
    verdicts = series_query(
        f'SELECT sum("count") FROM "decision" WHERE {SELECTED} GROUP BY {EVERY}, "verdict" fill(none)', "$tag_verdict"
    )
    rules = table_query(
        f'SELECT sum("count") AS "decisions" FROM "decision" WHERE {SELECTED} AND "rule" != \'none\' GROUP BY "rule"'
    )
    results = series_query(
        f'SELECT sum("count") FROM "outcome" WHERE {SELECTED} GROUP BY {EVERY}, "result" fill(none)', "$tag_result"
    )
    timing = [
        series_query(
            f'SELECT sum("count") FROM "outcome" WHERE {SELECTED} AND "timing" = \'{word}\' GROUP BY {EVERY} fill(none)',
            word,
            ref,
        )
        for word, ref in (("early", "A"), ("right", "B"), ("late", "C"))
    ]
    satisfied = series_query(f'SELECT mean("csat") FROM "outcome" WHERE {SELECTED} GROUP BY {EVERY} fill(none)', "csat")
    return [
        time_series_panel(
            "Decisions",
            "What was decided in each interval: a reaction's type, or to wait.",
            [verdicts],
            "short",
            stacked=True,
        ),
        bar_panel(
            "Refused, by rule",
            "Decisions in which a rule refused something, by the first rule that did.",
            rules,
            "rule",
        ),
        time_series_panel(
            "What came of it", "Outcomes told in each interval, by result.", [results], "short", stacked=True
        ),
        time_series_panel(
            "Said of the moment",
            "Customers' word on when it came: early, right or late.",
            timing,
            "short",
            stacked=True,
        ),
        time_series_panel(
            "Satisfaction", "Mean of the customers' answers, 1 to 5.", [satisfied], "short", low=1.0, high=5.0
        ),
    ]


def _listings() -> list[Panel]:
    newest = f"ORDER BY time DESC LIMIT {LATEST_MAX}"
    each = table_query(f'SELECT {REACTION_FIELDS} FROM "reaction" WHERE {SELECTED} {newest}')
    refused = table_query(
        'SELECT "verdict", "rule", "item", "customer", "id", "count" FROM "decision" '
        f"WHERE {SELECTED} AND \"rule\" != 'none' {newest}"
    )
    people = table_query(
        f'SELECT count("need") AS "reactions" FROM "reaction" WHERE {SELECTED} GROUP BY "customer", "type"'
    )
    return [
        table_panel(
            "Reactions",
            "The newest first; the id opens the receipt in the console.",
            each,
            REACTION_COLUMNS,
            span=WHOLE,
        ),
        table_panel(
            "Refused by a rule",
            "Decisions in which a rule refused something, the newest first; the id opens the receipt.",
            refused,
            DECISION_COLUMNS,
            span=HALF,
        ),
        table_panel(
            "By customer",
            "Reactions of the time shown, by customer and type.",
            people,
            [HIDDEN_TIME, Column("customer", "Customer"), Column("type", "Type"), Column("reactions", "Reactions")],
            sort=("Reactions", True),
        ),
    ]
