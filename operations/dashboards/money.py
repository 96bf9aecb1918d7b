"""Money: what was ordered and at what price, what contacts cost, and which run-outs were avoided.

A definition here is one that a query can answer from what was written, and stands in the panel's description. What a run-out or
an order's trouble costs is the fleet file's to say, and not in InfluxDB.
"""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from operations.dashboards import layout
from operations.dashboards.influx_query import DEVICE, EVERY, SELECTED, series_query, table_query
from operations.dashboards.layout import Options, Panel
from operations.dashboards.panels import (
    BAD,
    GOOD,
    HIDDEN_TIME,
    QUARTER,
    THIRD,
    WARN,
    Column,
    stat_panel,
    table_panel,
    time_series_panel,
)
from operations.dashboards.reactions import CONTACTS

ORDERS = f'FROM "reaction" WHERE {SELECTED} AND "type" = \'starloop.order.requested\''
CANCELLED = f'FROM "reaction" WHERE {SELECTED} AND "type" = \'starloop.order.cancelled\''
CONTACT_COST = "0.50"
"""What one contact is taken to cost at first; people change the variable."""
STOCK = (
    'SELECT first("level") - mean("rate") * $__range_s / 86400 AS "rest", min("level") AS "least" '
    f'FROM "forecast" WHERE {DEVICE} GROUP BY "item", "customer"'
)
"""Of each item: what would be left at the end of the time shown had nothing come, and the least that was there."""
CURRENCY = "In the fleet file's currency. "


def dashboard(options: Options) -> Dashboard:
    """The dashboard of money."""
    cost = layout.text_variable("contact_cost", "Cost of a contact", CONTACT_COST)
    variables = [
        layout.datasource_variable(options),
        layout.customer_variable("forecast"),
        layout.device_variable("forecast"),
        layout.interval_variable(),
        cost,
    ]
    made = layout.new_dashboard("money", "Starloop: money", "Orders, contacts, run-outs.", variables, "now-30d")
    return layout.with_rows(
        made, ("Spent", [*_spend_panels(), *_orders()]), ("Gained", _avoided_panels()), ("Contacts", _contacts())
    )


def _spend_panels() -> list[Panel]:
    cost = f'SELECT count("need") * $contact_cost AS "cost" FROM "reaction" WHERE {SELECTED} AND {CONTACTS}'
    return [
        stat_panel(
            "Orders",
            "Orders requested, whatever became of them.",
            table_query(f'SELECT count("price") {ORDERS}'),
            "short",
            span=QUARTER,
        ),
        stat_panel(
            "Ordered for",
            CURRENCY + "Sum of the prices of the orders requested, whatever became of them.",
            table_query(f'SELECT sum("price") {ORDERS}'),
            "short",
            span=QUARTER,
            decimals=2,
        ),
        stat_panel(
            "Cancelled", "Orders called off.", table_query(f'SELECT count("need") {CANCELLED}'), "short", span=QUARTER
        ),
        stat_panel(
            "Cost of contacts",
            CURRENCY + "Offers, reminders and advice, each at the cost that the variable above names.",
            table_query(cost),
            "short",
            span=QUARTER,
            decimals=2,
        ),
    ]


def _orders() -> list[Panel]:
    spending = "Sum of the prices of the orders requested in each interval, by supplier."
    columns = 'SELECT count("price") AS "orders", sum("price") AS "price", mean("price") AS "mean", sum("quantity") AS "quantity"'
    return [
        time_series_panel(
            "Ordered for, by supplier",
            CURRENCY + spending,
            [series_query(f'SELECT sum("price") {ORDERS} GROUP BY {EVERY}, "supplier" fill(none)', "$tag_supplier")],
            "short",
            stacked=True,
        ),
        table_panel(
            "Suppliers",
            CURRENCY
            + "Orders requested, their whole and their mean price, by supplier and customer; the quantities are in the units "
            "of the items' capacities, and add up to something only where those agree.",
            table_query(f'{columns} {ORDERS} GROUP BY "supplier", "customer"'),
            [
                HIDDEN_TIME,
                Column("supplier", "Supplier"),
                Column("customer", "Customer"),
                Column("orders", "Orders"),
                Column("price", "Price", unit="short"),
                Column("mean", "Price of an order", unit="short"),
                Column("quantity", "Quantity", unit="short"),
            ],
            sort=("Price", True),
        ),
    ]


