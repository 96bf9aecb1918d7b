"""Reaction dashboard: orders, contacts, cancellations, refusals by rule, and outcomes."""

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
"""Reactions that contact a customer. A prepared request waits for the customer and is not a contact."""
LATEST_MAX = 500
"""Row limit of the reaction and decision tables, which bounds the size of a response."""


def dashboard(options: Options) -> Dashboard:
    """The reaction dashboard."""
    variables = [
        layout.datasource_variable(options),
        layout.customer_variable("reaction"),
        layout.interval_variable(),
        layout.console_variable(options),
    ]
    about = "Reactions, cancellations and refusals, and the reasons."
    made = layout.new_dashboard("reactions", "Starloop: reactions", about, variables, "now-7d")
    return layout.with_rows(
        made, ("Reactions", [*_numbers(), *_over_time()]), ("Decisions and outcomes", _why()), ("Listings", _listings())
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
            "Offers, reminders and advice, which contact a customer. A prepared request does not.",
            _count(CONTACTS),
            "short",
            span=QUARTER,
        ),
        stat_panel(
            "Cancelled",
            "Orders cancelled after the request.",
            _count("\"type\" = 'starloop.order.cancelled'"),
            "short",
            span=QUARTER,
            steps=((None, GOOD), (1.0, WARN)),
        ),
        stat_panel(
            "Refused by a rule",
            "Decisions in which a rule refused an action. The verdict shows what was done instead, if anything.",
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
        "Reactions per interval, by type. Orders are automatic or confirmed, offers ask for confirmation, prepared requests wait "
        "for the customer, reminders and advice coach."
    )
    suppliers = "Reactions per interval that name a supplier, by supplier."
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
            "Decisions per interval, by verdict: a reaction type, or wait.",
            [verdicts],
            "short",
            stacked=True,
        ),
        bar_panel(
            "Refused, by rule",
            "Decisions in which a rule refused an action, by the first such rule.",
            rules,
            "rule",
        ),
        time_series_panel("Outcomes", "Reported outcomes per interval, by result.", [results], "short", stacked=True),
        time_series_panel(
            "Timing feedback",
            "Customer feedback on the time of delivery: early, right or late.",
            timing,
            "short",
            stacked=True,
        ),
        time_series_panel(
            "Satisfaction", "Mean customer satisfaction score, 1 to 5.", [satisfied], "short", low=1.0, high=5.0
        ),
    ]


def _listings() -> list[Panel]:
    newest = f"ORDER BY time DESC LIMIT {LATEST_MAX}"
    each = table_query(f'SELECT {REACTION_FIELDS} FROM "reaction" WHERE {SELECTED} {newest}')
    refused = table_query(
        'SELECT "verdict", "rule", "item", "customer", "id", "count" FROM "decision" '
        f"WHERE {SELECTED} AND \"rule\" != 'none' {newest}"
    )
    by_customer = table_query(
        f'SELECT count("need") AS "reactions" FROM "reaction" WHERE {SELECTED} GROUP BY "customer", "type"'
    )
    return [
        table_panel(
            "Reactions",
            "Newest first; the id opens the receipt in the console.",
            each,
            REACTION_COLUMNS,
            span=WHOLE,
        ),
        table_panel(
            "Refused by a rule",
            "Decisions in which a rule refused an action, newest first; the id opens the receipt.",
            refused,
            DECISION_COLUMNS,
            span=HALF,
        ),
        table_panel(
            "By customer",
            "Reactions in the time range, by customer and type.",
            by_customer,
            [HIDDEN_TIME, Column("customer", "Customer"), Column("type", "Type"), Column("reactions", "Reactions")],
            sort=("Reactions", True),
        ),
    ]
