"""Cost dashboard: order volume and prices, contact costs, run-outs avoided.

Every figure is defined in the description of its panel, and can be computed from InfluxDB alone. The costs of run-outs and failed
orders are not shown: they are settings of the fleet file and not in InfluxDB.
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
"""Initial cost of a contact, in the currency of the fleet file: a placeholder that people change with the variable."""
STOCK = (
    'SELECT first("level") - mean("rate") * $__range_s / 86400 AS "rest", min("level") AS "least" '
    f'FROM "forecast" WHERE {DEVICE} GROUP BY "item", "customer"'
)
"""Per item: stock that would be left at the end of the time range without deliveries, and the lowest level seen."""
CURRENCY = "In the currency of the fleet file. "


def dashboard(options: Options) -> Dashboard:
    """The cost dashboard."""
    cost = layout.text_variable("contact_cost", "Cost of a contact", CONTACT_COST)
    variables = [
        layout.datasource_variable(options),
        layout.customer_variable("forecast"),
        layout.device_variable("forecast"),
        layout.interval_variable(),
        cost,
    ]
    made = layout.new_dashboard(
        "money", "Starloop: money", "Orders, contacts and avoided run-outs.", variables, "now-30d"
    )
    return layout.with_rows(
        made, ("Spending", [*_spend_panels(), *_orders()]), ("Run-outs", _avoided_panels()), ("Contacts", _contacts())
    )


def _spend_panels() -> list[Panel]:
    cost = f'SELECT count("need") * $contact_cost AS "cost" FROM "reaction" WHERE {SELECTED} AND {CONTACTS}'
    return [
        stat_panel(
            "Orders",
            "Orders requested, with any outcome.",
            table_query(f'SELECT count("price") {ORDERS}'),
            "short",
            span=QUARTER,
        ),
        stat_panel(
            "Order value",
            CURRENCY + "Total price of the orders requested, with any outcome.",
            table_query(f'SELECT sum("price") {ORDERS}'),
            "short",
            span=QUARTER,
            decimals=2,
        ),
        stat_panel(
            "Cancelled",
            "Orders cancelled after the request.",
            table_query(f'SELECT count("need") {CANCELLED}'),
            "short",
            span=QUARTER,
        ),
        stat_panel(
            "Cost of contacts",
            CURRENCY + "Offers, reminders and advice, each at the cost set in the variable above.",
            table_query(cost),
            "short",
            span=QUARTER,
            decimals=2,
        ),
    ]


def _orders() -> list[Panel]:
    spending = "Total price of the orders requested in each interval, by supplier."
    columns = 'SELECT count("price") AS "orders", sum("price") AS "price", mean("price") AS "mean", sum("quantity") AS "quantity"'
    return [
        time_series_panel(
            "Order value by supplier",
            CURRENCY + spending,
            [series_query(f'SELECT sum("price") {ORDERS} GROUP BY {EVERY}, "supplier" fill(none)', "$tag_supplier")],
            "short",
            stacked=True,
        ),
        table_panel(
            "Suppliers",
            CURRENCY
            + "Orders requested with their total and mean price, by supplier and customer. Quantities are in the units of the "
            "items' capacities: a sum is meaningful only for items with the same unit.",
            table_query(f'{columns} {ORDERS} GROUP BY "supplier", "customer"'),
            [
                HIDDEN_TIME,
                Column("supplier", "Supplier"),
                Column("customer", "Customer"),
                Column("orders", "Orders"),
                Column("price", "Price", unit="short"),
                Column("mean", "Mean price", unit="short"),
                Column("quantity", "Quantity", unit="short"),
            ],
            sort=("Price", True),
        ),
    ]


def _avoided_panels() -> list[Panel]:
    short = "would not have lasted: the first level minus mean daily usage times days is below zero"
    return [
        stat_panel(
            "Run-outs avoided",
            f"Items whose stock {short}, but whose level never reached zero, whoever refilled them.",
            table_query(f'SELECT count("rest") FROM ({STOCK}) WHERE "rest" < 0 AND "least" > 0'),
            "short",
            span=THIRD,
        ),
        stat_panel(
            "Run-outs not avoided",
            f"Items whose stock {short}, and whose level reached zero.",
            table_query(f'SELECT count("rest") FROM ({STOCK}) WHERE "rest" < 0 AND "least" <= 0'),
            "short",
            span=THIRD,
            steps=((None, GOOD), (1.0, BAD)),
        ),
        stat_panel(
            "Item-days empty",
            "Days (UTC) on which the level of an item was zero or less, summed over the items.",
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
            "Reported deliveries, refills and failed orders in each interval.",
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
            "Stock without deliveries",
            "Stock that each item would have at the end of the time range without deliveries (first level minus mean daily usage "
            "times days), and its lowest level; in the unit of its capacity.",
            table_query(STOCK),
            [
                HIDDEN_TIME,
                Column("item", "Item"),
                Column("customer", "Customer"),
                Column("rest", "Stock without deliveries", unit="short", steps=((None, BAD), (0.0, GOOD))),
                Column("least", "Lowest level", unit="short", steps=((None, BAD), (1e-9, GOOD))),
            ],
            sort=("Stock without deliveries", False),
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
            "Offers, reminders and advice per interval, by type.",
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
            + "Offers, reminders and advice in the time range, and their cost at the variable's cost per contact.",
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