def _avoided_panels() -> list[Panel]:
    would = "wouldn't have lasted: the level at its beginning, less the mean use a day times its days, is under nought"
    return [
        stat_panel(
            "Run-outs avoided",
            f"Items whose stock {would}, and that no look found empty. Whoever refilled them, on an order of ours or not.",
            table_query(f'SELECT count("rest") FROM ({STOCK}) WHERE "rest" < 0 AND "least" > 0'),
            "short",
            span=THIRD,
        ),
        stat_panel(
            "Run-outs not avoided",
            f"Items whose stock {would}, and that a look found empty.",
            table_query(f'SELECT count("rest") FROM ({STOCK}) WHERE "rest" < 0 AND "least" <= 0'),
            "short",
            span=THIRD,
            steps=((None, GOOD), (1.0, BAD)),
        ),
        stat_panel(
            "Item-days empty",
            "Days (UTC) in which a look found an item's level at nought or less, added up over the items.",
            table_query(
                'SELECT count("least") FROM (SELECT min("level") AS "least" FROM "forecast" '
                f'WHERE {DEVICE} GROUP BY time(1d), "item" fill(none)) WHERE "least" <= 0'
            ),
            "short",
            span=THIRD,
            steps=((None, GOOD), (1.0, WARN)),
        ),
        time_series_panel(
            "Deliveries and refills",
            "Outcomes told in each interval that say that something came.",
            [
                series_query(
                    f'SELECT sum("count") FROM "outcome" WHERE {SELECTED} AND '
                    "(\"result\" = 'delivered' OR \"result\" = 'refilled' OR \"result\" = 'failed') "
                    f'GROUP BY {EVERY}, "result" fill(none)',
                    "$tag_result",
                )
            ],
            "short",
            stacked=True,
        ),
        table_panel(
            "What would be left",
            "Of each item at the end of the time shown, had nothing come in it (its level at the beginning, less the mean use a day "
            "times the days), and the least that a look found; in the unit of its capacity.",
            table_query(STOCK),
            [
                HIDDEN_TIME,
                Column("item", "Item"),
                Column("customer", "Customer"),
                Column("rest", "Left without any delivery", unit="short", steps=((None, BAD), (0.0, GOOD))),
                Column("least", "Least seen", unit="short", steps=((None, BAD), (1e-9, GOOD))),
            ],
            sort=("Left without any delivery", False),
        ),
    ]


def _contacts() -> list[Panel]:
    by_customer = table_query(
        'SELECT count("need") AS "contacts", count("need") * $contact_cost AS "cost" '
        f'FROM "reaction" WHERE {SELECTED} AND {CONTACTS} GROUP BY "customer"'
    )
    return [
        time_series_panel(
            "Contacts",
            "Offers, reminders and advice in each interval, by type.",
            [
                series_query(
                    f'SELECT count("need") FROM "reaction" WHERE {SELECTED} AND {CONTACTS} GROUP BY {EVERY}, "type" fill(none)',
                    "$tag_type",
                )
            ],
            "short",
            stacked=True,
        ),
        table_panel(
            "Contacts by customer",
            CURRENCY
            + "Offers, reminders and advice of the time shown, and what they cost at the variable's cost of a contact.",
            by_customer,
            [
                HIDDEN_TIME,
                Column("customer", "Customer"),
                Column("contacts", "Contacts"),
                Column("cost", "Cost", unit="short"),
            ],
            sort=("Contacts", True),
        ),
    ]
